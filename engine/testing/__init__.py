"""For tests of plugins: a contract for each kind of component, the float64 oracle of every operator, tables of cases, clips for losses.

The contracts need pytest, the rest does not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from engine.testing.cases import LayerCase as LayerCase
from engine.testing.cases import OpCase as OpCase
from engine.testing.cases import draw as draw
from engine.testing.cases import dtype_of as dtype_of
from engine.testing.cases import op_case as op_case
from engine.testing.clips import GivenClip as GivenClip
from engine.testing.gradients import numerical_gradient as numerical_gradient
from engine.testing.image_cases import IMAGE_CASES
from engine.testing.layer_cases import LAYER_CASES as LAYER_CASES
from engine.testing.oracle import OracleOps as OracleOps
from engine.testing.tensor_cases import TENSOR_CASES

if TYPE_CHECKING:
    from engine.testing.backend_contract import BackendContract as BackendContract
    from engine.testing.dataset_contract import DatasetContract as DatasetContract
    from engine.testing.layer_contract import LayerContract as LayerContract
    from engine.testing.loss_contract import LossContract as LossContract
    from engine.testing.model_contract import ModelContract as ModelContract

OP_CASES = (*TENSOR_CASES, *IMAGE_CASES)
"""Every method of :class:`engine.Ops` in every setting that has gone wrong somewhere; the results are the oracle's."""

_LATER = {
    "BackendContract": "engine.testing.backend_contract",
    "DatasetContract": "engine.testing.dataset_contract",
    "LayerContract": "engine.testing.layer_contract",
    "LossContract": "engine.testing.loss_contract",
    "ModelContract": "engine.testing.model_contract",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'engine.testing' has no attribute {name!r}")

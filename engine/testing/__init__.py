"""For tests of plugins: a contract for each kind of component, the float64 oracle of every operator, tables of cases, clips for losses.

The contracts need pytest, the rest does not. Importing this loads nothing, because pytest does so whenever it starts.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.plugins import PluginHost as PluginHost
    from engine.testing.backend_contract import BackendContract as BackendContract
    from engine.testing.cases import LayerCase as LayerCase
    from engine.testing.cases import OpCase as OpCase
    from engine.testing.cases import draw as draw
    from engine.testing.cases import dtype_of as dtype_of
    from engine.testing.cases import op_case as op_case
    from engine.testing.clips import GivenClip as GivenClip
    from engine.testing.dataset_contract import DatasetContract as DatasetContract
    from engine.testing.gradients import numerical_gradient as numerical_gradient
    from engine.testing.layer_cases import LAYER_CASES as LAYER_CASES
    from engine.testing.layer_contract import LayerContract as LayerContract
    from engine.testing.loss_contract import LossContract as LossContract
    from engine.testing.model_contract import ModelContract as ModelContract
    from engine.testing.op_cases import OP_CASES as OP_CASES
    from engine.testing.oracle import OracleOps as OracleOps
    from engine.testing.scenes import ExampleClip as ExampleClip
    from engine.testing.scenes import moving_sample as moving_sample

_NAMES = {
    "engine.plugins": "PluginHost",
    "engine.testing.backend_contract": "BackendContract",
    "engine.testing.cases": "LayerCase OpCase draw dtype_of op_case",
    "engine.testing.clips": "GivenClip",
    "engine.testing.dataset_contract": "DatasetContract",
    "engine.testing.gradients": "numerical_gradient",
    "engine.testing.layer_cases": "LAYER_CASES",
    "engine.testing.layer_contract": "LayerContract",
    "engine.testing.loss_contract": "LossContract",
    "engine.testing.model_contract": "ModelContract",
    "engine.testing.op_cases": "OP_CASES",
    "engine.testing.oracle": "OracleOps",
    "engine.testing.scenes": "ExampleClip moving_sample",
}
"""The names above by their files: once for type checkers, once for Python."""
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'engine.testing' has no attribute {name!r}")
    try:
        value = globals()[name] = getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "pytest":
            raise
        from engine.errors import EngineError

        remedy = "Install it: python -m pip install 'styleengine[testing]'"
        raise EngineError("engine.testing needs pytest, which is not installed", remedy=remedy) from None
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})

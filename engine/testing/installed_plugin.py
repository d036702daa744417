"""The test file that ``engine plugins check`` runs: the contract of one plugin, which the environment names."""

from __future__ import annotations

import json
import os
from pathlib import Path

from engine.plugins import load_plugins
from engine.testing.backend_contract import BackendContract
from engine.testing.contract import Contract
from engine.testing.dataset_contract import DatasetContract
from engine.testing.loss_contract import LossContract
from engine.testing.model_contract import ModelContract

CONTRACTS: dict[str, type[Contract]] = {
    "loss": LossContract,
    "dataset": DatasetContract,
    "model": ModelContract,
    "backend": BackendContract,
}


def contract_of(kind: str, name: str, settings: dict[str, object], files: list[str]) -> type[Contract]:
    """The contract of that kind for a component of the installed plugins, or of these plugin files."""
    component = load_plugins([Path(file) for file in files]).get(kind, name)
    return type("TestPlugin", (CONTRACTS[kind],), {"__module__": __name__, "component": component, "settings": settings})


if "ENGINE_CHECK" in os.environ:
    TestPlugin = contract_of(**json.loads(os.environ["ENGINE_CHECK"]))

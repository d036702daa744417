"""The MindSpore backend: trains and paints on CPU, GPU and Ascend."""

from __future__ import annotations

from engine import Backend, hookimpl
from engine_mindspore.backend import MindSporeBackend


@hookimpl
def engine_register_backends() -> list[type[Backend]]:
    """MindSpore."""
    return [MindSporeBackend]

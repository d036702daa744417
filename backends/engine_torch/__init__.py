"""The PyTorch backend: trains and paints on CPU, CUDA and MPS."""

from __future__ import annotations

from engine import Backend, hookimpl
from engine_torch.backend import TorchBackend


@hookimpl
def engine_register_backends() -> list[type[Backend]]:
    """PyTorch."""
    return [TorchBackend]

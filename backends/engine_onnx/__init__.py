"""The ONNX backend: networks as ONNX graphs of free size, painted with onnxruntime and exported."""

from __future__ import annotations

from engine import Backend, hookimpl
from engine_onnx.backend import OnnxBackend


@hookimpl
def engine_register_backends() -> list[type[Backend]]:
    """ONNX."""
    return [OnnxBackend]

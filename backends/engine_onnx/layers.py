"""Layers that ONNX has an operator of its own for."""

from __future__ import annotations

from engine import InstanceNorm2d, NativeLayers
from engine_onnx.graph import Value, cast, node


def _instance_norm(layer: InstanceNorm2d, weights: dict[str, Value], x: Value) -> Value:
    made = node("InstanceNormalization", cast(x, "float32"), weights["weight"], weights["bias"], epsilon=layer.eps)
    return cast(made, x.dtype)


NATIVE: NativeLayers = {InstanceNorm2d: _instance_norm}

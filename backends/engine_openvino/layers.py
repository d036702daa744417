"""Layers that OpenVINO has an operator of its own for."""

from __future__ import annotations

import numpy as np

from engine import Conv2d, InstanceNorm2d, NativeLayers, UpsampledConv2d
from engine_openvino.convolutions import conv2d, upsampled_conv2d
from engine_openvino.graph import Value, cast, constant, node, vector


def _instance_norm(layer: InstanceNorm2d, weights: dict[str, Value], x: Value) -> Value:
    wide = cast(x, "float32")
    normed = node("mvn", wide, vector([2, 3]), normalize_variance=True, eps=layer.eps, eps_mode="INSIDE_SQRT")
    scale, shift = (node("reshape", weights[key], _EVERY_CHANNEL, special_zero=False) for key in ("weight", "bias"))
    return cast(normed * scale + shift, x.dtype)


_EVERY_CHANNEL = constant(np.array([1, -1, 1, 1]), "int64")

NATIVE: NativeLayers = {Conv2d: conv2d, InstanceNorm2d: _instance_norm, UpsampledConv2d: upsampled_conv2d}

"""Convolutions whose plain form leaves the CPU's vectors empty or computes the same sums twice, as others that come to the same."""

from __future__ import annotations

import numpy as np

from engine import KERNEL_SUMS, Conv2d, UpsampledConv2d
from engine_openvino.graph import Value, cast, constant, joined, node
from engine_openvino.ops import OpenVinoOps

_OPS = OpenVinoOps()
FEW = 4
"""Output channels that are so few that four pixels are computed as one: a vector register holds 16."""


def conv2d(layer: Conv2d, weights: dict[str, Value], x: Value) -> Value:
    """The layer; by fours where its output has few channels."""
    bias = cast(weights["bias"], x.dtype) if layer.bias else None
    if layer.groups == 1 and layer.stride == 1 and layer.out_channels <= FEW and layer.kernel > 1:
        return _by_fours(layer, weights["weight"], bias, x)
    y: Value = layer.apply(_OPS, weights, x)
    return y


def _by_fours(layer: Conv2d, weight: Value, bias: Value | None, x: Value) -> Value:
    # Two by two pixels of the output as channels of one: the kernel in its four places of a kernel one larger, two pixels a step.
    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    kernels = cast(joined([_OPS.pad(weight, (right, 1 - right, below, 1 - below)) for below, right in places], axis=0), x.dtype)
    biases = None if bias is None else joined([bias] * len(places), axis=0)
    begin, end = [layer.padding] * 2, [layer.padding + 1] * 2  # one more below and right, for an odd last row
    y = node("convolution", x, kernels, strides=[2, 2], pads_begin=begin, pads_end=end, dilations=[1, 1])
    y = node("depth_to_space", _with_bias(y, biases), mode="blocks_first", block_size=2)
    h, w = (x.sizes[axis] + 2 * layer.padding - (layer.kernel - 1) for axis in (2, 3))
    return y[:, :, :h, :w]


def upsampled_conv2d(layer: UpsampledConv2d, weights: dict[str, Value], x: Value) -> Value:
    """The layer as a transposed convolution."""
    one = constant(np.array([0, 0, 1, 1]), "int64")
    framed = node("pad", x, one, one, pad_mode="edge")
    kernel = _OPS.matmul(_OPS.matmul(constant(KERNEL_SUMS, "float32"), weights["weight"]), constant(KERNEL_SUMS.T, "float32"))
    kernel = cast(_OPS.permute_dims(kernel, (1, 0, 2, 3)), x.dtype)
    y = node("convolution_backprop_data", framed, kernel, strides=[2, 2], pads_begin=[3, 3], pads_end=[3, 3], dilations=[1, 1])
    return _with_bias(y, cast(weights["bias"], x.dtype) if layer.bias else None)


def _with_bias(y: Value, bias: Value | None) -> Value:
    return y if bias is None else y + _OPS.reshape(bias, (1, -1, 1, 1))

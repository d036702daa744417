"""Convolutions whose plain form leaves the CPU's vectors empty or computes the same sums twice, as others that come to the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine import Conv2d, Pad, Upsample2d
from engine_openvino.graph import Value, cast, constant, joined, node, size_of
from engine_openvino.ops import OpenVinoOps

_OPS = OpenVinoOps()
FEW = 4
"""Output channels that are so few that four pixels are computed as one: a vector register holds 16."""


@dataclass(frozen=True, eq=False)
class _Doubled(Value):
    """A picture of which every pixel was made four."""

    source: Value


@dataclass(frozen=True, eq=False)
class _Framed(Value):
    """The same with a margin of one pixel, mirrored."""

    source: Value


def upsample2d(layer: Upsample2d, weights: dict[str, Value], x: Value) -> Value:
    """The layer; a convolution finds out from it what it reads."""
    y = layer.apply(_OPS, weights, x)
    return _Doubled(y.port, x) if layer.mode == "nearest" and layer.factor == 2 else y


def pad(layer: Pad, weights: dict[str, Value], x: Value) -> Value:
    """The layer; a convolution finds out from it what it reads."""
    y = layer.apply(_OPS, weights, x)
    return _Framed(y.port, x.source) if isinstance(x, _Doubled) and layer.mode == "reflect" and layer.amount == 1 else y


def conv2d(layer: Conv2d, weights: dict[str, Value], x: Value) -> Value:
    """The layer, in whichever form is the fastest."""
    bias = cast(weights["bias"], x.dtype) if layer.bias else None
    plain = layer.groups == 1 and layer.stride == 1
    if plain and layer.kernel == 3 and layer.padding == 0 and isinstance(x, _Framed):
        return _of_doubled(x.source, weights["weight"], bias)
    if plain and layer.out_channels <= FEW and layer.kernel > 1:
        return _by_fours(layer, weights["weight"], bias, x)
    return layer.apply(_OPS, weights, x)


def _by_fours(layer: Conv2d, weight: Value, bias: Value | None, x: Value) -> Value:
    # Two by two pixels of the output as channels of one: the kernel in its four places of a kernel one larger, two pixels a step.
    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    kernels = cast(joined([_OPS.pad(weight, (right, 1 - right, below, 1 - below)) for below, right in places], axis=0), x.dtype)
    biases = None if bias is None else joined([bias] * len(places), axis=0)
    begin, end = [layer.padding] * 2, [layer.padding + 1] * 2  # one more below and right, for an odd last row
    y = node("convolution", x, kernels, strides=[2, 2], pads_begin=begin, pads_end=end, dilations=[1, 1])
    y = node("depth_to_space", _with_bias(y, biases), mode="blocks_first", block_size=2)
    h, w = (size_of(x, axis) + 2 * layer.padding - (layer.kernel - 1) for axis in (2, 3))
    return y[:, :, :h, :w]


_ROWS = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
"""Which rows of a kernel of three a source's row is multiplied by, in the four rows that it adds to once its pixels are doubled."""


def _of_doubled(source: Value, weight: Value, bias: Value | None) -> Value:
    # Two rows of the kernel meet the same row of the source, so nine products are four; a transposed convolution spreads them. The
    # mirrored margin of doubled pixels is the source's last pixel once more.
    one = constant(np.array([0, 0, 1, 1]), "int64")
    framed = node("pad", source, one, one, pad_mode="edge")
    rows = constant(_ROWS, weight.dtype)
    kernel = _OPS.matmul(_OPS.matmul(rows, weight), _OPS.permute_dims(rows, (1, 0)))
    kernel = cast(_OPS.permute_dims(kernel, (1, 0, 2, 3)), source.dtype)
    sides = [3, 3]  # what falls on the margin and beyond
    y = node("convolution_backprop_data", framed, kernel, strides=[2, 2], pads_begin=sides, pads_end=sides, dilations=[1, 1])
    return _with_bias(y, bias)


def _with_bias(y: Value, bias: Value | None) -> Value:
    return y if bias is None else y + _OPS.reshape(bias, (1, -1, 1, 1))

"""The operators of the engine as nodes of an OpenVINO graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine import Array, DType, PadMode, ResizeMode, Shape, UpsampleMode
from engine_openvino.graph import FLOATS, Value, alike, cast, constant, joined, node, vector
from engine_openvino.model import make_model
from engine_openvino.session import Session


class OpenVinoOps:
    """Operators that build a graph; see :class:`engine.Ops`.

    A tensor is a :class:`engine_openvino.graph.Value`; nothing is computed before :meth:`to_numpy`.
    """

    name = "openvino"

    def asarray(self, x: Array | float, dtype: DType = "float32") -> Value:
        return constant(x, dtype)

    def to_numpy(self, x: Value) -> Array:
        x = cast(x, "float32") if x.dtype in FLOATS else x
        (found,) = Session(make_model([], [x]), threads=1).run([])
        return found

    def shape(self, x: Value) -> Shape:
        return x.sizes

    def dtype(self, x: Value) -> DType:
        return x.dtype

    def cast(self, x: Value, dtype: DType) -> Value:
        return cast(x, dtype)

    def zeros_like(self, x: Value) -> Value:
        return node("broadcast", constant(0, x.dtype), vector(x.sizes))

    def stop_gradient(self, x: Value) -> Value:
        return x

    def abs(self, x: Value) -> Value:
        return node("abs", x)

    def square(self, x: Value) -> Value:
        return x * x

    def sqrt(self, x: Value) -> Value:
        return node("sqrt", x)

    def tanh(self, x: Value) -> Value:
        return node("tanh", x)

    def relu(self, x: Value) -> Value:
        return node("relu", x)

    def clip(self, x: Value, low: float, high: float) -> Value:
        return node("minimum", *alike(node("maximum", *alike(x, low)), high))

    def round(self, x: Value) -> Value:
        return node("round", x, mode="half_to_even")

    def isfinite(self, x: Value) -> Value:
        return node("is_finite", cast(x, "float32"))

    def where(self, condition: Value, x: Value, y: Value) -> Value:
        return node("select", condition, *alike(x, y))

    def sum(self, x: Value, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Value:
        return _reduced("reduce_sum", x, axis, keepdims)

    def mean(self, x: Value, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Value:
        return _reduced("reduce_mean", x, axis, keepdims)

    def reshape(self, x: Value, shape: Shape) -> Value:
        return node("reshape", x, vector(shape), special_zero=False)

    def permute_dims(self, x: Value, axes: Sequence[int]) -> Value:
        return node("transpose", x, vector(axes))

    def concat(self, xs: Sequence[Value], axis: int) -> Value:
        return joined(xs, axis)

    def matmul(self, x: Value, y: Value) -> Value:
        return node("matmul", x, y, transpose_a=False, transpose_b=False)

    def conv2d(self, x: Value, weight: Value, bias: Value | None = None, *, stride: int = 1, padding: int = 0, groups: int = 1) -> Value:
        kind = "convolution"
        if groups > 1:
            outputs, *rest = self.shape(weight)
            kind, weight = "group_convolution", self.reshape(weight, (groups, outputs // groups, *rest))
        sides = [padding, padding]
        y = node(kind, x, weight, strides=[stride, stride], pads_begin=sides, pads_end=sides, dilations=[1, 1])
        return y if bias is None else y + self.reshape(bias, (1, -1, 1, 1))

    def max_pool2d(self, x: Value, kernel: int, stride: int) -> Value:
        sizes = {"strides": [stride] * 2, "dilations": [1, 1], "kernel_shape": [kernel] * 2}
        return node("max_pool", x, pads_begin=[0, 0], pads_end=[0, 0], **sizes)

    def pad(self, x: Value, sides: tuple[int, int, int, int], mode: PadMode = "constant") -> Value:
        left, right, top, bottom = sides
        if not any(sides):
            return x
        return node("pad", x, vector([0, 0, top, left]), vector([0, 0, bottom, right]), pad_mode=mode)

    def pad_to_multiple(self, x: Value, multiple: int) -> Value:
        _, _, h, w = self.shape(x)
        return self.pad(x, (0, -w % multiple, 0, -h % multiple), "reflect")

    def crop_like(self, x: Value, like: Value) -> Value:
        _, _, h, w = self.shape(like)
        return x[:, :, :h, :w]

    def resize(self, x: Value, size: tuple[int, int], mode: ResizeMode) -> Value:
        _, _, h, w = self.shape(x)
        if mode == "bilinear":
            how = {"mode": "linear_onnx", "coordinate_transformation_mode": "half_pixel"}
            return node("interpolate", x, vector(size), shape_calculation_mode="sizes", axes=[2, 3], **how)
        rows = node("gather", x, _sources(h, size[0]), constant(2, "int64"))  # interpolation would round the ratio of the sizes first
        return node("gather", rows, _sources(w, size[1]), constant(3, "int64"))

    def upsample(self, x: Value, factor: int, mode: UpsampleMode) -> Value:
        place = "half_pixel" if mode == "bilinear" else "asymmetric"
        how = {"mode": "nearest" if mode == "nearest" else "linear_onnx", "coordinate_transformation_mode": place, "nearest_mode": "floor"}
        scales = constant(np.array([factor, factor]), "float32")
        return node("interpolate", x, scales, shape_calculation_mode="scales", axes=[2, 3], **how)

    def warp(self, x: Value, flow: Value) -> Value:
        n, c, h, w = self.shape(x)
        columns, rows = constant(np.arange(w), "float32"), constant(np.arange(h)[:, None], "float32")
        # Far outside is zero however far, and a clamped coordinate cannot overflow an index.
        px = _within(columns + flow[:, 0], -2, w + 1)  # (n, h, w)
        py = _within(rows + flow[:, 1], -2, h + 1)
        left, top = node("floor", px), node("floor", py)
        fx, fy = (px - left)[:, None], (py - top)[:, None]
        flat = self.reshape(cast(x, "float32"), (n, c, -1))

        def at(column: Value, row: Value) -> Value:
            inside = node("logical_and", _inside(column, w), _inside(row, h))
            place = cast(_within(row, 0, h - 1), "int64") * w + cast(_within(column, 0, w - 1), "int64")
            everywhere = node("broadcast", self.reshape(place, (n, 1, -1)), vector(flat.sizes))
            found = self.reshape(node("gather_elements", flat, everywhere, axis=2), (n, c, h, w))
            return found * cast(inside, "float32")[:, None]

        above_left, above_right = at(left, top), at(left + 1, top)
        below_left, below_right = at(left, top + 1), at(left + 1, top + 1)
        above = above_left + (above_right - above_left) * fx
        below = below_left + (below_right - below_left) * fx
        return cast(above + (below - above) * fy, x.dtype)


def _reduced(op: str, x: Value, axis: int | tuple[int, ...] | None, keepdims: bool) -> Value:
    count = len(x.sizes)
    axes = range(count) if axis is None else (axis,) if isinstance(axis, int) else axis
    # One axis after another: all at once, a million numbers are added in sixteen sums, which loses the fourth digit. OpenVINO
    # would make one reduction of several that keep their axes, or of several that drop them: so they take turns.
    ordered = sorted((a + count if a < 0 else a for a in axes), reverse=True)
    for i, one in enumerate(ordered):
        x = node(op, x, vector([one]), keep_dims=keepdims == (i % 2 == 0))
    gone, others = ordered[::2], ordered[1::2]
    if others and keepdims:
        return node("unsqueeze", x, vector(sorted(others)))
    return node("squeeze", x, vector([one - sum(other < one for other in gone) for one in others])) if others else x


def _sources(size: int, new: int) -> Value:
    """floor(i * size / new) in integers."""
    return constant(np.arange(new) * size // new, "int64")


def _inside(x: Value, size: int) -> Value:
    return node("logical_and", x >= 0, x < size)


def _within(x: Value, low: int, high: int) -> Value:
    """``x`` limited to [low, high]."""
    return node("minimum", node("maximum", x, constant(low, x.dtype)), constant(high, x.dtype))

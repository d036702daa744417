"""The operators of the engine as nodes of an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine import Array, DType, PadMode, ResizeMode, Shape, UpsampleMode
from engine_onnx.graph import Size, Value, alike, cast, constant, node, size_of, vector
from engine_onnx.model import Port, write_model
from engine_onnx.session import Session


class OnnxOps:
    """Operators that build a graph; see :class:`engine.Ops`.

    A tensor is a :class:`engine_onnx.graph.Value`; nothing is computed before :meth:`to_numpy`. A free size is an int64
    scalar of the graph, with arithmetic, that every operator takes where it takes a size.
    """

    name = "onnx"

    def asarray(self, x: Array | float, dtype: DType = "float32") -> Value:
        return constant(x, dtype)

    def to_numpy(self, x: Value) -> Array:
        x = cast(x, "float32") if x.dtype in ("bfloat16", "float16") else x
        if x.array is not None:
            return x.array.copy()
        model = write_model({}, {"x": Port(x, x.sizes)})
        # As written: an optimised graph of constants is computed by the optimiser, and pays for it once more.
        (found,) = Session(model, threads=1, optimise=False).run({}, ["x"])
        return found

    def shape(self, x: Value) -> Shape:
        sizes: Any = tuple(size_of(x, axis) for axis in range(len(x.sizes)))
        shape: Shape = sizes  # of ints, but for free sizes
        return shape

    def dtype(self, x: Value) -> DType:
        return x.dtype

    def cast(self, x: Value, dtype: DType) -> Value:
        return cast(x, dtype)

    def zeros_like(self, x: Value) -> Value:
        return node("Expand", constant(0, x.dtype), vector(self.shape(x)), sizes=x.sizes)

    def stop_gradient(self, x: Value) -> Value:
        return x

    def abs(self, x: Value) -> Value:
        return node("Abs", x)

    def square(self, x: Value) -> Value:
        return x * x

    def sqrt(self, x: Value) -> Value:
        return node("Sqrt", x)

    def tanh(self, x: Value) -> Value:
        return node("Tanh", x)

    def relu(self, x: Value) -> Value:
        return node("Relu", x)

    def clip(self, x: Value, low: float, high: float) -> Value:
        return node("Clip", x, constant(low, x.dtype), constant(high, x.dtype))

    def round(self, x: Value) -> Value:
        return node("Round", x)

    def isfinite(self, x: Value) -> Value:
        return node("Not", node("Or", node("IsNaN", cast(x, "float32")), node("IsInf", cast(x, "float32"))))

    def where(self, condition: Value, x: Value, y: Value) -> Value:
        return node("Where", condition, *alike(x, y))

    def sum(self, x: Value, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Value:
        return _reduced("ReduceSum", x, axis, keepdims)

    def mean(self, x: Value, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Value:
        return _reduced("ReduceMean", x, axis, keepdims)

    def reshape(self, x: Value, shape: Shape) -> Value:
        known = [size if isinstance(size, int) and size >= 0 else None for size in shape]
        return node("Reshape", x, vector(shape), sizes=known if any(isinstance(size, Value) for size in shape) else None)

    def permute_dims(self, x: Value, axes: Sequence[int]) -> Value:
        return node("Transpose", x, perm=list(axes))

    def concat(self, xs: Sequence[Value], axis: int) -> Value:
        return node("Concat", *xs, axis=axis)

    def matmul(self, x: Value, y: Value) -> Value:
        return node("MatMul", x, y)

    def conv2d(self, x: Value, weight: Value, bias: Value | None = None, *, stride: int = 1, padding: int = 0, groups: int = 1) -> Value:
        return node("Conv", x, weight, bias, strides=[stride] * 2, pads=[padding] * 4, group=groups)

    def max_pool2d(self, x: Value, kernel: int, stride: int) -> Value:
        return node("MaxPool", x, kernel_shape=[kernel] * 2, strides=[stride] * 2)

    def pad(self, x: Value, sides: tuple[int, int, int, int], mode: PadMode = "constant") -> Value:
        left, right, top, bottom = sides
        if all(isinstance(side, int) and not side for side in sides):
            return x
        return node("Pad", x, vector([0, 0, top, left, 0, 0, bottom, right]), mode=mode)

    def pad_to_multiple(self, x: Value, multiple: int) -> Value:
        _, _, h, w = self.shape(x)
        return self.pad(x, (0, -w % multiple, 0, -h % multiple), "reflect")

    def crop_like(self, x: Value, like: Value) -> Value:
        _, _, h, w = self.shape(like)
        return x[:, :, :h, :w]

    def resize(self, x: Value, size: tuple[int, int], mode: ResizeMode) -> Value:
        n, c, h, w = self.shape(x)
        if mode == "bilinear":
            return node("Resize", x, None, None, vector([n, c, *size]), mode="linear", coordinate_transformation_mode="half_pixel")
        rows = node("Gather", x, _sources(h, size[0]), axis=2)  # Resize would round the ratio of the sizes to float32 first
        return node("Gather", rows, _sources(w, size[1]), axis=3)

    def upsample(self, x: Value, factor: int, mode: UpsampleMode) -> Value:
        kind, place = ("nearest", "asymmetric") if mode == "nearest" else ("linear", "half_pixel" if mode == "bilinear" else "asymmetric")
        scales = constant(np.array([1, 1, factor, factor]), "float32")
        return node("Resize", x, None, scales, mode=kind, coordinate_transformation_mode=place, nearest_mode="floor")

    def warp(self, x: Value, flow: Value) -> Value:
        n, c, h, w = self.shape(x)
        columns, rows = cast(_count(w), "float32"), self.reshape(cast(_count(h), "float32"), (-1, 1))
        # Far outside is zero however far, and a clamped coordinate cannot overflow an index.
        px = _within(columns + flow[:, 0], -2, w + 1)  # (n, h, w)
        py = _within(rows + flow[:, 1], -2, h + 1)
        left, top = node("Floor", px), node("Floor", py)
        fx, fy = (px - left)[:, None], (py - top)[:, None]
        flat = self.reshape(cast(x, "float32"), (n, c, -1))

        def at(column: Value, row: Value) -> Value:
            inside = node("And", node("And", column >= 0, column < w), node("And", row >= 0, row < h))
            place = cast(_within(row, 0, h - 1), "int64") * w + cast(_within(column, 0, w - 1), "int64")
            everywhere = node("Expand", self.reshape(place, (n, 1, -1)), vector([1, c, 1]), sizes=flat.sizes)
            found = self.reshape(node("GatherElements", flat, everywhere, axis=2), (n, c, h, w))
            return found * cast(inside, "float32")[:, None]

        above_left, above_right = at(left, top), at(left + 1, top)
        below_left, below_right = at(left, top + 1), at(left + 1, top + 1)
        above = above_left + (above_right - above_left) * fx
        below = below_left + (below_right - below_left) * fx
        return cast(above + (below - above) * fy, x.dtype)


def _reduced(op: str, x: Value, axis: int | tuple[int, ...] | None, keepdims: bool) -> Value:
    axes = range(len(x.sizes)) if axis is None else (axis,) if isinstance(axis, int) else axis
    # One axis after another: over all at once onnxruntime adds a million numbers one by one, and loses the fourth digit.
    for one in sorted((a + len(x.sizes) if a < 0 else a for a in axes), reverse=True):
        x = node(op, x, vector([one]), keepdims=int(keepdims))
    return x


def _count(size: Size) -> Value:
    """0, 1, ... size - 1, int64."""
    if isinstance(size, int):
        return constant(np.arange(size), "int64")
    return node("Range", constant(0, "int64"), size, constant(1, "int64"))


def _sources(size: Size, new: Size) -> Value:
    """floor(i * size / new) in integers."""
    return _count(new) * size // new


def _within(x: Value, low: Size, high: Size) -> Value:
    """``x`` limited to [low, high], sizes that may be free."""
    low, high = (bound if isinstance(bound, Value) else constant(bound, "int64") for bound in (low, high))
    return node("Min", node("Max", x, cast(low, x.dtype)), cast(high, x.dtype))

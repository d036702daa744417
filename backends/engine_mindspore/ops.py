"""The operators of the engine in MindSpore."""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor
from mindspore import ops as mo

from engine import Array, DType, PadMode, ResizeMode, Shape, UpsampleMode
from engine_mindspore.convolution import convolve
from engine_mindspore.slicing import framed, narrow

DTYPES: dict[DType, ms.Type] = {
    "float32": ms.float32,
    "bfloat16": ms.bfloat16,
    "float16": ms.float16,
    "uint8": ms.uint8,
    "int32": ms.int32,
    "bool": ms.bool_,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class MindSporeOps:
    """Operators on one kind of device; see :class:`engine.Ops`."""

    name = "mindspore"

    def __init__(self, target: str) -> None:
        self.target = target

    def asarray(self, x: Array | float, dtype: DType = "float32") -> Tensor:
        array = np.array(x, order="C")
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        tensor = Tensor(array)
        return tensor if tensor.dtype == DTYPES[dtype] else mo.cast(tensor, DTYPES[dtype])

    def to_numpy(self, x: Tensor) -> Array:
        if x.dtype in (ms.bfloat16, ms.float16):
            x = mo.cast(x, ms.float32)
        return np.array(x.asnumpy(), order="C")  # a copy: on a CPU, NumPy shares the tensor's memory

    def shape(self, x: Tensor) -> Shape:
        return tuple(x.shape)

    def dtype(self, x: Tensor) -> DType:
        return NAMES[x.dtype]

    def cast(self, x: Tensor, dtype: DType) -> Tensor:
        return x if x.dtype == DTYPES[dtype] else mo.cast(x, DTYPES[dtype])

    def zeros_like(self, x: Tensor) -> Tensor:
        return mo.zeros_like(x)

    def stop_gradient(self, x: Tensor) -> Tensor:
        return mo.stop_gradient(x)

    def abs(self, x: Tensor) -> Tensor:
        return mo.abs(x)

    def square(self, x: Tensor) -> Tensor:
        return mo.square(x)

    def sqrt(self, x: Tensor) -> Tensor:
        return mo.sqrt(x)

    def tanh(self, x: Tensor) -> Tensor:
        if self.target != "CPU" or x.dtype != ms.float32:
            return mo.tanh(x)
        # On a CPU that of float32 is an approximation: up to 1e-4 off, and its gradient 2 % (MindSpore 2.10).
        return mo.cast(mo.tanh(mo.cast(x, ms.float64)), ms.float32)

    def relu(self, x: Tensor) -> Tensor:
        return mo.relu(x)

    def clip(self, x: Tensor, low: float, high: float) -> Tensor:
        return mo.clamp(x, low, high)

    def round(self, x: Tensor) -> Tensor:
        return mo.round(x)

    def isfinite(self, x: Tensor) -> Tensor:
        return mo.isfinite(x)

    def where(self, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return mo.where(condition, x, y)

    def sum(self, x: Tensor, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        return mo.sum(x, axis, keepdims)

    def mean(self, x: Tensor, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        return mo.mean(x, axis, keepdims)

    def reshape(self, x: Tensor, shape: Shape) -> Tensor:
        return mo.reshape(x, shape)

    def permute_dims(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        return mo.transpose(x, tuple(axes))

    def concat(self, xs: Sequence[Tensor], axis: int) -> Tensor:
        return mo.concat(list(xs), axis) if len(xs) > 1 else xs[0]  # the gradient of one alone is compiled with a warning

    def matmul(self, x: Tensor, y: Tensor) -> Tensor:
        return mo.matmul(x, y)

    def conv2d(
        self, x: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> Tensor:
        if self.target != "CPU":
            return mo.conv2d(x, weight, bias, stride, "pad", padding, 1, groups)
        y = convolve(self.pad(x, (padding,) * 4), weight, stride, groups)
        return y if bias is None else y + bias.reshape(1, -1, 1, 1)

    def max_pool2d(self, x: Tensor, kernel: int, stride: int) -> Tensor:
        return mo.MaxPool(kernel, stride, "valid")(x)  # the gradient of mo.max_pool2d is 90 times slower on a CPU, and quadratic

    def pad(self, x: Tensor, sides: tuple[int, int, int, int], mode: PadMode = "constant") -> Tensor:
        left, right, above, below = sides
        return framed(framed(x, 3, left, right, mode), 2, above, below, mode)

    def pad_to_multiple(self, x: Tensor, multiple: int) -> Tensor:
        h, w = x.shape[-2:]
        return self.pad(x, (0, -w % multiple, 0, -h % multiple), "reflect")

    def crop_like(self, x: Tensor, like: Tensor) -> Tensor:
        return narrow(narrow(x, 2, 0, like.shape[2]), 3, 0, like.shape[3])

    def resize(self, x: Tensor, size: tuple[int, int], mode: ResizeMode) -> Tensor:
        if mode == "bilinear":
            return mo.interpolate(x, size=size, mode="bilinear", align_corners=False)
        for axis, new in zip((2, 3), size, strict=True):
            # floor(i * size / new) in integers; "nearest" rounds the ratio to float32 first.
            x = mo.gather(x, Tensor(np.arange(new) * x.shape[axis] // new, ms.int32), axis)
        return x

    def upsample(self, x: Tensor, factor: int, mode: UpsampleMode) -> Tensor:
        if mode == "bilinear_asymmetric":
            return _lerp_after(_lerp_after(x, 2, factor), 3, factor)
        return mo.interpolate(x, size=(x.shape[2] * factor, x.shape[3] * factor), mode=mode)

    def warp(self, x: Tensor, flow: Tensor) -> Tensor:
        n, c, h, w = x.shape
        columns = Tensor(np.arange(w, dtype=np.float32))
        rows = Tensor(np.arange(h, dtype=np.float32)[:, None])
        dx, dy = (narrow(flow, 1, k, 1).reshape(n, h, w) for k in (0, 1))
        # Far outside is zero however far, and a clamped coordinate cannot overflow an index.
        px = mo.clamp(columns + dx, -2.0, w + 1.0)
        py = mo.clamp(rows + dy, -2.0, h + 1.0)
        left, top = mo.floor(px), mo.floor(py)
        fx, fy = (mo.cast(part.reshape(n, 1, h, w), x.dtype) for part in (px - left, py - top))
        flat = x.reshape(n, c, h * w)

        def at(column: Tensor, row: Tensor) -> Tensor:
            inside = mo.logical_and(mo.logical_and(column >= 0, column < w), mo.logical_and(row >= 0, row < h))
            index = mo.cast(mo.clamp(row, 0, h - 1), ms.int32) * w + mo.cast(mo.clamp(column, 0, w - 1), ms.int32)
            index = mo.broadcast_to(index.reshape(n, 1, h * w), (n, c, h * w))
            return mo.gather_elements(flat, 2, index).reshape(n, c, h, w) * mo.cast(inside.reshape(n, 1, h, w), x.dtype)

        above_left, above_right = at(left, top), at(left + 1, top)
        below_left, below_right = at(left, top + 1), at(left + 1, top + 1)
        above = above_left + (above_right - above_left) * fx
        below = below_left + (below_right - below_left) * fx
        return above + (below - above) * fy


def _lerp_after(x: Tensor, axis: int, factor: int) -> Tensor:
    """Along ``axis`` read at i / factor, between an element and the one after it, the last one repeated."""
    if factor == 1:
        return x
    size = x.shape[axis]
    following = mo.concat([narrow(x, axis, 1, size - 1), narrow(x, axis, size - 1, 1)], axis) if size > 1 else x
    parts = [x + (following - x) * (k / factor) for k in range(factor)]
    apart, shape = list(x.shape), list(x.shape)
    apart.insert(axis + 1, 1)
    shape[axis] = size * factor
    # Not `stack`: its gradient brings a compiled graph down (MindSpore 2.10).
    return mo.concat([part.reshape(apart) for part in parts], axis + 1).reshape(shape)

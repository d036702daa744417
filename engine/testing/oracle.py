"""Every operator in NumPy float64, written to be obviously right: what all backends are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from engine.faults import unknown
from engine.ops import Array, DType, PadMode, ResizeMode, Shape, Tensor, UpsampleMode

FLOATS = ("float64", "float32", "bfloat16", "float16")
OTHERS = {"uint8": np.uint8, "int32": np.int32, "bool": np.bool_}


class OracleOps:
    """:class:`engine.Ops` on NumPy arrays. Every float type is float64 here; uint8, int32 and bool are themselves."""

    name = "oracle"

    if not TYPE_CHECKING:  # which would take every name for known

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(unknown("operator", name, (key for key in dir(self) if key[0] != "_")), name=name, obj=self)

    def asarray(self, x: Array | float, dtype: DType = "float32") -> Tensor:
        return np.array(x, dtype=_numpy_type(dtype))

    def to_numpy(self, x: Tensor) -> Array:
        return np.array(x)

    def shape(self, x: Tensor) -> Shape:
        return tuple(int(size) for size in x.shape)

    def dtype(self, x: Tensor) -> DType:
        return str(x.dtype)

    def cast(self, x: Tensor, dtype: DType) -> Tensor:
        return x.astype(_numpy_type(dtype), copy=False)

    def zeros_like(self, x: Tensor) -> Tensor:
        return np.zeros_like(x)

    def stop_gradient(self, x: Tensor) -> Tensor:
        return x

    def abs(self, x: Tensor) -> Tensor:
        return np.abs(x)

    def square(self, x: Tensor) -> Tensor:
        return x * x

    def sqrt(self, x: Tensor) -> Tensor:
        return np.sqrt(x)

    def tanh(self, x: Tensor) -> Tensor:
        return np.tanh(x)

    def relu(self, x: Tensor) -> Tensor:
        return np.maximum(x, 0)

    def clip(self, x: Tensor, low: float, high: float) -> Tensor:
        return np.clip(x, low, high)

    def round(self, x: Tensor) -> Tensor:
        return np.rint(x)

    def isfinite(self, x: Tensor) -> Tensor:
        return np.isfinite(x)

    def where(self, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return np.where(condition, x, y)

    def sum(self, x: Tensor, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        return np.sum(x, axis=axis, keepdims=keepdims)

    def mean(self, x: Tensor, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        return np.mean(x, axis=axis, keepdims=keepdims)

    def reshape(self, x: Tensor, shape: Shape) -> Tensor:
        return np.reshape(x, shape)

    def permute_dims(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        return np.transpose(x, tuple(axes))

    def concat(self, xs: Sequence[Tensor], axis: int) -> Tensor:
        return np.concatenate(list(xs), axis=axis)

    def matmul(self, x: Tensor, y: Tensor) -> Tensor:
        return np.matmul(x, y)

    def conv2d(
        self, x: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> Tensor:
        outputs, per_group = weight.shape[0] // groups, weight.shape[1]
        padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        parts = []
        for group in range(groups):
            seen = padded[:, group * per_group : (group + 1) * per_group]
            kernels = weight[group * outputs : (group + 1) * outputs]  # (o, i, k, k)
            parts.append(
                sum(np.tensordot(pixel, kernels[:, :, i, j], axes=(1, 1)) for i, j, pixel in _windows(seen, weight.shape[2], stride))
            )
        y = np.concatenate(parts, axis=3).transpose(0, 3, 1, 2)  # from (n, h, w, o)
        return y if bias is None else y + bias.reshape(1, -1, 1, 1)

    def max_pool2d(self, x: Tensor, kernel: int, stride: int) -> Tensor:
        return np.max([pixel for _, _, pixel in _windows(x, kernel, stride)], axis=0)

    def pad(self, x: Tensor, sides: tuple[int, int, int, int], mode: PadMode = "constant") -> Tensor:
        left, right, top, bottom = sides
        return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), mode=mode)

    def pad_to_multiple(self, x: Tensor, multiple: int) -> Tensor:
        _, _, height, width = x.shape
        return self.pad(x, (0, -width % multiple, 0, -height % multiple), "reflect")

    def crop_like(self, x: Tensor, like: Tensor) -> Tensor:
        return x[:, :, : like.shape[2], : like.shape[3]]

    def resize(self, x: Tensor, size: tuple[int, int], mode: ResizeMode) -> Tensor:
        for axis, new in zip((2, 3), size, strict=True):
            old = x.shape[axis]
            if mode == "nearest":
                x = np.take(x, [i * old // new for i in range(new)], axis=axis)
            else:
                x = _read_at(x, (np.arange(new) + 0.5) * old / new - 0.5, axis)
        return x

    def upsample(self, x: Tensor, factor: int, mode: UpsampleMode) -> Tensor:
        size = (x.shape[2] * factor, x.shape[3] * factor)
        if mode != "bilinear_asymmetric":
            return self.resize(x, size, mode)
        for axis, new in zip((2, 3), size, strict=True):
            x = _read_at(x, np.arange(new) / factor, axis)
        return x

    def warp(self, x: Tensor, flow: Tensor) -> Tensor:
        n, _, height, width = x.shape
        framed = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))  # a rim of the zeros that are outside
        at_x = np.clip(np.arange(width) + flow[:, 0], -1, width)  # (n, h, w)
        at_y = np.clip(np.arange(height)[:, None] + flow[:, 1], -1, height)
        left = np.minimum(np.floor(at_x), width - 1).astype(int)
        top = np.minimum(np.floor(at_y), height - 1).astype(int)
        share_x, share_y = (at_x - left)[..., None], (at_y - top)[..., None]
        images = np.arange(n)[:, None, None]

        def read(row: Array, column: Array) -> Array:
            pixels: Array = framed[images, :, row + 1, column + 1]  # (n, h, w, c)
            return pixels

        upper = (1 - share_x) * read(top, left) + share_x * read(top, left + 1)
        lower = (1 - share_x) * read(top + 1, left) + share_x * read(top + 1, left + 1)
        return ((1 - share_y) * upper + share_y * lower).transpose(0, 3, 1, 2)


class DetachedOracle(OracleOps):
    """The oracle of a function that is differentiated by differences: what went through :meth:`stop_gradient` in the first call stays."""

    def __init__(self) -> None:
        self._held: list[Tensor] = []
        self._count = 0

    def begin(self) -> None:
        """Another call of the same function."""
        self._count = 0

    def stop_gradient(self, x: Tensor) -> Tensor:
        if self._count == len(self._held):
            self._held.append(np.array(x))
        self._count += 1
        return self._held[self._count - 1]


def _windows(x: Array, kernel: int, stride: int) -> Iterator[tuple[int, int, Array]]:
    """Row and column in the window, and the pixel that is there in every window, (n, c, h, w)."""
    height, width = ((size - kernel) // stride + 1 for size in x.shape[2:])
    for i in range(kernel):
        for j in range(kernel):
            yield i, j, x[:, :, i : i + stride * height : stride, j : j + stride * width : stride]


def _read_at(x: Array, places: Array, axis: int) -> Array:
    """Read between the elements of one axis; beyond either end is the end itself."""
    last = x.shape[axis] - 1
    places = np.clip(places, 0, last)
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, last)
    share = (places - before).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    read: Array = (1 - share) * np.take(x, before, axis=axis) + share * np.take(x, after, axis=axis)
    return read


def _numpy_type(dtype: DType) -> np.dtype[Any]:
    return np.dtype(np.float64 if dtype in FLOATS else OTHERS[dtype])

"""The operators of the engine in JAX; they work alike on arrays and under a trace."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from engine import Array, DType, PadMode, ResizeMode, Shape, UpsampleMode
from engine_jax.convolution import EXACT, convolve


class JaxOps:
    """Operators on one device; see :class:`engine.Ops`."""

    name = "jax"

    def __init__(self, device: jax.Device) -> None:
        self.device = device

    def asarray(self, x: Array | float, dtype: DType = "float32") -> jax.Array:
        array = np.array(x, dtype=jnp.dtype(dtype), order="C")  # a copy: on a CPU, JAX may share NumPy's memory
        placed: jax.Array = jax.device_put(array, self.device)
        return placed

    def to_numpy(self, x: jax.Array) -> Array:
        return np.array(self.cast(x, "float32") if x.dtype in (jnp.bfloat16, jnp.float16) else x, order="C")

    def shape(self, x: jax.Array) -> Shape:
        return x.shape

    def dtype(self, x: jax.Array) -> DType:
        return str(x.dtype)

    def cast(self, x: jax.Array, dtype: DType) -> jax.Array:
        return x if x.dtype == jnp.dtype(dtype) else x.astype(dtype)

    def zeros_like(self, x: jax.Array) -> jax.Array:
        return jnp.zeros_like(x)

    def stop_gradient(self, x: jax.Array) -> jax.Array:
        return lax.stop_gradient(x)

    def abs(self, x: jax.Array) -> jax.Array:
        return x * lax.stop_gradient(jnp.sign(x))  # the gradient of JAX's own is 1 at 0

    def square(self, x: jax.Array) -> jax.Array:
        return jnp.square(x)

    def sqrt(self, x: jax.Array) -> jax.Array:
        return jnp.sqrt(x)

    def tanh(self, x: jax.Array) -> jax.Array:
        return jnp.tanh(x)

    def relu(self, x: jax.Array) -> jax.Array:
        return jax.nn.relu(x)

    def clip(self, x: jax.Array, low: float, high: float) -> jax.Array:
        return jnp.clip(x, low, high)

    def round(self, x: jax.Array) -> jax.Array:
        return jnp.round(x)

    def isfinite(self, x: jax.Array) -> jax.Array:
        return jnp.isfinite(x)

    def where(self, condition: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.where(condition, x, y)

    def sum(self, x: jax.Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> jax.Array:
        return jnp.sum(x, axis=axis, keepdims=keepdims)

    def mean(self, x: jax.Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> jax.Array:
        return jnp.mean(x, axis=axis, keepdims=keepdims)

    def reshape(self, x: jax.Array, shape: Shape) -> jax.Array:
        return x.reshape(shape)

    def permute_dims(self, x: jax.Array, axes: Sequence[int]) -> jax.Array:
        return jnp.transpose(x, axes)

    def concat(self, xs: Sequence[jax.Array], axis: int) -> jax.Array:
        return jnp.concatenate(list(xs), axis=axis)

    def matmul(self, x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.matmul(x, y, precision=EXACT)

    def conv2d(
        self,
        x: jax.Array,
        weight: jax.Array,
        bias: jax.Array | None = None,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> jax.Array:
        y = convolve(x, weight, stride, padding, groups)
        return y if bias is None else y + bias.reshape(1, -1, 1, 1)

    def max_pool2d(self, x: jax.Array, kernel: int, stride: int) -> jax.Array:
        # A chain of maxima: the gradient of XLA's reduce_window takes many times as long on a CPU.
        height, width = ((size - kernel) // stride + 1 for size in x.shape[2:])
        largest = x[:, :, : stride * (height - 1) + 1 : stride, : stride * (width - 1) + 1 : stride]
        for i in range(kernel):
            for j in range(kernel):
                pixel = x[:, :, i : i + stride * (height - 1) + 1 : stride, j : j + stride * (width - 1) + 1 : stride]
                # The first of equals, as frameworks do, and NaN wherever there is one.
                largest = jnp.where((pixel > largest) | jnp.isnan(pixel), pixel, largest)
        return largest

    def pad(self, x: jax.Array, sides: tuple[int, int, int, int], mode: PadMode = "constant") -> jax.Array:
        left, right, top, bottom = sides
        return jnp.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), mode=mode) if any(sides) else x

    def pad_to_multiple(self, x: jax.Array, multiple: int) -> jax.Array:
        h, w = x.shape[-2:]
        return self.pad(x, (0, -w % multiple, 0, -h % multiple), "reflect")

    def crop_like(self, x: jax.Array, like: jax.Array) -> jax.Array:
        return x[:, :, : like.shape[2], : like.shape[3]]

    def resize(self, x: jax.Array, size: tuple[int, int], mode: ResizeMode) -> jax.Array:
        if mode == "nearest":
            rows, columns = (np.arange(new) * old // new for old, new in zip(x.shape[2:], size, strict=True))
            return x[:, :, rows][:, :, :, columns]
        resized: jax.Array = jax.image.resize(x, (*x.shape[:2], *size), "bilinear", antialias=False)
        return resized

    def upsample(self, x: jax.Array, factor: int, mode: UpsampleMode) -> jax.Array:
        n, c, h, w = x.shape
        if mode == "nearest":
            return jnp.broadcast_to(x[:, :, :, None, :, None], (n, c, h, factor, w, factor)).reshape(n, c, h * factor, w * factor)
        if mode == "bilinear":
            return self.resize(x, (h * factor, w * factor), mode)
        return _lerp_after(_lerp_after(x, 2, factor), 3, factor)

    def warp(self, x: jax.Array, flow: jax.Array) -> jax.Array:
        n, c, h, w = x.shape
        # Far outside is zero however far, and a clamped coordinate cannot overflow an index.
        px = jnp.clip(jnp.arange(w, dtype=jnp.float32) + flow[:, 0], -2, w + 1)  # (n, h, w)
        py = jnp.clip(jnp.arange(h, dtype=jnp.float32)[:, None] + flow[:, 1], -2, h + 1)
        left, top = jnp.floor(px), jnp.floor(py)
        fx, fy = (share[..., None].astype(x.dtype) for share in (px - left, py - top))
        column, row = left.astype(jnp.int32), top.astype(jnp.int32)
        pixels = x.transpose(0, 2, 3, 1).reshape(n * h * w, c)  # so one index fetches all channels
        first = (jnp.arange(n, dtype=jnp.int32) * (h * w))[:, None, None]

        def at(column: jax.Array, row: jax.Array) -> jax.Array:
            inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
            index = first + jnp.clip(row, 0, h - 1) * w + jnp.clip(column, 0, w - 1)
            return jnp.where(inside[..., None], pixels.at[index].get(mode="promise_in_bounds"), 0)  # (n, h, w, c)

        above_left, above_right = at(column, row), at(column + 1, row)
        below_left, below_right = at(column, row + 1), at(column + 1, row + 1)
        above = above_left + (above_right - above_left) * fx
        below = below_left + (below_right - below_left) * fx
        return (above + (below - above) * fy).transpose(0, 3, 1, 2)


def _lerp_after(x: jax.Array, axis: int, factor: int) -> jax.Array:
    """Along ``axis`` read at i / factor, between an element and the one after it, the last one repeated."""
    size = x.shape[axis]
    following = jnp.concatenate([lax.slice_in_dim(x, 1, size, axis=axis), lax.slice_in_dim(x, size - 1, size, axis=axis)], axis)
    parts = [x + (following - x) * (k / factor) for k in range(factor)]
    return jnp.stack(parts, axis + 1).reshape(*x.shape[:axis], size * factor, *x.shape[axis + 1 :])

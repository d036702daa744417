"""The operators of the engine in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from engine import Array, DType, PadMode, ResizeMode, Shape, UpsampleMode

DTYPES: dict[DType, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "uint8": torch.uint8,
    "int32": torch.int32,
    "bool": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class TorchOps:
    """Operators on one device; see :class:`engine.Ops`."""

    name = "torch"

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def asarray(self, x: Array | float, dtype: DType = "float32") -> torch.Tensor:
        array = np.array(x, order="C")  # torch takes no negative strides
        if array.dtype == np.float64:  # halve it here, not on a device that may know no float64
            array = array.astype(np.float32)
        return torch.from_numpy(array).to(self.device, DTYPES[dtype])

    def to_numpy(self, x: torch.Tensor) -> Array:
        x = x.detach()
        if x.dtype in (torch.bfloat16, torch.float16):
            x = x.float()
        return np.array(x.cpu().numpy(), order="C")  # a copy: on a CPU, NumPy shares the tensor's memory

    def shape(self, x: torch.Tensor) -> Shape:
        return tuple(x.shape)

    def dtype(self, x: torch.Tensor) -> DType:
        return NAMES[x.dtype]

    def cast(self, x: torch.Tensor, dtype: DType) -> torch.Tensor:
        return x.to(DTYPES[dtype])

    def zeros_like(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)

    def stop_gradient(self, x: torch.Tensor) -> torch.Tensor:
        return x.detach()

    def abs(self, x: torch.Tensor) -> torch.Tensor:
        return x.abs()

    def square(self, x: torch.Tensor) -> torch.Tensor:
        return x.square()

    def sqrt(self, x: torch.Tensor) -> torch.Tensor:
        return x.sqrt()

    def tanh(self, x: torch.Tensor) -> torch.Tensor:
        return x.tanh()

    def relu(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x)

    def clip(self, x: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return x.clamp(low, high)

    def round(self, x: torch.Tensor) -> torch.Tensor:
        return x.round()

    def isfinite(self, x: torch.Tensor) -> torch.Tensor:
        return x.isfinite()

    def where(self, condition: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.where(condition, x, y)

    def sum(self, x: torch.Tensor, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> torch.Tensor:
        return torch.sum(x, dim=axis, keepdim=keepdims)

    def mean(self, x: torch.Tensor, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> torch.Tensor:
        return torch.mean(x, dim=axis, keepdim=keepdims)

    def reshape(self, x: torch.Tensor, shape: Shape) -> torch.Tensor:
        return x.reshape(shape)

    def permute_dims(self, x: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
        return x.permute(*axes)

    def concat(self, xs: Sequence[torch.Tensor], axis: int) -> torch.Tensor:
        return torch.cat(list(xs), dim=axis)

    def matmul(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.matmul(x, y)

    def conv2d(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> torch.Tensor:
        return F.conv2d(x, weight, bias, stride=stride, padding=padding, groups=groups)

    def max_pool2d(self, x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
        return F.max_pool2d(x, kernel, stride)

    def pad(self, x: torch.Tensor, sides: tuple[int, int, int, int], mode: PadMode = "constant") -> torch.Tensor:
        return F.pad(x, sides, mode=mode) if any(sides) else x

    def pad_to_multiple(self, x: torch.Tensor, multiple: int) -> torch.Tensor:
        h, w = x.shape[-2:]
        return self.pad(x, (0, -w % multiple, 0, -h % multiple), "reflect")

    def crop_like(self, x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return x[:, :, : like.shape[2], : like.shape[3]]

    def resize(self, x: torch.Tensor, size: tuple[int, int], mode: ResizeMode) -> torch.Tensor:
        if mode == "nearest":
            return x[:, :, _sources(x.shape[2], size[0], x.device)][:, :, :, _sources(x.shape[3], size[1], x.device)]
        return F.interpolate(x, size, mode="bilinear", align_corners=False)

    def upsample(self, x: torch.Tensor, factor: int, mode: UpsampleMode) -> torch.Tensor:
        if mode == "nearest":
            return F.interpolate(x, scale_factor=factor, mode="nearest")
        if mode == "bilinear":
            return F.interpolate(x, (x.shape[2] * factor, x.shape[3] * factor), mode="bilinear", align_corners=False)
        return _lerp_after(_lerp_after(x, 2, factor), 3, factor)

    def warp(self, x: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        columns = torch.arange(w, device=x.device, dtype=torch.float32)
        rows = torch.arange(h, device=x.device, dtype=torch.float32)[:, None]
        # Far outside is zero however far, and a clamped coordinate cannot overflow an index.
        px = (columns + flow[:, 0]).clamp(-2, w + 1)  # (n, h, w)
        py = (rows + flow[:, 1]).clamp(-2, h + 1)
        left, top = px.floor(), py.floor()
        fx, fy = (px - left)[:, None].to(x.dtype), (py - top)[:, None].to(x.dtype)
        flat = x.reshape(n, c, h * w)

        def at(column: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
            inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
            # Whole numbers before they are multiplied: float32 counts to 2^24, the pixels of a large picture.
            index = (row.clamp(0, h - 1).long() * w + column.clamp(0, w - 1).long()).reshape(n, 1, h * w)
            return flat.gather(2, index.expand(n, c, h * w)).reshape(n, c, h, w) * inside[:, None]

        above_left, above_right = at(left, top), at(left + 1, top)
        below_left, below_right = at(left, top + 1), at(left + 1, top + 1)
        above = above_left + (above_right - above_left) * fx
        below = below_left + (below_right - below_left) * fx
        return above + (below - above) * fy


def _sources(size: int, new: int, device: torch.device) -> torch.Tensor:
    """floor(i * size / new) in integers; torch's own "nearest" rounds the ratio to float32 first."""
    return torch.arange(new, device=device) * size // new


def _lerp_after(x: torch.Tensor, axis: int, factor: int) -> torch.Tensor:
    """Along ``axis`` read at i / factor, between an element and the one after it, the last one repeated."""
    size = x.shape[axis]
    following = torch.cat([x.narrow(axis, 1, size - 1), x.narrow(axis, size - 1, 1)], dim=axis)
    parts = [x + (following - x) * (k / factor) for k in range(factor)]
    return torch.stack(parts, dim=axis + 1).flatten(axis, axis + 1)

"""Between uint8 pictures (n, h, w, 3) and the range that a network works in."""

from __future__ import annotations

from engine.ops import DType, Ops, Tensor


def from_uint8(ops: Ops, frames: Tensor, low: float, high: float, dtype: DType = "float32") -> Tensor:
    """uint8 RGB (n, h, w, 3) to (n, 3, h, w) with black at ``low`` and white at ``high``."""
    x = ops.cast(ops.permute_dims(frames, (0, 3, 1, 2)), "float32")
    return ops.cast(x * ((high - low) / 255) + low, dtype)


def to_uint8(ops: Ops, image: Tensor, low: float, high: float) -> Tensor:
    """(n, 3, h, w) to uint8 (n, h, w, 3): round half to even of 255 (x - low) / (high - low), clamped."""
    x = (ops.cast(image, "float32") - low) * (255 / (high - low))
    return ops.permute_dims(ops.cast(ops.clip(ops.round(x), 0, 255), "uint8"), (0, 2, 3, 1))

"""Optical flow between two frames: estimated, checked both ways, warped with, and drawn in colours."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.errors import EngineError
from engine.ops import Array

SMALLEST = 12
"""OpenCV's search takes nothing smaller."""
_CORNERS = (0, 15, 21, 25, 36, 49, 55)
_COLOURS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1], [1, 0, 0]])
"""Red, yellow, green, cyan, blue, magenta and red again, and where they lie on the wheel."""


def estimate_flow(frame: Array, other: Array) -> Array:
    """Dense inverse search (Kroeger et al., ECCV 2016), as OpenCV has it.

    OpenCV's medium preset ends at half the size; here it goes on to full size, which takes a quarter longer and leaves
    about two thirds of the error.

    Args:
        frame: uint8 (h, w, 3) RGB, sides of at least 12 pixels.
        other: The same size.

    Returns:
        float32 (2, h, w), pixels (dx, dy): from a pixel of ``frame`` to where it is in ``other``.

    Raises:
        EngineError: The frames are too small or do not fit each other.
    """
    import cv2

    for picture in (frame, other):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.shape != frame.shape:
            problem = f"no flow leads from {frame.dtype} {frame.shape} to {other.dtype} {other.shape}"
            raise EngineError(problem, allowed="uint8 (h, w, 3), both of one size")
    h, w = frame.shape[:2]
    if min(h, w) < SMALLEST:
        raise EngineError(f"frames of {w}x{h} are too small for optical flow", allowed=f"sides of at least {SMALLEST} pixels")
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    grey, other_grey = (cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY) for picture in (frame, other))
    flow: Any = None  # zeros would be taken as a first estimate, and the result is worse; OpenCV's types do not know None
    return np.ascontiguousarray(search.calc(grey, other_grey, flow).transpose(2, 0, 1), np.float32)


def visible(flow: Array, back: Array, boundaries: Array | None = None) -> Array:
    """Where a pixel can be traced: forward and backward flow agree, the place is in the frame, and no motion boundary is near.

    Sundaram et al. (ECCV 2010) and Ruder et al. (GCPR 2016): with w = ``flow`` and v = ``back`` read at p + w(p),
    |w + v|² < 0.01 (|w|² + |v|²) + 0.5, and |∇dx|² + |∇dy|² < 0.01 |w|² + 0.002 (central differences).

    Args:
        flow: float32 (2, h, w), pixels: from a frame to another one.
        back: The same from that one to the frame.
        boundaries: bool (h, w), where the frame's motion boundaries are known; the last condition then gives way to it.

    Returns:
        float32 (1, h, w): 1 = traceable, else 0.
    """
    h, w = flow.shape[1:]
    x, y = flow[0] + np.arange(w, dtype=np.float32), flow[1] + np.arange(h, dtype=np.float32)[:, None]
    there = warp(back.transpose(1, 2, 0), flow).transpose(2, 0, 1)
    length = (flow * flow).sum(0)
    good = (x >= 0) & (y >= 0) & (x <= w - 1) & (y <= h - 1)
    good &= ((flow + there) ** 2).sum(0) < 0.01 * (length + (there * there).sum(0)) + 0.5
    if boundaries is None:
        slopes = [np.gradient(part, axis=axis) for part in flow for axis in (0, 1) if part.shape[axis] > 1]
        boundaries = sum((slope * slope for slope in slopes), np.zeros_like(length)) >= 0.01 * length + 0.002
    good &= ~boundaries
    mask: Array = good[None].astype(np.float32)
    return mask


def warp(image: Array, flow: Array) -> Array:
    """``image`` at p + flow(p), bilinear, in pixel coordinates: no flow is the exact identity, a whole-pixel shift exact.

    Args:
        image: (h, w) or (h, w, c) of numbers; outside it is zero.
        flow: float32 (2, h, w), pixels (dx, dy).

    Returns:
        float32, of the image's shape.
    """
    h, w = image.shape[:2]
    deep = [1] * (image.ndim - 2)
    framed = np.pad(image, ((1, 1), (1, 1), *[(0, 0) for _ in deep])).astype(np.float32, copy=False)  # a rim of the zeros outside
    pixels = framed.reshape((h + 2) * (w + 2), *image.shape[2:])
    x = np.clip(flow[0] + np.arange(w, dtype=np.float32), -1, w)
    y = np.clip(flow[1] + np.arange(h, dtype=np.float32)[:, None], -1, h)
    left, top = np.minimum(np.floor(x), w - 1), np.minimum(np.floor(y), h - 1)
    at = (top.astype(np.intp) + 1) * (w + 2) + left.astype(np.intp) + 1
    share_x, share_y = (x - left).reshape(h, w, *deep), (y - top).reshape(h, w, *deep)
    upper = (1 - share_x) * pixels[at] + share_x * pixels[at + 1]
    lower = (1 - share_x) * pixels[at + w + 2] + share_x * pixels[at + w + 3]
    warped: Array = (1 - share_y) * upper + share_y * lower
    return warped


def flow_colours(flow: Array, largest: float | None = None) -> Array:
    """The colour wheel of Baker et al. (IJCV 2011): hue is the direction, saturation the length.

    Args:
        flow: float32 (2, h, w), pixels.
        largest: The length in pixels that is fully saturated, longer ones are darker; by default the longest of this flow.

    Returns:
        uint8 (h, w, 3) RGB; no motion is white, a flow that is not finite black.
    """
    known = np.isfinite(flow).all(0)
    dx, dy = np.where(known, flow, 0).astype(np.float32)
    length = np.hypot(dx, dy)
    length /= max(float(length.max(initial=0)) if largest is None else largest, 1e-6)
    place = (np.arctan2(-dy, -dx) / np.pi + 1) / 2 * _CORNERS[-1]
    hue = np.stack([np.interp(place, _CORNERS, channel) for channel in _COLOURS.T], -1)
    length = length[..., None]
    colours = np.where(length <= 1, 1 - length * (1 - hue), 0.75 * hue) * known[..., None]
    drawn: Array = np.rint(255 * colours).astype(np.uint8)
    return drawn

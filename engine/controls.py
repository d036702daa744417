"""How strongly, where and in whose colours a painting replaces its source."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import EngineError
from engine.ops import Array
from engine.sizes import Size
from engine.smoothing import Motion, MotionTracker, Smoother, check_smoothing

LUMA = (0.2126, 0.7152, 0.0722)
"""Of R', G', B' in Y': ITU-R BT.709, whose primaries are those of sRGB."""

BAND = 2**15
"""Pixels that are mixed at a time."""


@dataclass(frozen=True)
class Controls:
    """What ``engine infer`` does to a painting before it is written; the default leaves it alone."""

    strength: float = 1.0
    """0 = the source exactly, 1 = the painting exactly."""
    preserve_color: bool = False
    """Luma from the painting, chroma from the source."""
    size: Size | None = None
    """Painted and written at this size; None = that of the source."""
    mask: Path | None = None
    """A picture or a video: painted where it is white, the source where it is black."""
    smooth: float = 0.0
    """In time, along the motion of the source: 0 = not at all, 1 = as smooth as it gets. A single picture stays as it is."""

    def __post_init__(self) -> None:
        check_strength(self.strength)
        check_smoothing(self.smooth)

    @property
    def needs_source(self) -> bool:
        """Whether the output is made of the painting and the source, not of the painting alone."""
        return self.strength != 1 or self.preserve_color or self.mask is not None or self.smooth != 0

    @property
    def follows_motion(self) -> bool:
        """Whether paintings are smoothed; those of which nothing will show are not."""
        return self.smooth != 0 and self.strength != 0

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` says of them."""
        size, mask = (None if x is None else str(x) for x in (self.size, self.mask))
        return {"strength": self.strength, "preserve_color": self.preserve_color, "size": size, "mask": mask, "smooth": self.smooth}

    def said(self) -> Iterator[str]:
        """A few words for each one that is in use."""
        if self.strength != 1:
            yield f"strength {self.strength:g}"
        if self.preserve_color:
            yield "colours of the source"
        if self.size is not None:
            yield f"size {self.size}"
        if self.mask is not None:
            yield f"mask {self.mask}"
        if self.smooth != 0:
            yield f"smoothing {self.smooth:g}"


def check_strength(strength: float) -> None:
    """An :class:`EngineError` where it is no number from 0 to 1."""
    if not 0 <= strength <= 1:
        raise EngineError(f"a strength of {strength:g}", where="strength", allowed="0 (the input) to 1 (the painting)")


def retouch(source: Array, painted: Array, *, strength: float = 1.0, preserve_color: bool = False, mask: Array | None = None) -> Array:
    """Mix a painting with what it was painted from.

    ``round(source + w (painted - source))`` in float32, half to even, where w = ``strength`` times mask / 255. So w = 0 gives the source
    and w = 1 the painting exactly, and in between every value moves one way as w grows.

    Args:
        source: uint8 RGB (h, w, 3).
        painted: uint8 RGB (h, w, 3).
        strength: 0 to 1.
        preserve_color: First give the painting the colours of the source, see :func:`recolour`.
        mask: uint8 (h, w); 255 = painted, 0 = source.

    Returns:
        uint8 RGB (h, w, 3), which may be one of the arguments.
    """
    if strength == 0:
        return source
    if strength == 1 and mask is None:
        return recolour(source, painted) if preserve_color else painted
    steps = np.arange(256, dtype=np.float32) / np.float32(255) * np.float32(strength)
    mixed = np.empty_like(source)
    for rows in _bands(source):
        whole = recolour(source[rows], painted[rows]) if preserve_color else painted[rows]
        weight = steps[255] if mask is None else np.repeat(steps[mask[rows]], 3, axis=1).reshape(whole.shape)
        band = whole.astype(np.float32)
        band -= source[rows]
        band *= weight
        band += source[rows]
        mixed[rows] = np.rint(band, out=band)
    return mixed


def recolour(source: Array, painted: Array) -> Array:
    """The luma of ``painted`` with the chroma of ``source``: the luminance-only transfer of
    Gatys et al. 2016, arXiv:1606.05897.

    In Y'CbCr of BT.709, where they take YIQ, whose luma is that of other primaries. Y'CbCr is linear in R'G'B': to keep the chroma is to
    add the difference of luma to all three, and the luma of the result is exactly the painting's before rounding (half to even). What
    leaves the gamut moves towards the grey of its luma until it is inside: luma and hue angle stay, saturation gives way, and no edge
    appears where clipping single channels would turn the hue.

    Args:
        source: uint8 RGB (h, w, 3).
        painted: uint8 RGB (h, w, 3).

    Returns:
        uint8 RGB (h, w, 3), new; within half a grey level of the painting's luma.
    """
    made = np.empty_like(source)
    for rows in _bands(source):
        grey = np.clip(luma(painted[rows]), 0, 255)
        change = grey - np.clip(luma(source[rows]), 0, 255)
        planes = [plane + change for plane in _planes(source[rows])]
        lowest, highest = (extreme(extreme(planes[0], planes[1]), planes[2]) for extreme in (np.minimum, np.maximum))
        if lowest.min() < 0 or highest.max() > 255:
            _into_gamut(planes, grey, lowest, highest)
        for k, plane in enumerate(planes):
            made[rows, :, k] = np.rint(plane, out=plane)
    return made


def luma(rgb: Array) -> Array:
    """Y' of BT.709, float32 (h, w), of uint8 R'G'B' (h, w, 3)."""
    red, green, blue = (np.multiply(plane, np.float32(share), dtype=np.float32) for plane, share in zip(_planes(rgb), LUMA, strict=True))
    red += green
    red += blue
    return red


def _into_gamut(planes: Sequence[Array], grey: Array, lowest: Array, highest: Array) -> None:
    """Move what is below 0 or above 255 towards its grey in place, all three planes by the same share."""
    outside = np.flatnonzero((lowest < 0) | (highest > 255))
    low, high, middle = (x.ravel()[outside] for x in (lowest, highest, grey))
    above, below = np.ones_like(middle), np.ones_like(middle)
    np.divide(255 - middle, high - middle, out=above, where=high > 255)
    np.divide(middle, middle - low, out=below, where=low < 0)
    share = np.minimum(above, below)
    for plane in planes:
        flat = plane.reshape(-1)
        flat[outside] = middle + share * (flat[outside] - middle)


def _planes(rgb: Array) -> Sequence[Array]:
    import cv2

    return cv2.split(np.ascontiguousarray(rgb))


def _bands(picture: Array) -> Iterator[slice]:
    # Bands that stay in the processor's cache are several times faster than whole pictures.
    height, width = picture.shape[:2]
    step = max(1, BAND // width)
    return (slice(top, top + step) for top in range(0, height, step))


def retouched(
    paint: Callable[[Iterable[Array]], Generator[Array, None, None]],
    frames: Iterable[Array],
    controls: Controls,
    masks: Iterable[Array] | None = None,
) -> Generator[Array, None, None]:
    """Paint a stream, smooth it in time, and retouch every frame with the source that it came from.

    Smoothing comes first, on the painting alone: what strength, colours and mask then show of the source is the source of the moment.

    Args:
        paint: Frames to as many painted frames in their order; how far it reads ahead bounds how many sources are kept.
        frames: uint8 RGB (h, w, 3).
        controls: Smoothing, strength and colours.
        masks: uint8 (h, w), one for each frame.
    """
    waiting: deque[tuple[Array, Array | None, Motion | None]] = deque()  # appended where ``paint`` reads, a thread perhaps
    tracker = MotionTracker() if controls.follows_motion else None
    smoother = Smoother(controls.smooth)

    def sources() -> Iterator[Array]:
        for source, mask in zip(frames, repeat(None) if masks is None else masks, strict=False):
            waiting.append((source, mask, None if tracker is None else tracker.step(source)))
            yield source

    with closing(paint(sources())) as painted:
        for image in painted:
            source, mask, motion = waiting.popleft()
            smoothed = image if tracker is None else smoother.step(image, motion)
            yield retouch(source, smoothed, strength=controls.strength, preserve_color=controls.preserve_color, mask=mask)

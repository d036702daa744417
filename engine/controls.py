"""How strongly, where and in whose colours a painting replaces its source."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import EngineError
from engine.ops import Array
from engine.sizes import Size

LUMA = (0.2126, 0.7152, 0.0722)
"""Of R', G', B' in Y': ITU-R BT.709, whose primaries are those of sRGB."""


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

    def __post_init__(self) -> None:
        check_strength(self.strength)

    @property
    def needs_source(self) -> bool:
        """Whether the output is made of the painting and the source, not of the painting alone."""
        return self.strength != 1 or self.preserve_color or self.mask is not None

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` says of them."""
        size, mask = (None if x is None else str(x) for x in (self.size, self.mask))
        return {"strength": self.strength, "preserve_color": self.preserve_color, "size": size, "mask": mask}

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
    if preserve_color:
        painted = recolour(source, painted)
    if strength == 1 and mask is None:
        return painted
    weight: Any = np.float32(strength)
    if mask is not None:
        steps = np.arange(256, dtype=np.float32) / np.float32(255) * weight
        weight = np.repeat(steps[mask], 3, axis=1).reshape(source.shape)
    mixed = painted.astype(np.float32)
    mixed -= source
    mixed *= weight
    mixed += source
    return np.rint(mixed, out=mixed).astype(np.uint8)


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
    target = np.clip(luma(painted), 0, 255)
    change = target - np.clip(luma(source), 0, 255)
    planes = np.ascontiguousarray(source.transpose(2, 0, 1)) + change  # (3, h, w)
    lowest, highest = planes.min(0), planes.max(0)
    outside = (lowest < 0) | (highest > 255)
    if outside.any():
        low, high, grey = lowest[outside], highest[outside], target[outside]
        above, below = np.ones_like(grey), np.ones_like(grey)
        np.divide(255 - grey, high - grey, out=above, where=high > 255)
        np.divide(grey, grey - low, out=below, where=low < 0)
        planes[:, outside] = grey + np.minimum(above, below) * (planes[:, outside] - grey)
    rounded = np.clip(np.rint(planes, out=planes), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(rounded.transpose(1, 2, 0))


def luma(rgb: Array) -> Array:
    """Y' of BT.709, float32 (h, w), of uint8 R'G'B' (h, w, 3)."""
    red, green, blue = (np.multiply(rgb[..., k], np.float32(LUMA[k]), dtype=np.float32) for k in range(3))
    red += green
    red += blue
    return red


def retouched(
    paint: Callable[[Iterable[Array]], Generator[Array, None, None]],
    frames: Iterable[Array],
    controls: Controls,
    masks: Iterable[Array] | None = None,
) -> Generator[Array, None, None]:
    """Paint a stream and retouch every frame with the source that it came from.

    Args:
        paint: Frames to as many painted frames in their order; how far it reads ahead bounds how many sources are kept.
        frames: uint8 RGB (h, w, 3).
        controls: Strength and colours.
        masks: uint8 (h, w), one for each frame.
    """
    waiting: deque[tuple[Array, Array | None]] = deque()  # appended where ``paint`` reads, a thread perhaps

    def sources() -> Iterator[Array]:
        for pair in zip(frames, repeat(None) if masks is None else masks, strict=False):
            waiting.append(pair)
            yield pair[0]

    with closing(paint(sources())) as painted:
        for image in painted:
            source, mask = waiting.popleft()
            yield retouch(source, image, strength=controls.strength, preserve_color=controls.preserve_color, mask=mask)

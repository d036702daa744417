"""Where to paint: a picture or a video, white where the painting shows and black where the source stays."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from itertools import repeat
from pathlib import Path

import numpy as np

from engine import images
from engine.controls import luma
from engine.errors import EngineError
from engine.ops import Array
from engine.sizes import resize
from engine.video_reading import VideoReader

NOISE = 3
"""Grey levels that black and white may be off in a video, where converting and encoding move them; they count as black and white."""


@dataclass(frozen=True)
class Mask:
    """A file that says where to paint."""

    path: Path
    still: Array | None
    """uint8 (h, w) of a picture; None for a video."""

    @classmethod
    def open(cls, path: Path) -> Mask:
        """Read a picture, or look whether a video can be read; an :class:`EngineError` where neither can be."""
        if path.suffix.lower() in images.SUFFIXES:
            picture = images.read_picture(path)
            return cls(path, _grey(picture.rgb, picture.alpha))
        with VideoReader(path):
            return cls(path, None)

    def for_picture(self, width: int, height: int) -> MaskStream:
        """The mask of one picture; an :class:`EngineError` where it is a video."""
        if self.still is None:
            remedy = "Save the frame that is meant as a picture."
            raise EngineError("this mask is a video, and what is painted is a picture", where=str(self.path), remedy=remedy)
        return MaskStream(self, width, height)

    def for_video(self, width: int, height: int, rate: Fraction) -> MaskStream:
        """A mask for each frame of a video of ``rate`` frames a second."""
        return MaskStream(self, width, height, rate)


class MaskStream:
    """Masks of one size without end, uint8 (height, width); use it as a context.

    Frame k of a video masks frame k of what is painted, whatever their clocks say: masks are drawn or computed frame by frame. One that
    ends early holds its last frame, since encoders drop or add one easily, and :meth:`notes` says so.
    """

    def __init__(self, mask: Mask, width: int, height: int, rate: Fraction | None = None) -> None:
        self._size = width, height
        self._said: list[str] = []
        self._frames = self._held = 0
        self._source: Array | VideoReader = VideoReader(mask.path) if mask.still is None else mask.still
        if isinstance(self._source, VideoReader):
            info = self._source.info
            shape = info.height, info.width
            if rate is not None and abs(info.rate / rate - 1) > Fraction(1, 100):
                rates = f"{float(info.rate):g} frames a second and the video {float(rate):g}"
                self._said.append(f"the mask has {rates}; its frames were taken one for one")
        else:
            shape = self._source.shape[0], self._source.shape[1]
        if abs(shape[1] * height / (shape[0] * width) - 1) > 0.02:
            self._said.append(f"the mask was stretched from {shape[1]}x{shape[0]} to {width}x{height}")
        self._masks = self._read()

    def __enter__(self) -> MaskStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._masks.close()
        if isinstance(self._source, VideoReader):
            self._source.__exit__()

    def __iter__(self) -> Generator[Array, None, None]:
        return self._masks

    def notes(self) -> tuple[str, ...]:
        """What was made of the mask; complete after the last frame of what is painted."""
        said = list(self._said)
        if self._held:
            said.append(f"the mask ends after {self._frames} frames; its last one was held for {self._held} more")
        return tuple(said)

    def _read(self) -> Generator[Array, None, None]:
        if not isinstance(self._source, VideoReader):
            yield from repeat(resize(self._source, *self._size, smooth=False))
            return
        for frame in self._source.frames():
            last = resize(_cleaned(_grey(frame.image, None)), *self._size, smooth=False)
            self._frames += 1
            yield last
        while True:
            self._held += 1
            yield last


def _grey(rgb: Array, alpha: Array | None) -> Array:
    # What is transparent is no part of the mask, whatever colour lies under it.
    grey = luma(rgb)
    return np.rint(grey if alpha is None else grey * (alpha / np.float32(255))).astype(np.uint8)


def _cleaned(grey: Array) -> Array:
    return np.where(grey <= NOISE, np.uint8(0), np.where(grey >= 255 - NOISE, np.uint8(255), grey))

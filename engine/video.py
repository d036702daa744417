"""What a video is between decoding and encoding: its frames, its clock and its colours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from engine.ops import Array

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Suffixes that videos are written with, and FFmpeg's name for the format."""

# ITU-T H.273 matrix coefficients -> how PyAV calls the conversion
_MATRICES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}


@dataclass(frozen=True)
class Colour:
    """How YUV becomes RGB and back; the numbers are those of ITU-T H.273."""

    matrix: int
    full: bool
    """Luma spans 0-255, not 16-235."""
    primaries: int = 2
    transfer: int = 2
    """2 = unspecified; neither is converted, both are written as they were read."""

    @property
    def conversion(self) -> str:
        """PyAV's name for the matrix."""
        return _MATRICES[self.matrix]

    @property
    def range(self) -> str:
        """PyAV's name for the range."""
        return "JPEG" if self.full else "MPEG"


def colour_of(matrix: int, full: bool, primaries: int, transfer: int, height: int) -> Colour:
    """What is said of a video; where it says nothing of the matrix, BT.709 from 720 lines on and BT.601 below."""
    known = matrix if matrix in _MATRICES else (1 if height >= 720 else 6)
    return Colour(9 if known == 10 else known, full, primaries, transfer)


class Turn(NamedTuple):
    """How a stored picture becomes the upright one: transposed first, then flipped."""

    transpose: bool = False
    mirror: bool = False
    """Left and right."""
    upend: bool = False
    """Top and bottom."""

    def upright(self, image: Array) -> Array:
        """The stored picture (h, w, 3) as it is shown."""
        image = image.transpose(1, 0, 2) if self.transpose else image
        return np.ascontiguousarray(image[:: -1 if self.upend else 1, :: -1 if self.mirror else 1])

    def stored(self, image: Array) -> Array:
        """What :meth:`upright` makes the upright picture of."""
        image = image[:: -1 if self.upend else 1, :: -1 if self.mirror else 1]
        return np.ascontiguousarray(image.transpose(1, 0, 2) if self.transpose else image)

    @property
    def rotation(self) -> tuple[int, bool, bool]:
        """Degrees and flips, as PyAV's ``set_display_rotation`` takes them: it flips after it has turned, in the stored picture's axes."""
        return (90, self.mirror, not self.upend) if self.transpose else (0, self.mirror, self.upend)


UPRIGHT = Turn()


@dataclass(frozen=True)
class VideoInfo:
    """What the frames have in common."""

    width: int
    """Upright."""
    height: int
    time_base: Fraction
    """Seconds a tick."""
    rate: Fraction
    """Frames a second, on average."""
    colour: Colour
    aspect: Fraction | None = None
    """Width of a pixel by its height; None = square."""
    frames: int | None = None
    """As many as the file announces; a guess."""
    offset: Fraction = Fraction(0)
    """Seconds that were taken off every timestamp, because a transport stream's clock starts anywhere."""
    turn: Turn = UPRIGHT
    """How a file stores the frames; they themselves are upright."""

    @property
    def stored(self) -> VideoInfo:
        """The same of the frames as a file stores them."""
        if not self.turn.transpose:
            return self
        return replace(self, width=self.height, height=self.width, aspect=1 / self.aspect if self.aspect is not None else None)


@dataclass(frozen=True)
class VideoFrame:
    """One upright picture and when it is shown."""

    image: Array
    """uint8 RGB (h, w, 3)."""
    pts: int
    """In ticks."""
    duration: int
    """Ticks until the next frame."""

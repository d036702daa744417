"""What a video is between decoding and encoding: its frames, its clock and its colours."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

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


@dataclass(frozen=True)
class VideoFrame:
    """One upright picture and when it is shown."""

    image: Array
    """uint8 RGB (h, w, 3)."""
    pts: int
    """In ticks."""
    duration: int
    """Ticks until the next frame."""

"""Numbered pictures as a video: ``frames/shot_%04d.png`` read in the order of their numbers, and written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from engine.errors import EngineError
from engine.images import SUFFIXES, Picture, read_picture, write_picture
from engine.video import VideoFrame, VideoInfo, colour_of

RATE = Fraction(25)
"""Frames a second of a sequence for which none is given."""


@dataclass(frozen=True)
class Pattern:
    """A file name with one number in it, as C's printf would write it."""

    folder: Path
    before: str
    digits: int
    """Zeros fill it up to so many; 1 for %d."""
    after: str

    @classmethod
    def of(cls, path: Path) -> Pattern | None:
        """The pattern that a path is; None where its name holds no ``%d`` or ``%04d``, or more than one."""
        parts = re.split(r"%(?:0([1-9]))?d", path.name)
        if len(parts) != 3:
            return None
        return cls(path.parent, parts[0], int(parts[1] or 1), parts[2])

    def path(self, number: int) -> Path:
        """The file of that number."""
        return self.folder / f"{self.before}{number:0{self.digits}d}{self.after}"

    def files(self) -> dict[int, Path]:
        """Those that are there, by number, in order."""
        name = re.compile(f"{re.escape(self.before)}([0-9]{{{self.digits},15}}){re.escape(self.after)}")
        found = (name.fullmatch(entry.name) for entry in (self.folder.iterdir() if self.folder.is_dir() else ()))
        numbers = sorted(int(match[1]) for match in found if match is not None)
        return {number: self.path(number) for number in numbers if self.path(number).is_file()}


def first_number(path: Path) -> int:
    """The lowest number of a pattern's files; 1 where there is none."""
    pattern = Pattern.of(path)
    return min(pattern.files(), default=1) if pattern is not None else 1


class SequenceReader:
    """Pictures of one size in the order of their numbers; see :class:`engine.media.FrameReader`.

    Args:
        path: A pattern.
        rate: Frames a second; 25 where it is None.
        says_rate: Whether to note that nobody gave one.

    Raises:
        EngineError: No file has such a name, a number is missing between the first and the last, or the first is no picture.
    """

    def __init__(self, path: Path, rate: Fraction | None = None, says_rate: bool = True) -> None:
        pattern = Pattern.of(path)
        files = pattern.files() if pattern is not None else {}
        if pattern is None or not files:
            raise EngineError("no file is called like this", where=str(path), allowed="a number for %d, one of four digits for %04d")
        first, last = min(files), max(files)
        if (gap := next((number for number in range(first, last) if number not in files), None)) is not None:
            remedy = f"Numbers run from {first} to {last}, of which {last - first + 1 - len(files)} have no picture."
            raise EngineError("this picture is missing in the sequence", where=str(pattern.path(gap)), remedy=remedy)
        self._files = list(files.values())
        self._says_rate, rate = says_rate and rate is None, rate or RATE
        self._lost: dict[str, int] = {}
        height, width = read_picture(self._files[0]).rgb.shape[:2]
        self.info = VideoInfo(width, height, 1 / rate, rate, colour_of(2, False, 2, 2, height), frames=len(files))

    def __enter__(self) -> SequenceReader:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def frames(self) -> Iterator[VideoFrame]:
        """The pictures; an :class:`EngineError` where one cannot be read or has another size."""
        for pts, path in enumerate(self._files):
            picture = read_picture(path)
            height, width = picture.rgb.shape[:2]
            if (width, height) != (self.info.width, self.info.height):
                expected = f"{self.info.width}x{self.info.height}"
                raise EngineError(f"this picture is {width}x{height}, and the first of the sequence {expected}", where=str(path))
            lost = {"their transparency was dropped": picture.alpha is not None, "their colour profiles were dropped": picture.profile}
            for note in (*picture.notes, *(text for text, holds in lost.items() if holds)):
                self._lost[note] = self._lost.get(note, 0) + 1
            yield VideoFrame(picture.rgb, pts, 1)

    def notes(self) -> tuple[str, ...]:
        """What was lost of the pictures; complete after the last one."""
        rate = (f"{float(RATE):g} frames a second were taken; --fps gives others",) if self._says_rate else ()
        return (*rate, *(f"{count} of {len(self._files)} pictures: {note}" for note, count in self._lost.items()))


class SequenceWriter:
    """A picture for each frame; see :class:`engine.media.FrameWriter`. Each is written whole or not at all.

    Args:
        path: A pattern with a suffix that pictures are written with.
        first: Number of the first.
        notes: What else is to be said.
    """

    def __init__(self, path: Path, first: int = 1, notes: tuple[str, ...] = ()) -> None:
        pattern = Pattern.of(path)
        if pattern is None or path.suffix.lower() not in SUFFIXES:
            raise EngineError(
                "this is no pattern for pictures", where=str(path), allowed=f"one %d or %04d and one of {', '.join(SUFFIXES)}"
            )
        self.written = 0
        """Pictures so far."""
        self._pattern, self._first, self._notes = pattern, first, notes

    @property
    def notes(self) -> tuple[str, ...]:
        """What lies beside them; complete after the last one."""
        ours = range(self._first, self._first + self.written)
        others = [number for number in self._pattern.files() if number not in ours]
        return (*self._notes, *((f"{len(others)} older pictures with other numbers were left there",) if others else ()))

    def write(self, frame: VideoFrame) -> None:
        """Write the next picture."""
        write_picture(self._pattern.path(self._first + self.written), Picture(frame.image))
        self.written += 1

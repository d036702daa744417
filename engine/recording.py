"""What a camera shows, kept as videos by the clock on the wall."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

from engine.encoding import Encoding
from engine.errors import EngineError
from engine.ops import Array
from engine.streams import write_behind
from engine.video import CONTAINERS, VideoFrame, VideoInfo, colour_of
from engine.video_writing import writing_video

TICKS = 90000
"""A second."""
WAITING = 8
"""Frames that may wait for the encoder."""


@dataclass(frozen=True)
class Recording:
    """A video that was written."""

    path: Path
    frames: int
    seconds: float
    """From its first frame to where it was stopped."""
    width: int
    height: int

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` says of it."""
        size = {"frames": self.frames, "width": self.width, "height": self.height}
        return {"output": str(self.path), **size, "seconds": round(self.seconds, 3)}


class Recorder:
    """Writes the frames between on and off to a file of their own, each time a new one.

    A frame lasts until the next one came, so a video runs as fast as what it shows, however unevenly it was painted.

    Args:
        name: Asked for the name of each file when its first frame is there.
        rate: Frames a second, about.
        clock: Now, in seconds, by the clock of the frames.
        encoding: The codec and its quality; by default what the container is mostly used with.
    """

    def __init__(self, name: Callable[[], Path], rate: float, clock: Callable[[], float], encoding: Encoding | None = None) -> None:
        self.done: list[Recording] = []
        """In their order."""
        self.on = False
        """Whether frames are kept."""
        self._name, self._clock, self._encoding = name, clock, encoding
        self._rate = Fraction(rate).limit_denominator(1001)
        self._open: _Open | None = None

    @property
    def seconds(self) -> float:
        """How long the recording is that is under way."""
        return self._clock() - self._open.begun if self._open is not None else 0.0

    def start(self) -> None:
        """Keep what comes from now on."""
        self.on = True

    def stop(self) -> Recording | None:
        """Finish the file; None where no frame came."""
        self.on = False
        opened, self._open = self._open, None
        if opened is None:
            return None
        self.done.append(opened.finish(self._clock()))
        return self.done[-1]

    def add(self, image: Array, seconds: float) -> None:
        """A frame, uint8 RGB (h, w, 3), and when it was taken; one of another size begins another file.

        Raises:
            EngineError: The file cannot be made.
            RunError: It cannot be written on; nothing of it is kept.
        """
        if self._open is not None and self._open.size != image.shape[:2]:
            self.stop()
            self.on = True
        if self._open is None:
            self._open = _Open(self._name(), image, seconds, self._rate, self._encoding)
        else:
            self._open.add(image, seconds)


class _Open:
    """A file that is being written; always one frame behind, whose duration is not known yet."""

    def __init__(self, path: Path, image: Array, seconds: float, rate: Fraction, encoding: Encoding | None) -> None:
        self.begun, self.size = seconds, image.shape[:2]
        self._path, self._frames = path, 1
        self._held = image, 0
        height, width = self.size
        info = VideoInfo(width, height, Fraction(1, TICKS), rate, colour_of(1, False, 1, 1, height))
        with ExitStack() as stack:
            writer = stack.enter_context(writing_video(path, info, encoding=encoding))
            self._put = stack.enter_context(write_behind(writer.write, WAITING))
            self._files = stack.pop_all()

    def add(self, image: Array, seconds: float) -> None:
        self._let_go(seconds)
        self._held = image, self._tick(seconds)
        self._frames += 1

    def finish(self, seconds: float) -> Recording:
        with self._files:
            self._let_go(seconds)
        height, width = self.size
        return Recording(self._path, self._frames, self._tick(seconds) / TICKS, width, height)

    def _let_go(self, seconds: float) -> None:
        image, tick = self._held
        self._put(VideoFrame(image, tick, self._tick(seconds) - tick))

    def _tick(self, seconds: float) -> int:
        return max(round((seconds - self.begun) * TICKS), self._held[1] + 1)


def recording_names(first: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Names for one recording after another: ``first``, then ``first-2`` and so on, past those that are there.

    Raises:
        EngineError: ``first`` is there and may not be replaced, or is no video by its suffix.
    """
    if first.suffix.lower() not in CONTAINERS:
        suffix = repr(first.suffix) if first.suffix else "a file without suffix"
        raise EngineError(f"a recording is not written as {suffix}", where=str(first), allowed=", ".join(CONTAINERS))
    if first.exists() and not overwrite:
        raise EngineError("this output exists already", where=str(first), remedy="Give --overwrite to replace it, or another -o.")
    return numbered(first, overwrite=overwrite)


def numbered(first: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """``first.mp4``, ``first-2.mp4``, ``first-3.mp4``, ...: those that are there are passed over unless they may be replaced."""
    names = (first if number == 1 else first.with_stem(f"{first.stem}-{number}") for number in count(1))
    return (path for path in names if overwrite or not path.exists())

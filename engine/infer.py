"""Paint files with a style: the work behind ``engine infer``."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from engine.contracts.backend import Backend, Painter
from engine.errors import EngineError, RunError
from engine.images import Picture, read_picture, write_picture
from engine.interrupts import stop_between_steps
from engine.jobs import Job, no_such_file
from engine.ops import Array
from engine.painting import check_size, paint_stream
from engine.streams import write_behind
from engine.style import Style
from engine.video import VideoFrame
from engine.video_reading import VideoReader
from engine.video_writing import writing_video

Watch: TypeAlias = Callable[[Job, int, int | None], None]
"""Called with the job, the frames painted so far, and how many there will be where that is known."""


@dataclass(frozen=True)
class Result:
    """What became of one job."""

    job: Job
    frames: int = 0
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: EngineError | None = field(default=None, compare=False)
    """Why nothing was written."""

    @property
    def rate(self) -> float:
        """Frames a second, reading and writing included."""
        return self.frames / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` says of it."""
        files = {"input": str(self.job.source), "output": str(self.job.target)}
        if self.error is not None:
            return files | {"error": str(self.error)}
        size = {"frames": self.frames, "width": self.width, "height": self.height}
        return files | size | {"seconds": round(self.seconds, 3), "frames_per_second": round(self.rate, 3), "notes": list(self.notes)}


@dataclass(frozen=True)
class Studio:
    """A style on a backend, ready to paint."""

    style: Style
    painter: Painter
    batch: int

    @classmethod
    def open(cls, style: Style, backend: Backend, batch: int | None = None) -> Studio:
        """Put the style on the backend; without ``batch`` four frames at a time on an accelerator and one on a CPU."""
        size = batch if batch is not None else (1 if backend.describe()["device"].startswith("cpu") else 4)
        return cls(style, backend.painter(style.network, style.weights, batch=size), size)

    def paint(self, jobs: Iterable[Job], watch: Watch = lambda *_: None) -> Iterator[Result]:
        """Paint one file after another. One that fails becomes a result with an ``error``; the rest goes on."""
        for job in jobs:
            started = time.perf_counter()
            try:
                if job.missing:
                    raise no_such_file(job.source)
                done = self._picture(job, watch) if job.kind == "picture" else self._video(job, watch)
            except EngineError as error:
                yield Result(job, error=error)
            except (RuntimeError, MemoryError) as error:  # how frameworks say that memory ran out
                if "memory" not in str(error).lower() and not isinstance(error, MemoryError):
                    raise
                remedy = "Give --batch 1, or a smaller input."
                yield Result(job, error=RunError("there is not enough memory to paint this", where=str(job.source), remedy=remedy))
            else:
                yield replace(done, seconds=time.perf_counter() - started, notes=(*job.notes, *done.notes))

    def _picture(self, job: Job, watch: Watch) -> Result:
        picture = read_picture(job.source)
        height, width = picture.rgb.shape[:2]
        self._check_size(job.source, height, width)
        (painted,) = paint_stream(self.painter, [picture.rgb], 1)
        make_folder(job.target.parent)
        notes = write_picture(job.target, Picture(painted, picture.alpha))
        watch(job, 1, 1)
        return Result(job, 1, width, height, notes=(*picture.notes, *notes))

    def _video(self, job: Job, watch: Watch) -> Result:
        clock: deque[tuple[int, int]] = deque()
        decoded = 0

        def images(reader: VideoReader) -> Iterator[Array]:
            nonlocal decoded
            for frame in reader.frames():
                decoded += 1
                clock.append((frame.pts, frame.duration))
                yield frame.image

        def go_on() -> None:
            if stop.is_set():
                raise KeyboardInterrupt

        with stop_between_steps() as stop, VideoReader(job.source) as reader:
            info = reader.info
            self._check_size(job.source, info.height, info.width)
            make_folder(job.target.parent)
            with writing_video(job.target, info, sound=job.source) as writer:
                stream = paint_stream(self.painter, images(reader), self.batch)
                with write_behind(writer.write, 2 * self.batch) as put, closing(stream) as painted:
                    for count, image in enumerate(painted, 1):
                        put(VideoFrame(image, *clock.popleft()))
                        watch(job, count, info.frames)
                        go_on()
                go_on()  # asked for during the last frame, or before the first of none
                if writer.written != decoded:
                    raise RunError(f"{decoded} frames were read and {writer.written} written", where=str(job.source))
            return Result(job, writer.written, info.width, info.height, notes=(*reader.notes(), *writer.notes))

    def _check_size(self, source: Path, height: int, width: int) -> None:
        try:
            check_size(self.style.network, height, width)
        except EngineError as error:
            raise EngineError(error.problem, where=str(source), allowed=error.allowed, remedy=error.remedy) from None


def make_folder(folder: Path) -> None:
    """Make it and its parents; an :class:`EngineError` where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(f"cannot make this folder: {error.strerror}", where=str(folder)) from None

"""Paint files with a style: the work behind ``engine infer``."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from engine.blending import paint_blend
from engine.contracts.backend import Backend, Painter
from engine.controls import Controls, retouched
from engine.errors import EngineError, RunError
from engine.interrupts import stop_between_steps
from engine.jobs import Job, no_such_file
from engine.masks import Mask, MaskStream
from engine.media import FrameReader, open_frames, open_picture, save_picture, writing_frames
from engine.ops import Array
from engine.painting import check_size, paint_stream
from engine.sizes import pixel_aspect, resize
from engine.streams import write_behind
from engine.style import Style
from engine.video import VideoFrame

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
    """A style, or a blend of several, on a backend and ready to paint."""

    styles: tuple[Style, ...]
    shares: tuple[float, ...]
    """Of each style in what is written; they add up to 1."""
    painters: tuple[Painter, ...]
    batch: int
    controls: Controls = field(default_factory=Controls)
    mask: Mask | None = None
    """The file that ``controls`` names."""

    @classmethod
    def open(
        cls,
        style: Style | Sequence[tuple[Style, float]],
        backend: Backend,
        batch: int | None = None,
        controls: Controls | None = None,
    ) -> Studio:
        """Put a style on the backend, or several with their shares.

        Without ``batch`` four frames at a time on an accelerator and one on a CPU.

        Raises:
            EngineError: The mask cannot be read, or the backend cannot run.
        """
        controls = controls or Controls()
        mask = Mask.open(controls.mask) if controls.mask is not None else None
        size = batch if batch is not None else (1 if backend.describe()["device"].startswith("cpu") else 4)
        styles, shares = zip(*([(style, 1.0)] if isinstance(style, Style) else style), strict=True)
        painters = tuple(backend.painter(one.network, one.weights, batch=size) for one in styles)
        return cls(styles, shares, painters, size, controls, mask)

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
        picture = open_picture(job)
        before = picture.rgb.shape[1], picture.rgb.shape[0]
        width, height = self._size_of(job.source, *before)
        rgb = resize(picture.rgb, width, height)
        alpha = None if picture.alpha is None else resize(picture.alpha, width, height)
        with self.mask.for_picture(width, height) if self.mask is not None else nullcontext() as masks:
            (painted,) = self._painted([rgb], masks, 1)
        make_folder(job.target.parent)
        notes = save_picture(job, replace(picture, rgb=painted, alpha=alpha))
        watch(job, 1, 1)
        said = (*_resized(before, (width, height)), *(masks.notes() if masks is not None else ()))
        return Result(job, 1, width, height, notes=(*picture.notes, *said, *notes))

    def _video(self, job: Job, watch: Watch) -> Result:
        clock: deque[tuple[int, int]] = deque()
        decoded = 0

        def images(reader: FrameReader) -> Iterator[Array]:
            nonlocal decoded
            for frame in reader.frames():
                decoded += 1
                clock.append((frame.pts, frame.duration))
                yield resize(frame.image, width, height)

        def go_on() -> None:
            if stop.is_set():
                raise KeyboardInterrupt

        with stop_between_steps() as stop, open_frames(job, stop) as reader:
            before = reader.info.width, reader.info.height
            width, height = self._size_of(job.source, *before)
            info = replace(reader.info, width=width, height=height, aspect=pixel_aspect(reader.info.aspect, before, (width, height)))
            make_folder(job.target.parent)
            with (
                self.mask.for_video(width, height, info.rate) if self.mask is not None else nullcontext() as masks,
                writing_frames(job, info, stop) as writer,
            ):
                stream = self._painted(images(reader), masks, self.batch)
                with write_behind(writer.write, 2 * self.batch) as put, closing(stream) as painted:
                    for count, image in enumerate(painted, 1):
                        put(VideoFrame(image, *clock.popleft()))
                        watch(job, count, info.frames)
                        go_on()
                go_on()  # asked for during the last frame, or before the first of none
                if writer.written != decoded:
                    raise RunError(f"{decoded} frames were read and {writer.written} written", where=str(job.source))
            said = [*_resized(before, (width, height)), *(masks.notes() if masks is not None else ())]
            if info.aspect != reader.info.aspect and info.aspect is not None:
                said.append(f"its pixels are {info.aspect.numerator}:{info.aspect.denominator}, so that it is shown in the old proportions")
            return Result(job, writer.written, width, height, notes=(*reader.notes(), *said, *writer.notes))

    def _painted(self, frames: Iterable[Array], masks: MaskStream | None, batch: int) -> Generator[Array, None, None]:
        def paint(sources: Iterable[Array]) -> Generator[Array, None, None]:
            if len(self.painters) == 1:
                return paint_stream(self.painters[0], sources, batch)
            return paint_blend(self.painters, self.shares, sources, batch)

        return retouched(paint, frames, self.controls, masks) if self.controls.needs_source else paint(frames)

    def _size_of(self, source: Path, width: int, height: int) -> tuple[int, int]:
        """The size to paint at; an :class:`EngineError` where the network cannot."""
        if self.controls.size is not None:
            width, height = self.controls.size.of(width, height)
        try:
            for style in self.styles:
                check_size(style.network, height, width)
        except EngineError as error:
            raise EngineError(error.problem, where=str(source), allowed=error.allowed, remedy=error.remedy) from None
        return width, height


def _resized(before: tuple[int, int], after: tuple[int, int]) -> tuple[str, ...]:
    return () if before == after else (f"resized from {before[0]}x{before[1]} to {after[0]}x{after[1]}",)


def make_folder(folder: Path) -> None:
    """Make it and its parents; an :class:`EngineError` where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(f"cannot make this folder: {error.strerror}", where=str(folder)) from None

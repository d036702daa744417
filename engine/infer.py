"""Paint files with a style: the work behind ``engine infer``."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from engine.blending import paint_blend
from engine.contracts.backend import Backend, Painter
from engine.controls import Controls, retouched
from engine.encoding import Encoding
from engine.errors import EngineError, RunError
from engine.interrupts import stop_between_steps
from engine.jobs import Job, no_such_file
from engine.masks import Mask, MaskStream
from engine.media import FrameReader, open_frames, open_picture, save_picture, writing_frames
from engine.ops import Array
from engine.painting import check_size, paint_stream
from engine.segments import LENGTH, Continuation, fingerprint, made_before
from engine.sizes import pixel_aspect, resize
from engine.stages import Stage, Stages, peak_memory, stages_to_json
from engine.streams import write_behind
from engine.style import Style
from engine.tiling import Tile, Tiles
from engine.video import CONTAINERS, VideoFrame, VideoInfo
from engine.video_reading import VideoReader
from engine.video_writing import VideoWriter

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
    stages: Mapping[Stage, float] = field(default_factory=dict)
    """Seconds of each stage's own work."""
    resumed: int = 0
    """Frames, of all, that an earlier run had painted."""
    tile: int | None = None
    """Rows computed at once; None for the whole frame."""
    error: EngineError | None = field(default=None, compare=False)
    """Why nothing was written."""

    @property
    def rate(self) -> float:
        """Frames a second, reading and writing included."""
        return (self.frames - self.resumed) / self.seconds if self.seconds else 0.0

    @property
    def slowest(self) -> Stage | None:
        """The stage that worked longest."""
        return max(self.stages, key=self.stages.__getitem__, default=None)

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` says of it."""
        files = {"input": str(self.job.source), "output": str(self.job.target)}
        if self.error is not None:
            return files | {"error": str(self.error)}
        size = {"frames": self.frames, "width": self.width, "height": self.height, "tile": self.tile}
        speed = {"seconds": round(self.seconds, 3), "frames_per_second": round(self.rate, 3)}
        stages = {"stages": stages_to_json(self.stages, self.frames, self.resumed), "peak_memory_mib": peak_memory()}
        return files | size | {"resumed_frames": self.resumed} | speed | stages | {"notes": list(self.notes)}


@dataclass(frozen=True)
class VideoOptions:
    """How videos are read and written."""

    encoding: Encoding = field(default_factory=Encoding)
    resume: bool = False
    """Go on where an earlier run ended."""
    strict: bool = False
    """Stop where the input is damaged."""

    def check(self, jobs: Iterable[Job]) -> None:
        """An :class:`EngineError` where a target cannot be written so."""
        given = {"--codec": self.encoding.codec is not None, "--crf": self.encoding.crf is not None, "--resume": self.resume}
        for job in jobs:
            if job.kind == "video" and job.target.suffix.lower() in CONTAINERS:
                self.encoding.encoder(job.target.suffix)
            elif job.kind == "video" and (options := [name for name, is_given in given.items() if is_given]):
                problem = f"{job.target} holds no encoded video"
                raise EngineError(problem, where=options[0], allowed=f"for {', '.join(CONTAINERS)}", remedy=f"Leave {options[0]} out.")


@dataclass(frozen=True)
class Studio:
    """A style, or a blend of several, on a backend and ready to paint."""

    styles: tuple[Style, ...]
    shares: tuple[float, ...]
    """Of each style in what is written; they add up to 1."""
    tiles: Tiles
    """What paints."""
    batch: int
    controls: Controls = field(default_factory=Controls)
    mask: Mask | None = None
    """The file that ``controls`` names."""
    options: VideoOptions = field(default_factory=VideoOptions)
    made_with: Mapping[str, Any] = field(default_factory=dict)
    """All that a painting depends on, but for the file that is painted."""

    @classmethod
    def open(
        cls,
        style: Style | Sequence[tuple[Style, float]],
        backend: Backend,
        batch: int | None = None,
        controls: Controls | None = None,
        options: VideoOptions | None = None,
        tile: Tile = "auto",
    ) -> Studio:
        """Put a style on the backend, or several with their shares.

        Without ``batch`` four frames at a time on an accelerator and one on a CPU. ``tile`` is the number of rows computed at once.

        Raises:
            EngineError: The mask cannot be read, the backend cannot run, or a network cannot be painted by ``tile`` rows.
        """
        controls = controls or Controls()
        mask = Mask.open(controls.mask) if controls.mask is not None else None
        size = batch if batch is not None else (1 if backend.describe()["device"].startswith("cpu") else 4)
        styles, shares = zip(*([(style, 1.0)] if isinstance(style, Style) else style), strict=True)
        painters = tuple(backend.painter(one.network, one.weights, batch=size) for one in styles)
        tiles = Tiles(backend, [(one.network, one.weights) for one in styles], painters, tile)
        made_with = {
            "styles": [_identity(one) for one in styles],
            "shares": list(shares),
            "backend": {"name": backend.name, **backend.describe()},
            "batch": size,
            **controls.to_json(),
            "mask": fingerprint(controls.mask) if controls.mask is not None else None,
        }
        return cls(styles, shares, tiles, size, controls, mask, options or VideoOptions(), made_with)

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
                remedy = "Give --tile 64, --batch 1, or a smaller input."
                yield Result(job, error=RunError("there is not enough memory to paint this", where=str(job.source), remedy=remedy))
            else:
                yield replace(done, seconds=time.perf_counter() - started, notes=(*job.notes, *done.notes))

    def _picture(self, job: Job, watch: Watch) -> Result:
        stages = Stages()
        with stages.working("decode"):
            picture = open_picture(job)
        before = picture.rgb.shape[1], picture.rgb.shape[0]
        width, height = self._size_of(job.source, *before)
        painters, tile = self.tiles.choose(height, width)
        rgb = resize(picture.rgb, width, height)
        alpha = None if picture.alpha is None else resize(picture.alpha, width, height)
        with self.mask.for_picture(width, height) if self.mask is not None else nullcontext() as masks:
            (painted,) = stages.each("paint", self._painted(painters, [rgb], masks, 1, stages))
        make_folder(job.target.parent)
        with stages.working("encode"):
            notes = save_picture(job, replace(picture, rgb=painted, alpha=alpha))
        watch(job, 1, 1)
        said = (*_resized(before, (width, height)), *_in_stripes(tile), *(masks.notes() if masks is not None else ()))
        if self.controls.smooth:
            said = (*said, "one picture has nothing to be smoothed in time")
        return Result(job, 1, width, height, notes=(*picture.notes, *said, *notes), stages=stages.seconds(), tile=tile)

    def _video(self, job: Job, watch: Watch) -> Result:
        clock: deque[tuple[int, int]] = deque()
        decoded = 0
        stages = Stages()

        def images(reader: FrameReader, masks: MaskStream | None, skipped: int) -> Iterator[Array]:
            nonlocal decoded
            for frame in reader.frames():
                self._check_whole(job, reader)
                decoded += 1
                if decoded > skipped:
                    clock.append((frame.pts, frame.duration))
                    yield resize(frame.image, width, height)
                elif masks is not None:
                    next(iter(masks))
            self._check_whole(job, reader)

        def go_on() -> None:
            if stop.is_set():
                raise KeyboardInterrupt

        with stop_between_steps() as stop, open_frames(job, stop) as reader:
            before = reader.info.width, reader.info.height
            width, height = self._size_of(job.source, *before)
            painters, tile = self.tiles.choose(height, width, self.batch, made_before(job.target) if self.options.resume else None)
            info = replace(reader.info, width=width, height=height, aspect=pixel_aspect(reader.info.aspect, before, (width, height)))
            make_folder(job.target.parent)
            with (
                self.mask.for_video(width, height, info.rate) if self.mask is not None else nullcontext() as masks,
                stages.leaving(
                    "encode", writing_frames(job, info, stop, self.options.encoding, self._continuation(job, info, tile))
                ) as writer,
            ):
                done = writer.done if isinstance(writer, VideoWriter) else 0
                skipped = 0 if self.controls.follows_motion else done  # a smoothed frame stands on all before it, back to the last cut
                frames = stages.each("decode", images(reader, masks, skipped))
                stream = stages.each("paint", self._painted(painters, frames, masks, self.batch, stages))
                write = stages.calling("encode", writer.write)
                with write_behind(write, 2 * self.batch) as put, closing(stream) as painted:
                    for count, image in enumerate(painted, skipped + 1):
                        shown = clock.popleft()
                        if count > done:
                            put(VideoFrame(image, *shown))
                        watch(job, count, info.frames)
                        go_on()
                go_on()  # asked for during the last frame, or before the first of none
                if writer.written != decoded:
                    raise RunError(f"{decoded} frames were read and {writer.written} written", where=str(job.source))
            said = [*_resized(before, (width, height)), *_in_stripes(tile), *(masks.notes() if masks is not None else ())]
            if done > skipped:
                said.append(f"the {done} frames that were there were painted again, because smoothing needs them")
            if info.aspect != reader.info.aspect and info.aspect is not None:
                said.append(f"its pixels are {info.aspect.numerator}:{info.aspect.denominator}, so that it is shown in the old proportions")
            notes = (*reader.notes(), *said, *writer.notes)
            return Result(job, writer.written, width, height, notes=notes, stages=stages.seconds(), resumed=done, tile=tile)

    def _check_whole(self, job: Job, reader: FrameReader) -> None:
        if self.options.strict and isinstance(reader, VideoReader) and (damage := reader.damage()):
            raise EngineError(damage[0], where=str(job.source), remedy="Leave --strict out to paint what there is.")

    def _continuation(self, job: Job, info: VideoInfo, tile: int | None) -> Continuation:
        length = -(-LENGTH // self.batch) * self.batch  # whole batches: on some backends a frame depends on how many are painted with it
        if not job.source.is_file():
            obstacle = "its frames are read from a pipe, or are pictures of their own"
            return Continuation(None, obstacle, self.options.resume, length)
        size = f"{info.width}x{info.height}"
        made_with = {"input": fingerprint(job.source), "frame size": size, "tile": tile, **self.made_with, "segment": length}
        return Continuation(made_with, resume=self.options.resume, length=length)

    def _painted(
        self, chosen: Sequence[Painter], frames: Iterable[Array], masks: MaskStream | None, batch: int, stages: Stages
    ) -> Generator[Array, None, None]:
        painters = [stages.watched(painter) for painter in chosen]

        def paint(sources: Iterable[Array]) -> Generator[Array, None, None]:
            if len(painters) == 1:
                return paint_stream(painters[0], sources, batch)
            return paint_blend(painters, self.shares, sources, batch)

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


def _in_stripes(tile: int | None) -> tuple[str, ...]:
    return () if tile is None else (f"painted in stripes of {tile} rows, with the statistics of the whole frame",)


def _identity(style: Style) -> str:
    digest = hashlib.sha256(style.network.to_json().encode())
    for name in sorted(style.weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(style.weights[name]).tobytes())
    return f"{style.info.name} {digest.hexdigest()[:16]}"


def make_folder(folder: Path) -> None:
    """Make it and its parents; an :class:`EngineError` where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(f"cannot make this folder: {error.strerror}", where=str(folder)) from None

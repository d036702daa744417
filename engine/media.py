"""Where frames come from and where they go, whatever holds them: what a job reads from and what it writes to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Protocol

from engine.encoding import Encoding
from engine.errors import EngineError
from engine.files import replacing
from engine.gif import GifReader, loops_of, writing_gif
from engine.images import Picture, decode_picture, encode_picture, read_picture, write_picture
from engine.jobs import STREAM, Job
from engine.pipes import PipeWriter, standard_output
from engine.segments import Continuation
from engine.sequences import SequenceReader, SequenceWriter, first_number
from engine.video import VideoFrame, VideoInfo
from engine.video_reading import VideoReader, open_video
from engine.video_writing import writing_video
from engine.y4m import Y4MReader, Y4MWriter

MOST = 2**30
"""Bytes of a picture in a pipe."""


class FrameReader(Protocol):
    """Frames in the order in which they are shown, read once; use it as a context."""

    info: VideoInfo
    """What the frames have in common."""

    def __enter__(self) -> FrameReader: ...

    def __exit__(self, *_: object) -> None: ...

    def frames(self) -> Iterator[VideoFrame]:
        """The frames; an :class:`EngineError` where one cannot be had."""

    def notes(self) -> tuple[str, ...]:
        """What is not as it should be in the input; complete after the last frame."""


class FrameWriter(Protocol):
    """Takes frames in the order in which they are shown."""

    written: int
    """Frames so far."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the output could not keep; complete after the last frame."""

    def write(self, frame: VideoFrame) -> None:
        """One frame."""


def open_picture(job: Job) -> Picture:
    """The job's source; an :class:`EngineError` where it is no picture."""
    if job.stdin is None:
        return read_picture(job.source)
    data = job.stdin.read(MOST + 1)
    if len(data) > MOST:
        raise EngineError("standard input holds no picture", where="-", allowed=f"at most {MOST // 2**20} MiB")
    try:
        return decode_picture(data, "-")
    except EngineError as error:
        if not error.allowed.startswith("."):
            raise
        remedy = "Send other videos as y4m: `ffmpeg -i FILE -f yuv4mpegpipe - | engine infer - -o OUTPUT`."
        raise EngineError(
            "standard input holds no picture that can be read and no y4m video",
            where="-",
            allowed="PNG, JPEG, WebP, BMP, TIFF, y4m",
            remedy=remedy,
        ) from None


def save_picture(job: Job, picture: Picture) -> tuple[str, ...]:
    """Write it to the job's target, and say what that could not hold; an :class:`EngineError` where it cannot be written."""
    if job.target != STREAM:
        return write_picture(job.target, picture)
    data, notes = encode_picture(".png", picture, "-")
    standard_output().write(data)
    return notes


def open_frames(job: Job, stop: Event) -> FrameReader:
    """What the job's source holds.

    Args:
        job: A video.
        stop: Set where a read that waits for its data should give up, with a ``KeyboardInterrupt``.

    Raises:
        EngineError: It is not there, or holds no frame that can be read.
    """
    if job.stdin is not None:
        return Y4MReader(job.stdin, stop)
    if job.is_sequence:
        return SequenceReader(job.source, job.rate, says_rate=not job.is_written_as_pictures)
    if _is_gif(job.source):
        return GifReader(job.source)
    return VideoReader(job.source)


@contextmanager
def writing_frames(job: Job, info: VideoInfo, stop: Event, encoding: Encoding, continuation: Continuation) -> Iterator[FrameWriter]:
    """A writer to the job's target, which is there when everything is in it, and not at all on an error.

    Args:
        job: A video; what it holds beside pictures is copied from its source where the target takes it.
        info: What the frames have in common.
        stop: As for :func:`open_frames`.
        encoding: Of a file that holds encoded video.
        continuation: Of such a file.

    Raises:
        EngineError: It cannot be written there, or not in that format.
        RunError: Writing failed on the way.
    """
    if job.target == STREAM:
        yield Y4MWriter(standard_output(stop), info, _left_behind(job, "y4m"))
    elif job.is_written_as_pictures:
        first = first_number(job.source) if job.is_sequence else 1
        clock = () if job.is_sequence else (f"pictures hold no times; the input has {float(info.rate):g} frames a second",)
        yield SequenceWriter(job.target, first, (*clock, *_left_behind(job, "a sequence of pictures")))
    elif _is_gif(job.target):
        loops = loops_of(job.source) if _is_gif(job.source) and _is_container(job) else 0
        with writing_gif(job.target, info, loops, _left_behind(job, "GIF")) as gif:
            yield gif
    elif job.target.suffix.lower() == ".y4m":
        with replacing(job.target) as temporary, temporary.open("wb", buffering=0) as file:
            yield Y4MWriter(PipeWriter(file.fileno(), name=str(job.target)), info, _left_behind(job, "y4m"))
    else:
        with writing_video(job.target, info, job.source if _is_container(job) else None, encoding, continuation, stop) as writer:
            yield writer


def _is_gif(path: Path) -> bool:
    return path.suffix.lower() == ".gif"


def _is_container(job: Job) -> bool:
    return job.stdin is None and not job.is_sequence


def _left_behind(job: Job, target: str) -> tuple[str, ...]:
    """What the source holds that a format of pictures alone does not take."""
    if not _is_container(job):
        return ()
    with open_video(job.source) as container:
        kinds = [kind for kind in ("audio", "subtitles") if getattr(container.streams, kind)]
    return (f"{target} holds no {' and no '.join(kinds)}, which the input has",) if kinds else ()

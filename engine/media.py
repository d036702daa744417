"""Where frames come from and where they go, whatever holds them: what a job reads from and what it writes to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Protocol

from engine.images import Picture, read_picture, write_picture
from engine.jobs import Job
from engine.video import VideoFrame, VideoInfo
from engine.video_reading import VideoReader
from engine.video_writing import writing_video


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
    return read_picture(job.source)


def save_picture(job: Job, picture: Picture) -> tuple[str, ...]:
    """Write it to the job's target, and say what that could not hold; an :class:`EngineError` where it cannot be written."""
    return write_picture(job.target, picture)


def open_frames(job: Job, stop: Event) -> FrameReader:
    """What the job's source holds.

    Args:
        job: A video.
        stop: Set where a read that waits for its data should give up, with a ``KeyboardInterrupt``.

    Raises:
        EngineError: It is not there, or holds no frame that can be read.
    """
    return VideoReader(job.source)


@contextmanager
def writing_frames(job: Job, info: VideoInfo, stop: Event) -> Iterator[FrameWriter]:
    """A writer to the job's target, which is there when everything is in it, and not at all on an error.

    Args:
        job: A video; what it holds beside pictures is copied from its source where the target takes it.
        info: What the frames have in common.
        stop: As for :func:`open_frames`.

    Raises:
        EngineError: It cannot be written there, or not in that format.
        RunError: Writing failed on the way.
    """
    with writing_video(job.target, info, sound=job.source) as writer:
        yield writer

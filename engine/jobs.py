"""What is painted to what: worked out, and refused where it cannot be, before any work starts."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

from engine import images, video, y4m
from engine.errors import EngineError
from engine.pipes import PipeReader, standard_input
from engine.segments import folder_of
from engine.sequences import Pattern

STREAM = Path("-")
"""Standard input as a source, standard output as a target."""
VIDEOS = (*video.CONTAINERS, ".gif", ".y4m")
"""Suffixes that videos are written with."""


@dataclass(frozen=True)
class Job:
    """One picture or video to paint."""

    source: Path
    """A file, a pattern of numbered pictures, or :data:`STREAM`."""
    target: Path
    """Likewise."""
    kind: Literal["picture", "video"]
    notes: tuple[str, ...] = ()
    missing: bool = False
    """There is no such source."""
    stdin: PipeReader | None = field(default=None, compare=False)
    """What a source that is :data:`STREAM` is read from."""
    rate: Fraction | None = None
    """Frames a second that were asked for a source that has none."""

    @property
    def is_sequence(self) -> bool:
        """Whether the source is a pattern of numbered pictures."""
        return self.source != STREAM and _is_pattern(self.source)

    @property
    def is_written_as_pictures(self) -> bool:
        """Whether the target is a pattern of numbered pictures."""
        return self.kind == "video" and self.target.suffix.lower() in images.SUFFIXES and Pattern.of(self.target) is not None


@dataclass(frozen=True)
class Plan:
    """The files to paint in their order, and those in folders that are no pictures."""

    jobs: tuple[Job, ...]
    skipped: tuple[Path, ...] = ()
    finished: tuple[Job, ...] = ()
    """Those that an earlier run has done."""


def file_word(style: str) -> str:
    """A style's name as part of a file's name: it comes out of a file, and must not lead out of the folder."""
    return re.sub(r"[^\w.-]+", "_", style)[:80].strip(".") or "painted"


def plan(
    inputs: Sequence[Path],
    output: str | None,
    style: str,
    *,
    overwrite: bool = False,
    resume: bool = False,
    rate: Fraction | None = None,
    stdin: Callable[[], PipeReader] = standard_input,
) -> Plan:
    """Work out every output.

    Args:
        inputs: Pictures, folders of pictures, videos, patterns of numbered pictures, :data:`STREAM`.
        output: A file, a pattern or - for one input, otherwise a folder; beside each input where it is None.
        style: The style's name, for names of outputs.
        overwrite: Replace files that are there.
        resume: Go on with an earlier run: what it finished is left as it is.
        rate: Frames a second of numbered pictures.
        stdin: Opens standard input; its first bytes tell a video from a picture.

    Raises:
        EngineError: An output exists, is an input, has a suffix that does not fit, or is named twice; several inputs and an output
            that is called like one file; a folder holds no picture; the only input is not there (one of several is a missing job);
            a rate without numbered pictures.
    """
    word = file_word(style)
    if len(inputs) == 1 and not _is_there(inputs[0]):
        raise no_such_file(inputs[0])
    if rate is not None and not any(_is_pattern(source) for source in inputs):
        remedy = "A video keeps its own frame rate."
        raise EngineError("no input is a sequence of numbered pictures such as frames/%04d.png", where="--fps", remedy=remedy)
    if list(inputs).count(STREAM) > 1:
        raise EngineError("standard input can be read once", where="-", remedy="Name it once.")
    if output == str(STREAM) and (len(inputs) > 1 or inputs[0].is_dir()):
        many = f"{len(inputs)}" if len(inputs) > 1 else "a folder"
        raise EngineError(f"-o - takes one picture or video, not {many}", where="-o", remedy="Give a folder to -o.")
    folder = output is not None and (len(inputs) > 1 or inputs[0].is_dir() or output.endswith(("/", os.sep)) or Path(output).is_dir())
    folder &= output != str(STREAM)
    if output is not None and folder and Path(output).exists() and not Path(output).is_dir():
        raise EngineError("this is a file, and the outputs need a folder", where=output)
    like_file = output is not None and Path(output).suffix.lower() in (*images.SUFFIXES, *VIDEOS)
    if output is not None and folder and like_file and not Path(output).is_dir() and not output.endswith(("/", os.sep)):
        raise EngineError("several inputs are not written to one file", where=output, remedy="Give a folder to -o, for example painted/.")
    jobs: list[Job] = []
    skipped: list[Path] = []
    for source in inputs:
        if source == STREAM:
            jobs.append(_piped(output, folder, stdin()))
        elif source.is_dir():
            pictures, others = _in_folder(source)
            skipped += others
            name = source.resolve().name
            if output is None:
                into = source.resolve().parent / f"{name}.{word}" if source.name in ("", "..") else source.with_name(f"{name}.{word}")
            else:
                into = Path(output) / name if len(inputs) > 1 else Path(output)
            jobs += [Job(picture, into / picture.name, "picture") for picture in pictures]
        elif output is None:
            jobs.append(_job(source, source.with_name(f"{source.stem}.{word}{source.suffix}"), choose=True))
        else:
            jobs.append(_job(source, Path(output) / source.name if folder else Path(output), choose=folder))
    finished = [job for job in jobs if resume and not overwrite and job.target.is_file() and not folder_of(job.target).exists()]
    for problem in _problems(jobs, overwrite, finished):
        raise problem
    jobs = [job for job in jobs if job not in finished]
    jobs = [job if _is_there(job.source) else replace(job, missing=True) for job in jobs]
    jobs = [replace(job, rate=rate) if job.is_sequence else job for job in jobs]
    return Plan(tuple(jobs), tuple(skipped), tuple(finished))


def no_such_file(source: Path) -> EngineError:
    """What is said of an input that is not there."""
    return EngineError("there is no such file", where=str(source))


def _is_there(source: Path) -> bool:
    return source == STREAM or _is_pattern(source) or source.exists()


def _is_pattern(source: Path) -> bool:
    return Pattern.of(source) is not None and not source.exists()


def _job(source: Path, target: Path, choose: bool) -> Job:
    if source.suffix.lower() in images.SUFFIXES:
        return Job(source, target, "video" if _is_pattern(source) else "picture")
    if choose and target.suffix.lower() not in VIDEOS:
        note = f"written as .mp4, since videos are not written as {source.suffix or 'a file without suffix'}"
        # Of a source without a suffix, the style's name looks like one.
        return Job(source, target.with_suffix(".mp4") if source.suffix else target.with_name(f"{target.name}.mp4"), "video", (note,))
    return Job(source, target, "video")


def _piped(output: str | None, folder: bool, stdin: PipeReader) -> Job:
    if output is None:
        raise EngineError("there is no name for what is made of standard input", where="-", remedy="Give -o FILE, or -o - for a pipe.")
    start = stdin.peek(len(y4m.MAGIC))
    if not start:
        raise EngineError("standard input is empty", where="-")
    kind: Literal["picture", "video"] = "video" if start == y4m.MAGIC else "picture"
    if kind == "picture" and not folder and Path(output).suffix.lower() in VIDEOS:
        problem = f"a picture or video is piped in that is no y4m, and {output} takes y4m video only"
        remedy = "Send videos as y4m: `ffmpeg -i FILE -f yuv4mpegpipe - | engine infer - -o OUTPUT`; write a picture as .png."
        raise EngineError(problem, where="-", remedy=remedy)
    name = "stdin.mp4" if kind == "video" else "stdin.png"
    return Job(STREAM, Path(output) / name if folder else Path(output), kind, stdin=stdin)


def _in_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    entries = sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=_natural)
    pictures = [path for path in entries if path.is_file() and path.suffix.lower() in images.SUFFIXES]
    if not pictures:
        raise EngineError("this folder holds no pictures", where=str(folder), allowed=", ".join(images.SUFFIXES))
    return pictures, [path for path in entries if path not in set(pictures)]


def _natural(path: Path) -> list[str | int]:
    # Text and numbers alternate, so that neither is ever compared with the other: frame9 before frame10.
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(re.split(r"([0-9]+)", path.name))]


def _problems(jobs: Sequence[Job], overwrite: bool, finished: Sequence[Job]) -> Iterator[EngineError]:
    files = [job for job in jobs if job.target != STREAM]
    sources = {source.resolve() for job in jobs for source in _files_of(job.source)}
    for job in files:
        fits = images.SUFFIXES if job.kind == "picture" or job.is_written_as_pictures else VIDEOS
        if job.target.suffix.lower() not in fits:
            suffix = repr(job.target.suffix) if job.target.suffix else "a file without suffix"
            allowed = ", ".join(fits) + (", numbered pictures (%05d.png)" if fits == VIDEOS else "")
            yield EngineError(f"a {job.kind} is not written as {suffix}", where=str(job.target), allowed=allowed)
        if any(target.resolve() in sources for target in _targets_of(job)):
            yield EngineError("this output is an input", where=str(job.target), remedy="Give another -o.")
    twice = [target for target, times in Counter(job.target.resolve() for job in files).items() if times > 1]
    if twice:
        yield EngineError("several inputs would be written here", where=str(twice[0]), remedy="Paint them in separate runs.")
    there = [target for job in files if job not in finished for target in _targets_of(job) if target.exists()]
    if there and not overwrite:
        more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
        yield EngineError(f"this output exists already{more}", where=str(there[0]), remedy="Give --overwrite to replace it, or another -o.")


def _files_of(source: Path) -> list[Path]:
    pattern = Pattern.of(source)
    return [source] if pattern is None or source.exists() else list(pattern.files().values())


def _targets_of(job: Job) -> list[Path]:
    return _files_of(job.target) if job.is_written_as_pictures else [job.target]

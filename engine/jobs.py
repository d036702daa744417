"""Which file is painted to which: worked out, and refused where it cannot be, before any work starts."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from engine import images, video
from engine.errors import EngineError


@dataclass(frozen=True)
class Job:
    """One file to paint."""

    source: Path
    target: Path
    kind: Literal["picture", "video"]
    notes: tuple[str, ...] = ()
    missing: bool = False
    """There is no such source."""


@dataclass(frozen=True)
class Plan:
    """The files to paint in their order, and those in folders that are no pictures."""

    jobs: tuple[Job, ...]
    skipped: tuple[Path, ...] = ()


def file_word(style: str) -> str:
    """A style's name as part of a file's name: it comes out of a file, and must not lead out of the folder."""
    return re.sub(r"[^\w.-]+", "_", style)[:80].strip(".") or "painted"


def plan(inputs: Sequence[Path], output: str | None, style: str, *, overwrite: bool = False) -> Plan:
    """Work out every output.

    Args:
        inputs: Pictures, folders of pictures, videos.
        output: A file for one input, otherwise a folder; beside each input where it is None.
        style: The style's name, for names of outputs.
        overwrite: Replace files that are there.

    Raises:
        EngineError: An output exists, is an input, has a suffix that does not fit, or is named twice; several inputs and an output
            that is called like one file; a folder holds no picture; the only input is not there (one of several is a missing job).
    """
    word = file_word(style)
    if len(inputs) == 1 and not inputs[0].exists():
        raise no_such_file(inputs[0])
    folder = output is not None and (len(inputs) > 1 or inputs[0].is_dir() or output.endswith(("/", os.sep)) or Path(output).is_dir())
    if output is not None and folder and Path(output).exists() and not Path(output).is_dir():
        raise EngineError("this is a file, and the outputs need a folder", where=output)
    like_file = output is not None and Path(output).suffix.lower() in (*images.SUFFIXES, *video.CONTAINERS)
    if output is not None and folder and like_file and not Path(output).is_dir() and not output.endswith(("/", os.sep)):
        raise EngineError("several inputs are not written to one file", where=output, remedy="Give a folder to -o, for example painted/.")
    jobs: list[Job] = []
    skipped: list[Path] = []
    for source in inputs:
        if source.is_dir():
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
    for problem in _problems(jobs, overwrite):
        raise problem
    jobs = [job if job.source.exists() else replace(job, missing=True) for job in jobs]
    return Plan(tuple(jobs), tuple(skipped))


def no_such_file(source: Path) -> EngineError:
    """What is said of an input that is not there."""
    return EngineError("there is no such file", where=str(source))


def _job(source: Path, target: Path, choose: bool) -> Job:
    if source.suffix.lower() in images.SUFFIXES:
        return Job(source, target, "picture")
    if choose and target.suffix.lower() not in video.CONTAINERS:
        note = f"written as .mp4, since videos are not written as {target.suffix or 'a file without suffix'}"
        return Job(source, target.with_suffix(".mp4"), "video", (note,))
    return Job(source, target, "video")


def _in_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    entries = sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=_natural)
    pictures = [path for path in entries if path.is_file() and path.suffix.lower() in images.SUFFIXES]
    if not pictures:
        raise EngineError("this folder holds no pictures", where=str(folder), allowed=", ".join(images.SUFFIXES))
    return pictures, [path for path in entries if path not in set(pictures)]


def _natural(path: Path) -> list[str | int]:
    # Text and numbers alternate, so that neither is ever compared with the other: frame9 before frame10.
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(re.split(r"([0-9]+)", path.name))]


def _problems(jobs: Sequence[Job], overwrite: bool) -> Iterator[EngineError]:
    sources = {job.source.resolve() for job in jobs}
    for job in jobs:
        fits = images.SUFFIXES if job.kind == "picture" else tuple(video.CONTAINERS)
        if job.target.suffix.lower() not in fits:
            suffix = repr(job.target.suffix) if job.target.suffix else "a file without suffix"
            yield EngineError(f"a {job.kind} is not written as {suffix}", where=str(job.target), allowed=", ".join(fits))
        if job.target.resolve() in sources:
            yield EngineError("this output is an input", where=str(job.target), remedy="Give another -o.")
    twice = [target for target, times in Counter(job.target.resolve() for job in jobs).items() if times > 1]
    if twice:
        yield EngineError("several inputs would be written here", where=str(twice[0]), remedy="Paint them in separate runs.")
    there = [job.target for job in jobs if job.target.exists()]
    if there and not overwrite:
        more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
        yield EngineError(f"this output exists already{more}", where=str(there[0]), remedy="Give --overwrite to replace it, or another -o.")

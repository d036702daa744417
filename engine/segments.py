"""A video as segments that were encoded on their own: kept beside the target until it is whole, so that a run that was killed goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.errors import EngineError, RunError
from engine.files import replacing

FORMAT = 1
LENGTH = 250
"""Frames of a segment, about: x264's own longest distance between two key frames, so that a file is no larger for its segments."""
_HEAD = struct.Struct("<qqqI?")
_PART, _PARTS = 2**16, 64


@dataclass(frozen=True)
class Piece:
    """One encoded frame; times in ticks."""

    data: bytes
    pts: int
    dts: int
    duration: int
    key: bool


@dataclass(frozen=True)
class Continuation:
    """What ``--resume`` needs to know of a run."""

    made_with: Mapping[str, Any] | None = None
    """All that the frames depend on, as JSON; None = a run that cannot go on where it ended, and keeps nothing."""
    obstacle: str = "it keeps nothing"
    """Why it cannot."""
    resume: bool = False
    """Go on where an earlier run ended."""
    length: int = LENGTH
    """Frames of a segment; batches must not span two of them."""


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid")

    frames: int = Field(gt=0)
    size: int = Field(ge=0)
    sha256: str


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: int
    made_with: dict[str, Any]
    threads: int = Field(ge=1)
    segments: list[_Kept]


class Segments:
    """The segments of one video, whole ones in a hidden folder, the newest in memory.

    A video of one segment touches no disk here.

    Raises:
        EngineError: ``resume`` is asked for, and what is there was made in another way.
    """

    def __init__(self, target: Path, continuation: Continuation, threads: int) -> None:
        self.notes: tuple[str, ...] = ()
        self.threads = threads
        """Of the encoder, those of the run that is continued."""
        self._target, self._folder = target, folder_of(target)
        self._continuation = continuation
        self._made_with: dict[str, Any] = json.loads(json.dumps(continuation.made_with))  # as it comes back from a file
        self._segments: list[_Kept] = []
        self._last: Sequence[Piece] = ()
        self._begun = False
        if continuation.resume:
            self._resume()

    @property
    def frames(self) -> int:
        """How many are in whole segments; the first ones of the video."""
        return sum(kept.frames for kept in self._segments)

    def keep(self, pieces: Sequence[Piece]) -> None:
        """The next segment, and more will follow: it is on the disk when this returns.

        Raises:
            RunError: It cannot be written.
        """
        digest = hashlib.sha256()
        try:
            if not self._begun:
                shutil.rmtree(self._folder, ignore_errors=True)  # of an earlier run that was not to be continued
                self._folder.mkdir()
                self._begun = True
            with replacing(self._path(len(self._segments))) as temporary, temporary.open("wb") as file:
                for piece in pieces:
                    for part in (_HEAD.pack(piece.pts, piece.dts, piece.duration, len(piece.data), piece.key), piece.data):
                        digest.update(part)
                        file.write(part)
                size = file.tell()
            self._segments.append(_Kept(frames=len(pieces), size=size, sha256=digest.hexdigest()))
            manifest = _Manifest(format=FORMAT, made_with=self._made_with or {}, threads=self.threads, segments=self._segments)
            with replacing(self._folder / "manifest.json") as temporary:
                temporary.write_text(manifest.model_dump_json())
        except OSError as error:
            raise RunError(f"cannot write this file: {error.strerror}", where=str(self._target)) from None
        except EngineError as error:
            raise RunError(error.problem, where=str(self._target)) from None

    def end(self, pieces: Sequence[Piece]) -> None:
        """The last segment."""
        self._last = pieces

    def pieces(self) -> Iterator[Piece]:
        """Every piece in order of decoding, read as they are asked for."""
        for number in range(len(self._segments)):
            with self._path(number).open("rb") as file:
                while head := file.read(_HEAD.size):
                    pts, dts, duration, size, key = _HEAD.unpack(head)
                    yield Piece(file.read(size), pts, dts, duration, key)
        yield from self._last

    def remove(self) -> None:
        """The video is whole: nothing is kept any more, of an earlier run neither."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def abandon(self) -> None:
        """The video was not finished: what can be continued stays."""
        if self._begun and (self._continuation.made_with is None or not self._segments):
            self.remove()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06}.segment"

    def _resume(self) -> None:
        if self._continuation.made_with is None:
            problem = f"this cannot go on where an earlier run ended: {self._continuation.obstacle}"
            raise EngineError(problem, where=f"--resume: {self._target}", remedy="Leave --resume out.")
        manifest = _manifest(self._folder)
        if manifest is None:
            self.notes = ("there was nothing to go on with, so it was painted from the start",)
            return
        before, after = _flat(manifest.made_with), _flat(self._made_with)
        changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        if changed:
            was, now = (json.dumps(made.get(changed[0])) for made in (before, after))
            more = f", and {', '.join(changed[1:])} changed too" if changed[1:] else ""
            problem = f"this was begun with {changed[0]} {was}, and now it is {now}{more}"
            remedy = "Give the files and options of then, or leave --resume out to start anew."
            raise EngineError(problem, where=f"--resume: {self._target}", remedy=remedy)
        for number, kept in enumerate(manifest.segments):
            if not _is_whole(self._path(number), kept):
                break
            self._segments.append(kept)
        self.threads, self._begun = manifest.threads, True
        self.notes = (f"{self.frames} frames are of an earlier run",)


def folder_of(target: Path) -> Path:
    """Where the segments of a video are kept."""
    return target.with_name(f".{target.name}.resume")


def frames_kept(target: Path) -> int:
    """How many frames of a video an earlier run left for ``--resume``."""
    manifest = _manifest(folder_of(target))
    return sum(kept.frames for kept in manifest.segments) if manifest is not None else 0


def made_before(target: Path) -> Mapping[str, Any]:
    """What the frames depended on that an earlier run left for ``--resume``; empty where there are none."""
    manifest = _manifest(folder_of(target))
    return manifest.made_with if manifest is not None else {}


def fingerprint(path: Path) -> str:
    """Of a file: its size, its first and last bytes and some between; a few milliseconds however large it is."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for k in range(_PARTS + 1):
            file.seek(max(size - _PART, 0) * k // _PARTS)
            digest.update(file.read(_PART))
    return f"{size} bytes, {digest.hexdigest()[:16]}"


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    nested = {f"{key} {name}": x for key, value in settings.items() if isinstance(value, dict) for name, x in value.items()}
    return {key: value for key, value in settings.items() if not isinstance(value, dict)} | nested


def _manifest(folder: Path) -> _Manifest | None:
    with suppress(OSError, ValidationError, ValueError):
        manifest = _Manifest.model_validate_json((folder / "manifest.json").read_text())
        if manifest.format == FORMAT and manifest.made_with:
            return manifest
    return None


def _is_whole(path: Path, kept: _Kept) -> bool:
    with suppress(OSError):
        if path.stat().st_size == kept.size:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == kept.sha256
    return False

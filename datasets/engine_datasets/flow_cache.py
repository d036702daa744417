"""Pairs of a clip's frames with their flow, as they are kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from engine import Array, BadSample, EngineError, RunError, Sample, replacing

FORMAT: Final = 1
HASHED = 1 << 20
"""Bytes at the start, in the middle and at the end of a clip that tell it from others of its name and size."""
STEP = 64
"""Parts of a pixel that flow is rounded to; 16 bits then reach to 512 pixels."""
FARTHEST = 511.0

Reason = Literal["cut", "still", "untraceable"]
REASONS: dict[Reason, str] = {"cut": "across scene cuts", "still": "without motion", "untraceable": "with too little to trace"}


class PairSettings(BaseModel):
    """What the pairs of a clip depend on, beside the clip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int
    height: int
    stride: int
    start: float
    stop: float
    clip_share: float
    cut: float
    motion: float
    traceable: float


class Journal(BaseModel):
    """How far a clip has been examined, and what came of it."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = FORMAT
    clip: str
    settings: PairSettings
    examined: int = 0
    """Pairs, of those that stride, start, stop and clip_share ask for."""
    pairs: list[int] = []
    """Of each that was kept, the number of the newer frame."""
    left_out: dict[Reason, int] = {}
    complete: bool = False


def left_out_words(counts: Mapping[Reason, int]) -> str:
    """Counts of pairs that were left out; empty where there are none."""
    return ", ".join(f"{counts[reason]} {words}" for reason, words in REASONS.items() if counts.get(reason))


@dataclass(frozen=True)
class Entry:
    """The folder of one clip in a cache: ``clip.json``, ``frames/`` in PNG, and ``flow/`` in KITTI's PNG.

    KITTI's flow files (Geiger et al., 2012) have 16 bits a channel: 64 dx + 32768, 64 dy + 32768, and 1 where the pixel counts.
    """

    folder: Path
    journal: Journal

    def runs(self, frames: int) -> list[int]:
        """The number of the newest frame of each run of so many frames whose pairs were all kept."""
        pairs, stride = set(self.journal.pairs), self.journal.settings.stride
        return [newest for newest in self.journal.pairs if all(newest - k * stride in pairs for k in range(frames - 1))]

    def read(self, newest: int, frames: int) -> Sample:
        """A run of so many frames; :class:`engine.BadSample` where a file of it is gone or damaged."""
        import cv2

        settings = self.journal.settings
        numbers = [newest - k * settings.stride for k in reversed(range(frames))]
        size = (settings.height, settings.width, 3)
        pictures = [cv2.cvtColor(_read_png(self.frame(number), size, np.uint8), cv2.COLOR_BGR2RGB) for number in numbers]
        stored = np.stack([_read_png(self.flow(number), size, np.uint16) for number in numbers[1:]])
        flow = (stored[..., :0:-1].transpose(0, 3, 1, 2).astype(np.float32) - 32768) / STEP
        return Sample(np.stack(pictures), flow, (stored[..., 0] > 0).astype(np.float32)[:, None])

    def frame(self, number: int) -> Path:
        """The file of a frame, whether it is there or not."""
        return self.folder / "frames" / f"{number:06d}.png"

    def flow(self, newer: int) -> Path:
        """The file of the flow that leads from a frame into the past."""
        return self.folder / "flow" / f"{newer:06d}.png"

    def make_room(self) -> None:
        """Make the folders; a :class:`engine.RunError` where that cannot be done."""
        for folder in (self.folder / "frames", self.folder / "flow"):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RunError(f"cannot write here: {error.strerror}", where=str(folder)) from None

    def write(self, newer: int, frames: tuple[Array, Array], flow: Array, mask: Array) -> None:
        """Keep a pair: the older frame and the newer one (h, w, 3), flow (2, h, w) and mask (h, w) from the newer one."""
        for place, picture in zip((self.frame(newer - self.journal.settings.stride), self.frame(newer)), frames, strict=True):
            if not place.exists():  # of another pair
                _write_png(place, picture[..., ::-1])
        stored = np.clip(np.rint(STEP * flow.transpose(1, 2, 0) + 32768), 0, 65535)
        _write_png(self.flow(newer), np.dstack([mask, stored[..., ::-1]]).astype(np.uint16))

    def save(self) -> None:
        """Write the journal."""
        _write(self.folder / "clip.json", self.journal.model_dump_json(indent=1).encode())


def open_entry(cache: Path, clip: Path, settings: PairSettings) -> Entry:
    """The clip's place in the cache, as far as it is filled; nothing is written.

    A clip is known by its name, its size and parts of its content, so that a cache may move with its clips, and what
    was computed of another content or with other settings lies elsewhere.

    Raises:
        EngineError: The clip cannot be read.
    """
    try:
        known = [FORMAT, clip.name, *_fingerprint(clip), settings.model_dump(mode="json")]
    except OSError as error:
        raise EngineError(f"cannot read this clip: {error.strerror}", where=str(clip)) from None
    key = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]
    folder = cache / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', clip.stem)[:60]}-{key}"
    try:
        journal = Journal.model_validate_json((folder / "clip.json").read_bytes())
        if journal.settings != settings:
            raise ValueError("these are not its settings")
    except (OSError, ValueError):  # not begun, or damaged: from the start
        journal = Journal(clip=clip.name, settings=settings)
    return Entry(folder, journal)


def _fingerprint(clip: Path) -> tuple[int, str]:
    digest = hashlib.sha256()
    with clip.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        for place in (0, (size - HASHED) // 2, size - HASHED):
            file.seek(max(0, place))
            digest.update(file.read(HASHED))
    return size, digest.hexdigest()


def _write(path: Path, data: bytes) -> None:
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except EngineError as error:  # a full cache says nothing about a clip, so it must not pass for a bad one
        raise RunError(error.problem, where=error.where) from None


def _write_png(path: Path, picture: Array) -> None:
    import cv2

    _write(path, cv2.imencode(".png", np.ascontiguousarray(picture))[1].tobytes())


def _read_png(path: Path, shape: tuple[int, ...], kind: type[Any]) -> Array:
    import cv2

    remedy = "Remove the folder, and it is computed anew."
    try:
        picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    except OSError as error:
        raise BadSample(f"cannot read this file of the flow cache: {error.strerror}", where=str(path), remedy=remedy) from None
    except cv2.error:  # an empty file
        picture = None
    if picture is None or picture.shape != shape or picture.dtype != kind:
        raise BadSample("this file of the flow cache is damaged", where=str(path), remedy=remedy)
    return picture

"""Frames in a row of clips that people have, with estimated flow."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator
from functools import cached_property
from glob import glob
from itertools import accumulate
from pathlib import Path
from typing import ClassVar

from pydantic import model_validator

from engine import Dataset, EngineError, Field, RecipePath, RunError, Sample, cache_folder
from engine_datasets.clip_flow import fill
from engine_datasets.flow_cache import REASONS, Entry, PairSettings, left_out_words, open_entry
from engine_datasets.flow_progress import Progress

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv"})


class Video(Dataset):
    """Any clips. Flow both ways by dense inverse search, the mask by forward-backward check and flow boundaries.

    Frames are cropped in the middle to the shape asked for and resized; flow is estimated at that size. Pairs across scene
    cuts, without motion or with too little to trace are left out. Frames and flow are computed once and kept in the cache;
    ``engine data flow`` does that beforehand, training does what is lacking when it starts. A sample of more frames than two is
    made of pairs that follow each other, so it needs no other cache; ``clip_share`` below 1 leaves few of them.

    A clip that cannot be decoded or is too short is named on stderr and left out; where no clip gives a pair, that is an error.
    """

    name: ClassVar[str] = "video"

    path: RecipePath = Field(description="A folder of clips, searched with its subfolders, one clip, or a pattern such as clips/*.mp4.")
    cache: RecipePath | None = Field(
        default=None, description="The folder that `engine data flow -o` wrote; by default one in the user's cache."
    )
    width: int = Field(default=256, ge=16, le=8192, description="Width of a frame in pixels.")
    height: int = Field(default=256, ge=16, le=8192, description="Height of a frame in pixels.")
    stride: int = Field(default=1, ge=1, le=64, description="Frames from the older of a pair to the newer one; more gives more motion.")
    frames: int = Field(default=2, ge=2, le=64, description="Frames of a sample, each stride after the one before.")
    start: float = Field(default=0.0, ge=0, lt=1, description="The share of each clip that is passed over at its start.")
    stop: float = Field(default=1.0, gt=0, le=1, description="The share of each clip at which it is left.")
    clip_share: float = Field(default=1.0, gt=0, le=1, description="The share of each clip's pairs that is examined, evenly spread.")
    cut: float = Field(
        default=0.2, gt=0, le=1, description="Frames whose colours differ by more (Hellinger distance) have a scene cut between them."
    )
    motion: float = Field(
        default=0.5, ge=0, description="A pair is without motion where fewer than 1 % of the pixels move so many pixels; 0 = keep all."
    )
    traceable: float = Field(default=0.4, ge=0, le=1, description="The least share of pixels that can be traced; 0 = keep all.")

    @model_validator(mode="after")
    def _check_part(self) -> Video:
        if self.start >= self.stop:
            raise ValueError(f"start {self.start:g} must be below stop {self.stop:g}")
        return self

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} samples, not one at {index}")
        at = bisect_right(self._ends, index)
        return self._entries[at].read(self._runs[at][index - (self._ends[at - 1] if at else 0)], self.frames)

    @property
    def place(self) -> Path:
        """The folder that frames and flow are kept in."""
        return self.cache or cache_folder() / "video"

    def about(self, bad: Collection[str] = ()) -> Iterator[str]:
        """Where its cache is."""
        yield f"cache: {self.place}"

    def entries(self, workers: int | None = None, *, every_clip: bool = False) -> list[Entry]:
        """The clips that can be used, each with its pairs; what is not in the cache yet is computed, with progress on stderr.

        Args:
            workers: Threads that estimate flow; by default one for each core.
            every_clip: Tell about clips that are in the cache already, too.

        Raises:
            EngineError: There is no clip, none of them gives a pair, or the cache cannot be written.
        """
        cache = self.place
        settings = PairSettings(**{name: getattr(self, name) for name in PairSettings.model_fields})
        clips = find_clips(self.path)
        entries, bad = list[Entry](), list[EngineError]()
        progress = Progress(len(clips))
        for clip in clips:
            try:
                entry = open_entry(cache, clip, settings)
                notes: tuple[str, ...] = ()
                if new := not entry.journal.complete:
                    with progress.clip(clip) as watch:
                        notes = fill(entry, clip, watch, workers)
                if new or every_clip:
                    progress.finish(clip, entry.journal, notes)
            except EngineError as error:
                if isinstance(error, RunError) or len(clips) == 1:  # it is not for this clip that the cache cannot be written
                    raise
                bad.append(error)
                progress.say(f"left out: {error}")
                continue
            entries.append(entry)
        if not any(entry.journal.pairs for entry in entries):
            raise _no_pair(self.path, entries, bad)
        return entries

    @cached_property
    def _entries(self) -> list[Entry]:
        return self.entries()

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(map(len, self._runs)))

    @cached_property
    def _runs(self) -> list[list[int]]:
        """Of each clip, the newest frames of its samples."""
        runs = [entry.runs(self.frames) for entry in self._entries]
        if not any(runs):
            remedy = "Set clip_share to 1; other values of cut, motion, traceable or stride would keep more pairs."
            raise EngineError(f"no {self.frames} frames in a row are fit for training", where=str(self.path), remedy=remedy)
        return runs


def find_clips(path: Path) -> list[Path]:
    """The clips of a folder and its subfolders, those that a pattern fits, or the one file; sorted.

    Raises:
        EngineError: There is none.
    """
    allowed = ", ".join(sorted(SUFFIXES))
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not found:
            raise EngineError("there is no clip in this folder", where=str(path), allowed=allowed)
        return found
    matching = sorted(Path(name) for name in glob(str(path), recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not matching:
        raise EngineError("there is no such clip or folder, and no file that fits it as a pattern", where=str(path))
    found = [file for file in matching if file.suffix.lower() in SUFFIXES and file.is_file()]
    if not found:
        raise EngineError("none of the files that fit this pattern is a clip by its name", where=str(path), allowed=allowed)
    return found


def _no_pair(path: Path, entries: list[Entry], bad: list[EngineError]) -> EngineError:
    counts = {reason: sum(entry.journal.left_out.get(reason, 0) for entry in entries) for reason in REASONS}
    if any(counts.values()):
        remedy = "Other values of cut, motion, traceable or stride would keep some."
        return EngineError(f"no pair of frames is fit for training: {left_out_words(counts)}", where=str(path), remedy=remedy)
    if entries:
        return EngineError("the share of pairs that is asked for is less than one", where=str(path), remedy="Raise clip_share.")
    return EngineError(f"none of {len(bad)} clips can be used; the first: {bad[0]}", where=str(path))

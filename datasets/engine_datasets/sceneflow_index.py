"""Which pairs of frames a SceneFlow tree has; what was found is kept in the cache until a folder of frames changes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from engine import EngineError, cache_folder, replacing

FORMAT = 1
SETTLED = 2.0
"""Seconds after which a folder's time tells a further change: many disks keep it in coarse steps."""
SPLITS = ("TRAIN", "TEST")
LAYOUT = "Monkaa/{frames}/<scene>/left/0000.png or FlyingThings3D/{frames}/TRAIN/A/0000/left/0006.png; .webp as well"
FLOWS = "optical_flow/<scene>/into_past/{side}/OpticalFlowIntoPast_0001_{letter}.pfm, and the same for into_future (IntoFuture)"
_FRAME = re.compile(r"(\d{1,9})(\.png|\.webp)", re.IGNORECASE)


@dataclass(frozen=True)
class PairFiles:
    """Where the files of two consecutive frames are."""

    older: Path
    newer: Path
    past: Path
    """Flow from the newer frame to the older one."""
    future: Path
    """Flow from the older frame to the newer one."""
    boundaries: Path
    """Motion boundaries of the newer frame, into the past; not everybody has them."""
    boundaries_before: Path
    """Motion boundaries of the older frame, into the future."""


@dataclass(frozen=True)
class Sequence:
    """The frames of one scene seen by one camera."""

    place: str
    """The scene's path below the folder of frames."""
    side: str
    suffix: str
    digits: int
    """Of the frames' numbers."""
    newer: tuple[int, ...]
    """Of each pair, the number of the newer frame."""

    def split(self) -> str | None:
        """FlyingThings3D's TRAIN or TEST; Monkaa has none."""
        first = self.place.split("/")[0].upper()
        return first if first in SPLITS else None

    def of_runs(self, frames: int) -> Sequence:
        """The same, with those pairs that end a run of so many frames."""
        there = set(self.newer)
        return replace(self, newer=tuple(n for n in self.newer if all(n - k in there for k in range(frames - 1))))

    def files(self, root: Path, frames: str, number: int) -> PairFiles:
        """The files of the pair that ends with the frame of this number, whether they are there or not."""
        before, now = (f"{n:0{self.digits}d}" for n in (number - 1, number))
        letter, pictures = self.side[0].upper(), root / frames / self.place / self.side
        flows, edges = root / "optical_flow" / self.place, root / "motion_boundaries" / self.place
        return PairFiles(
            older=pictures / f"{before}{self.suffix}",
            newer=pictures / f"{now}{self.suffix}",
            past=flows / "into_past" / self.side / f"OpticalFlowIntoPast_{now}_{letter}.pfm",
            future=flows / "into_future" / self.side / f"OpticalFlowIntoFuture_{before}_{letter}.pfm",
            boundaries=edges / "into_past" / self.side / f"{now}.pgm",
            boundaries_before=edges / "into_future" / self.side / f"{before}.pgm",
        )


def find_roots(folder: Path, frames: str) -> list[Path]:
    """The folder itself where it holds the folder ``frames``; else Monkaa and FlyingThings3D in it, whatever their spelling.

    Raises:
        EngineError: Neither is there, or one of them twice.
    """
    if _is_folder(folder / frames):
        return [folder]
    found: dict[str, Path] = {}
    for entry in _entries(folder):
        kind = re.sub(r"[^a-z0-9]", "", entry.name.lower())
        if kind not in ("monkaa", "flyingthings3d", "flyingthings") or not _is_folder(Path(entry.path, frames)):
            continue
        if (kind := kind.removesuffix("3d")) in found:
            both = f"{found[kind].name} and {entry.name}"
            raise EngineError(f"two folders are the same data set by their names: {both}", where=str(folder), remedy="Name one of them.")
        found[kind] = Path(entry.path)
    if not found:
        other = "frames_cleanpass" if frames == "frames_finalpass" else "frames_finalpass"
        has_other = [path for path in (folder, *(Path(entry.path) for entry in _entries(folder))) if _is_folder(path / other)]
        problem = f"there is no {frames} here, nor in a folder called Monkaa or FlyingThings3D in it"
        if not _entries(folder):
            problem = "this folder is empty"
        remedy = f"{has_other[0]} has {other}: set render_pass to {other.removeprefix('frames_')}." if has_other else ""
        raise EngineError(problem, where=str(folder), allowed=LAYOUT.format(frames=frames), remedy=remedy)
    return [found[kind] for kind in sorted(found, reverse=True)]  # Monkaa first


def read_index(root: Path, frames: str) -> list[Sequence]:
    """Every sequence of a root, both splits and cameras: from the cache where no folder of frames changed, else from the disk.

    A pair is made of numbers that follow each other. Where a frame between others is missing, its pairs are listed too, so
    that reading them tells its path.
    """
    place = root.resolve() / frames
    key = hashlib.sha256(str(place).encode()).hexdigest()[:16]
    kept = cache_folder() / "sceneflow" / f"{key}.json"
    if (sequences := _read_kept(kept, place)) is not None:
        return sequences
    folders: dict[str, int] = {}
    began = time.time()
    sequences = list(_list_sequences(place, folders))
    if max(folders.values()) < (began - SETTLED) * 1e9:
        data = {"format": FORMAT, "frames": str(place), "folders": folders, "sequences": [list(vars(each).values()) for each in sequences]}
        _keep(kept, json.dumps(data))
    return sequences


def check_flow(root: Path, sequences: list[Sequence]) -> None:
    """An :class:`EngineError` where no sequence has folders of flow in both directions: a root with frames only."""
    for each in sequences:
        flows = root / "optical_flow" / each.place
        if all((flows / direction / each.side).is_dir() for direction in ("into_past", "into_future")):
            return
    side = sequences[0].side
    problem = "there are frames and no optical flow" if not (root / "optical_flow").is_dir() else "no scene has optical flow both ways"
    raise EngineError(problem, where=str(root), allowed=FLOWS.format(side=side, letter=side[0].upper()))


def _keep(kept: Path, text: str) -> None:
    """Write it for the next time; where that cannot be done, the next time takes as long as this one did."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replacing(kept) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except (OSError, EngineError) as error:
        problem = error.problem if isinstance(error, EngineError) else f"cannot make this folder: {error.strerror}"
        _warn_once(f"{kept.parent}: {problem}")


@lru_cache
def _warn_once(problem: str) -> None:
    if multiprocessing.parent_process() is None:  # a loader's processes would say it again
        sys.stderr.write(f"warning: SceneFlow's index cannot be kept and is built anew each time: {problem}\n")


def _read_kept(kept: Path, place: Path) -> list[Sequence] | None:
    """What an earlier run found, or None where it is not there, damaged or no longer true."""
    try:
        data = json.loads(kept.read_text(encoding="utf-8"))
        if data["format"] != FORMAT or data["frames"] != str(place):
            return None
        if any(os.stat(os.path.join(place, folder)).st_mtime_ns != time_ns for folder, time_ns in data["folders"].items()):  # noqa: PTH116, PTH118  # thousands of them: pathlib takes three times as long
            return None
        return [Sequence(place, side, suffix, digits, tuple(newer)) for place, side, suffix, digits, newer in data["sequences"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _list_sequences(place: Path, folders: dict[str, int]) -> Iterator[Sequence]:
    """Walk the folders of frames; ``folders`` gets the time of each as it was before it was read."""

    def enter(inside: str) -> list[os.DirEntry[str]]:
        path = place / inside
        folders[inside] = path.stat().st_mtime_ns
        return _entries(path)

    def subfolders(inside: str) -> list[str]:
        return [f"{inside}/{entry.name}" if inside else entry.name for entry in enter(inside) if entry.is_dir()]

    for top in subfolders(""):
        scenes = [top] if top.upper() not in SPLITS else [scene for letter in subfolders(top) for scene in subfolders(letter)]
        for scene in scenes:
            for folder in subfolders(scene):
                side = folder.rpartition("/")[2]
                if side in ("left", "right") and (found := _sequence(scene, side, enter(folder))):
                    yield found


def _sequence(scene: str, side: str, entries: list[os.DirEntry[str]]) -> Sequence | None:
    by_suffix: dict[str, list[str]] = {}
    for entry in entries:
        if match := _FRAME.fullmatch(entry.name):
            by_suffix.setdefault(match[2], []).append(match[1])
    if not by_suffix:
        return None
    suffix, texts = max(by_suffix.items(), key=lambda item: (len(item[1]), item[0] == ".png"))
    numbers = {int(text) for text in texts}
    first, last = min(numbers), max(numbers)
    newer = {n for n in numbers if n > first} | {n + 1 for n in numbers if n < last}
    return Sequence(scene, side, suffix, min(map(len, texts)), tuple(sorted(newer))) if newer else None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise EngineError(f"cannot read this folder: {error.strerror}", where=str(folder)) from None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # no right to look
        return False

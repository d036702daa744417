"""Which dataset fits what lies in a folder."""

from __future__ import annotations

from glob import glob
from pathlib import Path

from engine import Dataset, EngineError
from engine_datasets.images import Images
from engine_datasets.photos import SUFFIXES, list_photos
from engine_datasets.sceneflow import SceneFlow
from engine_datasets.video import SUFFIXES as CLIPS
from engine_datasets.video import Video

PASSES = {"frames_finalpass": "finalpass", "frames_cleanpass": "cleanpass"}


def open_folder(place: str) -> tuple[Dataset, str]:
    """SceneFlow, photos or clips, whichever are there.

    Args:
        place: A folder, a file, or a pattern such as ``clips/*.mp4``.

    Returns:
        SceneFlow's left camera with all its splits; each photo once; or what ``video`` makes of the clips in its usual
        size and cache. Beside it what is to be said of the settings that were chosen; nothing where there is no choice.

    Raises:
        EngineError: None of them is there, or the layout is wrong.
    """
    path = Path(place)
    if path.is_dir():
        for frames, render_pass in PASSES.items():
            if any(path.glob(f"{frames}/")) or any(path.glob(f"*/{frames}/")):
                return SceneFlow.model_validate({"roots": place, "render_pass": render_pass, "split": "both"}), ""
    if path.is_dir():
        found = [path, *path.rglob("*")]
    elif path.exists():
        found = [path]
    else:
        found = [Path(name) for name in glob(place)]  # noqa: PTH207  # Path.glob takes no absolute pattern
    clips = sum(file.suffix.lower() in CLIPS for file in found)
    photos = sum(file.suffix.lower() in SUFFIXES for file in found)
    if clips and clips >= photos:
        return Video(path=path), "these are the usual settings of `video`; for others name a recipe that has them"
    if photos and path.exists():
        return Images(path=path, length=len(list_photos(path))), ""
    allowed = f"SceneFlow ({' or '.join(PASSES)} in it or one folder below), clips ({', '.join(sorted(CLIPS))}), photos"
    problem = "nothing here is training data" if found else "there is no such file or folder"
    raise EngineError(problem, where=place, allowed=allowed if found else f"{allowed}, or a recipe")

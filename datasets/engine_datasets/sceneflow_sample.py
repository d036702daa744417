"""Generated scenes on disk in SceneFlow's layout (Mayer et al., CVPR 2016), to try out what reads the real thing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine import EngineError
from engine_datasets.flow_files import write_pfm, write_pgm
from engine_datasets.moving_layers import MovingLayers
from engine_datasets.scenes import Scene

MONKAA_FIRST, FLYINGTHINGS_FIRST = 0, 6
"""The number of a scene's first frame."""


def write_sample(folder: Path, *, scenes: int, frames: int, size: tuple[int, int], seed: int) -> dict[str, list[Path]]:
    """Write so many scenes of Monkaa's and of FlyingThings3D's form, size = (height, width).

    Returns the scenes written, as paths below ``frames_finalpass``, by root. An :class:`EngineError` where a root
    is there already or cannot be written.
    """
    height, width = size
    generated = MovingLayers(seed=seed, length=2 * scenes, width=width, height=height, motion=max(2.0, width / 60))
    names = {
        "Monkaa": [Path(f"generated_x{n}") for n in range(scenes)],
        "Flyingthings3d": [Path("TEST" if n == 1 else "TRAIN", "ABC"[n % 3], f"{n // 3:04d}") for n in range(scenes)],
    }
    for root in names:
        if (folder / root).exists():
            raise EngineError("this is here already", where=str(folder / root), remedy="Name another folder, or remove it.")
    try:
        for number, (root, place) in enumerate((root, place) for root, places in names.items() for place in places):
            first = MONKAA_FIRST if root == "Monkaa" else FLYINGTHINGS_FIRST
            # a frame more at either end, because SceneFlow gives flow at the ends too: it points at frames that are not there
            _write_scene(generated.scene(number, frames + 2), folder / root, place, first, frames)
    except OSError as error:
        raise EngineError(f"cannot write here: {error.strerror}", where=str(error.filename or folder)) from None
    return names


def _write_scene(scene: Scene, root: Path, place: Path, first: int, frames: int) -> None:
    import cv2

    pictures = root / "frames_finalpass" / place / "left"
    pictures.mkdir(parents=True)
    for k in range(1, frames + 1):
        number = f"{first + k - 1:04d}"
        (pictures / f"{number}.png").write_bytes(cv2.imencode(".png", scene.view(k).frame[..., ::-1])[1].tobytes())
        for direction, to in (("into_past", k - 1), ("into_future", k + 1)):
            flows = root / "optical_flow" / place / direction / "left"
            edges = root / "motion_boundaries" / place / direction / "left"
            flows.mkdir(parents=True, exist_ok=True)
            edges.mkdir(parents=True, exist_ok=True)
            name = f"OpticalFlow{'IntoPast' if to < k else 'IntoFuture'}_{number}_L.pfm"
            flow = scene.flow(k, to)
            write_pfm(flows / name, np.stack([flow[0], flow[1], np.zeros_like(flow[0])], -1))
            write_pgm(edges / f"{number}.pgm", scene.boundaries(k, to) * np.uint8(255))

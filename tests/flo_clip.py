"""A folder of frames with .flo files both ways, as the dataset of tests/plugins/flo_frames reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine import Picture, estimate_flow, write_picture
from engine.testing import moving_sample


def write_flo_clip(folder: Path, count: int = 4) -> None:
    """Four frames of 48x32 pixels in which a texture moves, and the flow that dense inverse search finds in them."""
    folder.mkdir()
    sample = moving_sample(frames=count, name="a stranger's clip")
    frames = [np.ascontiguousarray(np.kron(frame, np.ones((2, 2, 1), np.uint8))) for frame in sample.frames]
    for k, frame in enumerate(frames, 1):
        write_picture(folder / f"frame_{k:04d}.png", Picture(frame))
    for k in range(2, count + 1):
        for now, before in ((k, k - 1), (k - 1, k)):
            flow = estimate_flow(frames[now - 1], frames[before - 1])
            sides = np.array([flow.shape[2], flow.shape[1]], "<i4").tobytes()
            path = folder / f"flow_{now:04d}_to_{before:04d}.flo"
            path.write_bytes(b"PIEH" + sides + flow.transpose(1, 2, 0).astype("<f4").tobytes())

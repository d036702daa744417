"""A dataset for styleengine: a folder of numbered frames with their flow in .flo files."""

import re
from functools import cached_property
from pathlib import Path

import numpy as np

from engine import Array, BadSample, Dataset, EngineError, Field, RecipePath, Sample, hookimpl, read_picture, visible
from flo_frames.flo import UNKNOWN, read_flo

ENGINE_API = "1"


class FloFrames(Dataset):
    """``frame_0001.png``, ``frame_0002.png``, ... and ``flow_0002_to_0001.flo``, from a pixel of frame 2 to its place in frame 1.

    That is the engine's direction. Middlebury's own files lead forward, and negating one is no remedy, because it starts at other pixels.
    Where ``flow_0001_to_0002.flo`` is there too, a pixel counts as traceable if both directions agree; without it, if its flow is
    known and stays in the picture, so that what was hidden before counts as well. A missing number ends a clip; all frames have one size.
    """

    name = "flo_frames"
    path: RecipePath = Field(description="The folder.")
    frames: int = Field(default=2, ge=2, description="Consecutive frames of a clip.")

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Sample:
        start = self._starts[index]  # an IndexError at the end
        numbers = range(start, start + self.frames)
        pictures = [_picture(self._frames[number]) for number in numbers]
        for number, picture in zip(numbers, pictures, strict=True):
            _check_size(self._frames[number], picture.shape[:2], pictures[0].shape[:2])
        traced = [self._traced(number, pictures[0].shape[:2]) for number in numbers[1:]]
        return Sample(np.stack(pictures), np.stack([flow for flow, _ in traced]), np.stack([mask for _, mask in traced]))

    @cached_property
    def _frames(self) -> dict[int, Path]:
        found = ((re.fullmatch(r"frame_(\d{4,9})\.png", file.name), file) for file in sorted(self.path.glob("frame_*.png")))
        return {int(match[1]): file for match, file in found if match}

    @cached_property
    def _starts(self) -> list[int]:
        starts = [first for first in self._frames if all(first + k in self._frames for k in range(self.frames))]
        if not starts:
            wanted = f"{self.frames} frames of consecutive numbers, as frame_0001.png and frame_0002.png"
            raise EngineError("there is no clip in this folder", where=str(self.path), allowed=wanted)
        if not any(self._flow(first + 1, first).is_file() for first in starts):
            remedy = "Flow from a frame to the next one is the wrong direction; estimate it from each frame to the one before."
            raise EngineError(
                "no frame has its flow", where=str(self.path), allowed=self._flow(starts[0] + 1, starts[0]).name, remedy=remedy
            )
        return starts

    def _flow(self, start: int, to: int) -> Path:
        return self.path / f"flow_{start:04d}_to_{to:04d}.flo"

    def _traced(self, number: int, size: tuple[int, ...]) -> tuple[Array, Array]:
        """The flow (2, h, w) from a frame to the one before, and its mask (1, h, w)."""
        flow, known = _known_flow(self._flow(number, number - 1), size)
        if (forward := self._flow(number - 1, number)).is_file():
            other, there = _known_flow(forward, size)
            agree = visible(flow, np.where(there, other, np.float32(np.nan)))  # what is not known agrees with nothing
            return flow, agree * known
        (h, w), (dx, dy) = size, flow
        x, y = np.arange(w) + dx, np.arange(h)[:, None] + dy
        inside = (x >= 0) & (y >= 0) & (x <= w - 1) & (y <= h - 1)
        return flow, (known & inside).astype(np.float32)


def _known_flow(path: Path, size: tuple[int, ...]) -> tuple[Array, Array]:
    """The flow with zeros where it is not known, and where it is known, bool (1, h, w)."""
    flow = read_flo(path)
    _check_size(path, flow.shape[1:], size)
    known = (np.abs(flow) < UNKNOWN).all(axis=0, keepdims=True)  # also False for NaN
    return np.where(known, flow, np.float32(0)), known


def _picture(path: Path) -> Array:
    try:
        return read_picture(path).rgb
    except EngineError as error:
        raise BadSample(error.problem, where=str(path)) from None


def _check_size(path: Path, found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if found != wanted:
        raise BadSample(
            f"this is {found[1]}x{found[0]} pixels", where=str(path), allowed=f"{wanted[1]}x{wanted[0]}, as the clip's first frame"
        )


@hookimpl
def engine_register_datasets() -> list[type[Dataset]]:
    """The datasets of this plugin."""
    return [FloFrames]

"""Clips that are varied at random while training runs; flow and mask stay exact."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, model_validator

from engine.contracts.dataset import Dataset, Sample
from engine.errors import EngineError
from engine.ops import Array

SALT = 0x6175676D
"""Keeps the draws apart from those of a dataset with the same seed and index."""
JUMP = 0.5
"""Pixels that flow may change from one pixel to the next; where it changes more, two things that move differently meet."""


class Augmentation(BaseModel):
    """How clips are varied; nothing is by default. All frames of a clip share geometry and colour."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    flip: float = Field(default=0.0, ge=0, le=1, description="How probably a clip is mirrored, left to right.")
    crop: tuple[int, int] | None = Field(default=None, description="Width and height of a random part; the whole clip by default.")
    scale: tuple[float, float] | None = Field(
        default=None, description="Clips are enlarged by a factor from this range before they are cropped, to crop or to their own size."
    )
    colour: float = Field(default=0.0, ge=0, le=1, description="How far contrast, brightness and hue of a clip change; 0 = off.")
    illumination: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Brightness changes between frames by at most about this share, overall and along a gradient; 0 = off.",
    )
    versions: int = Field(default=1, ge=1, le=1000, description="Of each clip so many variations, which an epoch all shows.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.crop and min(self.crop) < 4:
            raise ValueError("a crop has at least 4x4 pixels")
        if self.scale and not 0.1 <= self.scale[0] <= self.scale[1] <= 10:
            raise ValueError("scale is a range [lowest, highest] within 0.1 and 10")
        return self

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of what becomes of a clip of this size; an :class:`EngineError` where it is too small."""
        wide, high = self.crop or (width, height)
        least = self.scale[0] if self.scale else 1.0
        if round(wide / least) > width or round(high / least) > height:
            scaled = f" scaled by {least:g}" if self.scale else ""
            allowed = "a crop inside them, or a higher scale"
            raise EngineError(f"clips of {width}x{height}{scaled} are smaller than {wide}x{high}", allowed=allowed)
        return wide, high


class Augmented(Dataset):
    """The clips of another dataset, varied: the same variation for the same seed and index.

    Mirroring and cropping are exact. Where a clip is scaled, the mask is 0 wherever a resized pixel, or one that tracing it reads,
    shows more than one motion. The last clip, which is held out, is only cropped, in the middle; so is that of a dataset of one.
    A clip looks the same in every epoch; ``versions`` makes epochs that show each so many times, never alike.
    """

    name: ClassVar[str] = "augmented"

    dataset: SerializeAsAny[Dataset] = Field(description="Where the clips come from.")
    augmentation: Augmentation = Field(description="How they vary.")
    seed: int = Field(default=0, ge=0, description="Other seeds vary them otherwise.")

    @classmethod
    def of(cls, dataset: Dataset, augmentation: Augmentation, seed: int) -> Augmented:
        """``dataset``, varied; as many samples may be bad as there."""
        return cls(dataset=dataset, augmentation=augmentation, seed=seed, bad_share=dataset.bad_share)

    def __len__(self) -> int:
        count = len(self.dataset)
        return (count - 1) * self.augmentation.versions + 1 if count > 1 else count

    def __getitem__(self, index: int) -> Sample:
        last = len(self) - 1
        sample = self.dataset[self._place(index)]
        height, width = sample.frames.shape[1:3]
        try:
            size = self.augmentation.fit(width, height)
        except EngineError as error:
            raise EngineError(error.problem, where=f"augment, dataset {self.dataset.name!r}", allowed=error.allowed) from None
        if index == last:
            return cut(sample, Window((width - size[0]) // 2, (height - size[1]) // 2, *size), size) if self.augmentation.crop else sample
        return vary(sample, self.augmentation, size, np.random.default_rng([self.seed, index, SALT]))

    def clip(self, index: int) -> Hashable:
        return self.dataset.clip(self._place(index))

    def with_frames(self, frames: int) -> Self:
        return self.model_copy(update={"dataset": self.dataset.with_frames(frames)})

    def about(self, bad: Collection[str] = ()) -> Iterable[str]:
        return self.dataset.about(bad)

    def _place(self, index: int) -> int:
        last, clips = len(self) - 1, len(self.dataset)
        if not 0 <= index <= last:
            raise IndexError(f"there are {last + 1} clips, not one at {index}")
        return clips - 1 if index == last else index % (clips - 1)


@dataclass(frozen=True)
class Window:
    """A part of a frame, in whole pixels."""

    x: int
    y: int
    width: int
    height: int

    def of(self, picture: Array) -> Array:
        """That part of (h, w) or (h, w, channels)."""
        part: Array = picture[self.y : self.y + self.height, self.x : self.x + self.width]
        return part


def vary(sample: Sample, how: Augmentation, size: tuple[int, int], rng: np.random.Generator) -> Sample:
    """One variation of a clip, of size (width, height)."""
    height, width = sample.frames.shape[1:3]
    factor = float(np.exp(rng.uniform(*np.log(how.scale)))) if how.scale else 1.0
    part = (min(round(size[0] / factor), width), min(round(size[1] / factor), height))
    window = Window(int(rng.integers(width - part[0] + 1)), int(rng.integers(height - part[1] + 1)), *part)
    sample = cut(sample, window, size)
    if rng.random() < how.flip:
        sample = mirrored(sample)
    frames = _recoloured(rng, sample.frames, how.colour) if how.colour else sample.frames
    if how.illumination:
        seen = frames.astype(np.float32)
        relight(rng, seen, how.illumination)
        frames = np.clip(np.rint(seen, out=seen), 0, 255, out=seen).astype(np.uint8)
    return Sample(frames, sample.flow, sample.mask)


def mirrored(sample: Sample) -> Sample:
    """Left to right, with u negated."""
    flow = mask = None
    if sample.flow is not None and sample.mask is not None:
        flow = sample.flow[..., ::-1] * np.array([-1, 1], np.float32)[:, None, None]
        mask = np.ascontiguousarray(sample.mask[..., ::-1])
    return Sample(np.ascontiguousarray(sample.frames[:, :, ::-1]), flow, mask)


def cut(sample: Sample, window: Window, size: tuple[int, int]) -> Sample:
    """A part of every frame, resized to ``size`` = (width, height); what leaves the part is masked."""
    height, width = sample.frames.shape[1:3]
    if window == Window(0, 0, width, height) and size == (width, height):
        return sample
    frames = np.stack([_resized(window.of(frame), size) for frame in sample.frames])
    if sample.flow is None or sample.mask is None:
        return Sample(frames)
    by = (size[0] / window.width, size[1] / window.height)
    flow = np.empty((len(sample.flow), 2, size[1], size[0]), np.float32)
    mask = np.empty((len(sample.flow), 1, size[1], size[0]), np.float32)
    for k, (there, seen) in enumerate(zip(sample.flow, sample.mask, strict=True)):
        for axis in (0, 1):
            flow[k, axis] = _resized(window.of(there[axis]), size) * np.float32(by[axis])
        mask[k, 0] = _traceable(there, seen[0], window, by, size) & _inside(flow[k], by)
    return Sample(frames, flow, mask)


def relight(rng: np.random.Generator, seen: Array, illumination: float) -> None:
    """Change the light from frame to frame, as lamps and clouds do.

    Args:
        rng: Where the change is drawn from.
        seen: Frames, float32 (t, h, w, 3) in 0 .. 255; scaled and shifted in place, possibly beyond that range.
        illumination: At most about this share, overall and along a gradient.
    """
    height, width = seen.shape[1:3]
    strength = illumination * rng.random()
    direction, tilt = rng.uniform(0, 2 * np.pi), rng.random()
    x = np.linspace(-1, 1, width, dtype=np.float32) * np.float32(np.cos(direction))
    y = np.linspace(-1, 1, height, dtype=np.float32) * np.float32(np.sin(direction))
    slope = (x[None, :] + y[:, None])[..., None]
    (phase, phase2, phase3), (rate, rate2, rate3) = rng.uniform(0, 2 * np.pi, 3), rng.uniform(0.4, 1.6, 3)
    for k, frame in enumerate(seen):
        gain = (1 - tilt) * np.sin(phase + rate * k) + tilt * np.sin(phase2 + rate2 * k) * slope
        frame *= (1 + strength * gain).astype(np.float32)
        frame += np.float32(255 * 0.2 * strength * np.sin(phase3 + rate3 * k))


def _recoloured(rng: np.random.Generator, frames: Array, strength: float) -> Array:
    import cv2

    mixing = np.eye(3) * (1 + strength * rng.uniform(-0.4, 0.4)) + strength * rng.uniform(-0.2, 0.2, (3, 3))
    shift = 127.5 - mixing @ np.full(3, 127.5) + strength * rng.uniform(-50, 50)
    tall = frames.reshape(-1, frames.shape[2], 3)
    return np.asarray(cv2.transform(tall, np.column_stack([mixing, shift])), np.uint8).reshape(frames.shape)


def _resized(picture: Array, size: tuple[int, int]) -> Array:
    import cv2

    if picture.shape[1::-1] == size:
        return np.ascontiguousarray(picture)
    shrinks = size[0] < picture.shape[1]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


def _traceable(flow: Array, mask: Array, window: Window, by: tuple[float, float], size: tuple[int, int]) -> Array:
    """bool (h, w) of the new size: all that a resized pixel mixes, and tracing it reads, is traceable and moves as one."""
    import cv2

    good = mask > 0
    if by == (1.0, 1.0):
        return window.of(good)
    for axis, (a, b) in enumerate(((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:, :], np.s_[:-1, :]))):
        jump = np.abs(np.diff(flow, axis=2 - axis)).max(0) > JUMP
        good[a] &= ~jump
        good[b] &= ~jump
    # a resized pixel mixes what lies within max(1, 1/by); sampling the frame before reads resized pixels up to 1/by away;
    # and the nearest pixel, which answers for it, is up to 0.5 from its middle
    wide = max(1 / by[0], 1 / by[1])
    reach = int(np.ceil(wide + max(1, wide) + 0.5)) - 1
    around = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    whole = cv2.erode(good.astype(np.uint8), around, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(window.of(whole), size, interpolation=cv2.INTER_NEAREST_EXACT), bool)


def _inside(flow: Array, by: tuple[float, float]) -> Array:
    """bool (h, w): the pixel and the place that it came from are in the frame, and not where enlarging repeats its border."""
    height, width = flow.shape[1:]
    edge_x, edge_y = (max(0, int(np.ceil((factor - 1) / 2))) for factor in by)
    column, row = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    x, y = flow[0] + column, flow[1] + row
    there = (x >= edge_x) & (x <= width - 1 - edge_x) & (y >= edge_y) & (y <= height - 1 - edge_y)
    here = (column >= edge_x) & (column <= width - 1 - edge_x) & (row >= edge_y) & (row <= height - 1 - edge_y)
    return np.asarray(there & here)

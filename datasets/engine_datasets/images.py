"""Clips made of single photos: every frame is the photo, bent by a known smooth motion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from engine import Array, BadSample, Dataset, EngineError, Field, RecipePath, Sample
from engine_datasets.exposure import expose
from engine_datasets.photos import LONG_SIDE, cached_photos, list_photos

if TYPE_CHECKING:
    from pathlib import Path

SMALLEST = 32
"""Pixels of a photo's short side; less shows nothing once it is enlarged."""
WAVES = 3


class Images(Dataset):
    """For whoever has pictures and no clips: a random part of a photo moves by an affine motion and soft waves.

    The motion from each frame to the one before is a formula, so the flow is exact; every frame is sampled from the photo,
    never from the frame before. The mask is 1 where the place that a pixel came from is in the frame and the motion does not fold.
    With ``illumination`` and ``noise`` at 0, warping frame k-1 by the flow gives frame k inside the mask, but for what sampling
    between pixels loses: below 1 grey level on average.
    """

    name: ClassVar[str] = "images"

    path: RecipePath = Field(description="A folder of photos, searched with its subfolders, or one photo.")
    seed: int = Field(default=0, ge=0, description="Other seeds give other clips.")
    length: int = Field(default=16384, ge=1, description="Clips; the photos take turns, each time with another motion.")
    width: int = Field(default=256, ge=16, le=8192, description="Width of a frame in pixels.")
    height: int = Field(default=256, ge=16, le=8192, description="Height of a frame in pixels.")
    frames: int = Field(default=2, ge=1, description="Frames a clip.")
    motion: float = Field(default=8.0, ge=0, description="The middle of the picture moves by at most so many pixels a frame.")
    rotation: float = Field(default=2.0, ge=0, le=45, description="The picture turns by at most so many degrees a frame.")
    zoom: float = Field(default=0.02, ge=0, le=0.2, description="The picture grows or shrinks by at most this share a frame.")
    bend: float = Field(default=3.0, ge=0, description="Soft waves move its parts by at most so many pixels a frame more.")
    illumination: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="Brightness changes between frames by at most about this share, overall and along a gradient; 0 = off.",
    )
    noise: float = Field(default=2.0, ge=0, le=64, description="Standard deviation of the noise of each frame in grey levels; 0 = off.")

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        import cv2

        if not 0 <= index < self.length:
            raise IndexError(f"there are {self.length} clips, not one at {index}")
        rng = np.random.default_rng([self.seed, index])
        photo = self._read(self._photos[index % len(self._photos)])
        margin = 8 + int(np.ceil(self.motion + self.bend))
        ground = cut_photo(rng, photo, (self.height + 2 * margin, self.width + 2 * margin))
        sway = draw_sway(rng, (self.width, self.height), self.motion, np.deg2rad(self.rotation), self.zoom, self.bend)
        shifts = [sway.shift(k) for k in range(1, self.frames)]
        start = margin - np.sum(shifts, axis=0) / 2 if shifts else np.full(2, margin)  # the middle of the clip shows the middle
        x, y = np.meshgrid(np.arange(self.width, dtype=np.float64), np.arange(self.height, dtype=np.float64))
        frames = np.empty((self.frames, self.height, self.width, 3), np.uint8)
        flow = np.empty((self.frames - 1, 2, self.height, self.width), np.float32)
        mask = np.empty((self.frames - 1, 1, self.height, self.width), np.float32)
        for k in range(self.frames):
            at_x, at_y = x, y
            for step in range(k, 0, -1):  # back to the oldest frame, which lies still on the photo
                u, v = sway.flow(step, at_x, at_y)
                if step == k:
                    flow[k - 1] = u, v
                    mask[k - 1, 0] = traceable(flow[k - 1])
                at_x, at_y = at_x + u, at_y + v
            to_x, to_y = (at_x + start[0]).astype(np.float32), (at_y + start[1]).astype(np.float32)
            frames[k] = cv2.remap(ground, to_x, to_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        return Sample(expose(rng, frames, self.illumination, self.noise), flow, mask)

    @cached_property
    def _photos(self) -> tuple[Path, ...]:
        return list_photos(self.path)

    @cached_property
    def _photo(self) -> Callable[[Path], Array]:
        return cached_photos(max(LONG_SIDE, 2 * max(self.width, self.height)))

    def _read(self, path: Path) -> Array:
        try:
            photo = self._photo(path)
        except EngineError as error:
            raise BadSample(error.problem, where=error.where, allowed=error.allowed, remedy=error.remedy) from None
        height, width = photo.shape[:2]
        if min(width, height) < SMALLEST:
            raise BadSample(f"this photo has {width}x{height} pixels, and the smallest that shows something has {SMALLEST}x{SMALLEST}",
                            where=str(path))  # fmt: skip
        return photo


@dataclass(frozen=True)
class Sway:
    """A motion that is alike at every step of a clip; coordinates in pixels of the frame."""

    middle: Array
    """(2,): x, y."""
    turn: Array
    """(2, 2): what the picture turns and grows by in a step, less one."""
    speed: float
    heading: float
    curve: float
    """Radians that the heading changes by in a step."""
    heights: Array
    """(waves, 2): how far each wave moves things, in x and y."""
    numbers: Array
    """(waves, 2): radians a pixel, in x and y."""
    phases: Array
    rates: Array
    """Radians that a wave moves on by in a step."""

    def shift(self, k: int) -> Array:
        """(2,): where the middle of frame k was in frame k-1, but for the waves."""
        angle = self.heading + self.curve * k
        return self.speed * np.array([np.cos(angle), np.sin(angle)])

    def flow(self, k: int, x: Array, y: Array) -> tuple[Array, Array]:
        """(dx, dy) from places of frame k to where they were in frame k-1."""
        (a, b), (c, d) = self.turn
        right, down = self.shift(k)
        from_x, from_y = x - self.middle[0], y - self.middle[1]
        u, v = a * from_x + b * from_y + right, c * from_x + d * from_y + down
        for height, number, phase, rate in zip(self.heights, self.numbers, self.phases, self.rates, strict=True):
            wave = np.sin(number[0] * x + number[1] * y + (phase + rate * k))
            u += height[0] * wave
            v += height[1] * wave
        return u, v


def draw_sway(rng: np.random.Generator, size: tuple[int, int], motion: float, radians: float, zoom: float, bend: float) -> Sway:
    """A random motion for frames of ``size`` = (width, height), each part of it up to what is given."""
    turn, grow = radians * rng.uniform(-1, 1), np.exp(np.log1p(zoom) * rng.uniform(-1, 1))
    cos, sin = grow * np.cos(turn), grow * np.sin(turn)
    share = rng.dirichlet(np.ones(WAVES)) * bend * rng.random()
    along, across = rng.uniform(0, 2 * np.pi, (2, WAVES))
    length = min(size) * np.exp(rng.uniform(np.log(0.6), np.log(2), WAVES))
    return Sway(
        middle=(np.array(size) - 1) / 2,
        turn=np.array([[cos - 1, -sin], [sin, cos - 1]]),
        speed=motion * rng.random(),
        heading=rng.uniform(0, 2 * np.pi),
        curve=rng.uniform(-0.35, 0.35),
        heights=np.stack([np.cos(along), np.sin(along)], 1) * share[:, None],
        numbers=np.stack([np.cos(across), np.sin(across)], 1) * (2 * np.pi / length)[:, None],
        phases=rng.uniform(0, 2 * np.pi, WAVES),
        rates=rng.uniform(-0.5, 0.5, WAVES),
    )


def traceable(flow: Array) -> Array:
    """bool (h, w): flow (2, h, w) leads to a place in the frame, and neighbours stay neighbours, on the same side of each other."""
    height, width = flow.shape[1:]
    x = flow[0] + np.arange(width, dtype=np.float32)  # float32, as the warp computes it
    y = flow[1] + np.arange(height, dtype=np.float32)[:, None]
    (x_down, x_right), (y_down, y_right) = np.gradient(x), np.gradient(y)
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    return np.asarray(inside & (x_right * y_down - x_down * y_right > 0))


def cut_photo(rng: np.random.Generator, photo: Array, size: tuple[int, int]) -> Array:
    """A random part of a photo, uint8 (h, w, 3) of ``size`` = (h, w): from all that fits to half of that; a small photo is enlarged.

    The result is a little blurred, so that sampling it between its pixels loses almost nothing.
    """
    import cv2

    height, width = photo.shape[:2]
    fits = min(height / size[0], width / size[1])
    scale = fits * rng.uniform(0.5, 1)
    rows, columns = min(height, max(1, round(size[0] * scale))), min(width, max(1, round(size[1] * scale)))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    part = photo[top : top + rows, left : left + columns]
    part = cv2.resize(part, size[::-1], interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR)
    return np.asarray(cv2.GaussianBlur(part, (5, 5), 0.8))

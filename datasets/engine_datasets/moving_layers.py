"""Generated clips: textured shapes that move over a background by known motions, with exact flow."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from engine import Array, Dataset, Field, RecipePath, Sample
from engine_datasets.exposure import expose
from engine_datasets.photos import cached_photos, find_photos
from engine_datasets.scenes import Motion, Scene, build_scene
from engine_datasets.textures import draw_texture

if TYPE_CHECKING:
    from pathlib import Path

TEXTURES = 36


class MovingLayers(Dataset):
    """Scenes in the spirit of FlyingChairs (Dosovitskiy et al., 2015), made while training runs; nothing to download.

    A background and shapes before it move by affine motions that are known, so the flow is analytic. Every layer
    is rendered at every frame from its own texture, never from the frame before.

    Edges of shapes are anti-aliased. A pixel that mixes two layers belongs to neither: the mask is 1 where a
    pixel belongs to one layer and all four bilinear neighbours of the place it came from are in the frame and
    belong to that layer. With ``illumination`` and ``noise`` at 0, warping frame k-1 by the flow gives frame k
    inside the mask: bit for bit where ``integer`` is on; otherwise with a mean error below 1 grey level over many
    clips of generated textures, and below 3 in each.
    """

    name: ClassVar[str] = "moving_layers"

    seed: int = Field(default=0, ge=0, description="Other seeds give other clips.")
    length: int = Field(default=16384, ge=1, description="Clips.")
    width: int = Field(default=256, ge=1, description="Width of a frame in pixels.")
    height: int = Field(default=256, ge=1, description="Height of a frame in pixels.")
    frames: int = Field(default=2, ge=1, description="Frames a clip.")
    layers: int = Field(default=5, ge=0, le=64, description="Shapes before the background.")
    motion: float = Field(default=8.0, ge=0, description="A layer's centre moves at most so many pixels a frame.")
    rotation: float = Field(default=2.0, ge=0, le=45, description="A layer turns by at most so many degrees a frame.")
    zoom: float = Field(default=0.02, ge=0, le=0.2, description="A layer grows or shrinks by at most this share of its size a frame.")
    integer: bool = Field(default=False, description="Move by whole pixels only, without rotation and zoom.")
    illumination: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="Brightness changes between frames by at most about this share, overall and along a gradient; 0 = off.",
    )
    noise: float = Field(default=2.0, ge=0, le=64, description="Standard deviation of the noise of each frame in grey levels; 0 = off.")
    photos: RecipePath | None = Field(
        default=None, description="A photo, or a folder searched with its subfolders: textures beside the generated ones."
    )
    photo_share: float = Field(default=0.75, ge=0, le=1, description="The share of layers that show a photo, where there are photos.")

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        rng = self._rng(index)
        scene = self._build(rng, self.frames)
        frames = np.empty((self.frames, self.height, self.width, 3), np.uint8)
        flow = np.empty((self.frames - 1, 2, self.height, self.width), np.float32)
        mask = np.empty((self.frames - 1, 1, self.height, self.width), np.float32)
        for k in range(self.frames):
            frames[k] = scene.view(k).frame
            if k:
                flow[k - 1] = scene.flow(k, k - 1)
                mask[k - 1, 0] = scene.traceable(k, k - 1, flow[k - 1])
        return Sample(expose(rng, frames, self.illumination, self.noise), flow, mask)

    def scene(self, index: int, frames: int) -> Scene:
        """The geometry behind a clip, before illumination and noise; IndexError outside ``length``."""
        return self._build(self._rng(index), frames)

    def _rng(self, index: int) -> np.random.Generator:
        if not 0 <= index < self.length:
            raise IndexError(f"there are {self.length} clips, not one at {index}")
        return np.random.default_rng([self.seed, index])

    def _build(self, rng: np.random.Generator, frames: int) -> Scene:
        motion = Motion(self.motion, np.deg2rad(self.rotation), self.zoom, self.integer)
        return build_scene(rng, (self.height, self.width), frames, self.layers, motion, self._pick)

    def _pick(self, rng: np.random.Generator) -> Array:
        photo = rng.random() < self.photo_share
        if photo and self._photos:
            return self._photo(self._photos[int(rng.integers(len(self._photos)))])
        return _texture(self.seed, int(rng.integers(TEXTURES)))

    @cached_property
    def _photos(self) -> tuple[Path, ...]:
        return find_photos(self.photos) if self.photos else ()

    @cached_property
    def _photo(self) -> Callable[[Path], Array]:
        return cached_photos()


@lru_cache(2 * TEXTURES)
def _texture(seed: int, number: int) -> Array:
    return draw_texture(np.random.default_rng([seed, number, TEXTURES]), number)

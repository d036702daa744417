"""A scene of layers that move by affine motions: its frames, who owns which pixel, and its exact flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial

import numpy as np

from engine import Array
from engine_datasets.shapes import draw_shape
from engine_datasets.textures import cut_texture

MIXED = -1
"""The owner of a pixel in which an anti-aliased edge mixes two layers."""


@dataclass(frozen=True)
class Motion:
    """How far a layer may go from one frame to the next."""

    pixels: float
    radians: float
    zoom: float
    integer: bool


@dataclass(frozen=True)
class Layer:
    """A picture and its pose at each frame."""

    picture: Array
    """uint8 (h, w, 3) RGB. The background goes on, mirrored, beyond its border."""
    cover: Array | None
    """uint8 (h, w): 255 inside a shape, 0 outside; None for the background."""
    poses: Array
    """float64 (t, 2, 3): from (x, y, 1) in the picture to (x, y) in frame k."""


@dataclass(frozen=True)
class View:
    """One frame, and which layer is seen where."""

    frame: Array
    """uint8 (h, w, 3) RGB."""
    owner: Array
    """int16 (h, w): the layer that a pixel shows and nothing else, or ``MIXED``; 0 is the background."""
    top: Array
    """int16 (h, w): the layer that covers most of the pixel."""


@dataclass(frozen=True)
class Scene:
    """Layers, the background first."""

    size: tuple[int, int]
    """Height, width."""
    layers: tuple[Layer, ...]

    @cached_property
    def view(self) -> Callable[[int], View]:
        """Frame k; the last two are kept."""
        return lru_cache(2)(partial(_render, self.size, self.layers))  # holds no scene, which would then hold itself

    def flow(self, k: int, to: int) -> Array:
        """float32 (2, h, w): from each pixel of frame k to where its top layer had it in frame ``to``, in pixels."""
        h, w = self.size
        top = self.view(k).top
        maps = np.array([_compose(layer.poses[to], _invert(layer.poses[k])) for layer in self.layers])
        maps[:, 0, 0] -= 1
        maps[:, 1, 1] -= 1
        x, y = np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)[:, None]
        flow = np.empty((2, h, w), np.float32)
        for axis, out in enumerate(flow):
            by_x, by_y, shift = maps[:, axis].astype(np.float32).T
            np.multiply(by_x.take(top), x, out=out)
            out += by_y.take(top) * y
            out += shift.take(top)
        return flow

    def traceable(self, k: int, to: int, flow: Array) -> Array:
        """bool (h, w): one layer owns the pixel, and in frame ``to`` all neighbours that bilinear sampling reads.

        ``flow`` is that of :meth:`flow`, from k to ``to``.
        """
        h, w = self.size
        now, then = self.view(k).owner, self.view(to).owner
        x = flow[0] + np.arange(w, dtype=np.float32)  # float32, as the warp computes it
        y = flow[1] + np.arange(h, dtype=np.float32)[:, None]
        good: Array = (now != MIXED) & (x >= 0) & (y >= 0) & (x <= w - 1) & (y <= h - 1)
        x, y = np.clip(x, 0, w - 1), np.clip(y, 0, h - 1)
        left, right = np.floor(x).astype(np.intp), np.ceil(x).astype(np.intp)
        above, below = np.floor(y).astype(np.intp) * w, np.ceil(y).astype(np.intp) * w
        flat = then.ravel()
        for place in (above + left, above + right, below + left, below + right):
            good &= flat.take(place) == now
        return good

    def boundaries(self, k: int, to: int) -> Array:
        """bool (h, w): on either side of an edge between layers that move differently from frame k to ``to``, and what it mixes."""
        import cv2

        flow, top = self.flow(k, to), self.view(k).top
        found = np.zeros(self.size, bool)
        for a, b in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:, :], np.s_[:-1, :])):
            jump = np.abs(flow[(slice(None), *a)] - flow[(slice(None), *b)]).max(0)
            edge = (top[a] != top[b]) & (jump > 0.1)
            found[a] |= edge
            found[b] |= edge
        near = cv2.dilate(found.view(np.uint8), np.ones((5, 5), np.uint8)) > 0
        found |= near & (self.view(k).owner == MIXED)
        return found


def build_scene(
    rng: np.random.Generator,
    size: tuple[int, int],
    frames: int,
    shapes: int,
    motion: Motion,
    pick: Callable[[np.random.Generator], Array],
) -> Scene:
    """A scene of so many shapes; ``pick`` gives a texture, uint8 (h, w, 3), for each layer."""
    h, w = size
    margin = 8 + int(np.ceil(motion.pixels))
    still = rng.random() < 0.2  # a camera on a tripod
    ground = cut_texture(rng, pick(rng), (h + 2 * margin, w + 2 * margin))
    camera = Motion(0, 0, 0, motion.integer) if still else motion
    layers = [Layer(ground, None, _move(rng, ground, ((w - 1) / 2, (h - 1) / 2), frames, camera))]
    for _ in range(shapes):
        radius = max(2.5, min(h, w) * float(np.exp(rng.uniform(np.log(0.06), np.log(0.42)))))
        cover = draw_shape(rng, radius)
        picture = cut_texture(rng, pick(rng), (len(cover), len(cover)))
        at = (float(rng.uniform(0, w - 1)), float(rng.uniform(0, h - 1)))
        layers.append(Layer(picture, cover, _move(rng, cover, at, frames, motion)))
    return Scene(size, tuple(layers))


def _move(rng: np.random.Generator, picture: Array, at: tuple[float, float], frames: int, motion: Motion) -> Array:
    """Poses along a bent path whose middle frame has the picture's centre at ``at``; zoom comes and goes."""
    k = np.arange(frames) - (frames - 1) // 2
    speed, heading, bend = motion.pixels * rng.random(), rng.uniform(0, 2 * np.pi), rng.uniform(-0.35, 0.35)
    path = np.stack([np.cos(heading + bend * k), np.sin(heading + bend * k)], 1) * speed
    turn, phase = motion.radians * rng.uniform(-1, 1), rng.uniform(0, 2 * np.pi)
    grow = np.log1p(motion.zoom) * rng.uniform(-1, 1) * np.cos(0.3 * k + phase)
    middle = np.array([picture.shape[1] // 2, picture.shape[0] // 2], np.float64)
    start = np.array(at) - middle
    if motion.integer:
        path, turn, grow, start = np.trunc(path), 0.0, np.zeros(frames), np.rint(start)
    steps, sizes = np.cumsum(path, 0), np.cumsum(grow)
    zero = (frames - 1) // 2
    poses = np.empty((frames, 2, 3))
    for i in range(frames):
        scale = np.exp(sizes[i] - sizes[zero])
        cos, sin = scale * np.cos(turn * k[i]), scale * np.sin(turn * k[i])
        poses[i, :, :2] = [[cos, -sin], [sin, cos]]
        poses[i, :, 2] = start + middle + steps[i] - steps[zero] - poses[i, :, :2] @ middle
    return poses


def _render(size: tuple[int, int], layers: tuple[Layer, ...], k: int) -> View:
    import cv2

    linear = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    owner, top = np.zeros(size, np.int16), np.zeros(size, np.int16)
    pose = _invert(layers[0].poses[k])
    frame: Array = cv2.warpAffine(layers[0].picture, pose, size[::-1], flags=linear, borderMode=cv2.BORDER_REFLECT_101)
    for number, layer in enumerate(layers[1:], 1):
        box = _box(layer, k, size)
        if box is None or layer.cover is None:
            continue
        x0, y0, x1, y1 = box
        pose = _invert(layer.poses[k])
        pose[:, 2] += pose[:, :2] @ (x0, y0)
        seen = cv2.warpAffine(layer.picture, pose, (x1 - x0, y1 - y0), flags=linear, borderMode=cv2.BORDER_REPLICATE)
        cover = cv2.warpAffine(layer.cover, pose, (x1 - x0, y1 - y0), flags=linear, borderMode=cv2.BORDER_CONSTANT)
        part = np.s_[y0:y1, x0:x1]
        whole = cover == 255
        np.copyto(owner[part], number, where=whole)
        np.copyto(top[part], number, where=cover >= 128)
        rows, columns = np.nonzero((cover > 0) & ~whole)
        share = cover[rows, columns, None] / np.float32(255)
        mixed = frame[rows + y0, columns + x0] * (1 - share) + seen[rows, columns] * share
        cv2.copyTo(seen, whole.view(np.uint8), frame[part])
        frame[rows + y0, columns + x0] = np.rint(mixed)
        owner[rows + y0, columns + x0] = MIXED
    return View(frame, owner, top)


def _box(layer: Layer, k: int, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The part of the frame that a shape's picture can touch, (left, top, right, bottom), or None."""
    h, w = layer.picture.shape[:2]
    corners = np.array([[0, 0, 1], [w, 0, 1], [0, h, 1], [w, h, 1]]) @ layer.poses[k].T
    low, high = np.floor(corners.min(0)).astype(int) - 1, np.ceil(corners.max(0)).astype(int) + 2
    x0, y0, x1, y1 = max(0, low[0]), max(0, low[1]), min(size[1], high[0]), min(size[0], high[1])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _invert(pose: Array) -> Array:
    """The inverse of a (2, 3) affine map; exact for whole-pixel shifts."""
    (a, b, x), (c, d, y) = pose
    det = a * d - b * c
    back = np.array([[d, -b], [-c, a]]) / det
    return np.column_stack([back, -(back @ np.array([x, y]))])


def _compose(outer: Array, inner: Array) -> Array:
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])

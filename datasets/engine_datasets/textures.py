"""Procedural textures, rich at every scale, and random cuts from a texture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine import Array

SIDE = 512


def draw_texture(rng: np.random.Generator, number: int) -> Array:
    """A texture, uint8 RGB (512, 512, 3); the number chooses the kind, the generator everything else."""
    kinds: tuple[Callable[[np.random.Generator], Array], ...] = (_leaves, _marble, _leaves, _cells, _sky, _strokes, _leaves, _weave)
    kind = kinds[number % len(kinds)]
    picture = kind(rng)
    rough = 0.3 if kind is _sky else 1.0
    grain = fractal_noise(rng, 1.6) * rng.uniform(2, 12) * rough + fractal_noise(rng, 3.2) * rng.uniform(4, 18)
    whole: Array = np.clip(np.rint(picture + grain[..., None]), 0, 255).astype(np.uint8)
    return whole


def cut_texture(rng: np.random.Generator, texture: Array, size: tuple[int, int]) -> Array:
    """A random part of a texture at a random scale, turned, mirrored and tinted: uint8 (h, w, 3), any size.

    A texture that is too small goes on mirrored. The result is a little blurred, so that sampling it between
    its pixels loses almost nothing.
    """
    import cv2

    flip = bool(rng.random() < 0.5)
    h, w = size[::-1] if flip else size
    fits = min(texture.shape[0] / h, texture.shape[1] / w)
    scale = float(np.exp(rng.uniform(np.log(0.6), np.log(min(max(1.4, fits), 2.6)))))
    part = _part(rng, _part(rng, texture, max(2, round(h * scale)), 0), max(2, round(w * scale)), 1)
    part = cv2.resize(part, (w, h), interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR)
    if flip:
        part = cv2.transpose(part)
    part = cv2.GaussianBlur(part, (5, 5), 0.8)
    contrast, brightness = rng.uniform(0.75, 1.15), rng.uniform(-25, 25)
    tint = np.eye(3) * contrast + rng.uniform(-0.12, 0.12, (3, 3))
    shift = 127.5 - tint @ np.full(3, 127.5) + brightness
    return cv2.transform(part, np.column_stack([tint, shift]))


def _part(rng: np.random.Generator, picture: Array, count: int, axis: int) -> Array:
    """So many consecutive rows or columns from a random one on; mirrored at the ends only where there are too few."""
    side = picture.shape[axis]
    if count <= side:
        start = int(rng.integers(side - count + 1))
        return picture[start : start + count] if axis == 0 else picture[:, start : start + count]
    place = (int(rng.integers(2 * side)) + np.arange(count)) % (2 * side)
    return picture.take(np.minimum(place, 2 * side - 1 - place), axis)


def fractal_noise(rng: np.random.Generator, slope: float) -> Array:
    """Noise with a power spectrum of 1 / f^slope, float32 (512, 512), deviation 1."""
    spectrum = np.fft.rfft2(rng.standard_normal((SIDE, SIDE), np.float32))
    f = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None, :])
    f[0, 0] = 1
    spectrum *= f ** (-slope / 2)
    spectrum[0, 0] = 0
    noise: Array = np.fft.irfft2(spectrum, (SIDE, SIDE)).astype(np.float32)
    noise /= noise.std()
    return noise


def _colours(rng: np.random.Generator, count: int) -> Array:
    """Colours that go together: (count, 3), a few hues, every brightness, from dull to strong."""
    hue = rng.random() + rng.choice([0.0, 0.5, 0.33, 0.1]) * rng.integers(0, 2, count) + rng.normal(0, 0.04, count)
    value = rng.uniform(0.12, 1.0, count)
    saturation = rng.beta(1.6, 2.0, count)
    wheel = np.clip(np.abs((hue[:, None] + np.array([0, 2 / 3, 1 / 3])) % 1 * 6 - 3) - 1, 0, 1)
    colours: Array = 255 * value[:, None] * (1 - saturation[:, None] * (1 - wheel))
    return colours


def _ramp(rng: np.random.Generator, field: Array, stops: int) -> Array:
    """A field in 0 .. 1 shown through a ramp of random colours."""
    colours = _colours(rng, stops)
    at = np.linspace(0, 1, stops)
    return np.stack([np.interp(field, at, colours[:, i]) for i in range(3)], -1).astype(np.float32)


def _colour(rng: np.random.Generator, colours: Array) -> tuple[float, ...]:
    chosen = colours[int(rng.integers(len(colours)))] * rng.uniform(0.8, 1.2) + rng.normal(0, 8, 3)
    return tuple(float(v) for v in chosen.clip(0, 255))


def _leaves(rng: np.random.Generator) -> Array:
    """Dead leaves (Lee, Mumford and Huang, 2001): things before things, sizes by a power law, as photos have them."""
    import cv2

    colours = _colours(rng, 9)
    canvas = np.empty((SIDE, SIDE, 3), np.float32)
    canvas[:] = _colour(rng, colours)
    round_ones = rng.random()
    for radius in rng.uniform(1 / 170**2, 1 / 3**2, 1800) ** -0.5:
        x, y, turn = rng.uniform(0, SIDE), rng.uniform(0, SIDE), rng.uniform(0, 180)
        axes = (radius, radius * rng.uniform(0.35, 1))
        if rng.random() < round_ones:
            cv2.ellipse(canvas, ((x, y), (2 * axes[0], 2 * axes[1]), turn), _colour(rng, colours), -1, cv2.LINE_AA)
        else:
            corners = cv2.boxPoints(((x, y), (2 * axes[0], 2 * axes[1]), turn))
            cv2.fillPoly(canvas, [np.rint(corners * 16).astype(np.int32)], _colour(rng, colours), cv2.LINE_AA, 4)
    return canvas


def _marble(rng: np.random.Generator) -> Array:
    """Bent bands: wood, marble, water."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    bend = rng.uniform(0.3, 1.3) * fractal_noise(rng, 3.4) + 0.12 * fractal_noise(rng, 2.2)
    phase = 2 * np.pi * (rng.integers(-4, 5) * x + rng.integers(1, 6) * y) + 2.5 * bend
    return _ramp(rng, 0.5 + 0.5 * np.sin(phase), 5)


def _cells(rng: np.random.Generator) -> Array:
    """Cells with joints: stones, tiles, leaves' veins."""
    import cv2

    seeds = np.ones((SIDE, SIDE), np.uint8)
    points = rng.integers(0, SIDE, (int(rng.integers(25, 500)), 2))
    seeds[points[:, 0], points[:, 1]] = 0
    distance, label = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colours = _colours(rng, 6)[rng.integers(0, 6, int(label.max()) + 1)] + rng.normal(0, 14, (int(label.max()) + 1, 3))
    edges = (cv2.morphologyEx(label.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0).astype(np.float32)
    joints = cv2.GaussianBlur(edges, (0, 0), rng.uniform(0.8, 2.5))[..., None]
    shade = 1.1 - 0.5 * (distance / distance.max())[..., None]
    return np.asarray(colours[label] * shade * (1 - 0.8 * np.clip(1.5 * joints, 0, 1)), np.float32)


def _sky(rng: np.random.Generator) -> Array:
    """Wide soft changes with little in them, as sky, walls and fog have them."""
    field = fractal_noise(rng, 4.0) * 0.12 + np.linspace(0.15, 0.85, SIDE)[:, None]
    return _ramp(rng, np.clip(field, 0, 1), 4)


def _strokes(rng: np.random.Generator) -> Array:
    """Thin bent lines: grass, hair, branches."""
    import cv2

    colours = _colours(rng, 7)
    canvas = _ramp(rng, np.clip(0.5 + 0.2 * fractal_noise(rng, 3), 0, 1), 4)
    heading, spread = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 1.5)
    for _ in range(1400):
        angle = heading + rng.normal(0, spread) + np.cumsum(np.full(8, rng.normal(0, 0.12)))
        step = rng.uniform(2, 14)
        line = rng.uniform(0, SIDE, 2) + np.cumsum(np.stack([np.cos(angle), np.sin(angle)], 1) * step, 0)
        thick = int(rng.choice([1, 1, 2, 3, 6]))
        cv2.polylines(canvas, [np.rint(line * 16).astype(np.int32)], False, _colour(rng, colours), thick, cv2.LINE_AA, 4)
    return canvas


def _weave(rng: np.random.Generator) -> Array:
    """Stripes and squares over each other: bricks, cloth, windows."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    colours = _colours(rng, 6)
    turn = rng.uniform(-0.5, 0.5)
    x, y = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
    canvas = np.broadcast_to(colours[0], (SIDE, SIDE, 3)).copy()
    for colour in colours[1:]:
        period, share = rng.uniform(8, 110), rng.uniform(0.1, 0.5)
        shifted = y + period * 0.5 * (np.floor(x / period) % 2 if rng.random() < 0.5 else 0)
        wave = np.abs(((x if rng.random() < 0.5 else shifted) / period) % 1 - 0.5)
        cover = np.clip((share / 2 - wave) * period + 0.5, 0, 1)[..., None] * rng.uniform(0.5, 1)
        canvas = canvas * (1 - cover) + colour * cover
    return np.asarray(canvas, np.float32)

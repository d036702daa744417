"""Outlines of foreground shapes, drawn as coverage."""

from __future__ import annotations

import numpy as np

from engine import Array

OVERSAMPLE = 4


def draw_shape(rng: np.random.Generator, radius: float) -> Array:
    """Coverage uint8 (n, n) of a random shape that keeps at least 2 pixels from the border: 255 inside, 0 outside."""
    import cv2

    side = int(np.ceil(2 * radius)) + 5
    canvas = np.zeros((side * OVERSAMPLE, side * OVERSAMPLE), np.uint8)
    kind = int(rng.integers(6))
    outline = _outline(rng, kind)
    outline *= radius / np.abs(outline).max()
    cv2.fillPoly(canvas, [_points(outline, side)], (255,))
    if kind == 5:  # a ring: what lies behind shows through
        cv2.fillPoly(canvas, [_points(outline * rng.uniform(0.35, 0.7), side)], (0,))
    return cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)


def _outline(rng: np.random.Generator, kind: int) -> Array:
    """A closed curve (n, 2) about the origin, of any size."""
    turn = rng.uniform(0, 2 * np.pi)
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    stretch = np.array([1.0, rng.uniform(0.45, 1.0)])
    radius: Array = np.ones_like(angle)
    if kind in (0, 5):  # a blob
        for wave in range(2, 6):
            radius = radius + rng.uniform(0, 0.9) / wave**1.2 * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
        radius = np.maximum(radius, 0.15)
    elif kind == 1:  # a polygon
        angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
        radius = rng.uniform(0.6, 1.0, len(angle))
    elif kind == 2:  # a star
        corners = 2 * int(rng.integers(4, 9))
        angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
        radius = np.where(np.arange(corners) % 2, rng.uniform(0.35, 0.75), 1.0)
    elif kind == 3:  # a bar
        angle, stretch = np.pi / 4 + np.arange(4) * np.pi / 2, np.array([1.0, rng.uniform(0.08, 0.6)])
        radius = np.ones(4)
    points = np.stack([np.cos(angle) * radius, np.sin(angle) * radius], 1) * stretch
    turned: Array = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return turned


def _points(outline: Array, side: int) -> Array:
    points: Array = np.rint((outline + side / 2) * OVERSAMPLE).astype(np.int32)
    return points

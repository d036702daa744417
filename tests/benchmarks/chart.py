"""Curves on a logarithmic scale, drawn into a PNG with OpenCV."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from engine import Array

COLOURS = [(200, 90, 20), (30, 110, 220), (60, 150, 60), (150, 60, 150)]  # BGR
WIDTH, HEIGHT = 900, 360
LEFT, RIGHT, TOP, BELOW = 90, 20, 50, 60
GREY, BLACK = (215, 215, 215), (40, 40, 40)


def save(path: Path, panels: Mapping[str, Mapping[str, Array]]) -> None:
    """One panel under another: its title, and curves over the steps by name; a name has one colour, and zeros are left out."""
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), np.concatenate([_panel(title, curves, names) for title, curves in panels.items()])):
        raise OSError(f"{path} could not be written")


def _panel(title: str, curves: Mapping[str, Array], names: list[str]) -> Array:
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    steps = max(len(values) for values in curves.values())
    logarithms = np.log10(np.concatenate([values[values > 0] for values in curves.values()]))
    low, high = logarithms.min() - 0.1, logarithms.max() + 0.1

    def place(step: float, logarithm: float) -> tuple[int, int]:
        x = LEFT + (step - 1) / max(steps - 1, 1) * (WIDTH - LEFT - RIGHT)
        return round(x), round(HEIGHT - BELOW - (logarithm - low) / (high - low) * (HEIGHT - BELOW - TOP))

    factors = range(1, 10) if high - low < 2 else (1,)
    for power, factor in product(range(int(np.floor(low)), int(np.ceil(high))), factors):
        logarithm = power + np.log10(factor)
        if low <= logarithm <= high:
            cv2.line(image, place(1, logarithm), place(steps, logarithm), GREY, 1)
            _write(image, f"{factor}e{power}", (LEFT - 55, place(1, logarithm)[1] + 5))
    for step in (1, *range(5, steps + 1, 5)):
        x, y = place(step, low)
        cv2.line(image, (x, y), (x, y + 5), BLACK, 1)
        _write(image, str(step), (x - 6, y + 22))
    cv2.rectangle(image, place(1, high), place(steps, low), BLACK, 1)
    _write(image, title, (LEFT, TOP - 28))
    _write(image, "step", (WIDTH // 2, HEIGHT - 12))
    for name, values in curves.items():
        number = names.index(name)
        # A thinner line over a thicker one: curves that lie on one another are all seen.
        colour, thick = COLOURS[number % len(COLOURS)], max(1, 5 - 2 * number)
        points = [place(step, np.log10(value)) for step, value in enumerate(values, 1) if value > 0]
        cv2.polylines(image, [np.array(points)], False, colour, thick, cv2.LINE_AA)
        x = LEFT + 230 * number
        cv2.line(image, (x, TOP - 14), (x + 30, TOP - 14), colour, thick)
        _write(image, name, (x + 38, TOP - 9))
    return image


def _write(image: Array, text: str, at: tuple[int, int]) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, BLACK, 1, cv2.LINE_AA)

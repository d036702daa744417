"""One picture with a photo and what each style makes of it, to choose by eye: the work behind ``engine styles sheet``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from engine.contracts.backend import Backend
from engine.errors import EngineError
from engine.ops import Array
from engine.painting import paint_image
from engine.style import load_style

GAP, LINE = 12, 26
"""Pixels between pictures, and of a line of text."""
PAPER, INK = 245, 30
PROPORTIONS = 1.5
"""Width by height that a sheet comes near to."""


def paint_with_each(photo: Array, styles: Mapping[str, Path], backend: Backend) -> Iterator[tuple[str, Array | EngineError]]:
    """Each style's name with the photo as it paints it, or with the reason why it cannot.

    Args:
        photo: uint8 RGB (h, w, 3).
        styles: Files by name.
        backend: What computes.
    """
    for name, path in styles.items():
        try:
            style = load_style(path)
            yield name, paint_image(backend, style.network, style.weights, photo)
        except EngineError as error:
            yield name, error


def draw_style_sheet(pictures: Sequence[tuple[str, Array]]) -> Array:
    """A grid, row by row, of pictures with their labels below.

    Args:
        pictures: Label and uint8 RGB (h, w, 3), all of one size; at least one.

    Returns:
        uint8 RGB (h, w, 3).
    """
    height, width = pictures[0][1].shape[:2]
    cell_height, cell_width = height + LINE + GAP, width + GAP
    columns = min(len(pictures), max(1, round(math.sqrt(PROPORTIONS * len(pictures) * cell_height / cell_width))))
    rows = math.ceil(len(pictures) / columns)
    sheet = np.full((GAP + rows * cell_height, GAP + columns * cell_width, 3), PAPER, np.uint8)
    for k, (label, picture) in enumerate(pictures):
        top, left = GAP + k // columns * cell_height, GAP + k % columns * cell_width
        sheet[top : top + height, left : left + width] = picture
        sheet[top + height : top + height + LINE, left : left + width] = _label(label, width)
    return sheet


def _label(text: str, width: int) -> Array:
    import cv2

    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.55
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)  # OpenCV's letters
    shown = plain
    while shown and cv2.getTextSize(shown, font, scale, 1)[0][0] > width:
        plain = plain[:-1]
        shown = f"{plain}..." if plain else ""
    line = np.full((LINE, width, 3), PAPER, np.uint8)
    return np.asarray(cv2.putText(line, shown, (0, LINE - 8), font, scale, (INK, INK, INK), 1, cv2.LINE_AA))

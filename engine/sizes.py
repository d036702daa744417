"""At which size a picture is painted: what ``--size`` and ``--max-size`` say, and the resizing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from engine.errors import EngineError
from engine.ops import Array

LARGEST = 16384
"""Pixels a side: what H.264 encoders and WebP hold ends about there."""


@dataclass(frozen=True)
class Size:
    """A size that is asked for: ``width`` and ``height``, or the longer side alone in ``width``."""

    width: int
    height: int | None = None
    """None: the proportions of the input are kept."""
    at_most: bool = False
    """What is not longer stays as it is; with ``height`` None only."""

    def __post_init__(self) -> None:
        for side in (self.width, self.height):
            if side is not None and not 1 <= side <= LARGEST:
                raise EngineError(f"a side of {side} pixels", where=str(self), allowed=f"1 to {LARGEST}")

    def __str__(self) -> str:
        wanted = f"{self.width}" if self.height is None else f"{self.width}x{self.height}"
        return f"at most {wanted}" if self.at_most else wanted

    def of(self, width: int, height: int) -> tuple[int, int]:
        """Width and height that an input of that size is painted at.

        A side that follows from the proportions is rounded to the nearest even number, because video with odd sides does not play
        everywhere; a side that was asked for is taken as it is, odd or not.
        """
        if self.height is not None:
            return self.width, self.height
        if self.at_most and max(width, height) <= self.width:
            return width, height
        short = max(2 * round(self.width * min(width, height) / max(width, height) / 2), 2)
        if width == height:
            return self.width, self.width
        return (self.width, short) if width > height else (short, self.width)


def parse_size(text: str, where: str) -> Size:
    """``640x360``, or ``640`` for the longer side; an :class:`EngineError` that names the option ``where``."""
    found = re.fullmatch(r"([0-9]{1,9})(?:[xX]([0-9]{1,9}))?", text.strip())
    if found is None:
        raise EngineError(f"{text!r} is no size", where=where, allowed="WxH such as 640x360, or the longer side such as 640")
    width, height = int(found[1]), int(found[2]) if found[2] else None
    try:
        return Size(width, height)
    except EngineError as error:
        raise EngineError(error.problem, where=f"{where} {text}", allowed=error.allowed) from None


def resize(image: Array, width: int, height: int, *, smooth: bool = True) -> Array:
    """uint8 (h, w) or (h, w, 3) at another size: averaged where a side shrinks, then interpolated where one grows.

    Bicubic, or bilinear where ``smooth`` is False, which never leaves the range between neighbours. The same array where nothing changes.
    """
    import cv2

    smaller = min(width, image.shape[1]), min(height, image.shape[0])
    if smaller != (image.shape[1], image.shape[0]):
        image = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    if smaller != (width, height):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC if smooth else cv2.INTER_LINEAR)
    return np.ascontiguousarray(image)


def pixel_aspect(aspect: Fraction | None, before: tuple[int, int], after: tuple[int, int]) -> Fraction | None:
    """Width of a pixel by its height with which a resized video is shown in the proportions of the original.

    Args:
        aspect: Of the original's pixels; None = square.
        before: Its width and height.
        after: Those of the resized one. Proportions that differ by rounding only leave ``aspect`` as it is.
    """
    (width, height), (new_width, new_height) = before, after
    if abs(new_width - new_height * width / height) <= 1 or abs(new_height - new_width * height / width) <= 1:
        return aspect
    changed = (aspect or Fraction(1)) * Fraction(width * new_height, height * new_width)
    most = 65535  # H.264 has 16 bits for each of the two numbers
    changed = min(max(changed, Fraction(1, most)), Fraction(most))
    return changed.limit_denominator(most) if changed < 1 else 1 / (1 / changed).limit_denominator(most)

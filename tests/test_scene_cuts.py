"""Cuts are found where shots end, and not in flashes, pans, noise, fades or moving pictures."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage

from engine import Array, read_picture
from engine.scene_cuts import is_cut

NAMES = ("chelsea.png", "coffee.png", "astronaut.png")
SIZES = ((320, 180), (90, 160), (64, 36), (15, 12))


@cache
def photo(name: str) -> Array:
    """480x270 pixels of a photo."""
    return cv2.resize(read_picture(Path(skimage.__path__[0]) / "data" / name).rgb, (480, 270), interpolation=cv2.INTER_AREA)


def crop(name: str, x: int, y: int = 20, size: tuple[int, int] = (240, 200)) -> Array:
    return photo(name)[y : y + size[1], x : x + size[0]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pair", [(a, b) for a in NAMES for b in NAMES if a != b])
def test_another_picture_is_a_cut(pair: tuple[str, str], size: tuple[int, int]) -> None:
    before, after = (cv2.resize(photo(name), size, interpolation=cv2.INTER_AREA) for name in pair)
    assert is_cut(before, after)


@pytest.mark.parametrize("name", NAMES)
def test_a_flash_is_none(name: str) -> None:
    before = photo(name)
    for gain, offset in ((1.5, 40), (1.2, 90), (0.4, 0), (0.6, 100)):
        lit = np.clip(before * gain + offset, 0, 255).astype(np.uint8)
        assert not is_cut(before, lit)
        assert not is_cut(lit, before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", [1, 10, 40, 80])
def test_a_pan_is_none(name: str, step: int) -> None:
    """By up to a third of the frame's width from one frame to the next."""
    assert not is_cut(crop(name, 100), crop(name, 100 + step))
    assert not is_cut(crop(name, 100 + step), crop(name, 100))


def test_a_pan_is_followed_where_its_colours_change() -> None:
    """Half of what is seen is new, and lit otherwise."""
    before, after = crop("chelsea.png", 40), crop("chelsea.png", 130, 40)
    assert not is_cut(before, (after * 0.45).astype(np.uint8))


@pytest.mark.parametrize("name", NAMES)
def test_noise_and_fades_are_none(name: str) -> None:
    before = photo(name)
    rng = np.random.default_rng(0)
    assert not is_cut(before, np.clip(before + rng.normal(0, 20, before.shape), 0, 255).astype(np.uint8))
    fading = [(before * share).astype(np.uint8) for share in np.linspace(1, 0, 9)]
    assert not any(is_cut(one, other) for one, other in pairwise(fading[:-1]))
    dissolving = [cv2.addWeighted(before, 1 - t, photo(NAMES[0])[:, ::-1], t, 0) for t in np.linspace(0, 1, 9)]
    assert not any(is_cut(one, other) for one, other in pairwise(dissolving))


def test_nothing_stays_nothing() -> None:
    black = np.zeros((36, 64, 3), np.uint8)
    assert not is_cut(black, black)
    assert not is_cut(black, black + 1)
    assert is_cut(black, cv2.resize(photo("coffee.png"), (64, 36)))

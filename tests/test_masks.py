"""Where to paint: masks from pictures and videos, at the size of what is painted."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from installed import BACKENDS, backend
from media import drawn, identity_network, write_clip

from engine import Array, EngineError, Picture, write_picture
from engine.controls import Controls
from engine.infer import Studio
from engine.jobs import plan
from engine.masks import Mask, MaskStream
from engine.style import Style, StyleInfo
from engine.video_reading import VideoReader


def picture(path: Path, grey: Array, alpha: Array | None = None) -> Path:
    write_picture(path, Picture(np.repeat(grey[..., None], 3, axis=2), alpha))
    return path


def levels(path: Path, greys: list[int], rate: int = 25) -> Path:
    """A lossless clip of flat greys."""
    frames = [np.full((48, 64, 3), grey, np.uint8) for grey in greys]
    return write_clip(path, frames, rate=Fraction(rate), options={"qp": "0"}, full=True)


def test_grey_levels_are_kept_and_what_is_transparent_is_black(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    with Mask.open(picture(tmp_path / "a.png", ramp)).for_picture(16, 16) as stream:
        np.testing.assert_array_equal(next(iter(stream)), ramp)
        assert stream.notes() == ()
    alpha = np.full((16, 16), 255, np.uint8)
    alpha[:8] = 0
    mask = Mask.open(picture(tmp_path / "b.png", ramp, alpha)).still
    assert mask is not None
    np.testing.assert_array_equal(mask, np.where(alpha > 0, ramp, 0))


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([0, 255]))
def test_white_stays_white_and_black_black_at_any_size(width: int, height: int, level: int) -> None:
    mask = Mask(Path("m.png"), np.full((13, 17), level, np.uint8))
    with mask.for_picture(width, height) as stream:
        found = next(iter(stream))
    assert found.shape == (height, width)
    assert (found == level).all()


def test_an_edge_is_not_overshot_when_it_grows() -> None:
    still = np.zeros((4, 8), np.uint8)
    still[:, 4:] = 255
    with Mask(Path("m.png"), still).for_picture(64, 32) as stream:
        found = next(iter(stream)).astype(int)
    assert (np.diff(found, axis=1) >= 0).all()
    assert (found[:, :24] == 0).all()
    assert (found[:, 40:] == 255).all()


def masks_of(stream: MaskStream, count: int) -> list[int]:
    return [round(mask.mean()) for mask in islice(stream, count)]


def test_a_video_masks_frame_by_frame_and_holds_its_last(tmp_path: Path) -> None:
    mask = Mask.open(levels(tmp_path / "m.mp4", [0, 128, 255]))
    assert mask.still is None
    with mask.for_video(32, 24, Fraction(25)) as stream:
        assert masks_of(stream, 3) == [0, 128, 255]
        assert stream.notes() == ()
    with mask.for_video(32, 32, Fraction(30)) as stream:
        assert masks_of(stream, 5) == [0, 128, 255, 255, 255]
        assert stream.notes() == (
            "the mask has 25 frames a second and the video 30; its frames were taken one for one",
            "the mask was stretched from 64x48 to 32x32",
            "the mask ends after 3 frames; its last one was held for 2 more",
        )


@pytest.mark.parametrize("batch", [1, 4])
def test_a_studio_paints_only_where_the_mask_is_white(tmp_path: Path, batch: int) -> None:
    weights = {"conv.weight": -np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "conv.bias": np.zeros(3, np.float32)}
    style = Style(StyleInfo(name="negative"), identity_network(), weights)
    clip = write_clip(tmp_path / "clip.mp4", drawn(9, 48, 64))
    mask = levels(tmp_path / "m.mp4", [0, 255, 0, 255, 255, 0, 255])
    studio = Studio.open(style, backend(BACKENDS[0]), batch, Controls(mask=mask))
    for _ in range(2):  # the mask starts anew for every file
        (result,) = studio.paint(plan([clip], str(tmp_path / "out.mp4"), "x", overwrite=True).jobs)
        assert result.error is None
        assert result.notes == ("the mask ends after 7 frames; its last one was held for 2 more",)
        with VideoReader(clip) as before, VideoReader(tmp_path / "out.mp4") as after:
            for k, (one, other) in enumerate(zip(before.frames(), after.frames(), strict=True)):
                wished = 255 - one.image if k in (1, 3, 4, 6, 7, 8) else one.image
                assert np.abs(other.image.astype(int) - wished).mean() < 3, k


def test_a_mask_that_breaks_on_the_way_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    style = Style(StyleInfo(name="x"), identity_network(), {"conv.weight": np.zeros((3, 3, 1, 1)), "conv.bias": np.zeros(3)})
    clip = write_clip(tmp_path / "clip.mp4", drawn(4, 48, 64))
    mask = levels(tmp_path / "m.mp4", [0, 255])
    studio = Studio.open(style, backend(BACKENDS[0]), 1, Controls(mask=mask))
    mask.write_text("words")
    (result,) = studio.paint(plan([clip], str(tmp_path / "out.mp4"), "x").jobs)
    assert isinstance(result.error, EngineError)
    assert str(mask) in str(result.error)
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "m.mp4"}


@pytest.mark.parametrize("full", [True, False])
def test_black_and_white_survive_encoding(tmp_path: Path, full: bool) -> None:
    drawing = np.zeros((48, 64, 3), np.uint8)
    drawing[:, 32:] = 255
    path = write_clip(tmp_path / "m.mp4", [drawing] * 3, options={"crf": "23"}, full=full)
    with Mask.open(path).for_video(64, 48, Fraction(25)) as stream:
        for mask in islice(stream, 3):
            assert (mask[:, :24] == 0).all()
            assert (mask[:, 40:] == 255).all()

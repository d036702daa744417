"""RGB to Y'CbCr and back: no tint, and no colour that wanders to one side, however often a video is written."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from media import drawn

from engine import Array
from engine.chroma import ToYuv, planes
from engine.encoding import Encoding
from engine.pipes import PipeReader
from engine.video import Colour, VideoFrame, VideoInfo
from engine.video_reading import VideoReader
from engine.video_writing import writing_video
from engine.y4m import Y4MReader

# ITU-T H.273, table 4: K_R and K_B
WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}


def by_the_formula(rgb: Array, matrix: int, full: bool) -> list[Array]:
    """Y', Cb, Cr of 8 bits, not rounded: H.273, 8.3."""
    red, green, blue = np.moveaxis(rgb.astype(np.float64) / 255, -1, 0)
    of_red, of_blue = WEIGHTS[matrix]
    luma = of_red * red + (1 - of_red - of_blue) * green + of_blue * blue
    colours = (blue - luma) / (2 - 2 * of_blue), (red - luma) / (2 - 2 * of_red)
    return [luma * 255, *(128 + 255 * x for x in colours)] if full else [16 + 219 * luma, *(128 + 224 * x for x in colours)]


def written(path: Path, image: Array, colour: Colour, codec: str) -> Array:
    """The picture, encoded as well as can be and decoded again."""
    height, width = image.shape[:2]
    info = VideoInfo(width, height, Fraction(1, 25), Fraction(25), colour)
    with writing_video(path, info, encoding=Encoding(codec, 0)) as writer:
        writer.write(VideoFrame(image, 0, 1))
    with VideoReader(path) as reader:
        return next(reader.frames()).image


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", WEIGHTS)
def test_every_matrix_and_range_is_the_formula(matrix: int, full: bool) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (63, 65, 3), dtype=np.uint8)
    picture[0, :8] = [[0] * 3, [255] * 3, [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255]]
    made = planes(ToYuv(65, 63, "yuv444p", Colour(matrix, full), "left")(picture))
    for plane, exact in zip(made, by_the_formula(picture, matrix, full), strict=True):
        assert np.abs(plane - np.clip(exact, 0, 255)).max() < 0.6
        assert abs((plane - exact).mean()) < 0.02


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 6])
def test_a_video_that_is_written_again_and_again_keeps_its_colours(tmp_path: Path, matrix: int, full: bool) -> None:
    (image,) = drawn(1, 64, 96)
    first = again = written(tmp_path / "0.mp4", image, Colour(matrix, full), "h264")
    for number in range(3):
        again = written(tmp_path / f"{number}.mp4", again, Colour(matrix, full), "h264")
    assert np.abs(np.mean(again, (0, 1)) - np.mean(first, (0, 1))).max() < 0.1  # was 2.5, and 5 in full range


@pytest.mark.parametrize(("codec", "suffix"), [("h264", ".mp4"), ("h265", ".mkv"), ("vp9", ".webm")])
def test_colours_stay_where_they_are(codec: str, suffix: str, tmp_path: Path) -> None:
    slope = 130 / 128
    moved = written(tmp_path / f"x{suffix}", ramp(), Colour(1, False), codec)[8:-8, 8:-8, 0] - ramp()[8:-8, 8:-8, 0].astype(float)
    assert abs(moved.mean() / slope) < 0.25  # pixels; was 0.63 with H.264


def ramp() -> Array:
    """Colours that change from left to right at one luma (BT.709), 64x128."""
    red = np.tile(60 + 130 * np.arange(128) / 128, (64, 1))
    blue = 250 - red
    made: Array = np.stack([red, (130 - 0.2126 * red - 0.0722 * blue) / 0.7152, blue], -1).round().astype(np.uint8)
    return made


@pytest.mark.parametrize(("chroma", "across"), [("420jpeg", 0.5), ("420mpeg2", 0.0), ("420paldv", 0.0)])
def test_a_stream_says_where_its_colours_lie(chroma: str, across: float) -> None:
    columns = 2 * np.arange(32) + across  # of the colour samples, in pixels
    blue = np.tile((60 + 2 * columns).round().astype(np.uint8), (8, 1))
    data = np.full((16, 64), 120, np.uint8).tobytes() + blue.tobytes() + np.full((8, 32), 128, np.uint8).tobytes()
    coming, going = os.pipe()
    os.write(going, f"YUV4MPEG2 W64 H16 F25:1 C{chroma}\nFRAME\n".encode() + data)
    os.close(going)
    with Y4MReader(PipeReader(coming), Event()) as reader:
        (frame,) = reader.frames()
    os.close(coming)
    shown = frame.image[8, 8:-8, 2].astype(float)
    # BT.601 of limited range: 2.017 levels of blue for each code
    assert np.abs(shown - ((120 - 16) * 255 / 219 + 2.0172 * (60 + 2 * np.arange(8, 56) - 128))).max() < 1.6

"""Animated GIFs in and out: every delay, the loops, colours without bands, and what the format cannot hold said."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from installed import BACKENDS, backend
from media import drawn, identity_style, shown, write_clip
from PIL import Image, ImageSequence

from engine import Array, EngineError
from engine.gif import GifReader, loops_of, writing_gif
from engine.infer import Result, Studio
from engine.jobs import Job, plan
from engine.media import open_frames
from engine.style import load_style
from engine.video import VideoFrame, VideoInfo, colour_of


def animated(path: Path, frames: Sequence[Array], delays: Sequence[int], loops: int | None = 0) -> Path:
    """A GIF by Pillow; delays in hundredths of a second."""
    images = [Image.fromarray(frame) for frame in frames]
    more: dict[str, Any] = {} if loops is None else {"loop": loops}
    images[0].save(path, save_all=True, append_images=images[1:], duration=[10 * delay for delay in delays], **more)
    return path


def delays_of(path: Path) -> list[int]:
    """Hundredths of a second of each frame, by Pillow."""
    with Image.open(path) as image:
        return [round(frame.info["duration"] / 10) for frame in ImageSequence.Iterator(image)]


def written(path: Path, ticks: Sequence[int], time_base: Fraction) -> tuple[str, ...]:
    """Frames shown for so many ticks each; what the writer had to say."""
    info = VideoInfo(24, 16, time_base, Fraction(25), colour_of(2, False, 2, 2, 16))
    pts = 5
    with writing_gif(path, info) as writer:
        for k, duration in enumerate(ticks):
            writer.write(VideoFrame(np.full((16, 24, 3), 9 * k + 9, np.uint8), pts, duration))
            pts += duration
    return writer.notes


def painted(folder: Path, source: str, target: str) -> Result:
    identity_style(folder / "same.safetensors")
    studio = Studio.open(load_style(folder / "same.safetensors"), backend(BACKENDS[0]))
    (result,) = studio.paint(plan([folder / source], str(folder / target), "same").jobs)
    return result


@pytest.mark.parametrize("loops", [None, 0, 3])
def test_a_gif_keeps_its_delays_and_loops(tmp_path: Path, loops: int | None) -> None:
    frames = drawn(4, 48, 64)
    animated(tmp_path / "in.gif", frames, [2, 50, 7, 31], loops)
    result = painted(tmp_path, "in.gif", "out.gif")
    assert (result.error, result.frames, result.notes) == (None, 4, ())
    assert delays_of(tmp_path / "out.gif") == [2, 50, 7, 31]
    assert loops_of(tmp_path / "out.gif") == loops_of(tmp_path / "in.gif") == loops
    with Image.open(tmp_path / "out.gif") as image:
        assert image.info.get("loop") == loops
    with GifReader(tmp_path / "in.gif") as before, GifReader(tmp_path / "out.gif") as after:
        for a, b in zip(before.frames(), after.frames(), strict=True):
            assert (a.pts, a.duration) == (b.pts, b.duration)
            np.testing.assert_allclose(a.image.astype(int), b.image.astype(int), atol=1)  # 255 colours hold those of 255


def test_a_gif_becomes_a_video_and_a_video_a_gif(tmp_path: Path) -> None:
    animated(tmp_path / "in.gif", drawn(4, 48, 64), [2, 50, 7, 31])
    result = painted(tmp_path, "in.gif", "out.mkv")
    assert result.error is None
    assert [round(float(time) * 100) for time in shown(tmp_path / "out.mkv")[:4]] == [0, 2, 52, 59]
    write_clip(tmp_path / "clip.mp4", drawn(4, 48, 64), seconds=0.2)
    back = painted(tmp_path, "clip.mp4", "back.gif")
    assert back.notes == ("GIF holds no audio, which the input has",)
    assert delays_of(tmp_path / "back.gif") == [4] * 4
    assert loops_of(tmp_path / "back.gif") == 0


def test_colours_are_spread_not_banded(tmp_path: Path) -> None:
    """A grey ramp with twice as many levels as a GIF has colours, in blocks: the mean stays, as an eye at a distance sees it."""
    ramp = np.stack([np.tile(np.linspace(a, b, 320), (64, 1)) for a, b in ((20, 230), (200, 40), (90, 120))], -1).round().astype(np.uint8)
    ramp = np.concatenate([ramp, ramp[:, ::-1].transpose(0, 1, 2)[..., ::-1]], 0)
    info = VideoInfo(320, 128, Fraction(1, 25), Fraction(25), colour_of(2, False, 2, 2, 128))
    with writing_gif(tmp_path / "x.gif", info) as writer:
        writer.write(VideoFrame(ramp, 0, 1))
    with GifReader(tmp_path / "x.gif") as reader:
        (frame,) = reader.frames()
    blocks = [x.astype(float).reshape(16, 8, 40, 8, 3).mean((1, 3)) for x in (ramp, frame.image)]
    assert np.abs(blocks[0] - blocks[1]).max() < 4
    assert np.abs(blocks[0] - blocks[1]).mean() < 0.6


def test_delays_are_rounded_without_drift_and_it_is_said(tmp_path: Path) -> None:
    notes = written(tmp_path / "x.gif", [1001] * 30, Fraction(1, 30000))
    assert delays_of(tmp_path / "x.gif")[:6] == [3, 4, 3, 3, 4, 3]
    assert sum(delays_of(tmp_path / "x.gif")) == 100
    assert notes == ("GIF counts hundredths of a second, so 30 of 30 delays were rounded",)


def test_what_is_too_fast_or_too_slow_is_said(tmp_path: Path) -> None:
    notes = written(tmp_path / "fast.gif", [1] * 20, Fraction(1, 100))
    assert delays_of(tmp_path / "fast.gif") == [2] * 20
    assert notes[-1] == "GIF shows a frame for 2 to 65535 hundredths of a second, so it ends 0.20 s later"
    notes = written(tmp_path / "slow.gif", [7, 70000], Fraction(1, 100))
    assert delays_of(tmp_path / "slow.gif") == [7, 65535]
    assert notes[-1].endswith("so it ends 44.65 s earlier")


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=12), st.sampled_from([Fraction(1, 1000), Fraction(1, 90000), Fraction(1, 100)]))
@settings(max_examples=15)
def test_any_times_are_kept_as_near_as_the_format_can(
    tmp_path_factory: pytest.TempPathFactory, ticks: list[int], time_base: Fraction
) -> None:
    path = tmp_path_factory.mktemp("gif") / "x.gif"
    written(path, ticks, time_base)
    ends = [100 * time_base * sum(ticks[: k + 1]) for k in range(len(ticks))]
    clock = 0
    with GifReader(path) as reader:
        frames = list(reader.frames())
    assert len(frames) == len(ticks)
    for frame, end in zip(frames, ends, strict=True):
        clock = max(clock + 2, round(end))
        assert frame.pts + frame.duration == clock


def test_transparency_is_painted_white_and_said(tmp_path: Path) -> None:
    pixels = np.dstack([drawn(1, 48, 64)[0], np.full((48, 64), 255, np.uint8)])
    pixels[:, :20] = 0
    Image.fromarray(pixels).save(tmp_path / "in.gif")
    with open_frames(Job(tmp_path / "in.gif", tmp_path / "out.gif", "video"), Event()) as reader:
        (frame,) = reader.frames()
        assert reader.notes() == ("its transparent parts were painted as white",)
    assert (frame.image[:, :20] == 255).all()


@given(st.binary(max_size=40), st.integers(0, 300))
def test_no_bytes_stop_the_search_for_loops(tmp_path_factory: pytest.TempPathFactory, patch: bytes, at: int) -> None:
    folder = tmp_path_factory.getbasetemp()
    good = io.BytesIO()
    Image.new("P", (4, 4)).save(good, "GIF", save_all=True, append_images=[Image.new("P", (4, 4), 1)], loop=5)
    path = folder / "loops.gif"
    path.write_bytes(good.getvalue())
    assert loops_of(path) == 5
    path.write_bytes(good.getvalue()[:at] + patch)
    assert loops_of(path) in range(65536) or loops_of(path) is None


@pytest.mark.parametrize("data", [b"", b"words", b"GIF89a", b"GIF89a\x40\0\x30\0\0\0\0;"])
def test_what_is_no_gif_says_so_and_leaves_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "in.gif").write_bytes(data)
    result = painted(tmp_path, "in.gif", "out.gif")
    assert isinstance(result.error, EngineError)
    assert result.error.exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.gif", "same.safetensors"]

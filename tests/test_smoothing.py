"""Smoothing steadies what flickers along the motion, and leaves alone what is still, new, sharp or not to be traced."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from engine_datasets.moving_layers import MovingLayers
from installed import BACKENDS, backend
from media import drawn, identity_style, write_clip

from engine import Array, EngineError, Picture, VideoReader, load_style, read_picture, smoothing, warp, write_picture
from engine.cli import main
from engine.controls import Controls, recolour, retouch, retouched
from engine.infer import Result, Studio, VideoOptions
from engine.jobs import plan
from engine.smoothing import smooth


@cache
def scene(index: int = 1) -> tuple[Array, Array, Array]:
    """Frames (8, h, w, 3) of layers that move, true flow and mask; a picture that flickers is painted of them by :func:`flickering`."""
    sample = MovingLayers(seed=3, width=192, height=128, frames=8, layers=3, motion=4, illumination=0, noise=1)[index]
    assert sample.flow is not None
    assert sample.mask is not None
    return sample.frames, sample.flow, sample.mask


@cache
def flickering() -> Array:
    """The frames with spots that change from each to the next, as an untrained style's strokes do: a few pixels wide, and wide ones."""
    rng = np.random.default_rng(0)
    frames = scene()[0].astype(np.float32)
    for frame in frames:
        for sigma, levels in ((1.5, 8), (6, 8)):
            spots = cv2.GaussianBlur(rng.normal(size=frame.shape).astype(np.float32), (0, 0), sigma)
            frame += levels / spots.std() * spots
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def temporal_error(video: list[Array]) -> float:
    """E_warp of Lai et al. 2018 over true flow, in [0, 1]: mean over pixels that can be traced and channels of the squared difference."""
    _, flow, mask = scene()
    errors = []
    for k, (old, new) in enumerate(pairwise(video)):
        difference = (warp(old.astype(np.float32), flow[k]) - new)[mask[k, 0] > 0] / 255
        errors.append(np.square(difference).mean())
    return float(np.mean(errors))


def sharpness(video: list[Array]) -> Array:
    """Mean gradient, that of the steepest tenth, and the variance of the Laplacian."""
    found = []
    for image in video:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        steep = np.sort(np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)).ravel())
        found.append([steep.mean(), steep[-steep.size // 10 :].mean(), cv2.Laplacian(grey, cv2.CV_32F).var()])
    return np.mean(found, axis=0)


def test_a_still_clip_comes_back() -> None:
    still = [scene()[0][0]] * 5
    for image in smooth(still, still, 1):
        np.testing.assert_array_equal(image, still[0])


def test_a_clip_that_moves_and_does_not_flicker_hardly_changes() -> None:
    frames = list(scene()[0])
    for frame, image in zip(frames, smooth(frames, frames, 1), strict=True):
        assert np.abs(image.astype(int) - frame).mean() < 1.5


def test_what_flickers_becomes_steady_and_stays_sharp() -> None:
    frames, painted = list(scene()[0]), list(flickering())
    error = {strength: temporal_error(list(smooth(frames, painted, strength))) for strength in (0, 0.5, 1)}
    assert error[0] == temporal_error(painted)
    assert error[1] < error[0.5] < 0.8 * error[0]
    assert error[1] < 0.6 * error[0]
    ratio = sharpness(list(smooth(frames, painted, 1))) / sharpness(painted)
    assert (np.abs(ratio - 1) < [0.05, 0.05, 0.1]).all(), ratio


def test_what_appears_leaves_and_enters_without_ghosts() -> None:
    """A bright square jumps: neither where it was nor where it is does anything of the frame before remain."""
    background = scene()[0][0]
    old, new = background.copy(), background.copy()
    old[30:70, 30:70], new[60:100, 120:160] = (255, 250, 20), (255, 250, 20)
    *_, image = smooth([background, old, new], [255 - background, 255 - old, 255 - new], 1)
    changed = (old != new).any(-1)
    assert np.abs(image.astype(int) - (255 - new))[changed].max() <= 2


def test_a_new_shot_begins_anew() -> None:
    frames, painted = list(scene()[0]), list(flickering())
    other = [np.ascontiguousarray(255 - frame[::-1]) for frame in scene(5)[0]]
    whole = list(smooth([*frames, *other], [*painted, *other], 1))
    assert (whole[7] != painted[7]).any()
    for one, same in zip(whole[8:], smooth(other, other, 1), strict=True):
        np.testing.assert_array_equal(one, same)


def test_bands_of_rows_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, painted = list(scene()[0])[:4], list(flickering())[:4]
    monkeypatch.setattr(smoothing, "ROWS", 1000)
    whole = list(smooth(frames, painted, 1))
    monkeypatch.setattr(smoothing, "ROWS", 23)
    for one, other in zip(whole, smooth(frames, painted, 1), strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1  # OpenCV sums windows row after row


def test_any_size_from_twelve_pixels() -> None:
    for height, width in ((12, 12), (13, 401), (700, 15)):
        frames = [np.random.default_rng(k).integers(0, 255, (height, width, 3), np.uint8) for k in range(2)]
        assert [image.shape for image in smooth(frames, frames)] == [(height, width, 3)] * 2
    with pytest.raises(EngineError, match="a video of 40x11 is too small to follow its motion"):
        list(smooth([np.zeros((11, 40, 3), np.uint8)] * 2, [np.zeros((11, 40, 3), np.uint8)] * 2))


@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan")])
def test_other_strengths_are_refused(strength: float) -> None:
    with pytest.raises(EngineError, match="smooth: smoothing of"):
        next(smooth([], [], strength))
    with pytest.raises(EngineError, match="allowed: 0 "):
        Controls(smooth=strength)


def test_the_source_shows_as_it_is_under_the_other_controls() -> None:
    """Painting, then smoothing, then strength, colours and mask."""
    frames, painted = list(scene()[0]), list(flickering())
    smoothed = list(smooth(frames, painted, 1))
    mask = np.zeros(frames[0].shape[:2], np.uint8)
    mask[:, 96:], mask[:, 60:96] = 255, 100

    def paint(sources: object) -> Iterator[Array]:
        yield from (image for _, image in zip(sources, painted, strict=True))

    both = retouched(paint, iter(frames), Controls(0.5, preserve_color=True, smooth=1), iter([mask] * 8))
    for frame, image, found in zip(frames, smoothed, both, strict=True):
        np.testing.assert_array_equal(found[:, :60], frame[:, :60])
        np.testing.assert_array_equal(found, retouch(frame, recolour(frame, image), strength=0.5, mask=mask))


def test_what_does_not_show_is_not_smoothed() -> None:
    frames = [np.full((8, 8, 3), 10 * k, np.uint8) for k in range(3)]  # too small to find motion in

    def paint(sources: Iterable[Array]) -> Iterator[Array]:
        yield from (255 - image for image in sources)

    for frame, found in zip(frames, retouched(paint, frames, Controls(0, smooth=1)), strict=True):
        np.testing.assert_array_equal(found, frame)
    with pytest.raises(EngineError, match="too small to follow its motion"):
        list(retouched(paint, frames, Controls(0.1, smooth=1)))


def test_the_command_smooths_videos_and_leaves_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    style = identity_style(tmp_path / "same.safetensors")
    write_picture(tmp_path / "photo.png", Picture(scene()[0][0]))
    write_clip(tmp_path / "clip.mp4", list(scene()[0]))

    def infer(source: str, output: str, strength: float) -> tuple[dict[str, Any], str]:
        with pytest.raises(SystemExit) as caught:
            main(
                ["infer", f"{tmp_path}/{source}", "-o", f"{tmp_path}/{output}", "--style", str(style), "--smooth", str(strength), "--json"]
            )
        out, err = capsys.readouterr()
        assert not caught.value.code, err
        return json.loads(out)["outputs"][0], err

    picture, _ = infer("photo.png", "painted.png", 0.8)
    np.testing.assert_array_equal(read_picture(tmp_path / "painted.png").rgb, scene()[0][0])
    assert picture["notes"] == ["one picture has nothing to be smoothed in time"]
    with VideoReader(tmp_path / "clip.mp4") as reader:
        frames = [frame.image for frame in reader.frames()]
    for strength in (0.8, 0.0):
        clip, err = infer("clip.mp4", f"{strength}/%d.png", strength)
        assert clip["controls"]["smooth"] == strength
        assert ("smoothing 0.8" in err) == (strength == 0.8)
        found = [read_picture(path).rgb for path in sorted((tmp_path / str(strength)).iterdir())]
        np.testing.assert_array_equal(found, list(smooth(frames, frames, strength)))
    assert (np.array(found) == frames).all()


def test_a_smoothed_video_that_was_stopped_goes_on_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of it lies behind, and smoothing needs it: the frames are painted again and not written again."""
    write_clip(tmp_path / "clip.mp4", drawn(12, 48, 64))
    monkeypatch.setattr("engine.infer.LENGTH", 5)
    style = load_style(identity_style(tmp_path / "same.safetensors"))

    def paint(target: str, until: int | None = None, *, resume: bool = False) -> Result | None:
        def watch(job: object, count: int, total: object) -> None:
            if count == until:
                raise KeyboardInterrupt

        studio = Studio.open(style, backend(BACKENDS[0]), 1, Controls(smooth=1), VideoOptions(resume=resume))
        work = plan([tmp_path / "clip.mp4"], str(tmp_path / target), "same", overwrite=True)
        with suppress(KeyboardInterrupt):
            (result,) = studio.paint(work.jobs, watch)
            return result
        return None

    assert paint("whole.mp4") is not None
    assert paint("parts.mp4", 8) is None
    result = paint("parts.mp4", resume=True)
    assert result is not None
    assert result.error is None
    assert result.resumed == 5
    assert any("the 5 frames that were there were painted again" in note for note in result.notes)
    assert (tmp_path / "parts.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()

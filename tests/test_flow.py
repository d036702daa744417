from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from engine_datasets.moving_layers import MovingLayers
from hypothesis import given, settings
from hypothesis import strategies as st
from test_moving_layers import sampled

from engine import Array, EngineError, estimate_flow, flow_colours, visible, warp

SCENES = MovingLayers(seed=2, width=192, height=160)


def still(h: int, w: int) -> Array:
    return np.zeros((2, h, w), np.float32)


@given(seed=st.integers(0, 999), h=st.integers(1, 9), w=st.integers(1, 9), channels=st.sampled_from([None, 1, 3]))
def test_no_flow_is_the_exact_identity(seed: int, h: int, w: int, channels: int | None) -> None:
    image = np.random.default_rng(seed).normal(0, 1e3, (h, w) if channels is None else (h, w, channels)).astype(np.float32)
    assert np.array_equal(warp(image, still(h, w)), image)


@given(seed=st.integers(0, 999), dx=st.integers(-7, 7), dy=st.integers(-7, 7))
def test_a_whole_pixel_shift_is_exact_and_zero_outside(seed: int, dx: int, dy: int) -> None:
    image = np.random.default_rng(seed).normal(0, 1e3, (5, 6, 3)).astype(np.float32)
    wide = np.pad(image, ((7, 7), (7, 7), (0, 0)))
    flow = still(5, 6) + np.array([dx, dy], np.float32)[:, None, None]
    assert np.array_equal(warp(image, flow), wide[7 + dy : 12 + dy, 7 + dx : 13 + dx])


@given(seed=st.integers(0, 9999), far=st.sampled_from([0.5, 3.0, 40.0, 1e9]))
def test_any_flow_samples_bilinearly(seed: int, far: float) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    flow = rng.uniform(-far, far, (2, 6, 8)).astype(np.float32)
    assert np.allclose(warp(image, flow), sampled(image, flow), atol=0.01)


@given(dx=st.floats(-12, 12), dy=st.floats(-12, 12))
@settings(max_examples=30)
def test_flow_that_returns_is_visible_while_it_stays_inside(dx: float, dy: float) -> None:
    flow = still(20, 30) + np.array([dx, dy], np.float32)[:, None, None]
    x, y = np.arange(30) + np.float32(dx), np.arange(20)[:, None] + np.float32(dy)
    inside = (x >= 0) & (x <= 29) & (y >= 0) & (y <= 19)
    read = warp(np.ones((20, 30)), flow) > 0.999
    assert np.array_equal(visible(flow, -flow)[0][inside & read], np.ones((inside & read).sum()))
    assert not visible(flow, -flow)[0][~inside].any()


def test_flow_that_does_not_return_is_hidden() -> None:
    flow = still(20, 30)
    back = still(20, 30)
    back[0, :, 10:15] = 0.8  # 0.64 is over 0.5 + 0.01 * 0.64
    assert np.array_equal(visible(flow, back)[0, 0] == 0, (np.arange(30) >= 10) & (np.arange(30) < 15))


def test_a_motion_boundary_is_hidden() -> None:
    flow = still(20, 30)
    flow[0, :, 15:] = 0.2  # agrees both ways within the tolerance, so only the slope of 0.1 a pixel tells
    hidden = visible(flow, -flow)[0, 0, :29] == 0
    assert np.flatnonzero(hidden).tolist() == [14, 15]


def test_estimated_flow_and_mask_on_moving_layers(capsys: pytest.CaptureFixture[str]) -> None:
    errors, inside, agree, wrong = [], [], [], []
    for index in range(12):
        sample, scene = SCENES[index], SCENES.scene(index, 2)
        assert sample.flow is not None
        assert sample.mask is not None
        before, now = sample.frames
        flow, back = estimate_flow(now, before), estimate_flow(before, now)
        error = np.hypot(*(flow - sample.flow[0]))
        exact, seen = sample.mask[0] > 0, visible(flow, back) > 0
        errors.append(error[exact[0]].mean())
        inside.append(error[seen[0]].mean())
        agree.append((exact == seen).mean())
        true = visible(scene.flow(1, 0), scene.flow(0, 1)) > 0
        wrong.append((exact != true).mean())
    with capsys.disabled():
        print(
            f"\nmoving_layers: end-point error {np.mean(errors):.3f} px where exactly traceable, {np.mean(inside):.3f} px where visible();"
            f" its mask agrees on {np.mean(agree):.1%} of pixels, with true flow on {1 - np.mean(wrong):.1%}"
        )
    assert np.mean(errors) < 0.8
    assert np.mean(inside) < 0.4
    assert np.mean(agree) > 0.8
    assert np.mean(wrong) < 0.06


def test_estimated_flow_on_middlebury(capsys: pytest.CaptureFixture[str]) -> None:
    left, right, disparity = skimage.data.stereo_motorcycle()
    known = np.isfinite(disparity)
    flow, back = estimate_flow(left, right), estimate_flow(right, left)
    error = np.hypot(flow[0] + disparity, flow[1])
    seen = known & (visible(flow, back)[0] > 0)
    with capsys.disabled():
        print(
            f"\nMiddlebury motorcycle: end-point error {error[known].mean():.2f} px (median {np.median(error[known]):.2f}),"
            f" {error[seen].mean():.2f} px in the {seen.mean():.0%} that visible() shows; disparities to {disparity[known].max():.0f} px"
        )
    assert error[known].mean() < 4
    assert error[seen].mean() < 2


def test_what_is_no_pair_of_frames_is_refused() -> None:
    good = np.zeros((16, 16, 3), np.uint8)
    for other in (good[:15], good[..., :1], good.astype(np.float32), good[..., 0]):
        with pytest.raises(EngineError, match="no flow leads from"):
            estimate_flow(good, other)
    with pytest.raises(EngineError, match="frames of 16x3 are too small"):
        estimate_flow(good[:3], good[:3])
    assert estimate_flow(good[:12, :12], good[:12, :12]).shape == (2, 12, 12)


def test_colours_of_the_wheel() -> None:
    flow = np.array([[[1, -1, 0, 0, 0, 2, np.nan]], [[0, 0, 1, -1, 0, 0, 0]]], np.float32)
    right, left, down, up, none, far, unknown = flow_colours(flow, 1)[0].astype(int)
    assert right.tolist() == [255, 0, 0]
    assert left[0] < 10
    assert left[1:].min() > 150
    assert down.tolist() == [255, 234, 0]
    assert up[2] == 255
    assert none.tolist() == [255, 255, 255]
    assert far.tolist() == [191, 0, 0]
    assert unknown.tolist() == [0, 0, 0]
    assert flow_colours(3 * flow)[0, 5].tolist() == [255, 0, 0]  # without a largest one, the longest

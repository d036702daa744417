"""The metric is zero for what moves along with the flow, and what one computes by hand for what does not."""

import numpy as np
import pytest
from flicker_metric import warp_error

from engine import Array


def moving_right(by: int) -> tuple[Array, Array, Array]:
    """Two frames, flow and mask of a texture that moves right."""
    texture = np.random.default_rng(0).integers(0, 200, (8, 20, 3), np.uint8)
    frames = np.stack([texture[:, 4:16], texture[:, 4 - by : 16 - by]])
    flow = np.zeros((1, 2, 8, 12), np.float32)
    flow[:, 0] = -by
    mask = np.ones((1, 1, 8, 12), np.float32)
    mask[..., :by] = 0
    return frames, flow, mask


def test_what_moves_along_does_not_flicker() -> None:
    frames, flow, mask = moving_right(3)
    assert warp_error(frames, flow, mask) == 0
    assert warp_error(frames, 0 * flow, mask) > 0.01
    assert warp_error(frames, -flow, mask) > 0.01


def test_a_change_of_light_is_its_square() -> None:
    frames, flow, mask = moving_right(3)
    frames[1] += 51  # a fifth of the range
    assert warp_error(frames, flow, mask) == pytest.approx(0.04, rel=1e-5)


def test_nothing_traceable_is_no_flicker() -> None:
    frames, flow, mask = moving_right(3)
    assert warp_error(frames, 0 * flow, 0 * mask) == 0

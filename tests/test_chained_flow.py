"""Flow over several frames: exact where the motion is known, and masked wherever a step of the way is lost."""

from __future__ import annotations

import numpy as np
import pytest
from engine_datasets.moving_layers import MovingLayers
from installed import TRAINING, backend

from engine import warp
from engine.chained_flow import chain_flow
from engine.testing import OracleOps

OPS = OracleOps()
SIZE = {"width": 72, "height": 56}


@pytest.mark.parametrize("name", TRAINING)
def test_whole_pixel_shifts_add_up_exactly_and_leave_the_frame(name: str) -> None:
    ops, (h, w) = backend(name).ops, (6, 9)
    flows = [np.broadcast_to(np.array(shift, np.float32).reshape(1, 2, 1, 1), (2, 2, h, w)).copy() for shift in ((2, 0), (-1, 1), (3, 0))]
    rows, columns = np.mgrid[:h, :w]
    # Each mask as a data set gives it: 1 where that one step stays in the frame.
    masks = [((columns + x < w) & (columns + x >= 0) & (rows + y < h)) for x, y in ((2, 0), (-1, 1), (3, 0))]
    tensors = [ops.asarray(np.broadcast_to(mask, (2, 1, h, w)).astype(np.float32)) for mask in masks]
    flow, mask = chain_flow(ops, [ops.asarray(x) for x in flows], tensors)
    seen = (columns + 4 < w) & (rows + 1 < h)  # 2, 1 and 4 to the right; 0, 1 and 1 down
    np.testing.assert_array_equal(ops.to_numpy(mask), np.broadcast_to(seen, (2, 1, h, w)))
    found = ops.to_numpy(flow)
    assert (found[:, 0][:, seen] == 4).all()
    assert (found[:, 1][:, seen] == 1).all()


@pytest.mark.parametrize("integer", [True, False])
def test_chained_flow_of_moving_layers_is_that_of_the_scene(integer: bool) -> None:
    """Shapes move by affine motions, so that flow sampled between pixels of one shape is exact, over any number of frames."""
    data = MovingLayers(frames=5, layers=2, motion=3, integer=integer, illumination=0, noise=0, **SIZE)
    for index in range(3):
        sample, scene = data[index], data.scene(index, 5)
        assert sample.flow is not None
        assert sample.mask is not None
        for back in (2, 4):
            steps = [-1 - k for k in range(back)]
            flow, mask = chain_flow(OPS, [sample.flow[k][None] for k in steps], [sample.mask[k][None] for k in steps])
            seen = mask[0, 0] > 0
            assert seen.mean() > 0.2
            assert np.abs(flow[0] - scene.flow(4, 4 - back))[:, seen].max() < (1e-6 if integer else 2e-3)
            difference = np.abs(warp(sample.frames[4 - back], flow[0].astype(np.float32)) - sample.frames[4])[seen]
            assert difference.max() == 0 if integer else difference.mean() < 3
            assert (mask[0, 0] <= sample.mask[-1, 0]).all()


def test_a_pixel_next_to_a_lost_one_is_lost_where_its_flow_is_mixed_from_both() -> None:
    mask = np.ones((1, 1, 1, 5), np.float32)
    mask[..., 2] = 0
    for shift, lost in ((1.0, [1]), (0.5, [1, 2]), (0.0, [2])):
        flow = np.zeros((1, 2, 1, 5))
        flow[:, 0] = shift
        _, seen = chain_flow(OPS, [flow, flow], [np.ones_like(mask), mask])
        assert np.flatnonzero(seen[0, 0, 0, :4] == 0).tolist() == lost

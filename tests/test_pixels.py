"""Between bytes and a network's range: every level comes back, halves go to even, what is outside is clamped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from installed import BACKENDS, backend

from engine import Array, Ops, from_uint8, to_uint8
from engine.testing import OracleOps

EVERYWHERE = pytest.mark.parametrize("name", ["oracle", *BACKENDS])
RANGES = pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 1), (0, 255), (-0.5, 0.5), (-2.1, 2.6)])
LEVELS = np.arange(256 * 3, dtype=np.int64).reshape(2, 8, 16, 3).astype(np.uint8)


def ops_of(name: str) -> Ops:
    return OracleOps() if name == "oracle" else backend(name).ops


def painted(ops: Ops, values: Array, low: float, high: float) -> list[int]:
    """The bytes of the given values, one a pixel and channel."""
    image = ops.asarray(np.broadcast_to(np.asarray(values, np.float32), (1, 3, 1, len(values))).copy())
    found: list[int] = ops.to_numpy(to_uint8(ops, image, low, high))[0, 0, :, 0].tolist()
    return found


@EVERYWHERE
@RANGES
def test_all_levels_come_back(name: str, low: float, high: float) -> None:
    ops = ops_of(name)
    image = from_uint8(ops, ops.asarray(LEVELS, "uint8"), low, high)
    back = to_uint8(ops, image, low, high)
    assert ops.dtype(back) == "uint8"
    np.testing.assert_array_equal(ops.to_numpy(back), LEVELS)


@EVERYWHERE
@RANGES
def test_black_white_and_the_order_of_axes(name: str, low: float, high: float) -> None:
    ops = ops_of(name)
    frames = np.zeros((1, 2, 3, 3), np.uint8)
    frames[0, 1, 2] = (255, 0, 51)  # red most, below right
    image = ops.to_numpy(from_uint8(ops, ops.asarray(frames, "uint8"), low, high))
    assert image.shape == (1, 3, 2, 3)
    np.testing.assert_allclose(image[0, :, 1, 2], [high, low, low + (high - low) / 5], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(image[0, :, 0, 0], low, rtol=1e-6)


@EVERYWHERE
def test_halves_go_to_the_even_level(name: str) -> None:
    assert painted(ops_of(name), [0.5, 1.5, 2.5, 3.5, 127.5, 253.5, 254.5], 0, 255) == [0, 2, 2, 4, 128, 254, 254]
    assert painted(ops_of(name), [0.0], -1, 1) == [128]  # 127.5


@EVERYWHERE
def test_outside_is_clamped(name: str) -> None:
    values = [-np.inf, -1e30, -1.01, -1, 1, 1.01, 2, 1e30, np.inf]
    assert painted(ops_of(name), values, -1, 1) == [0, 0, 0, 0, 255, 255, 255, 255, 255]


@EVERYWHERE
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_reduced_precision(name: str, dtype: str) -> None:
    ops = ops_of(name)
    image = from_uint8(ops, ops.asarray(LEVELS, "uint8"), -1, 1, dtype)
    assert ops.dtype(image) == ("float64" if name == "oracle" else dtype)
    back = np.int64(ops.to_numpy(to_uint8(ops, image, -1, 1)))
    assert np.abs(back - LEVELS).max() <= 1  # the last bit of bfloat16 near 1 is half a level


@given(value=st.floats(-1.5, 1.5, width=32))
def test_rounding_is_to_the_nearest_level(value: float) -> None:
    exact = np.clip((np.float64(value) + 1) * 127.5, 0, 255)
    for name in BACKENDS:
        assert abs(painted(ops_of(name), [value], -1, 1)[0] - exact) <= 0.5 + 1e-4

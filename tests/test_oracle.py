"""The oracle itself against what is worked out by hand and against definitions written as plain loops."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Ops
from engine.testing import OP_CASES, OpCase, OracleOps, numerical_gradient

OPS: Ops = OracleOps()


def image(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float64)[None, None]


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_every_float_is_float64(dtype: str) -> None:
    x = OPS.asarray(np.float32([0.1]), dtype)
    assert OPS.dtype(x) == "float64"
    assert OPS.dtype(OPS.cast(OPS.asarray(np.array([1]), "uint8"), dtype)) == "float64"
    assert OPS.cast(x, dtype) is x


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool"])
def test_other_types_are_real(dtype: str) -> None:
    assert OPS.dtype(OPS.cast(OPS.asarray(np.array([0, 1])), dtype)) == dtype


def test_halves_go_to_the_even_integer() -> None:
    assert OPS.round(np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])).tolist() == [-2, -2, 0, 0, 2, 2]


def test_convolution_by_hand() -> None:
    x = image([1, 2, 3], [4, 5, 6], [7, 8, 9])
    kernel = image([1, 0], [0, -1])  # correlation: upper left minus lower right
    assert OPS.conv2d(x, kernel)[0, 0].tolist() == [[-4, -4], [-4, -4]]
    assert OPS.conv2d(x, kernel, np.array([10.0]), padding=1, stride=3)[0, 0].tolist() == [[9, 10], [10, 19]]


@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 0, 1), (2, 1, 1), (3, 2, 2), (1, 1, 4)])
def test_convolution_is_its_definition(stride: int, padding: int, groups: int) -> None:
    x, weight, bias = random(0, 2, 4, 6, 7), random(1, 8, 4 // groups, 3, 3), random(2, 8)
    found = OPS.conv2d(x, weight, bias, stride=stride, padding=padding, groups=groups)
    n, outputs, height, width = found.shape
    assert (height, width) == ((6 + 2 * padding - 3) // stride + 1, (7 + 2 * padding - 3) // stride + 1)
    for index in np.ndindex(found.shape):
        n, o, row, column = index
        total = bias[o]
        for i in range(4 // groups):
            for a in range(3):
                for b in range(3):
                    y, z = row * stride + a - padding, column * stride + b - padding
                    if 0 <= y < 6 and 0 <= z < 7:
                        total += weight[o, i, a, b] * x[n, o // (outputs // groups) * (4 // groups) + i, y, z]
        assert found[index] == pytest.approx(total, abs=1e-12)


def test_pooling_by_hand() -> None:
    x = image([1, 2, 3, 9], [4, 5, 6, 9], [7, 8, 0, 9])
    assert OPS.max_pool2d(x, 2, 2)[0, 0].tolist() == [[5, 9]]
    assert OPS.max_pool2d(x, 2, 1)[0, 0].tolist() == [[5, 6, 9], [8, 8, 9]]


def test_padding_by_hand() -> None:
    x = image([1, 2, 3])
    assert OPS.pad(x, (1, 2, 0, 1))[0, 0].tolist() == [[0, 1, 2, 3, 0, 0], [0, 0, 0, 0, 0, 0]]
    assert OPS.pad(x, (2, 1, 0, 0), "reflect")[0, 0].tolist() == [[3, 2, 1, 2, 3, 2]]


def test_padding_to_a_multiple_mirrors_right_and_below() -> None:
    x = image([1, 2, 3], [4, 5, 6], [7, 8, 9])
    assert OPS.pad_to_multiple(x, 4)[0, 0].tolist() == [[1, 2, 3, 2], [4, 5, 6, 5], [7, 8, 9, 8], [4, 5, 6, 5]]


def test_upsampling_by_hand() -> None:
    x = image([0, 1, 2, 3])
    assert OPS.upsample(x, 2, "nearest")[0, 0].tolist() == [[0, 0, 1, 1, 2, 2, 3, 3]] * 2
    assert OPS.upsample(x, 2, "bilinear_asymmetric")[0, 0].tolist() == [[0, 0.5, 1, 1.5, 2, 2.5, 3, 3]] * 2
    assert OPS.upsample(x, 2, "bilinear")[0, 0].tolist() == [[0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]] * 2


def test_resizing_by_hand() -> None:
    x = image([0, 1, 2, 3])
    assert OPS.resize(x, (1, 2), "bilinear")[0, 0].tolist() == [[0.5, 2.5]]
    assert OPS.resize(x, (1, 2), "nearest")[0, 0].tolist() == [[0, 2]]
    assert OPS.resize(x, (2, 3), "nearest")[0, 0].tolist() == [[0, 1, 2]] * 2


@given(old=st.integers(1, 60), new=st.integers(1, 60))
def test_nearest_reads_floor_of_exact_fractions(old: int, new: int) -> None:
    found = OPS.resize(np.arange(float(old)).reshape(1, 1, 1, old), (1, new), "nearest")
    assert found.ravel().tolist() == [math.floor(i * old / new + 1e-9) for i in range(new)]


@given(old=st.integers(2, 20), new=st.integers(1, 60))
def test_bilinear_resizing_keeps_a_ramp(old: int, new: int) -> None:
    found = OPS.resize(np.arange(float(old)).reshape(1, 1, 1, old), (1, new), "bilinear").ravel()
    exact = (np.arange(new) + 0.5) / new * old - 0.5  # where the pixel's centre falls
    np.testing.assert_allclose(found, np.clip(exact, 0, old - 1), atol=1e-9)


def test_warping_by_hand() -> None:
    x = image([1, 2, 3], [4, 5, 6])

    def warp(dx: float, dy: float) -> list[list[float]]:
        flow = np.broadcast_to(np.array([dx, dy]).reshape(1, 2, 1, 1), (1, 2, 2, 3))
        found: list[list[float]] = OPS.warp(x, flow)[0, 0].tolist()
        return found

    assert warp(0, 0) == [[1, 2, 3], [4, 5, 6]]
    assert warp(1, 0) == [[2, 3, 0], [5, 6, 0]]
    assert warp(0, 1) == [[4, 5, 6], [0, 0, 0]]
    assert warp(-2, 0) == [[0, 0, 1], [0, 0, 4]]
    assert warp(0.5, 0) == [[1.5, 2.5, 1.5], [4.5, 5.5, 3]]  # half of the last pixel's neighbours are outside
    assert warp(0, -0.25) == [[0.75, 1.5, 2.25], [3.25, 4.25, 5.25]]
    assert warp(3, 0) == warp(-3, 0) == warp(0, 2) == warp(1e9, -1e9) == [[0, 0, 0], [0, 0, 0]]


@settings(max_examples=50)
@given(seed=st.integers(0, 10**6), reach=st.sampled_from([0.5, 3.0, 20.0]))
def test_warping_is_a_sum_over_all_pixels(seed: int, reach: float) -> None:
    x, flow = random(seed, 1, 2, 4, 5), random(seed + 1, 1, 2, 4, 5) * reach
    found = OPS.warp(x, flow)
    for row in range(4):
        for column in range(5):
            at_y, at_x = row + flow[0, 1, row, column], column + flow[0, 0, row, column]
            tent = np.maximum(0, 1 - np.abs(np.arange(4) - at_y))[:, None] * np.maximum(0, 1 - np.abs(np.arange(5) - at_x))
            np.testing.assert_allclose(found[0, :, row, column], (x[0] * tent).sum(axis=(1, 2)), atol=1e-12)


def test_flow_is_dx_then_dy_in_pixels() -> None:
    x = random(0, 1, 1, 6, 6)
    flow = np.zeros((1, 2, 6, 6))
    flow[0, :, 2, 3] = (1, -2)
    assert OPS.warp(x, flow)[0, 0, 2, 3] == x[0, 0, 0, 4]


def test_numerical_gradient_of_a_cubic() -> None:
    x, y = random(0, 2, 3), random(1, 3)
    by_x, by_y = numerical_gradient(lambda x, y: float((x**3 * y).sum()), x, y)
    np.testing.assert_allclose(by_x, 3 * x**2 * y, atol=1e-8)
    np.testing.assert_allclose(by_y, (x**3).sum(axis=0), atol=1e-8)


def test_numerical_gradient_leaves_its_inputs_alone() -> None:
    x = np.ones(3, np.float32)
    (gradient,) = numerical_gradient(lambda x: float((x * x).sum()), x)
    assert x.tolist() == [1, 1, 1]
    assert gradient.dtype == np.float64


@pytest.mark.parametrize("case", OP_CASES, ids=lambda case: case.name)
def test_operators_change_no_input(case: OpCase) -> None:
    tensors = [x.astype(np.float64) if x.dtype == np.float32 else x.copy() for x in case.inputs]
    case.function(OPS, *tensors)
    for tensor, x in zip(tensors, case.inputs, strict=True):
        np.testing.assert_array_equal(tensor, x)


def test_importing_it_needs_no_test_framework() -> None:
    code = "import sys, engine.testing; sys.exit(' '.join({'pytest', 'hypothesis', 'torch', 'cv2', 'av'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr.strip() == ""

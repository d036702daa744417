"""Every operator of every installed backend against the float64 oracle."""

from __future__ import annotations

import inspect
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from installed import BACKENDS, TRAINING, backend

from engine import Ops, Tensor
from engine.testing import OP_CASES, OpCase, OracleOps, draw

METHODS = sorted(name for name in vars(Ops) if not name.startswith("_") and name != "name")
CASES = pytest.mark.parametrize("case", OP_CASES, ids=lambda case: case.name)
BACKEND = pytest.mark.parametrize("name", BACKENDS)


def test_torch_is_among_the_backends() -> None:
    assert "torch" in TRAINING  # its absence would turn the comparisons below into nothing, without a failure


@pytest.mark.skipif("CI" not in os.environ, reason="a machine of one's own may have fewer")
def test_ci_has_every_backend() -> None:
    assert {"torch", "mindspore", "onnx", "openvino"} <= set(BACKENDS)


def test_every_operator_has_cases() -> None:
    assert {case.op for case in OP_CASES} == {*METHODS, "tensor"}


def test_case_names_are_unique() -> None:
    assert len({case.name for case in OP_CASES}) == len(OP_CASES)


@BACKEND
@CASES
def test_value(case: OpCase, name: str) -> None:
    ops = backend(name).ops
    result = case.run(ops)
    assert ops.shape(result) == case.value.shape
    assert all(type(size) is int for size in ops.shape(result))
    assert ops.dtype(result) == case.dtype
    found = ops.to_numpy(result)
    assert found.shape == case.value.shape
    assert str(found.dtype) == {"bfloat16": "float32", "float16": "float32"}.get(case.dtype, case.dtype)
    np.testing.assert_allclose(found, case.value, rtol=case.value_tolerance, atol=case.value_tolerance)


@pytest.mark.parametrize("name", TRAINING)
@pytest.mark.parametrize("case", [case for case in OP_CASES if case.differentiable], ids=lambda case: case.name)
def test_gradient(case: OpCase, name: str) -> None:
    host = backend(name)
    value, gradients = host.gradient(lambda *x: case.scalar(host.ops, *x), *case.variables)
    expected = case.gradients()
    assert [x.shape for x in gradients] == [x.shape for x in case.variables]
    assert {str(x.dtype) for x in gradients} == {"float32"}
    total = float(np.sum(case.value * case.cotangent))
    size = max(1.0, float(np.sum(np.abs(case.value * case.cotangent))))
    assert value == pytest.approx(total, abs=case.gradient_tolerance * size)
    for found, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=case.gradient_tolerance, atol=case.gradient_tolerance)


@pytest.mark.parametrize("name", ["oracle", *BACKENDS])
def test_signatures_are_the_protocol(name: str) -> None:
    cls = type(OracleOps() if name == "oracle" else backend(name).ops)
    assert sorted(key for key in dir(cls) if not key.startswith("_") and key != "name") == METHODS
    for method in METHODS:
        wanted, found = (inspect.signature(getattr(of, method)).parameters.values() for of in (Ops, cls))
        assert [(p.name, p.kind, p.default) for p in found] == [(p.name, p.kind, p.default) for p in wanted], method


@BACKEND
def test_name_is_a_word(name: str) -> None:
    assert backend(name).ops.name == name


@BACKEND
def test_cast_to_its_own_type_copies_nothing(name: str) -> None:
    ops = backend(name).ops
    x = ops.asarray(np.zeros(3))
    assert ops.cast(x, "float32") is x


@BACKEND
def test_arrays_are_copied_in_and_out(name: str) -> None:
    ops = backend(name).ops
    array = np.ones((2, 3), np.float32)
    x = ops.asarray(array)
    array[:] = 2
    assert (ops.to_numpy(x) == 1).all()
    ops.to_numpy(x)[:] = 3
    assert (ops.to_numpy(x) == 1).all()


@BACKEND
@settings(max_examples=25)  # a fifth of a second each on MindSpore
@given(dx=st.integers(-9, 9), dy=st.integers(-9, 9), seed=st.integers(0, 99))
def test_integer_shift_is_bit_exact(name: str, dx: int, dy: int, seed: int) -> None:
    ops = backend(name).ops
    x = draw(f"shifted {seed}", (2, 2, 6, 8)) * np.float32(1e3)
    flow = np.broadcast_to(np.array([dx, dy], np.float32).reshape(1, 2, 1, 1), (2, 2, 6, 8)).copy()
    expected = np.zeros_like(x)
    for row in range(6):
        for column in range(8):
            if 0 <= row + dy < 6 and 0 <= column + dx < 8:
                expected[:, :, row, column] = x[:, :, row + dy, column + dx]
    found = ops.to_numpy(ops.warp(ops.asarray(x), ops.asarray(flow)))
    np.testing.assert_array_equal(found, expected)


@BACKEND
def test_zero_flow_is_the_identity_at_full_size(name: str) -> None:
    ops = backend(name).ops
    x = draw("a wide image", (1, 3, 360, 640))
    found = ops.to_numpy(ops.warp(ops.asarray(x), ops.asarray(np.zeros((1, 2, 360, 640)))))
    assert found.tobytes() == x.tobytes()


def test_warp_reads_the_right_pixel_where_float32_counts_no_further() -> None:
    """Of a picture of more than 2^24 pixels; on torch alone, since the others are much slower at it."""
    host, width, found = backend("torch"), 2**23 + 64, []
    x, cotangent = (np.arange(2 * width, dtype=np.int32).reshape(1, 1, 2, width) % prime for prime in (251, 127))
    still, held = (host.ops.asarray(array) for array in (np.zeros((1, 2, 2, width)), cotangent))

    def read(x: Tensor) -> Tensor:
        found.append(host.ops.warp(x, still))
        return host.ops.sum(found[0] * held)

    _, (by_x,) = host.gradient(read, x)
    np.testing.assert_array_equal(host.ops.to_numpy(found[0]), x)
    np.testing.assert_array_equal(by_x, cotangent)


@BACKEND
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_warp_of_reduced_precision_keeps_its_type_and_its_place(name: str, precision: str) -> None:
    # 640 is beyond what bfloat16 counts to: coordinates must stay float32 whatever the picture is.
    ops = backend(name).ops
    x = np.round(draw("a wide image", (1, 1, 2, 640)) * 8) / 8
    flow = np.zeros((1, 2, 2, 640), np.float32)
    flow[:, 0] = 1
    found = ops.warp(ops.asarray(x, precision), ops.asarray(flow))
    assert ops.dtype(found) == precision
    np.testing.assert_array_equal(ops.to_numpy(found)[..., :-1], x[..., 1:])

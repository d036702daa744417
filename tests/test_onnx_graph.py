"""The operators of the ONNX backend where sizes are free, and what Python's own operators make of its values."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

if "CI" not in os.environ:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")

import onnx
from engine_onnx.graph import FLOATS, Value, cast, constant, free_input, node
from engine_onnx.layers import NATIVE
from engine_onnx.model import Port, write_model
from engine_onnx.ops import OnnxOps
from engine_onnx.session import Session

from engine import Array, EngineError, RunError
from engine.testing import LAYER_CASES, OP_CASES, LayerCase, OpCase

OPS = OnnxOps()
FREE = [case for case in OP_CASES if case.inputs and case.op != "to_numpy"]


def computed(function: Callable[..., Value], arrays: Sequence[Array], known: Sequence[tuple[int, ...]] = ()) -> Array:
    """What the graph of ``function`` makes of the arrays: its inputs, all sizes free but for the axes that are ``known``."""
    axes = known or [()] * len(arrays)
    inputs = [
        free_input(f"x{i}", str(x.dtype), [size if axis in fixed else None for axis, size in enumerate(x.shape)])
        for i, (x, fixed) in enumerate(zip(arrays, axes, strict=True))
    ]
    result = function(*inputs)
    result = cast(result, "float32") if result.dtype in FLOATS else result
    model = write_model({x.name: Port(x, x.sizes) for x in inputs}, {"y": Port(result, result.sizes)})
    onnx.checker.check_model(model, full_check=True)
    (found,) = Session(model, threads=1).run({f"x{i}": x for i, x in enumerate(arrays)}, ["y"])
    return found


@pytest.mark.parametrize("case", FREE, ids=lambda case: case.name)
def test_every_operator_computes_free_sizes(case: OpCase) -> None:
    weights = range(1, len(case.inputs)) if case.op == "conv2d" else ()  # whose sizes are always known
    known = [tuple(range(x.ndim)) if i in weights else () for i, x in enumerate(case.inputs)]
    found = computed(lambda *x: case.function(OPS, *x), case.inputs, known)
    np.testing.assert_allclose(found, case.value, rtol=case.value_tolerance, atol=case.value_tolerance)


@pytest.mark.parametrize(
    ("case", "form"),
    [
        pytest.param(case, form, id=f"{'native' if form else 'reference'} {case.name}")
        for case in LAYER_CASES
        for form in dict.fromkeys((None, NATIVE.get(type(case.layer))))
    ],
)
def test_every_layer_computes_free_sizes(case: LayerCase, form: Callable[..., Value] | None) -> None:
    weights = [constant(x, "float32", key) for key, x in case.weights.items()]
    found = computed(lambda *x: case.run(OPS, form, *weights, *x), case.inputs, [(1,)] * len(case.inputs))
    np.testing.assert_allclose(found, case.value, rtol=case.value_tolerance, atol=case.value_tolerance)


def test_sizes_are_numbers_where_they_are_known_and_values_where_they_are_free() -> None:
    x = free_input("x", "float32", (None, 3, None, 8))
    n, c, h, w = OPS.shape(x)
    assert (c, w) == (3, 8)
    assert type(n) is type(h) is Value
    assert OPS.upsample(x, 2, "nearest").sizes == (None, 3, None, 16)
    assert OPS.reshape(x, (n, c, -1)).sizes == (None, 3, None)


WHOLE = np.array([-7, -1, 0, 1, 6, 7], np.int32)
FRACTIONS = np.array([-2.5, -0.5, 0, 0.25, 1, 3.75], np.float32)


@pytest.mark.parametrize("x", [WHOLE, FRACTIONS], ids=["int32", "float32"])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: x // 3,
        lambda x: x % 3,
        lambda x: x // -4,
        lambda x: x % -4,
        lambda x: -x % 4,
        lambda x: 20 // (x * x + 2),
        lambda x: 20 % (x * x + 2),
        lambda x: (x + 8) ** 2,
        lambda x: x / 2,
        lambda x: 1 / (x * x + 1),
        lambda x: x * 0.5,
        lambda x: 2 - x,
        lambda x: x != 1,
        lambda x: x >= 1,
        lambda x: x < 1,
        lambda x: (x > 0) + 1,
        lambda x: x + np.float32(0.5),
        lambda x: np.float64(0.5) * x,
        lambda x: x - np.int64(3),
    ],
)
def test_arithmetic_is_numpys(function: Callable[[Any], Any], x: Array) -> None:
    found = computed(function, [x])
    np.testing.assert_allclose(found, function(x), rtol=1e-6)
    assert found.dtype.kind == function(x).dtype.kind


def test_values_of_two_types_meet_in_the_wider_one() -> None:
    byte, half, brain, single = (constant(1, dtype) for dtype in ("uint8", "float16", "bfloat16", "float32"))
    assert (byte + single).dtype == (half * single).dtype == (half - brain).dtype == "float32"
    assert (byte * half).dtype == "float16"
    assert (brain * 0.1).dtype == "bfloat16"


@st.composite
def keys(draw: st.DrawFn) -> tuple[Any, ...]:
    bounds = st.none() | st.integers(-6, 6)
    parts = [
        draw(st.builds(slice, bounds, bounds, st.none() | st.integers(1, 3)) | st.integers(-2, 1)) for _ in range(draw(st.integers(0, 3)))
    ]
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), Ellipsis)
    for _ in range(draw(st.integers(0, 2))):
        parts.insert(draw(st.integers(0, len(parts))), None)
    return tuple(parts)


@given(key=keys())
def test_slices_are_numpys(key: tuple[Any, ...]) -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(OPS.to_numpy(constant(x, "float32")[key]), x[key])


@pytest.mark.parametrize("index", [2, -3, (0, 5), (0, 0, 0, 0)])
def test_an_index_that_is_not_there_is_an_error(index: Any) -> None:
    with pytest.raises(IndexError):
        constant(np.zeros((2, 3, 4)), "float32")[index]


def test_a_slice_cannot_go_backwards() -> None:
    with pytest.raises(EngineError, match="a slice of step -1"):
        constant(np.zeros(3), "float32")[::-1]


@pytest.mark.parametrize("look", [bool, float, range])
def test_a_look_at_the_numbers_says_why_it_cannot_be(look: Callable[[Any], Any]) -> None:
    size: Any = OPS.shape(free_input("x", "float32", (None,)))[0]
    with pytest.raises(EngineError, match="before the graph runs"):
        look(size)


def test_it_is_neither_iterable_nor_does_arithmetic_with_strangers() -> None:
    x: Any = constant(np.zeros(3), "float32")
    with pytest.raises(TypeError):
        list(x)
    with pytest.raises(TypeError, match="str is neither"):
        x + "1"


def test_what_does_not_fit_is_refused_while_the_graph_is_made() -> None:
    x = constant(np.zeros((1, 3, 4, 4)), "float32")
    with pytest.raises(EngineError, match=r"ONNX operator Add does not fit float32 \(1, 3, 4, 4\), float32 \(5,\)"):
        x + constant(np.zeros(5), "float32")
    with pytest.raises(EngineError, match="ONNX operator Tanh does not fit int32"):
        OPS.tanh(constant(1, "int32"))
    with pytest.raises(EngineError, match="depends on the graph's input 'image'"):
        OPS.to_numpy(free_input("image", "float32", (1,)) + 1)


def test_names_clash_with_nothing_and_an_output_may_be_anything() -> None:
    x = free_input("Tanh", "float32", (None,))
    y = OPS.tanh(x)
    weight = constant(np.ones(1), "float32", "again")
    outputs: Mapping[str, Value] = {"Mul": y, "again": y, "same": x, "one": weight, "sum": y * weight * weight}
    model = write_model({"Tanh": Port(x, (None,))}, {name: Port(value, value.sizes) for name, value in outputs.items()})
    onnx.checker.check_model(model, full_check=True)
    value = np.array([0.5, -2], np.float32)
    found = dict(zip(outputs, Session(model, threads=1).run({"Tanh": value}, list(outputs)), strict=True))
    for name in ("Mul", "again", "sum"):
        np.testing.assert_allclose(found[name], np.tanh(value), atol=1e-6)
    np.testing.assert_array_equal(found["same"], value)
    np.testing.assert_array_equal(found["one"], [1])


def test_a_deep_network_is_no_deep_recursion() -> None:
    x = constant(np.zeros(1), "float32")
    for _ in range(3000):
        x = x + 1
    assert OPS.to_numpy(x) == 3000


def test_what_onnxruntime_says_reaches_the_engine() -> None:
    huge = node("Expand", constant(1, "float32"), constant(np.array([2**20, 2**24]), "int64"))
    with pytest.raises(MemoryError):
        OPS.to_numpy(huge)
    x = free_input("x", "float32", (None, None))
    session = Session(write_model({"x": Port(x, x.sizes)}, {"y": Port(OPS.matmul(x, x), (None, None))}), threads=1)
    with pytest.raises(RunError, match="onnxruntime failed"):
        session.run({"x": np.zeros((2, 3), np.float32)}, ["y"])
    with pytest.raises(EngineError, match="onnxruntime does not take this graph"):
        OPS.to_numpy(OPS.upsample(constant(np.ones((1, 1, 2, 2)), "int64"), 2, "nearest"))

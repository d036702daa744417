"""The operators of the OpenVINO backend on a graph's inputs, and what Python's own operators make of its values."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

if "CI" not in os.environ and find_spec("openvino") is None:  # importing it here would report it to its makers
    pytest.skip("openvino is not installed", allow_module_level=True)

from engine_openvino.graph import FLOATS, Value, cast, constant, graph_input, node
from engine_openvino.layers import NATIVE
from engine_openvino.model import make_model
from engine_openvino.ops import OpenVinoOps
from engine_openvino.session import Session

from engine import Array, EngineError, RunError
from engine.testing import LAYER_CASES, OP_CASES, LayerCase, OpCase, draw

OPS = OpenVinoOps()
INT32 = st.integers(-(2**31) + 1, 2**31 - 1)
OF_INPUTS = [case for case in OP_CASES if case.inputs and case.op != "to_numpy"]


def computed(function: Callable[..., Value], arrays: Sequence[Array]) -> Array:
    """What the graph of ``function`` makes of the arrays: its inputs, where a constant would be computed while it is compiled."""
    inputs = [graph_input(str(x.dtype), x.shape) for x in arrays]
    result = function(*inputs)
    result = cast(result, "float32") if result.dtype in FLOATS else result
    (found,) = Session(make_model(inputs, [result]), threads=1).run([np.array(x, order="C") for x in arrays])
    return found


@pytest.mark.parametrize("case", OF_INPUTS, ids=lambda case: case.name)
def test_every_operator_computes_what_comes_in(case: OpCase) -> None:
    found = computed(lambda *x: case.function(OPS, *x), case.inputs)
    np.testing.assert_allclose(found, case.value, rtol=case.value_tolerance, atol=case.value_tolerance)


@pytest.mark.parametrize(
    ("case", "form"),
    [
        pytest.param(case, form, id=f"{'native' if form else 'reference'} {case.name}")
        for case in LAYER_CASES
        for form in dict.fromkeys((None, NATIVE.get(type(case.layer))))
    ],
)
def test_every_layer_computes_what_comes_in(case: LayerCase, form: Callable[..., Value] | None) -> None:
    weights = [constant(x, "float32") for x in case.weights.values()]
    found = computed(lambda *x: case.run(OPS, form, *weights, *x), case.inputs)
    np.testing.assert_allclose(found, case.value, rtol=case.value_tolerance, atol=case.value_tolerance)


@pytest.mark.parametrize(("old", "new"), [(5003, 7001), (9973, 1), (8191, 8192)])
def test_the_nearest_pixel_is_right_where_float32_counts_no_further(old: int, new: int) -> None:
    x = np.arange(old, dtype=np.float32).reshape(1, 1, old, 1)
    found = computed(lambda x: OPS.resize(x, (new, 1), "nearest"), [x])
    np.testing.assert_array_equal(found.ravel(), np.arange(new) * old // new)


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_upsampling_a_wide_picture_repeats_each_pixel(factor: int) -> None:
    x = draw("wide", (1, 2, 3, 1021))
    found = computed(lambda x: OPS.upsample(x, factor, "nearest"), [x])
    np.testing.assert_array_equal(found, x.repeat(factor, 2).repeat(factor, 3))


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


@settings(max_examples=40)  # a graph for each
@given(x=INT32, y=INT32.filter(bool))
@example(x=50730890, y=1)
@example(x=-(2**29) + 1, y=-3)
def test_whole_numbers_are_divided_exactly(x: int, y: int) -> None:
    a, b = (constant(np.array([value], np.int32), "int32") for value in (x, y))
    assert (OPS.to_numpy(a // b)[0], OPS.to_numpy(a % b)[0]) == divmod(x, y)


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
    number: Any = graph_input("float32", ())
    with pytest.raises(EngineError, match="before the graph runs"):
        look(number)


def test_it_is_neither_iterable_nor_does_arithmetic_with_strangers() -> None:
    x: Any = constant(np.zeros(3), "float32")
    with pytest.raises(TypeError):
        list(x)
    with pytest.raises(TypeError, match="str is neither"):
        x + "1"


def test_what_does_not_fit_is_refused_while_the_graph_is_made() -> None:
    x = constant(np.zeros((1, 3, 4, 4)), "float32")
    with pytest.raises(EngineError, match=r"OpenVINO operator add does not fit float32 \(1, 3, 4, 4\), float32 \(5,\): \w"):
        x + constant(np.zeros(5), "float32")
    with pytest.raises(EngineError, match="OpenVINO operator concat does not fit"):
        OPS.concat([x, constant(np.zeros(5), "float32")], axis=1)
    with pytest.raises(EngineError, match="these values are no graph of these inputs"):
        OPS.to_numpy(graph_input("float32", (1,)) + 1)


def test_a_deep_network_is_no_deep_recursion() -> None:
    x = constant(np.zeros(1), "float32")
    for _ in range(1000):
        x = x + 1
    assert OPS.to_numpy(x) == 1000


def test_what_openvino_says_reaches_the_engine() -> None:
    x, shape = graph_input("float32", (6,)), graph_input("int64", (2,))
    session = Session(make_model([x, shape], [node("reshape", x, shape, special_zero=False)]), threads=1)
    with pytest.raises(RunError, match=r"OpenVINO failed: .*reshape"):
        session.run([np.zeros(6, np.float32), np.array([4, 4])])
    np.testing.assert_array_equal(session.run([np.arange(6, dtype=np.float32), np.array([2, 3])])[0], [[0, 1, 2], [3, 4, 5]])


def test_a_graph_too_large_for_memory_is_no_crash() -> None:
    x = graph_input("float32", (1,))
    huge = node("broadcast", x, constant(np.array([2**19, 2**20]), "int64"))
    with pytest.raises(MemoryError):
        Session(make_model([x], [huge]), threads=1).run([np.ones(1, np.float32)])

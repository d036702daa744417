"""Values of an OpenVINO graph: the output of a node, with Python's arithmetic, comparison and slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from engine import Array, DType, EngineError, Shape
from engine_openvino.session import explained, opset, ov

ELEMENTS: dict[DType, Any] = {
    "bool": ov.Type.boolean,
    "uint8": ov.Type.u8,
    "int32": ov.Type.i32,
    "int64": ov.Type.i64,  # of indices only
    "float16": ov.Type.f16,
    "bfloat16": ov.Type.bf16,
    "float32": ov.Type.f32,
}
"""From the narrowest to the widest, the order in which types give way to each other."""
NAMES = {element.get_type_name(): name for name, element in ELEMENTS.items()}
REDUCED = ("float16", "bfloat16")
FLOATS = (*REDUCED, "float32")


@dataclass(frozen=True, eq=False)
class Value:
    """The output of a node. Python's arithmetic, comparison and slices make further ones."""

    port: Any
    """An ``openvino.Output``."""

    __hash__ = object.__hash__
    __array_ufunc__ = None  # a NumPy number on the left leaves the arithmetic to us
    __iter__ = None  # or Python would index until an error that never comes

    @property
    def dtype(self) -> DType:
        return NAMES[self.port.get_element_type().get_type_name()]

    @property
    def sizes(self) -> Shape:
        return tuple(self.port.get_shape())

    def __add__(self, other: Any) -> Value:
        return _arithmetic("add", self, other)

    def __radd__(self, other: Any) -> Value:
        return _arithmetic("add", other, self)

    def __sub__(self, other: Any) -> Value:
        return _arithmetic("subtract", self, other)

    def __rsub__(self, other: Any) -> Value:
        return _arithmetic("subtract", other, self)

    def __mul__(self, other: Any) -> Value:
        return _arithmetic("multiply", self, other)

    def __rmul__(self, other: Any) -> Value:
        return _arithmetic("multiply", other, self)

    def __truediv__(self, other: Any) -> Value:
        return _arithmetic("divide", *_as_floats(self, other))

    def __rtruediv__(self, other: Any) -> Value:
        return _arithmetic("divide", *_as_floats(other, self))

    def __floordiv__(self, other: Any) -> Value:
        return _floor_div(self, other)

    def __rfloordiv__(self, other: Any) -> Value:
        return _floor_div(other, self)

    def __mod__(self, other: Any) -> Value:
        return _remainder(self, other)

    def __rmod__(self, other: Any) -> Value:
        return _remainder(other, self)

    def __pow__(self, other: Any) -> Value:
        return _arithmetic("power", self, other)

    def __neg__(self) -> Value:
        return node("negative", self)

    def __gt__(self, other: Any) -> Value:
        return _arithmetic("greater", self, other)

    def __ge__(self, other: Any) -> Value:
        return _arithmetic("greater_equal", self, other)

    def __lt__(self, other: Any) -> Value:
        return _arithmetic("less", self, other)

    def __le__(self, other: Any) -> Value:
        return _arithmetic("less_equal", self, other)

    def __eq__(self, other: Any) -> Value:  # type: ignore[override]  # element by element, as tensors do
        return _arithmetic("equal", self, other)

    def __ne__(self, other: Any) -> Value:  # type: ignore[override]  # element by element, as tensors do
        return _arithmetic("not_equal", self, other)

    def __getitem__(self, key: Any) -> Value:
        return _sliced(self, key if isinstance(key, tuple) else (key,))

    def __bool__(self) -> bool:
        raise _not_yet("a truth")

    def __index__(self) -> int:
        raise _not_yet("a number")

    def __float__(self) -> float:
        raise _not_yet("a number")


def constant(x: Array | float, dtype: DType) -> Value:
    """A copy of an array, or a scalar, as ``dtype``."""
    if dtype in REDUCED:  # NumPy has no bfloat16
        return cast(constant(x, "float32"), dtype)
    return Value(opset.constant(np.array(x, dtype=dtype, order="C")).output(0))


def graph_input(dtype: DType, shape: Shape) -> Value:
    """An input of a graph."""
    return Value(opset.parameter(shape, ELEMENTS[dtype]).output(0))


def node(op: str, *inputs: Value, **attributes: Any) -> Value:
    """What an operator of OpenVINO, by the name of its function, makes of its inputs."""
    try:
        return Value(getattr(opset, op)(*(x.port for x in inputs), **attributes).output(0))
    except RuntimeError as error:
        shapes = ", ".join(f"{x.dtype} {x.sizes}" for x in inputs)
        raise explained(error, EngineError(f"the OpenVINO operator {op} does not fit {shapes}")) from None


def cast(x: Value, dtype: DType) -> Value:
    """Convert the element type; ``x`` itself where it has it already."""
    if x.dtype == dtype:
        return x
    if dtype == "bool":  # a conversion of 0.5 would be false
        return x != 0
    return node("convert", x, destination_type=ELEMENTS[dtype])


def vector(numbers: Sequence[int]) -> Value:
    """Sizes, axes or places as one int64 vector."""
    return constant(np.array(numbers, np.int64), "int64")


def joined(xs: Sequence[Value], axis: int) -> Value:
    """One after another along an axis."""
    try:
        return Value(opset.concat([x.port for x in xs], axis).output(0))
    except RuntimeError as error:
        shapes = ", ".join(f"{x.dtype} {x.sizes}" for x in xs)
        raise explained(error, EngineError(f"the OpenVINO operator concat does not fit {shapes}")) from None


def alike(*operands: Any) -> list[Value]:
    """Values and numbers as values of one type, which the widest of the values decides, but for a fraction among whole ones."""
    if strange := [x for x in operands if not isinstance(x, Value | int | float | np.generic)]:
        raise TypeError(f"{type(strange[0]).__name__} is neither a value of the graph nor a number")
    dtypes = [x.dtype for x in operands if isinstance(x, Value)]
    order = list(ELEMENTS)
    dtype = "float32" if set(REDUCED) <= set(dtypes) else max(dtypes, key=order.index)
    if dtype not in FLOATS and any(isinstance(x, float | np.floating) for x in operands):
        dtype = "float32"
    if dtype == "bool" and len(dtypes) < len(operands):
        dtype = "int32"
    return [cast(x, dtype) if isinstance(x, Value) else constant(x, dtype) for x in operands]


def _arithmetic(op: str, x: Any, y: Any) -> Value:
    return node(op, *alike(x, y))


def _as_floats(x: Any, y: Any) -> tuple[Any, Any]:
    return _as_float(x), _as_float(y)


def _as_float(x: Any) -> Any:
    return cast(x, "float32") if isinstance(x, Value) and x.dtype not in FLOATS else x


def _floor_div(x: Any, y: Any) -> Value:
    return _whole_quotient(*alike(x, y))


def _whole_quotient(x: Value, y: Value) -> Value:
    if x.dtype in FLOATS:
        return node("floor", x / y)
    # The CPU divides whole numbers as float32, which counts to 2^24: the quotient may be off by dozens, that of what is left over by one.
    near = _rounded_quotient(x, y)
    near += _rounded_quotient(x - near * y, y)
    left = x - near * y
    negative = y < 0
    low = node("select", negative, left <= y, left >= y)
    high = node("select", negative, left > 0, left < 0)
    return near + cast(low, x.dtype) - cast(high, x.dtype)


def _rounded_quotient(x: Value, y: Value) -> Value:
    return cast(node("floor", cast(x, "float32") / cast(y, "float32")), x.dtype)


def _remainder(x: Any, y: Any) -> Value:
    dividend, divisor = alike(x, y)
    return dividend - _whole_quotient(dividend, divisor) * divisor  # its sign is the divisor's, as in Python


def _sliced(x: Value, keys: tuple[Any, ...]) -> Value:
    sizes = x.sizes
    if (missing := len(sizes) - sum(key is not None and key is not Ellipsis for key in keys)) < 0:
        raise IndexError(f"{len(keys)} indices for {len(sizes)} axes")
    at = next((i for i, key in enumerate(keys) if key is Ellipsis), len(keys))
    keys = (*keys[:at], *[slice(None)] * missing, *keys[at + 1 :])
    old = [key for key in keys if key is not None]
    cuts = [(axis, key) for axis, key in enumerate(old) if isinstance(key, slice) and key != slice(None)]
    if cuts:
        if (least := min(1 if key.step is None else index(key.step) for _, key in cuts)) < 1:
            raise EngineError(f"a slice of step {least}", allowed="steps from 1")
        starts, ends, steps = zip(*(key.indices(sizes[axis]) for axis, key in cuts), strict=True)
        x = node("slice", x, vector(starts), vector(ends), vector(steps), vector([axis for axis, _ in cuts]))
    for axis, key in reversed(list(enumerate(old))):
        if not isinstance(key, slice):
            if not -sizes[axis] <= index(key) < sizes[axis]:
                raise IndexError(f"index {key} of an axis of {sizes[axis]}")
            x = node("gather", x, constant(index(key), "int64"), constant(axis, "int64"))
    left = [key for key in keys if key is None or isinstance(key, slice)]
    added = [axis for axis, key in enumerate(left) if key is None]
    return node("unsqueeze", x, vector(added)) if added else x


def _not_yet(what: str) -> EngineError:
    return EngineError(
        f"a value of an OpenVINO graph is no {what.split()[-1]} before the graph runs",
        remedy="A layer that looks at its input's numbers must do so through ops alone.",
    )

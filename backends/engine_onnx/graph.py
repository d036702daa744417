"""Values of an ONNX graph: what each is computed from, its type, and its sizes where they are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from engine import Array, DType, EngineError

OPSET = 18
IR_VERSION = 8
"""That of the opset, so that every onnxruntime that knows the opset reads the file."""
ELEMENTS: dict[DType, int] = {
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,  # of sizes and indices only
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "float32": TensorProto.FLOAT,
}
"""From the narrowest to the widest, the order in which types give way to each other."""
NAMES = {element: name for name, element in ELEMENTS.items()}
REDUCED = ("float16", "bfloat16")
FLOATS = (*REDUCED, "float32")
LAST = 2**63 - 1
INFERRED_AS = {"GreaterOrEqual": "Greater", "LessOrEqual": "Less"}
"""Operators that ONNX defines by others, of whose type onnx 1.17 knows nothing."""

Size: TypeAlias = "int | Value"
"""A number of elements; an int64 scalar of the graph where it is free."""


@dataclass(frozen=True, eq=False)
class Value:
    """A constant, an input of the graph, or what an operator makes. Python's arithmetic, comparison and slices make further ones."""

    dtype: DType
    sizes: tuple[int | None, ...]
    """None where a size is free or not known before the graph runs."""
    op: str = ""
    """ONNX's operator; empty for constants and inputs."""
    inputs: tuple[Value | None, ...] = field(default=(), repr=False)
    """None for an optional input left out."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    array: Array | None = field(default=None, repr=False)
    """Of a constant."""
    name: str = ""
    """Of an input or a weight, in the file."""

    __hash__ = object.__hash__
    __array_ufunc__ = None  # a NumPy number on the left leaves the arithmetic to us
    __iter__ = None  # or Python would index until an error that never comes

    def __add__(self, other: Any) -> Value:
        return _arithmetic("Add", self, other)

    def __radd__(self, other: Any) -> Value:
        return _arithmetic("Add", other, self)

    def __sub__(self, other: Any) -> Value:
        return _arithmetic("Sub", self, other)

    def __rsub__(self, other: Any) -> Value:
        return _arithmetic("Sub", other, self)

    def __mul__(self, other: Any) -> Value:
        return _arithmetic("Mul", self, other)

    def __rmul__(self, other: Any) -> Value:
        return _arithmetic("Mul", other, self)

    def __truediv__(self, other: Any) -> Value:
        return _arithmetic("Div", *_as_floats(self, other))

    def __rtruediv__(self, other: Any) -> Value:
        return _arithmetic("Div", *_as_floats(other, self))

    def __floordiv__(self, other: Any) -> Value:
        return _floor_div(self, other)

    def __rfloordiv__(self, other: Any) -> Value:
        return _floor_div(other, self)

    def __mod__(self, other: Any) -> Value:
        return _remainder(self, other)

    def __rmod__(self, other: Any) -> Value:
        return _remainder(other, self)

    def __pow__(self, other: Any) -> Value:
        return _arithmetic("Pow", self, other)

    def __neg__(self) -> Value:
        return node("Neg", self)

    def __gt__(self, other: Any) -> Value:
        return _arithmetic("Greater", self, other)

    def __ge__(self, other: Any) -> Value:
        return _arithmetic("GreaterOrEqual", self, other)

    def __lt__(self, other: Any) -> Value:
        return _arithmetic("Less", self, other)

    def __le__(self, other: Any) -> Value:
        return _arithmetic("LessOrEqual", self, other)

    def __eq__(self, other: Any) -> Value:  # type: ignore[override]  # element by element, as tensors do
        return _arithmetic("Equal", self, other)

    def __ne__(self, other: Any) -> Value:  # type: ignore[override]  # element by element, as tensors do
        return node("Not", _arithmetic("Equal", self, other))

    def __getitem__(self, key: Any) -> Value:
        return _sliced(self, key if isinstance(key, tuple) else (key,))

    def __bool__(self) -> bool:
        raise _not_yet("a truth")

    def __index__(self) -> int:
        raise _not_yet("a number")

    def __float__(self) -> float:
        raise _not_yet("a number")


def constant(x: Array | float, dtype: DType, name: str = "") -> Value:
    """A copy of an array, or a scalar, as ``dtype``."""
    if dtype in REDUCED:  # NumPy has no bfloat16
        return cast(constant(x, "float32"), dtype)
    array = np.array(x, dtype=dtype, order="C")
    array.flags.writeable = False
    return Value(dtype, array.shape, array=array, name=name)


def free_input(name: str, dtype: DType, sizes: Sequence[int | None]) -> Value:
    """An input of the graph; None for a free size."""
    return Value(dtype, tuple(sizes), name=name)


def node(op: str, *inputs: Value | None, sizes: Sequence[int | None] | None = None, **attributes: Any) -> Value:
    """What an operator makes of its inputs.

    ``sizes`` where ONNX cannot infer even how many axes there are, which is when a shape is computed inside the graph.
    """
    reduced = [x.dtype for x in inputs if x is not None and x.dtype in REDUCED]
    if reduced and op != "Cast":
        # onnxruntime's CPU has hardly an operator of reduced precision: each one computes in float32, its result is rounded.
        wide = [cast(x, "float32") if x is not None and x.dtype in REDUCED else x for x in inputs]
        result = node(op, *wide, sizes=sizes, **attributes)
        return cast(result, reduced[0]) if result.dtype == "float32" else result
    dtype, inferred = _infer(op, inputs, attributes)
    known = sizes if sizes is not None else inferred
    if known is None:
        raise EngineError(f"how many axes the ONNX operator {op} makes is not known before the graph runs")
    return Value(dtype, tuple(known), op, inputs, attributes)


def cast(x: Value, dtype: DType) -> Value:
    """Convert the element type; ``x`` itself where it has it already."""
    return x if x.dtype == dtype else node("Cast", x, to=ELEMENTS[dtype])


def size_of(x: Value, axis: int) -> Size:
    """The size of one axis: an int where it is known, else what the graph will find."""
    known = x.sizes[axis]
    return known if known is not None else node("Gather", node("Shape", x), constant(axis, "int64"), axis=0)


def vector(sizes: Sequence[Size]) -> Value:
    """Sizes as one int64 vector."""
    if all(isinstance(size, int) for size in sizes):
        return constant(np.array(sizes, np.int64), "int64")
    parts = [size if isinstance(size, Value) else constant(size, "int64") for size in sizes]
    return node("Concat", *(node("Reshape", cast(part, "int64"), vector([1])) for part in parts), axis=0)


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
    x, y = alike(x, y)
    if x.dtype in FLOATS:
        return node("Floor", x / y)
    towards_zero = node("Div", x, y)
    left = x - towards_zero * y
    return towards_zero - node("Where", y < 0, cast(left > 0, x.dtype), cast(left < 0, x.dtype))


def _remainder(x: Any, y: Any) -> Value:
    x, y = alike(x, y)
    return x - _floor_div(x, y) * y if x.dtype in FLOATS else node("Mod", x, y)  # its sign is the divisor's, as in Python


def _sliced(x: Value, keys: tuple[Any, ...]) -> Value:
    if (missing := len(x.sizes) - sum(key is not None and key is not Ellipsis for key in keys)) < 0:
        raise IndexError(f"{len(keys)} indices for {len(x.sizes)} axes")
    at = next((i for i, key in enumerate(keys) if key is Ellipsis), len(keys))
    keys = (*keys[:at], *[slice(None)] * missing, *keys[at + 1 :])
    old = [key for key in keys if key is not None]
    cuts = [(axis, key) for axis, key in enumerate(old) if isinstance(key, slice) and not _is_whole(key)]
    if cuts:
        starts = [0 if key.start is None else _bound(key.start) for _, key in cuts]
        ends = [LAST if key.stop is None else _bound(key.stop) for _, key in cuts]
        steps = [1 if key.step is None else index(key.step) for _, key in cuts]
        if min(steps) < 1:
            raise EngineError(f"a slice of step {min(steps)}", allowed="steps from 1")
        x = node("Slice", x, vector(starts), vector(ends), vector([axis for axis, _ in cuts]), vector(steps))
    for axis, key in reversed(list(enumerate(old))):
        if not isinstance(key, slice):
            size, place = x.sizes[axis], _bound(key)
            if isinstance(place, int) and size is not None and not -size <= place < size:
                raise IndexError(f"index {place} of an axis of {size}")
            x = node("Gather", x, place if isinstance(place, Value) else constant(place, "int64"), axis=axis)
    left = [key for key in keys if key is None or isinstance(key, slice)]
    added = [axis for axis, key in enumerate(left) if key is None]
    return node("Unsqueeze", x, vector(added)) if added else x


def _is_whole(key: slice) -> bool:
    return key.start is None and key.stop is None and key.step is None


def _bound(key: Any) -> Size:
    return cast(key, "int64") if isinstance(key, Value) else index(key)


def _infer(op: str, inputs: Sequence[Value | None], attributes: Mapping[str, Any]) -> tuple[DType, list[int | None] | None]:
    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    given = {name: x for name, x in zip(names, inputs, strict=True) if x is not None}
    types = {name: helper.make_tensor_type_proto(ELEMENTS[x.dtype], list(x.sizes)) for name, x in given.items()}
    small = {name: x.array for name, x in given.items() if x.array is not None and x.array.size <= 16}
    data = {name: numpy_helper.from_array(array, name) for name, array in small.items()}
    known = INFERRED_AS.get(op, op)
    schema = onnx.defs.get_schema(known, OPSET)
    made = helper.make_node(known, names, ["y"], **attributes)
    try:
        found = shape_inference.infer_node_outputs(
            schema, made, types, data, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
    except (shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        shapes = ", ".join(f"{x.dtype} {x.sizes}" for x in given.values())
        raise EngineError(f"the ONNX operator {op} does not fit {shapes}: {error}") from None
    tensor = found["y"].tensor_type
    if not tensor.HasField("shape"):
        return NAMES[tensor.elem_type], None
    return NAMES[tensor.elem_type], [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]


def _not_yet(what: str) -> EngineError:
    return EngineError(
        f"a value of an ONNX graph is no {what.split()[-1]} before the graph runs",
        remedy="A layer that looks at its input's free sizes, or at its numbers, must do so through ops alone.",
    )

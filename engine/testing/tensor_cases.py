"""Cases of what works on tensors of any shape: in and out, elements, reductions, shapes, products."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.testing.cases import OpCase, op_case

HALVES = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49, 254.5, 255.5, -3.7], np.float32)
BYTES = np.arange(256, dtype=np.uint8).reshape(2, 2, 8, 8)
NEAR_ONE = np.linspace(-6, 6, 97, dtype=np.float32)
WHOLE = np.array([7, -7, 7, -7, 50730890, 2**29 + 1, 5 - 2**31, 2**31 - 1], np.int32)
DIVISORS = np.array([2, 2, -2, -2, 1, -3, 2**31 - 1, 7], np.int32)
AROUND_ZERO = np.array([-2.0, -0.5, 0.0, 0.5, 2.0], np.float32)


def _tensors() -> list[OpCase]:
    image = (2, 3, 4, 5)
    exact: dict[str, Any] = {"value_tolerance": 0.0}
    return [
        op_case("tensor", "x + y", lambda ops, x, y: x + y, image, image),
        op_case("tensor", "x - y, y broadcast", lambda ops, x, y: x - y, image, (1, 3, 1, 1)),
        op_case("tensor", "x * y, both broadcast", lambda ops, x, y: x * y, (2, 1, 4, 1), (3, 1, 5)),
        op_case("tensor", "x / y", lambda ops, x, y: x / y, image, np.linspace(0.5, 2, 5, dtype=np.float32)),
        op_case("tensor", "-x", lambda ops, x: -x, image, **exact),
        op_case("tensor", "numbers right", lambda ops, x: (x * 3 + 0.5) / 4 - 1, image),
        op_case("tensor", "numbers left", lambda ops, x: 1 - 2 / x, np.linspace(0.5, 2, 5, dtype=np.float32)),
        op_case("tensor", "x > 0", lambda ops, x: x > 0, AROUND_ZERO, fixed=(0,), dtype="bool", **exact),
        op_case("tensor", "x <= y", lambda ops, x, y: x <= y, AROUND_ZERO, np.zeros(5, np.float32), fixed=(0, 1), dtype="bool", **exact),
        op_case("tensor", "x == y", lambda ops, x, y: x == y, AROUND_ZERO, np.zeros(5, np.float32), fixed=(0, 1), dtype="bool", **exact),
        op_case("tensor", "x // y of int32", lambda ops, x, y: x // y, WHOLE, DIVISORS, fixed=(0, 1), dtype="int32", **exact),
        op_case("tensor", "x % y of int32", lambda ops, x, y: x % y, WHOLE, DIVISORS, fixed=(0, 1), dtype="int32", **exact),
        op_case("tensor", "slices", lambda ops, x: x[:, 1:, :-1, 1:4], image, **exact),
        op_case("tensor", "step", lambda ops, x: x[:, :, ::2, 1::2], image, **exact),
        op_case("tensor", "index", lambda ops, x: x[1], image, **exact),
        op_case("tensor", "differences", lambda ops, x: x[:, :, :, 1:] - x[:, :, :, :-1], image),
        op_case("asarray", "of a number", lambda ops, x: x * ops.asarray(0.5), (3,)),
        op_case("asarray", "of float64", lambda ops, x: x + ops.asarray(np.array([0.1, 0.2, 0.3])), (3,)),
        op_case("asarray", "of a mirrored array", lambda ops, x: x + ops.asarray(np.arange(3.0, dtype=np.float32)[::-1]), (3,)),
        op_case("asarray", "of a transposed array", lambda ops, x: x + ops.asarray(np.arange(6.0).reshape(2, 3).T), (3, 2)),
        op_case("asarray", "uint8", lambda ops, x: x, BYTES, dtype="uint8", **exact),
        op_case("asarray", "int32", lambda ops, x: x, np.array([-7, 0, 2**31 - 1], np.int32), dtype="int32", **exact),
        op_case("asarray", "bool", lambda ops, x: x, np.array([True, False]), dtype="bool", **exact),
        op_case("asarray", "uint8 as float32", lambda ops: ops.asarray(BYTES, "float32"), **exact),
        op_case("to_numpy", "and back", lambda ops, x: ops.asarray(ops.to_numpy(x)), image, fixed=(0,), **exact),
        op_case(
            "to_numpy", "of a view", lambda ops, x: ops.asarray(ops.to_numpy(ops.permute_dims(x, (3, 0, 2, 1)))), image, fixed=(0,), **exact
        ),
        op_case("shape", "reversed", lambda ops, x: ops.reshape(x, ops.shape(x)[::-1]), image, **exact),
        op_case("dtype", "of another", lambda ops, x, y: ops.cast(x, ops.dtype(y)), BYTES, (2,), fixed=(1,), **exact),
        op_case("cast", "to itself", lambda ops, x: ops.cast(x, "float32"), image, **exact),
        op_case("cast", "uint8 to float32", lambda ops, x: ops.cast(x, "float32"), BYTES, **exact),
        op_case(
            "cast", "float32 to uint8", lambda ops, x: ops.cast(x, "uint8"), BYTES.astype(np.float32), fixed=(0,), dtype="uint8", **exact
        ),
        op_case(
            "cast",
            "float32 to int32",
            lambda ops, x: ops.cast(x, "int32"),
            np.array([-3, 0, 7], np.float32),
            fixed=(0,),
            dtype="int32",
            **exact,
        ),
        op_case("cast", "float32 to bool", lambda ops, x: ops.cast(x, "bool"), AROUND_ZERO, fixed=(0,), dtype="bool", **exact),
        op_case("cast", "bool to float32", lambda ops, x: ops.cast(x, "float32"), np.array([True, False]), **exact),
        *(
            op_case(
                "cast",
                f"to {name}",
                lambda ops, x, name=name: ops.cast(x, name),
                image,
                dtype=name,
                value_tolerance=e,
                gradient_tolerance=e,
            )
            for name, e in (("bfloat16", 2**-8), ("float16", 2**-10))
        ),
        op_case(
            "cast",
            "through bfloat16",
            lambda ops, x: ops.cast(ops.cast(x, "bfloat16"), "float32"),
            image,
            value_tolerance=2**-8,
            gradient_tolerance=2**-8,
        ),
        op_case("zeros_like", "float32", lambda ops, x: ops.zeros_like(x), image, **exact),
        op_case("zeros_like", "uint8", lambda ops, x: ops.zeros_like(x), BYTES, dtype="uint8", **exact),
        op_case("stop_gradient", "x stop(x)", lambda ops, x: x * ops.stop_gradient(x), image, gradient=lambda seed, x: seed * x),
        op_case("stop_gradient", "alone", lambda ops, x: ops.stop_gradient(x), image, gradient=lambda seed, x: 0 * x, **exact),
    ]


def _elements() -> list[OpCase]:
    image = (2, 3, 4, 5)
    exact: dict[str, Any] = {"value_tolerance": 0.0}
    unbounded = np.array([0, 1, np.nan, np.inf, -np.inf, 3e38], np.float32)
    condition = np.array([[True], [False], [True], [False]])
    return [
        op_case("abs", "any", lambda ops, x: ops.abs(x), image, **exact),
        op_case("abs", "at 0", lambda ops, x: ops.abs(x), AROUND_ZERO, gradient=lambda seed, x: seed * np.sign(x), **exact),
        op_case("square", "any", lambda ops, x: ops.square(x), image),
        op_case("sqrt", "positive", lambda ops, x: ops.sqrt(x), np.linspace(0.01, 9, 12, dtype=np.float32)),
        op_case("tanh", "any", lambda ops, x: ops.tanh(x), image),
        op_case("tanh", "saturated", lambda ops, x: ops.tanh(x), np.array([-90, -9, -1e-4, 0, 1e-4, 9, 90], np.float32)),
        op_case("tanh", "near 1", lambda ops, x: ops.tanh(x), NEAR_ONE, value_tolerance=2e-6, gradient_tolerance=2e-6),
        op_case("relu", "any", lambda ops, x: ops.relu(x), image, **exact),
        op_case("relu", "at 0", lambda ops, x: ops.relu(x), AROUND_ZERO, gradient=lambda seed, x: seed * (x > 0), **exact),
        op_case("clip", "inside and outside", lambda ops, x: ops.clip(x, -0.5, 0.75), image),
        op_case("clip", "one value", lambda ops, x: ops.clip(x, 0, 0), AROUND_ZERO, fixed=(0,), **exact),
        op_case("round", "halves to even", lambda ops, x: ops.round(x), HALVES, fixed=(0,), **exact),
        op_case("isfinite", "all kinds", lambda ops, x: ops.isfinite(x), unbounded, fixed=(0,), dtype="bool", **exact),
        op_case("where", "same shapes", lambda ops, x, y: ops.where(x > 0, x, y), image, image, **exact),
        op_case("where", "broadcast", lambda ops, c, x, y: ops.where(c, x, y), condition, image, (1, 3, 1, 1), **exact),
        op_case(
            "where",
            "the other is no number",
            lambda ops, x, y: ops.where(ops.isfinite(y), x, ops.zeros_like(x)),
            (6,),
            unbounded,
            fixed=(1,),
            **exact,
        ),
    ]


def _reductions() -> list[OpCase]:
    cases = []
    for axis in (None, 0, 2, -1, (2, 3), (0, -1), (0, 1, 2, 3)):
        for keep in (False, True):
            setting = f"axis={axis} keepdims={keep}"
            cases.append(op_case("sum", setting, lambda ops, x, a=axis, k=keep: ops.sum(x, axis=a, keepdims=k), (2, 3, 4, 5)))
            cases.append(op_case("mean", setting, lambda ops, x, a=axis, k=keep: ops.mean(x, axis=a, keepdims=k), (2, 3, 4, 5)))
    return [
        *cases,
        op_case("sum", "by default everything", lambda ops, x: ops.sum(x), (2, 3)),
        op_case("mean", "by default everything", lambda ops, x: ops.mean(x), (2, 3)),
        op_case("sum", "of many", lambda ops, x: ops.sum(x), np.full((1, 4, 512, 512), 0.1, np.float32), fixed=(0,)),
        op_case("mean", "of a scalar", lambda ops, x: ops.mean(x), ()),
    ]


def _shapes() -> list[OpCase]:
    exact: dict[str, Any] = {"value_tolerance": 0.0}
    return [
        op_case("reshape", "to two axes", lambda ops, x: ops.reshape(x, (6, 20)), (2, 3, 4, 5), **exact),
        op_case("reshape", "with -1", lambda ops, x: ops.reshape(x, (2, -1, 5)), (2, 3, 4, 5), **exact),
        op_case("reshape", "uint8", lambda ops, x: ops.reshape(x, (-1,)), BYTES, dtype="uint8", **exact),
        op_case("reshape", "to a scalar", lambda ops, x: ops.reshape(x, ()), (1, 1), **exact),
        op_case("reshape", "of a view", lambda ops, x: ops.reshape(ops.permute_dims(x, (0, 2, 3, 1)), (2, -1)), (2, 3, 4, 5), **exact),
        op_case("permute_dims", "NCHW to NHWC", lambda ops, x: ops.permute_dims(x, (0, 2, 3, 1)), (2, 3, 4, 5), **exact),
        op_case("permute_dims", "a cycle", lambda ops, x: ops.permute_dims(x, [2, 0, 1]), (2, 3, 4), **exact),
        op_case("permute_dims", "uint8 NHWC to NCHW", lambda ops, x: ops.permute_dims(x, (0, 3, 1, 2)), BYTES, dtype="uint8", **exact),
        op_case("concat", "axis 1", lambda ops, x, y: ops.concat((x, y), axis=1), (2, 3, 4, 5), (2, 1, 4, 5), **exact),
        op_case("concat", "axis 0, three", lambda ops, x, y, z: ops.concat([x, y, z], axis=0), (1, 2, 3), (2, 2, 3), (1, 2, 3), **exact),
        op_case("concat", "uint8", lambda ops, x: ops.concat([x, x], axis=0), BYTES, dtype="uint8", **exact),
        op_case("concat", "axis -1, one", lambda ops, x: ops.concat([x], axis=-1), (2, 3), **exact),
        op_case("matmul", "matrices", lambda ops, x, y: ops.matmul(x, y), (3, 4), (4, 5)),
        op_case("matmul", "batches", lambda ops, x, y: ops.matmul(x, y), (2, 3, 4), (2, 4, 5)),
        op_case("matmul", "one matrix for all", lambda ops, x, y: ops.matmul(x, y), (2, 3, 4), (4, 5)),
        op_case("matmul", "four axes", lambda ops, x, y: ops.matmul(x, y), (2, 1, 3, 4), (1, 3, 4, 2)),
        op_case("matmul", "with itself", lambda ops, x: ops.matmul(x, ops.permute_dims(x, (0, 2, 1))), (2, 3, 7)),
    ]


TENSOR_CASES = (*_tensors(), *_elements(), *_reductions(), *_shapes())

"""Gradients without a framework, by central differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from engine.ops import Array
from engine.testing.oracle import DetachedOracle


def numerical_gradient(function: Callable[..., float], *arrays: Array, eps: float = 1e-5) -> list[Array]:
    """The gradient of ``function(*arrays)``, a scalar, by each of the arrays, float64.

    Its error is of the order eps^2 + 1e-16 / eps relative to the function's value; where the function has a
    kink within ``eps`` the result is meaningless. It costs two calls an element.
    """
    inputs = [np.array(array, dtype=np.float64) for array in arrays]
    gradients = [np.zeros_like(array) for array in inputs]
    for array, gradient in zip(inputs, gradients, strict=True):
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + eps
            above = float(function(*inputs))
            array[index] = kept - eps
            below = float(function(*inputs))
            array[index] = kept
            gradient[index] = (above - below) / (2 * eps)
    return gradients


def directions(x: Array, count: int) -> list[Array]:
    """So many fixed random directions in the shape of ``x``, float32."""
    return [np.random.default_rng([number, x.size]).normal(size=x.shape).astype(np.float32) for number in range(count)]


def slopes(function: Callable[..., float], arrays: Sequence[Array], along: Sequence[Sequence[Array]], eps: float = 1e-6) -> list[Array]:
    """Directional derivatives of ``function(*arrays)``, a scalar, by central differences in float64.

    For each array one by each of its directions: what is left of a gradient where every element is too many.
    """
    inputs = [np.array(array, dtype=np.float64) for array in arrays]

    def slope(i: int, line: Array) -> float:
        above, below = (function(*inputs[:i], inputs[i] + step * line, *inputs[i + 1 :]) for step in (eps, -eps))
        return (above - below) / (2 * eps)

    return [np.array([slope(i, line) for line in lines]) for i, lines in enumerate(along)]


def detached_slopes(function: Callable[..., Any], arrays: Sequence[Array], along: Sequence[Sequence[Array]]) -> list[Array]:
    """:func:`slopes` of ``function(ops, *arrays)``, a scalar, on the oracle; what it detaches stays as it is at ``arrays``."""
    oracle = DetachedOracle()

    def value(*x: Array) -> float:
        oracle.begin()
        return float(function(oracle, *x))

    value(*arrays)
    return slopes(value, arrays, along)

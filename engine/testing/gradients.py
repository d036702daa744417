"""Gradients without a framework, by central differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.ops import Array


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

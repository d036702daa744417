"""Cutting a piece out of a tensor."""

from __future__ import annotations

from mindspore import Tensor
from mindspore import ops as mo


def narrow(x: Tensor, axis: int, start: int, size: int) -> Tensor:
    """``size`` elements of one axis from ``start``; measured many times faster in a compiled graph than ``x[...]`` with an index."""
    if size == x.shape[axis]:
        return x
    begin, shape = [0] * len(x.shape), list(x.shape)
    begin[axis], shape[axis] = start, size
    return mo.slice(x, tuple(begin), tuple(shape))

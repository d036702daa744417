"""Upsampling to the nearest pixel and the convolution after it as one, on the small image, for painting on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from mindspore import Tensor
from mindspore import ops as mo

from engine import Array, Conv2d, Node, Pad, Upsample2d
from engine_mindspore.slicing import narrow

_DOUBLE, _MIRROR = Upsample2d(factor=2, mode="nearest"), Pad(amount=1, mode="reflect")
_ROWS = ([[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]])
"""Which of a kernel's three rows fall on each of two neighbours in the small image, for an even and an odd row of the large one."""


def is_upsampled_convolution(nodes: Sequence[Node]) -> bool:
    """Whether these are a doubling, one mirrored pixel around it and a 3x3 convolution of that, one after another.

    Then each pixel of a 2x2 square sees only 2x2 pixels of the small image, each through a sum of the kernel's weights: 16
    products in place of 36. The mirrored pixel is a copy of the one at the border, also in the small image.
    """
    if len(nodes) != 3 or [node.layer for node in nodes[:2]] != [_DOUBLE, _MIRROR]:
        return False
    layer = nodes[2].layer
    fits = type(layer) is Conv2d and (layer.kernel, layer.stride, layer.padding, layer.groups, layer.bias) == (3, 1, 0, 1, True)
    return fits and all(node.inputs == (before.name,) for before, node in pairwise(nodes))


def square_kernels(weight: Array) -> Array:
    """From (o, c, 3, 3) to (4 o, 4 c): a row for each place in the square and channel, a column for each small pixel and channel."""
    rows = np.array(_ROWS, np.float64)
    kernels: Array = np.einsum("aik,bjl,ockl->aboijc", rows, rows, weight.astype(np.float64))
    return kernels.reshape(4 * weight.shape[0], 4 * weight.shape[1]).astype(np.float32)


def bordered(x: Tensor) -> Tensor:
    """(n, c, h, w) with one copy of its border around it."""
    for axis in (2, 3):
        x = mo.concat([narrow(x, axis, 0, 1), x, narrow(x, axis, x.shape[axis] - 1, 1)], axis)
    return x


def convolve_upsampled(kernels: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """(n, o, 2 h, 2 w) of (n, c, h + 2, w + 2), the small image in its border."""
    images = [_one(kernels, bias, narrow(x, 0, i, 1)) for i in range(x.shape[0])]
    return images[0] if len(images) == 1 else mo.concat(images, 0)


def _one(kernels: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    o, (c, high, wide) = bias.shape[0], x.shape[1:]
    h, w = high - 2, wide - 2
    pairs = mo.concat([narrow(x, 3, j, w + 1) for j in range(2)], 1)
    windows = mo.concat([narrow(pairs, 2, i, h + 1) for i in range(2)], 1)
    y = mo.matmul(kernels, windows.reshape(4 * c, (h + 1) * (w + 1))).reshape(4, o, h + 1, w + 1)
    places = [narrow(narrow(narrow(y, 0, 2 * a + b, 1), 2, a, h), 3, b, w) for a in range(2) for b in range(2)]
    square = mo.concat(places, 0).reshape(2, 2, o, h, w) + bias.reshape(1, 1, o, 1, 1)
    return mo.transpose(square, (2, 3, 0, 4, 1)).reshape(1, o, 2 * h, 2 * w)

"""Convolution on a CPU as matrix products: MindSpore's own CPU kernel runs oneDNN's reference code, about 60 times slower."""

from __future__ import annotations

from mindspore import Tensor
from mindspore import ops as mo

from engine_mindspore.slicing import narrow


def convolve(x: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
    """Cross-correlate (n, i, h, w), already padded, with (o, i/groups, k, k), image by image."""
    o, per_group, k, _ = weight.shape
    if groups > 1:
        return _grouped(x, weight, stride, groups)
    # What is written beside the product decides: k * k copies of the inputs, or k of them and k of the outputs, twice.
    form = _by_rows if stride == 1 and k > 1 and k * per_group > per_group + 2 * o else _by_windows
    images = [form(narrow(x, 0, i, 1), weight, stride) for i in range(x.shape[0])]
    return images[0] if len(images) == 1 else mo.concat(images, 0)


def _by_windows(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """One product with every window as a column."""
    o, c, k, _ = weight.shape
    h, w = ((size - k) // stride + 1 for size in x.shape[2:])
    columns = x if k == stride == 1 else mo.unfold(x, k, stride=stride)
    return mo.matmul(weight.reshape(o, c * k * k), columns.reshape(c * k * k, h * w)).reshape(1, o, h, w)


def _by_rows(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """One product with the k rows of every window as a column and all k columns of the kernel as rows; the k results, shifted, add up."""
    o, c, k, _ = weight.shape
    _, _, high, wide = x.shape
    h, w = high - k + 1, wide - k + 1
    rows = mo.concat([narrow(x, 2, i, h).reshape(c, h * wide) for i in range(k)], 0)
    kernels = mo.transpose(weight, (3, 0, 2, 1)).reshape(k * o, k * c)
    parts = mo.split(mo.matmul(kernels, rows), o, 0)
    y = narrow(parts[0].reshape(1, o, h, wide), 3, 0, w)
    for j in range(1, k):
        y = y + narrow(parts[j].reshape(1, o, h, wide), 3, j, w)
    return y


def _grouped(x: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
    """:func:`_by_windows` with a product for each group."""
    o, per_group, k, _ = weight.shape
    n = x.shape[0]
    h, w = ((size - k) // stride + 1 for size in x.shape[2:])
    columns = mo.unfold(x, k, stride=stride).reshape(n, groups, per_group * k * k, h * w)
    return mo.matmul(weight.reshape(1, groups, o // groups, per_group * k * k), columns).reshape(n, o, h, w)

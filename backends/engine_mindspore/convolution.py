"""Convolution on a CPU as matrix products: MindSpore's own CPU kernel runs oneDNN's reference code, about 60 times slower."""

from __future__ import annotations

from mindspore import Tensor
from mindspore import ops as mo

from engine_mindspore.slicing import narrow

MOST_ELEMENTS = 2**25
"""What one product may read and write beside its image, 128 MiB in float32; a larger image is computed in bands."""


def convolve(x: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
    """Cross-correlate (n, i, h, w), already padded, with (o, i/groups, k, k), image by image."""
    o, c, k, _ = weight.shape
    if groups > 1:
        return _grouped(x, weight, stride, groups)
    form = _by_rows if _rows_are_less(o, c, k, stride) else _by_windows
    height, width = ((size - k) // stride + 1 for size in x.shape[2:])
    rows = band_rows(o, c, k, stride, height, width)
    images = []
    for i in range(x.shape[0]):
        image = narrow(x, 0, i, 1)
        starts = range(0, height, rows)
        bands = [form(narrow(image, 2, y * stride, (min(rows, height - y) - 1) * stride + k), weight, stride) for y in starts]
        images.append(bands[0] if len(bands) == 1 else mo.concat(bands, 2))
    return images[0] if len(images) == 1 else mo.concat(images, 0)


def band_rows(o: int, c: int, k: int, stride: int, height: int, width: int) -> int:
    """How many rows of an output of that size are computed at once, so that all bands are about equally high."""
    written = _by_rows_written(o, c, k) if _rows_are_less(o, c, k, stride) else c * k * k
    return even_rows(height, written * height * width)


def even_rows(height: int, written: int) -> int:
    """How many rows at once, of an image for which so many elements would be written."""
    bands = -(-written // MOST_ELEMENTS)
    return -(-height // bands)


def _rows_are_less(o: int, c: int, k: int, stride: int) -> bool:
    """Whether :func:`_by_rows` can be used and writes less beside the product, which decides about the time."""
    return stride == 1 and k > 1 and _by_rows_written(o, c, k) < c * k * k


def _by_rows_written(o: int, c: int, k: int) -> int:
    return k * c + 2 * k * o


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

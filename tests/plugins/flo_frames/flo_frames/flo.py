"""Middlebury's .flo files (Baker et al., A Database and Evaluation Methodology for Optical Flow, IJCV 2011)."""

import math
from pathlib import Path

import numpy as np

from engine import Array, BadSample

UNKNOWN = 1e9
"""A larger number stands for a flow that is not known."""
_HEAD = np.dtype([("magic", "<f4"), ("width", "<i4"), ("height", "<i4")])
_MAGIC = np.float32(202021.25)


def read_flo(path: Path) -> Array:
    """Float32 (2, h, w), (dx, dy) in pixels; a :class:`BadSample` where the file is missing, none of this kind, or cut off."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadSample(f"cannot read this file: {error.strerror}", where=str(path)) from None
    head = np.frombuffer(data[: _HEAD.itemsize], _HEAD)[0] if len(data) >= _HEAD.itemsize else None
    if head is None or head["magic"] != _MAGIC or min(head["width"], head["height"]) < 1:
        raise BadSample("this is no .flo file", where=str(path), allowed="PIEH, then width and height")
    shape = (int(head["height"]), int(head["width"]), 2)
    if len(data) - _HEAD.itemsize != 4 * math.prod(shape):
        raise BadSample(f"the file has {len(data)} bytes", where=str(path), allowed=f"{4 * math.prod(shape) + _HEAD.itemsize}")
    flow = np.frombuffer(data, "<f4", offset=_HEAD.itemsize).reshape(shape)
    return np.ascontiguousarray(flow.transpose(2, 0, 1), np.float32)

"""Picture files to arrays and back, upright and in RGB."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import EngineError
from engine.files import replacing
from engine.ops import Array

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
WITH_ALPHA = (".png", ".webp", ".tif", ".tiff")


@dataclass(frozen=True)
class Picture:
    """A picture as it is painted."""

    rgb: Array
    """uint8 (h, w, 3)."""
    alpha: Array | None = None
    """uint8 (h, w), 255 = opaque; None where the file has none."""
    notes: tuple[str, ...] = ()
    """What was lost on reading."""


def read_picture(path: Path) -> Picture:
    """Read a picture file.

    The EXIF orientation is applied, grey becomes RGB, 16 bits become 8 by rounding value / 257.

    Raises:
        EngineError: The file is not there, is no picture, is damaged or holds floating point.
    """
    import cv2

    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise EngineError(f"cannot read this file: {error.strerror}", where=str(path)) from None

    def decode(flags: int) -> Array | None:
        try:
            return cv2.imdecode(data, flags)
        except cv2.error:  # an empty file, or more pixels than OpenCV takes
            return None

    colour = decode(cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)  # upright; without alpha
    if colour is None:
        raise EngineError("this is no picture that can be read, or it is damaged", where=str(path), allowed=", ".join(SUFFIXES))
    rgb, shortened = _to_uint8(np.ascontiguousarray(colour[..., ::-1]), path)
    alpha = None
    stored = decode(cv2.IMREAD_UNCHANGED)  # with alpha; as it lies in the file
    if stored is not None and stored.ndim == 3 and stored.shape[2] == 4:
        if (lying := decode(cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION)) is not None:
            stored = _turned_like(stored, lying, colour)
        alpha, _ = _to_uint8(stored[..., 3], path)
    return Picture(rgb, alpha, ("16 bits a channel became 8",) if shortened else ())


def write_picture(path: Path, picture: Picture) -> tuple[str, ...]:
    """Write it whole or not at all, in the format of the suffix (JPEG and WebP at quality 95).

    Returns:
        What the format could not hold.

    Raises:
        EngineError: The suffix is unknown, or the folder cannot be written.
    """
    import cv2

    suffix = path.suffix.lower()
    pixels, notes = picture.rgb[..., ::-1], tuple[str, ...]()
    if picture.alpha is not None and suffix in WITH_ALPHA:
        pixels = np.dstack([pixels, picture.alpha])
    elif picture.alpha is not None:
        notes = (f"{suffix} holds no transparency, so it was dropped",)
    quality = {".jpg": cv2.IMWRITE_JPEG_QUALITY, ".jpeg": cv2.IMWRITE_JPEG_QUALITY, ".webp": cv2.IMWRITE_WEBP_QUALITY}
    try:
        _, data = cv2.imencode(suffix, np.ascontiguousarray(pixels), [quality[suffix], 95] if suffix in quality else [])
    except cv2.error as error:  # no such format; or WebP, which ends at 16383 pixels, JPEG at 65500
        raise EngineError(f"OpenCV cannot write this picture as {suffix} ({error.err})", where=str(path)) from None
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())
    return notes


def resized(rgb: Array, long_side: int) -> Array:
    """The picture (h, w, 3) with its longer side at ``long_side`` pixels, averaged where it shrinks."""
    import cv2

    scale = long_side / max(rgb.shape[:2])
    size = (max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1))
    return np.ascontiguousarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))


def _to_uint8(x: Array, path: Path) -> tuple[Array, bool]:
    if x.dtype == np.uint8:
        return x, False
    if x.dtype == np.uint16:
        return np.rint(x / np.float32(257)).astype(np.uint8), True
    raise EngineError(f"this picture holds {x.dtype} values", where=str(path), allowed="8 or 16 bits a channel")


def _turned_like(x: Array, lying: Array, upright: Array) -> Array:
    # OpenCV does not turn what it reads with alpha, nor does it say how it turned the rest.
    for turned, colours in ((x, lying), (x[:, ::-1], lying[:, ::-1])):
        for quarters in range(4):
            if np.array_equal(np.rot90(colours, quarters), upright):
                return np.ascontiguousarray(np.rot90(turned, quarters))
    return x

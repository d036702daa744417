"""Picture files to arrays and back, upright and in RGB."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import EngineError
from engine.files import replacing
from engine.ops import Array
from engine.picture_metadata import read_metadata, with_profile

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
    profile: bytes | None = None
    """The ICC profile that the values of ``rgb`` belong to; None = sRGB."""


def read_picture(path: Path) -> Picture:
    """Read a picture file.

    The EXIF orientation is applied, grey becomes RGB, 16 bits become 8 by rounding value / 257.

    Raises:
        EngineError: The file is not there, is no picture, is damaged or holds floating point.
    """
    try:
        return decode_picture(path.read_bytes(), str(path))
    except OSError as error:
        raise EngineError(f"cannot read this file: {error.strerror}", where=str(path)) from None


def decode_picture(data: bytes | bytearray, where: str) -> Picture:
    """What :func:`read_picture` makes of a file's bytes; errors name ``where``."""
    import cv2

    stored = np.frombuffer(data, np.uint8)

    def decode(flags: int) -> Array | None:
        try:
            return cv2.imdecode(stored, flags)
        except cv2.error:  # an empty file, or more pixels than OpenCV takes
            return None

    colour = decode(cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION)  # without alpha
    if colour is None:
        raise EngineError("this is no picture that can be read, or it is damaged", where=where, allowed=", ".join(SUFFIXES))
    said = read_metadata(bytes(data))
    # OpenCV turns every TIFF, and no WebP.
    orientation = 1 if data[:2] in (b"II", b"MM") else said.orientation
    rgb, shortened = _to_uint8(colour[..., ::-1], where)
    notes = ("16 bits a channel became 8",) if shortened else tuple[str, ...]()
    alpha = None
    whole = decode(cv2.IMREAD_UNCHANGED)
    if whole is not None and whole.ndim == 3 and whole.shape[2] == 4:
        alpha = _to_uint8(whole[..., 3], where)[0]
        # libtiff multiplies 8 bits itself; 16 come as they are stored.
        if said.alpha == 1 or (said.alpha == 2 and not shortened):
            rgb = _divided(rgb, alpha)
    profile = said.profile
    if said.channels == 4:
        notes += ("CMYK became RGB, without the colours of its profile" if profile is not None else "CMYK became RGB",)
    if profile is not None and profile[16:20] != b"RGB ":
        if said.channels != 4:
            notes += ("its colour profile is not one of RGB, so it was dropped",)
        profile = None
    return Picture(turned(rgb, orientation), None if alpha is None else turned(alpha, orientation), notes, profile)


def turned(x: Array, orientation: int) -> Array:
    """A picture (h, w) or (h, w, c) as it was stored, upright; ``orientation`` as in EXIF, 1 to 8."""
    if orientation >= 5:
        x = x.swapaxes(0, 1)
    return np.ascontiguousarray(x[:: -1 if orientation in (3, 4, 7, 8) else 1, :: -1 if orientation in (2, 3, 6, 7) else 1])


def write_picture(path: Path, picture: Picture) -> tuple[str, ...]:
    """Write it whole or not at all, in the format of the suffix (JPEG and WebP at quality 95).

    Returns:
        What the format could not hold.

    Raises:
        EngineError: The suffix is unknown, or the folder cannot be written.
    """
    data, notes = encode_picture(path.suffix.lower(), picture, str(path))
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return notes


def encode_picture(suffix: str, picture: Picture, where: str) -> tuple[bytes, tuple[str, ...]]:
    """The bytes that :func:`write_picture` writes, and what it returns; errors name ``where``."""
    import cv2

    pixels, notes = picture.rgb[..., ::-1], tuple[str, ...]()
    if picture.alpha is not None and suffix in WITH_ALPHA:
        pixels = np.dstack([pixels, picture.alpha])
    elif picture.alpha is not None:
        notes += (f"{suffix} holds no transparency, so it was dropped",)
    quality = {".jpg": cv2.IMWRITE_JPEG_QUALITY, ".jpeg": cv2.IMWRITE_JPEG_QUALITY, ".webp": cv2.IMWRITE_WEBP_QUALITY}
    try:
        _, encoded = cv2.imencode(suffix, np.ascontiguousarray(pixels), [quality[suffix], 95] if suffix in quality else [])
    except cv2.error as error:  # no such format; or WebP, which ends at 16383 pixels, JPEG at 65500
        raise EngineError(f"OpenCV cannot write this picture as {suffix} ({error.err})", where=where) from None
    data = encoded.tobytes()
    if picture.profile is not None:
        profiled = with_profile(data, picture.profile)
        if profiled is None:
            notes += (f"its colour profile is not written to {suffix}, so it was dropped",)
        data = profiled or data
    return data, notes


def resized(rgb: Array, long_side: int) -> Array:
    """The picture (h, w, 3) with its longer side at ``long_side`` pixels, averaged where it shrinks."""
    import cv2

    scale = long_side / max(rgb.shape[:2])
    size = (max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1))
    return np.ascontiguousarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))


def _divided(rgb: Array, alpha: Array) -> Array:
    """Colours that were multiplied by their alpha, as they were before; black where nothing is left of them."""
    share: Array = np.divide(255, alpha, out=np.zeros(alpha.shape, np.float32), where=alpha > 0, dtype=np.float32)
    divided: Array = np.rint(np.minimum(rgb * share[..., None], 255)).astype(np.uint8)
    return divided


def _to_uint8(x: Array, where: str) -> tuple[Array, bool]:
    if x.dtype == np.uint8:
        return x, False
    if x.dtype == np.uint16:
        return np.rint(x / np.float32(257)).astype(np.uint8), True
    raise EngineError(f"this picture holds {x.dtype} values", where=where, allowed="8 or 16 bits a channel")

"""Photos of a folder as textures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine import Array, EngineError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})
LONG_SIDE = 768


REMEDY = "Remove it, or give another folder of photos."


def find_photos(place: Path) -> tuple[Path, ...]:
    """The photos of a folder and its subfolders, sorted, or the one file.

    An :class:`EngineError` where there is none, and for a file that by its name is a photo and by its first bytes is not.
    """
    import cv2

    if place.is_file():
        found = [place]
    elif place.is_dir():
        found = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    else:
        raise EngineError("there is no such photo or folder of photos", where=str(place))
    if not found:
        raise EngineError("there is no photo in this folder", where=str(place), allowed=", ".join(sorted(SUFFIXES)))
    for path in found:
        if not cv2.haveImageReader(str(path)):
            raise EngineError("this is no photo that can be decoded", where=str(path), remedy=REMEDY)
    return tuple(found)


def read_photo(path: Path) -> Array:
    """A photo as uint8 RGB (h, w, 3), reduced to a long side of 768 pixels; an :class:`EngineError` where it cannot be read."""
    import cv2

    try:
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is empty"  # an empty buffer is an exception to OpenCV
        raise EngineError(f"this photo cannot be read: {reason}", where=str(path), remedy=REMEDY) from None
    if image is None:
        raise EngineError("this photo is damaged, or of a kind that is not read", where=str(path), remedy=REMEDY)
    h, w = image.shape[:2]
    if (shrink := LONG_SIDE / max(h, w)) < 1:
        image = cv2.resize(image, (max(1, round(w * shrink)), max(1, round(h * shrink))), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

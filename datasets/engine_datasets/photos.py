"""Photos of a folder as textures."""

from __future__ import annotations

from pathlib import Path

from engine import Array, EngineError, read_picture, resized

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
    try:
        photo = read_picture(path).rgb
    except EngineError as error:
        raise EngineError(error.problem, where=error.where, allowed=error.allowed, remedy=REMEDY) from None
    return resized(photo, LONG_SIDE) if max(photo.shape[:2]) > LONG_SIDE else photo

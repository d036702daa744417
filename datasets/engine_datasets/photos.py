"""Photos of a folder as textures."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

from engine import Array, EngineError, read_picture, resized

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})
LONG_SIDE = 768
CACHE_BYTES = 256 * 2**20
REMEDY = "Remove it, or give another folder of photos."


def find_photos(place: Path) -> tuple[Path, ...]:
    """:func:`list_photos`, and an :class:`EngineError` for a file that by its name is a photo and by its first bytes is not."""
    import cv2

    found = list_photos(place)
    for path in found:
        if not cv2.haveImageReader(str(path)):
            raise EngineError("this is no photo that can be decoded", where=str(path), remedy=REMEDY)
    return found


def list_photos(place: Path) -> tuple[Path, ...]:
    """The photos of a folder and its subfolders by their names, sorted, or the one file; an :class:`EngineError` where there is none."""
    if place.is_file():
        found = [place]
    elif place.is_dir():
        found = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    else:
        raise EngineError("there is no such photo or folder of photos", where=str(place))
    if not found:
        raise EngineError("there is no photo in this folder", where=str(place), allowed=", ".join(sorted(SUFFIXES)))
    return tuple(found)


def cached_photos(long_side: int = LONG_SIDE) -> Callable[[Path], Array]:
    """:func:`read_photo` that keeps what was used last, up to 256 MB."""
    return lru_cache(max(8, CACHE_BYTES // (3 * long_side**2)))(partial(read_photo, long_side=long_side))


def read_photo(path: Path, long_side: int = LONG_SIDE) -> Array:
    """A photo as uint8 RGB (h, w, 3), reduced to such a long side in pixels; an :class:`EngineError` where it cannot be read."""
    try:
        photo = read_picture(path).rgb
    except EngineError as error:
        raise EngineError(error.problem, where=error.where, allowed=error.allowed, remedy=REMEDY) from None
    return resized(photo, long_side) if max(photo.shape[:2]) > long_side else photo

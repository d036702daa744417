"""Writers of the files that hold flow and motion boundaries: PFM and PGM."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine import Array, EngineError


def write_pfm(path: Path, picture: Array) -> None:
    """Write float32 (h, w, 3) or (h, w): header ``PF`` or ``Pf``, little-endian, rows from the bottom to the top."""
    if picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,)):
        raise EngineError(f"a PFM file holds no array of shape {picture.shape}", where=str(path), allowed="(h, w, 3) or (h, w)")
    h, w = picture.shape[:2]
    magic = "PF" if picture.ndim == 3 else "Pf"
    path.write_bytes(f"{magic}\n{w} {h}\n-1.0\n".encode() + np.ascontiguousarray(picture[::-1], "<f4").tobytes())


def write_pgm(path: Path, picture: Array) -> None:
    """Write uint8 (h, w): header ``P5``, one byte a pixel."""
    if picture.ndim != 2 or picture.dtype != np.uint8:
        raise EngineError(f"a PGM file holds no {picture.dtype} array of shape {picture.shape}", where=str(path), allowed="uint8 (h, w)")
    h, w = picture.shape
    path.write_bytes(f"P5\n{w} {h}\n255\n".encode() + np.ascontiguousarray(picture).tobytes())

"""Files that hold flow and motion boundaries: PFM, Middlebury's .flo and PGM.

OpenCV reads all three, yet makes room for as many pixels as a header claims, divides PFM by its scale, stretches PGM
to 255 and never says what is wrong with a file; so they are read here.
"""

from __future__ import annotations

import math
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

import numpy as np

from engine import Array, EngineError

HEADER = 4096
"""A header with its comments ends within so many bytes."""
_PFM = re.compile(rb"(PF|Pf)\s+(\d{1,9})\s+(\d{1,9})\s+([-+.0-9eE]{1,40})\s")
_SPACE = rb"(?:\s|#[^\r\n]*[\r\n])+"
_PGM = re.compile(rb"(P5|P2)" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,9})(?:#[^\r\n]*[\r\n]|\s)")
LONGEST, COMMENTS = 16, 2**16
"""Bytes that a written number takes at most, with what parts it from the next; and comments between them in all."""
_COMMENT = re.compile(rb"#[^\r\n]*")
_FLO = b"PIEH"  # the float32 202021.25, little-endian


def read_pfm(path: Path) -> Array:
    """Read a PFM file: float32 (h, w, 3) from ``PF``, (h, w) from ``Pf``, upright, of either byte order.

    The size of the scale is passed over, only its sign counts (negative = little-endian), as in SceneFlow's own
    reader. What is not finite is returned as it is.

    Raises:
        EngineError: The file cannot be read, its header is wrong, or its length is not the one that the header asks for.
    """
    with _opened(path) as (file, size):
        found = _PFM.match(file.read(HEADER))
        if not found:
            raise _wrong_header(path, "PF or Pf, width, height, scale, each followed by white space")
        w, h = _sides(path, found[2], found[3])
        try:
            scale = float(found[4])
        except ValueError:
            scale = 0.0
        if not math.isfinite(scale) or scale == 0:
            raise EngineError(f"the scale is {found[4].decode()!r}", where=str(path), allowed="a number that is not 0")
        shape = (h, w, 3) if found[1] == b"PF" else (h, w)
        rows = _read_array(path, file, size, found.end(), shape, "<f4" if scale < 0 else ">f4")
    return np.ascontiguousarray(rows[::-1], np.float32)


def write_pfm(path: Path, picture: Array, *, big_endian: bool = False) -> None:
    """Write float32 (h, w, 3) or (h, w): header ``PF`` or ``Pf``, rows from the bottom to the top, scale 1."""
    if picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,)) or not picture.size:
        raise EngineError(f"a PFM file holds no array of shape {picture.shape}", where=str(path), allowed="(h, w, 3) or (h, w)")
    h, w = picture.shape[:2]
    magic, scale = "PF" if picture.ndim == 3 else "Pf", "1.0" if big_endian else "-1.0"
    rows = np.ascontiguousarray(picture[::-1], ">f4" if big_endian else "<f4")
    path.write_bytes(f"{magic}\n{w} {h}\n{scale}\n".encode() + rows.tobytes())


def read_flo(path: Path) -> Array:
    """Read a .flo file (Baker et al., IJCV 2011): float32 (h, w, 2), (dx, dy) in pixels; unknown flow, above 1e9, as it is.

    Raises:
        EngineError: The file cannot be read, its header is wrong, or its length is not the one that the header asks for.
    """
    with _opened(path) as (file, size):
        head = file.read(12)
        if len(head) < 12 or not head.startswith(_FLO):
            raise _wrong_header(path, "PIEH, then width and height of 4 bytes each")
        w, h = struct.unpack("<2i", head[4:])
        if w < 1 or h < 1:
            raise EngineError(f"the header says {w}x{h} pixels", where=str(path), allowed="sides from 1")
        return _read_array(path, file, size, 12, (h, w, 2), "<f4")


def write_flo(path: Path, flow: Array) -> None:
    """Write float32 (h, w, 2), (dx, dy) in pixels."""
    if flow.ndim != 3 or flow.shape[2] != 2 or not flow.size:
        raise EngineError(f"a .flo file holds no array of shape {flow.shape}", where=str(path), allowed="(h, w, 2)")
    h, w = flow.shape[:2]
    path.write_bytes(_FLO + struct.pack("<2i", w, h) + np.ascontiguousarray(flow, "<f4").tobytes())


def read_pgm(path: Path) -> Array:
    """Read a PGM file, ``P5`` or ``P2`` (plain), with comments: uint8 (h, w), or uint16 where the greatest value is above 255.

    Values are those of the file. Of a ``P5`` file with several pictures, which the format allows, the first is read.

    Raises:
        EngineError: The file cannot be read, its header is wrong, it is too short for its header, or a plain value is none.
    """
    with _opened(path) as (file, size):
        found = _PGM.match(file.read(HEADER))
        if not found:
            raise _wrong_header(path, "P5 or P2, width, height, greatest value, each followed by white space")
        (w, h), top = _sides(path, found[2], found[3]), int(found[4])
        if not 1 <= top <= 65535:
            raise EngineError(f"the header says that the greatest value is {top}", where=str(path), allowed="1 to 65535")
        if found[1] == b"P2":
            return _read_plain(path, file, size, found.end(), (h, w), top)
        dtype = "u1" if top < 256 else ">u2"
        picture = _read_array(path, file, size, found.end(), (h, w), dtype, more=True)
    return picture.astype(np.uint16) if top > 255 else picture


def write_pgm(path: Path, picture: Array, *, plain: bool = False) -> None:
    """Write uint8 or uint16 (h, w): header ``P5``, or ``P2`` where ``plain``; the greatest value is that of the type."""
    if picture.ndim != 2 or picture.dtype not in (np.uint8, np.uint16) or not picture.size:
        problem = f"a PGM file holds no {picture.dtype} array of shape {picture.shape}"
        raise EngineError(problem, where=str(path), allowed="uint8 or uint16 (h, w)")
    (h, w), wide = picture.shape, picture.dtype == np.uint16
    head = f"{'P2' if plain else 'P5'}\n{w} {h}\n{65535 if wide else 255}\n".encode()
    if plain:
        values = picture.ravel().tolist()
        lines = (" ".join(map(str, values[at : at + 10])) for at in range(0, len(values), 10))  # the format wants short lines
        path.write_bytes(head + "\n".join(lines).encode() + b"\n")
    else:
        path.write_bytes(head + np.ascontiguousarray(picture, ">u2" if wide else "u1").tobytes())


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BufferedReader, int]]:
    """The file and its length in bytes."""
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # to open a pipe would wait for whoever writes into it
            raise EngineError("this is no file", where=str(path))
        with path.open("rb") as file:
            yield file, facts.st_size
    except OSError as error:
        raise EngineError(f"cannot read this file: {error.strerror}", where=str(path)) from None


def _wrong_header(path: Path, wanted: str) -> EngineError:
    return EngineError("the header is not that of such a file", where=str(path), allowed=wanted)


def _sides(path: Path, width: bytes, height: bytes) -> tuple[int, int]:
    w, h = int(width), int(height)
    if not w or not h:
        raise EngineError(f"the header says {w}x{h} pixels", where=str(path), allowed="sides from 1")
    return w, h


def _read_array(path: Path, file: BufferedReader, size: int, start: int, shape: tuple[int, ...], dtype: str, more: bool = False) -> Array:
    """The array that begins at byte ``start``; its length is compared with the file's before room is made for it."""
    want = math.prod(shape) * np.dtype(dtype).itemsize
    there = size - start
    if there < want or (there > want and not more):
        word = "truncated" if there < want else "too long"
        sides = f"{shape[1]}x{shape[0]} pixels"
        raise EngineError(f"the file is {word}: {there} bytes follow the header, {sides} take {want}", where=str(path))
    file.seek(start)
    array: Array = np.empty(shape, dtype)
    if file.readinto(array.reshape(-1).view(np.uint8).data) != want:
        raise EngineError("the file became shorter while it was read", where=str(path))
    return array


def _read_plain(path: Path, file: BufferedReader, size: int, start: int, shape: tuple[int, int], top: int) -> Array:
    count = math.prod(shape)
    if size - start < 2 * count - 1:  # a digit each, and what parts them
        raise EngineError(f"the file is truncated: {size - start} bytes follow the header, {count} values are wanted", where=str(path))
    if size - start > LONGEST * count + COMMENTS:
        raise EngineError(f"{size - start} bytes follow the header", where=str(path), allowed=f"{count} values")
    file.seek(start)
    words = _COMMENT.sub(b" ", file.read()).split()
    if len(words) != count:
        raise EngineError(f"{len(words)} values follow the header", where=str(path), allowed=f"{count}")
    if wrong := next((word for word in words if not word.isdigit() or len(word) > 9 or int(word) > top), None):
        raise EngineError(f"a value is {wrong[:20].decode(errors='replace')!r}", where=str(path), allowed=f"0 to {top}")
    values: Array = np.array(words).astype(np.uint16 if top > 255 else np.uint8).reshape(shape)
    return values

"""MindSpore's ``.ckpt`` checkpoints, read and written without MindSpore."""

from __future__ import annotations

import binascii
import math
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from engine.errors import EngineError
from engine.ops import Array

_MAX_FIELDS = 300_000  # a checkpoint of 80 tensors has about 800
_MAX_NAME = 512
_MAX_DIMENSIONS = 32
_SLICE = 512 << 20  # MindSpore divides what is longer among entries of one name
_TRAILER, _TRAILER_SIZE = b"crc_num", 17

_DTYPES = {f"Float{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)}
_DTYPES |= {f"Int{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)}
_DTYPES |= {f"UInt{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)}
_DTYPES |= {"Bool": np.dtype("?"), "BFloat16": np.dtype("<u2")}
_NAMES = {dtype: name for name, dtype in _DTYPES.items() if name != "BFloat16"}
_TEXT = "str"  # a remark that MindSpore keeps beside the tensors

_VARINT, _BYTES = 0, 2
_SKIPPED = {1: 8, 5: 4}  # wire types of a fixed size


@dataclass
class _Entry:
    """One entry: a name, and a tensor or a slice of one; ``content`` is where its bytes are in the file."""

    name: str = ""
    dims: list[int] = field(default_factory=list)
    type: str = ""
    content: list[tuple[int, int]] = field(default_factory=list)


def is_ckpt(start: bytes) -> bool:
    """Whether a file that begins with these bytes can be one: an entry, and in it a name."""
    after = next((i + 1 for i, byte in enumerate(start[1:6], 1) if byte < 128), 0)
    return start[:1] == b"\x0a" and after > 0 and start[after : after + 1] == b"\x0a"


def read_ckpt(mapped: mmap.mmap) -> dict[str, Array]:
    """The tensors by name, read-only views of the file where their elements lie there as NumPy wants them.

    BFloat16 becomes float32; what is no tensor is left out. No size that the file claims is allocated before it was compared
    with the file's own. An :class:`EngineError` for whatever is damaged or of another type.
    """
    arrays: dict[str, Array] = {}
    pending = _Entry()
    for entry in _Reader(mapped).entries():
        if entry.name == pending.name and (entry.dims, entry.type) == (pending.dims, pending.type):
            pending.content += entry.content
            continue
        if entry.name == pending.name or entry.name in arrays:
            raise EngineError(f"two different tensors are called {entry.name!r}")
        _keep(arrays, mapped, pending)
        pending = entry
    _keep(arrays, mapped, pending)
    return arrays


def write_ckpt(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write the arrays so that ``mindspore.load_checkpoint`` and :func:`read_ckpt` find them bit for bit under their names."""
    with path.open("wb") as file:
        for name, x in arrays.items():
            if x.dtype.newbyteorder("<") not in _NAMES:
                raise EngineError(f"{name!r} is {x.dtype}, which a .ckpt cannot hold", allowed=", ".join(map(str, _NAMES)))
            kind = _NAMES[x.dtype.newbyteorder("<")]
            content = np.ascontiguousarray(x, _DTYPES[kind]).reshape(-1).view(np.uint8).data
            head = b"".join(b"\x08" + _varint(n) for n in x.shape or (0,)) + _field(2, kind.encode())
            for start in range(0, len(content) or 1, _SLICE):
                part = content[start : start + _SLICE]
                tensor = head + b"\x1a" + _varint(len(part))
                before = _field(1, name.encode()) + b"\x12" + _varint(len(tensor) + len(part)) + tensor
                file.write(b"\x0a" + _varint(len(before) + len(part)) + before)
                file.write(part)


class _Reader:
    """Finds the fields of nested messages; every length is compared with what encloses it."""

    def __init__(self, mapped: mmap.mmap) -> None:
        self.mapped = mapped
        self.fields_left = _MAX_FIELDS

    def entries(self) -> Iterator[_Entry]:
        end = len(self.mapped)
        if end >= _TRAILER_SIZE and self.mapped[end - _TRAILER_SIZE :][: len(_TRAILER)] == _TRAILER:
            end -= _TRAILER_SIZE
            with memoryview(self.mapped) as whole, whole[:end] as content:
                if binascii.crc32(content) != int.from_bytes(self.mapped[end + len(_TRAILER) :], "big"):
                    raise EngineError("the check sum at its end is not that of its content")
        for number, value in self._fields(0, end):
            if number == 1:
                yield self._entry(*_span(value))

    def _entry(self, start: int, end: int) -> _Entry:
        entry, tensors = _Entry(), 0
        for number, value in self._fields(start, end):
            if number == 1 and not entry.name:
                entry.name = self._text(*_span(value), _MAX_NAME)
            elif number == 2:
                tensors += 1
                self._tensor(entry, *_span(value))
        if not entry.name or tensors != 1:
            raise EngineError(f"the entry {entry.name!r} has {tensors} tensors", allowed="a name and one tensor")
        return entry

    def _tensor(self, entry: _Entry, start: int, end: int) -> None:
        for number, value in self._fields(start, end):
            if number == 1:
                self._dims(entry, value)
            elif number == 2 and not entry.type:
                entry.type = self._text(*_span(value), 16)
            elif number == 3 and not entry.content:
                entry.content.append(_span(value))
            elif number <= 3:
                raise EngineError(f"the tensor {entry.name!r} says twice what it is")
        if not entry.type or not entry.content:
            raise EngineError(f"the tensor {entry.name!r} has no {'content' if entry.type else 'type'}")

    def _dims(self, entry: _Entry, value: int | tuple[int, int]) -> None:
        if isinstance(value, int):
            entry.dims.append(value)
        else:
            at, end = value
            while at < end and len(entry.dims) <= _MAX_DIMENSIONS:
                size, at = self._read_varint(at, end)
                entry.dims.append(size)
        if len(entry.dims) > _MAX_DIMENSIONS or max(entry.dims, default=0) >= 2**31:
            raise EngineError(f"the shape of {entry.name!r} is no list of sizes")

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int | tuple[int, int]]]:
        """Number of each field, and its number or the place of its bytes."""
        while at < end:
            self.fields_left -= 1
            if self.fields_left < 0:
                raise EngineError(f"the checkpoint has more than {_MAX_FIELDS} fields")
            key, at = self._read_varint(at, end)
            number, wire = key >> 3, key & 7
            if wire == _VARINT:
                value, at = self._read_varint(at, end)
                yield number, value
                continue
            if wire == _BYTES:
                length, at = self._read_varint(at, end)
            elif wire in _SKIPPED and number > 3:
                length = _SKIPPED[wire]
            else:
                raise EngineError(f"field {number} at byte {at} has the wrong type {wire}")
            if length > end - at:
                raise EngineError(f"it is cut off: {length} bytes are announced at byte {at}, and {end - at} are there")
            yield number, (at, at + length)
            at += length

    def _read_varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for i, byte in enumerate(self.mapped[at : min(at + 10, end)]):
            value |= (byte & 127) << 7 * i
            if byte < 128:
                if value >= 2**64:
                    break
                return value, at + i + 1
        raise EngineError(f"the number at byte {at} is too long or cut off")

    def _text(self, start: int, end: int, most: int) -> str:
        if not 0 < end - start <= most:
            raise EngineError(f"a name of {end - start} bytes", allowed=f"1 to {most}")
        return self.mapped[start:end].decode()


def _span(value: int | tuple[int, int]) -> tuple[int, int]:
    if isinstance(value, int):
        raise EngineError("a number stands where a name, a tensor or its content belongs")
    return value


def _keep(arrays: dict[str, Array], mapped: mmap.mmap, entry: _Entry) -> None:
    if entry.type in ("", _TEXT):
        return
    if entry.type not in _DTYPES:
        raise EngineError(f"{entry.name!r} is of type {entry.type!r}", allowed=", ".join(_DTYPES))
    dtype, size = _DTYPES[entry.type], sum(end - start for start, end in entry.content)
    shape: Sequence[int] = () if entry.dims == [0] and size else entry.dims
    if math.prod(shape) * dtype.itemsize != size:
        raise EngineError(f"the tensor {entry.name!r} of shape {tuple(shape)} and type {entry.type} has {size} bytes")
    if not size:
        flat: Array = np.empty(0, dtype)
    elif len(entry.content) == 1:
        flat = np.frombuffer(mapped, dtype, size // dtype.itemsize, entry.content[0][0])
    else:
        flat = np.frombuffer(b"".join(mapped[start:end] for start, end in entry.content), dtype)
    if entry.type == "BFloat16":
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    arrays[entry.name] = flat.reshape(shape)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _BYTES]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])

"""Reads the arrays of published weight files by what is in them, not by their suffix."""

from __future__ import annotations

import io
import mmap
import struct
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from engine.ckpt import is_ckpt, read_ckpt
from engine.errors import EngineError
from engine.ops import Array
from engine.pickles import DAMAGE, Machine, Storage, collect_arrays, expect

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_KINDS = "a .safetensors, a torch .pth (zip or legacy), a MindSpore .ckpt or a pickle of NumPy arrays"


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of a safetensors file, of torch's ``.pth`` (zip and legacy), of MindSpore's ``.ckpt``, or of a pickle of NumPy's.

    Names of nested dicts are joined by ``/``; what is no array is left out. What comes out of a pickle or a ``.ckpt`` are
    read-only views of the mapped file in its own element types (bfloat16 as float32): copy what is kept. No size that a
    file claims is allocated before it was compared with the file's own. An :class:`EngineError` for another kind of file,
    for what is damaged, and for a pickle that names anything beyond a fixed list; nothing in a pickle is ever executed.
    """
    try:
        with path.open("rb") as file:
            start, size = file.read(9), file.seek(0, io.SEEK_END)
            if is_safetensors(start, size):
                return load_file(path)
            is_pickle = start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05"
            if not (start[:4] == b"PK\x03\x04" or is_pickle or is_ckpt(start)):
                raise EngineError("this is no file of weights", allowed=_KINDS)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if not is_pickle and start[:2] != b"PK":
                return read_ckpt(mapped)
            arrays = _read_pickle(mapped) if is_pickle else _read_torch_zip(file, mapped)
            if (claimed := sum(x.nbytes for x in arrays.values())) > size:  # whoever copies them would need so much memory
                raise EngineError(f"the arrays come to {claimed} bytes and the file has {size}: several share one storage")
            return arrays
    except EngineError as error:
        raise EngineError(error.problem, where=str(path), allowed=error.allowed) from None
    except OSError as error:
        raise EngineError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except (*DAMAGE, zipfile.BadZipFile, SafetensorError) as error:
        raise EngineError(f"this file of weights is damaged ({str(error)[:200]})", where=str(path)) from None


def is_safetensors(start: bytes, size: int) -> bool:
    """Whether a file of ``size`` bytes that begins with these nine can be one: a JSON header of a length that fits."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size - 8


def _read_pickle(mapped: mmap.mmap) -> dict[str, Array]:
    root = Machine(len(mapped)).run(mapped)
    return _read_torch_legacy(mapped) if root == _TORCH_MAGIC else collect_arrays(root, _no_storage)


def _no_storage(storage: Storage) -> Array:
    raise EngineError(f"the data of the storage {storage.key[:50]!r} is not in this file")


def _read_torch_legacy(mapped: mmap.mmap) -> dict[str, Array]:
    machines = [Machine(len(mapped)) for _ in range(4)]
    version, system, root, keys = (machine.run(mapped) for machine in machines)
    if version != 1001 or expect(system, dict).get("little_endian") is not True:
        raise EngineError("this torch file has another version or byte order", allowed="protocol 1001, little-endian")
    offset, flat = mapped.tell(), {}
    for key in expect(keys, list):
        storage = machines[2].storages[expect(key, str)]
        if mapped[offset : offset + 8] != struct.pack("<q", storage.count):
            raise EngineError("a storage is cut off, or has another size than its tensor says")
        flat[key] = _view_storage(mapped, storage, offset + 8, len(mapped))
        offset += 8 + flat[key].nbytes
    return collect_arrays(root, lambda storage: flat[storage.key])


def _read_torch_zip(file: IO[bytes], mapped: mmap.mmap) -> dict[str, Array]:
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in archive.infolist()}
    roots = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise EngineError("this zip file holds no torch weights", allowed="one data.pkl")

    def locate(name: str) -> tuple[int, int]:
        info = members.get(roots[0] + name)
        if info is None or info.compress_type != zipfile.ZIP_STORED:
            raise EngineError(f"the member {name[:50]!r} is missing or compressed")
        start = info.header_offset
        if not 0 <= start <= len(mapped) - 30:
            raise EngineError(f"the member {name[:50]!r} lies outside the file")
        start += 30 + sum(struct.unpack_from("<HH", mapped, start + 26))  # its local header's own name and extra field
        if start + info.file_size > len(mapped):
            raise EngineError(f"the member {name[:50]!r} is cut off")
        return start, info.file_size

    if f"{roots[0]}byteorder" in members:
        start, size = locate("byteorder")
        if mapped[start : start + size] != b"little":
            raise EngineError("this torch file has another byte order", allowed="little")
    start, size = locate("data.pkl")
    root = Machine(size).run(io.BytesIO(mapped[start : start + size]))
    return collect_arrays(root, lambda storage: _view_storage(mapped, storage, *locate(f"data/{storage.key}")))


def _view_storage(mapped: mmap.mmap, storage: Storage, offset: int, size: int) -> Array:
    if storage.count < 0 or storage.count * storage.dtype.itemsize > min(size, len(mapped) - offset):
        raise EngineError(f"a storage of {storage.count} elements is cut off")
    return np.frombuffer(mapped, storage.dtype, storage.count, offset) if storage.count else np.empty(0, storage.dtype)

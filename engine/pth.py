"""Writes torch's ``.pth``, the zip form, without torch, and a remark beside the tensors."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from engine.errors import EngineError
from engine.ops import Array
from engine.pickles import DAMAGE, STORAGES

_ROOT = "archive"
_ALIGNMENT = 64  # as torch lays its storages, so that they can be mapped
_CLASSES = {np.dtype(f"<{code}"): name for name, code in STORAGES.items()}


def write_pth(path: Path, arrays: Mapping[str, Array], remarks: Mapping[str, bytes] = {}) -> None:
    """Write a state dict that ``torch.load(path, weights_only=True)`` reads bit for bit.

    ``remarks`` become members of the zip file beside torch's own, which torch passes over.
    """
    stored = {name: np.ascontiguousarray(x, x.dtype.newbyteorder("<")) for name, x in arrays.items()}
    for name, x in stored.items():
        if x.dtype not in _CLASSES:
            raise EngineError(f"{name!r} is {x.dtype}, which a .pth cannot hold", allowed=", ".join(map(str, _CLASSES)))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "data.pkl", _state_dict({name: (stored[name].dtype, x.shape) for name, x in arrays.items()}))
        _add(archive, "byteorder", b"little")
        for key, x in enumerate(stored.values()):
            _add(archive, f"data/{key}", x.reshape(-1).view(np.uint8).data)
        _add(archive, "version", b"3\n")
        for name, content in remarks.items():
            _add(archive, name, content)


def read_remark(path: Path, name: str, most: int) -> bytes:
    """A remark that :func:`write_pth` put into a zip file; empty where there is none. :class:`EngineError` beyond ``most`` bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            info = next((info for info in archive.infolist() if info.filename.endswith(f"/{name}")), None)
            if info is None:
                return b""
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > most:
                raise EngineError(
                    f"the remark {name!r} has {info.file_size} bytes", where=str(path), allowed=f"at most {most}, uncompressed"
                )
            return archive.read(info)
    except (*DAMAGE, OSError, zipfile.BadZipFile) as error:
        raise EngineError(f"the remark {name!r} is damaged ({error})", where=str(path)) from None


def _add(archive: zipfile.ZipFile, name: str, content: bytes | memoryview) -> None:
    info = zipfile.ZipInfo(f"{_ROOT}/{name}")
    assert archive.fp is not None  # it is open
    begin = archive.fp.tell() + 30 + len(info.filename) + 4  # a member's header, its name, and the head of the filling
    info.extra = struct.pack("<2sH", b"FB", -begin % _ALIGNMENT) + bytes(-begin % _ALIGNMENT)
    archive.writestr(info, content)


def _state_dict(tensors: Mapping[str, tuple[np.dtype[np.generic], tuple[int, ...]]]) -> bytes:
    """The pickle, protocol 2, of a dict of tensors whose storages are the members ``data/0``, ``data/1``, ..."""
    pickle = [b"\x80\x02}("]
    for key, (name, (dtype, shape)) in enumerate(tensors.items()):
        count = int(np.prod(shape, dtype=np.int64))
        strides = [int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape))]
        storage = b"(" + _text("storage") + _global(_CLASSES[dtype]) + _text(str(key)) + _text("cpu") + _number(count) + b"tQ"
        parts = storage + _number(0) + _numbers(shape) + _numbers(strides) + b"\x89" + _global("collections.OrderedDict") + b")R"
        pickle.append(_text(name) + _global("torch._utils._rebuild_tensor_v2") + b"(" + parts + b"tR")
    return b"".join([*pickle, b"u."])


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def _global(name: str) -> bytes:
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def _number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def _numbers(values: tuple[int, ...] | list[int]) -> bytes:
    return b"(" + b"".join(map(_number, values)) + b"t"

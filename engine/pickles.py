"""Runs the data of a pickle, and executes nothing.

There is no unpickler here that could be talked into a call: a small machine of its own knows the opcodes that hold
data and a fixed list of names, and what those names would have made is described by the classes below. An array
becomes a view of the bytes that are there, so that no size a file claims is ever allocated.
"""

from __future__ import annotations

import math
import mmap
import pickletools
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from engine.errors import EngineError
from engine.ops import Array

_MAX_STEPS = 300_000  # VGG16 takes about a thousand
_MAX_ARRAYS = 100_000
_MAX_DEPTH = 16
_MAX_NAME = 512
_MAX_DIMENSIONS = 32

STORAGES = {
    f"torch.{name}Storage": code
    for name, code in {"Float": "f4", "Double": "f8", "Half": "f2", "Bool": "b1", "Byte": "u1"}.items()
    | {"Long": "i8", "Int": "i4", "Short": "i2", "Char": "i1"}.items()
}
"""The classes of torch's storages, and NumPy's codes of their elements."""
_RECONSTRUCT = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
_FROM_BUFFER = ("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer")
_REBUILD = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
_NAMES = {*STORAGES, *_RECONSTRUCT, *_FROM_BUFFER, *_REBUILD, "collections.OrderedDict", "_codecs.encode"}
_NAMES |= {"numpy.ndarray", "numpy.dtype", "torch._utils._rebuild_parameter", "__builtin__.bytes"}

DAMAGE = (ValueError, TypeError, LookupError, OverflowError, AssertionError, EOFError, struct.error, RuntimeError)
"""What hostile or damaged content makes of :mod:`pickletools`, of NumPy and of the patterns below, beside EngineError."""


class _Name(str):
    """A name that stands for something callable, told apart from a string."""


@dataclass
class _DType:
    code: str
    order: str = "="

    def numpy(self) -> np.dtype[Any]:
        if not re.fullmatch(r"[fiu][1248]|b1", self.code) or self.code == "f1" or self.order not in {"<", ">", "=", "|"}:
            raise EngineError(f"arrays of type {self.order[:9] + self.code[:9]!r} are not read")
        return np.dtype(self.order + self.code)


@dataclass
class _NumpyArray:
    dtype: _DType | None = None
    shape: tuple[Any, ...] = ()
    fortran: bool = False
    data: bytes = b""

    def view(self) -> Array:
        if self.dtype is None:
            raise EngineError("an array was begun and never filled")
        dtype = self.dtype.numpy()
        count = _count(self.shape, len(self.data))
        if count * dtype.itemsize != len(self.data):
            raise EngineError(f"an array of shape {self.shape} has {len(self.data)} bytes")
        if not count:
            return np.empty(self.shape, dtype)
        return np.frombuffer(self.data, dtype).reshape(self.shape, order="F" if self.fortran else "C")


@dataclass(frozen=True)
class Storage:
    """Where torch keeps a tensor's elements: ``count`` of them, found under ``key`` outside the pickle."""

    dtype: np.dtype[Any]
    key: str
    count: int


@dataclass(frozen=True)
class _TorchTensor:
    storage: Storage
    offset: int
    size: tuple[Any, ...]
    stride: tuple[Any, ...]

    def view(self, flat: Array) -> Array:
        count = _count(self.size, flat.size)
        if len(self.stride) != len(self.size) or not all(isinstance(step, int) and step >= 0 for step in self.stride):
            raise EngineError(f"the strides of a tensor of shape {self.size} do not fit")
        if not count:
            return np.empty(self.size, flat.dtype)
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        if self.offset < 0 or last >= flat.size or count > flat.size:
            raise EngineError(f"a tensor of shape {self.size} reaches beyond the {flat.size} elements of its storage")
        strides = [step * flat.itemsize if n > 1 else 0 for n, step in zip(self.size, self.stride, strict=True)]
        return np.lib.stride_tricks.as_strided(flat[self.offset :], self.size, strides, writeable=False)


class Machine:
    """Runs the data opcodes of one pickle; ``storages`` are the ones that it named."""

    def __init__(self, size: int) -> None:
        """``size`` of the file bounds what may be copied."""
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}  # a dict, so that an index of billions costs nothing
        self.steps = 0
        self.text_left = size  # what may be copied from text to bytes
        self.storages: dict[str, Storage] = {}

    def run(self, file: IO[bytes] | mmap.mmap) -> Any:
        """The value of the pickle that starts here; leaves the file behind its end."""
        for opcode, argument, _ in pickletools.genops(file):  # type: ignore[arg-type]  # a map has what it needs: read, readline, tell
            self._spend(1)
            if opcode.name == "STOP":
                return self.stack.pop()
            self._step(opcode.name, argument)
        raise EngineError("the pickle does not end")

    def _spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > _MAX_STEPS:
            raise EngineError(f"the pickle takes more than {_MAX_STEPS} steps")

    def _step(self, opcode: str, argument: Any) -> None:
        stack, memo = self.stack, self.memo
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "MARK":
                self.marks.append(len(stack))
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8" | "BINSTRING" | "SHORT_BINSTRING":
                stack.append(argument)
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
                stack.append(bytes(argument))
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(self._pop(int(opcode[-1])))
            case "TUPLE":
                stack.append(self._pop_to_mark())
            case "EMPTY_LIST":
                stack.append([])
            case "APPEND" | "APPENDS":
                items = self._pop_to_mark() if opcode == "APPENDS" else self._pop(1)
                expect(stack[-1], list).extend(items)
            case "EMPTY_DICT":
                stack.append({})
            case "SETITEM" | "SETITEMS":
                items = self._pop_to_mark() if opcode == "SETITEMS" else self._pop(2)
                expect(stack[-1], dict).update((_key(key), x) for key, x in zip(items[::2], items[1::2], strict=True))
            case "GLOBAL":
                stack.append(_known_name(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                module, name = self._pop(2)
                stack.append(_known_name(f"{_key(module)}.{_key(name)}"))
            case "REDUCE":
                name, arguments = self._pop(2)
                stack.append(self._make(expect(name, _Name), expect(arguments, tuple)))
            case "BUILD":
                (state,) = self._pop(1)
                _fill(stack[-1], state)
            case "BINPERSID":
                stack.append(self._storage(*self._pop(1)))
            case _:
                raise EngineError(f"the pickle uses {opcode}, which arrays do not need")

    def _pop(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count:
            raise EngineError("the pickle takes more than it put down")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        return items

    def _pop_to_mark(self) -> tuple[Any, ...]:
        start = self.marks.pop()
        items = tuple(self.stack[start:])
        del self.stack[start:]
        return items

    def _make(self, name: str, arguments: tuple[Any, ...]) -> Any:
        match name, arguments:
            case "collections.OrderedDict", ():
                return {}
            case "collections.OrderedDict", (list() as pairs,):
                self._spend(len(pairs))  # one list can be named many times
                return {_key(key): x for key, x in pairs}
            case "_codecs.encode", (str() as text, "latin1" | "latin-1"):
                self.text_left -= len(text)
                if self.text_left < 0:
                    raise EngineError("the pickle turns the same text into bytes again and again")
                return text.encode("latin-1")
            case "__builtin__.bytes", ():
                return b""  # so protocol 2 writes it
            case "numpy.dtype", (str() as code, *_):
                return _DType(code)
            case name, (_Name(), tuple(), bytes()) if name in _RECONSTRUCT:
                return _NumpyArray()
            case name, (bytes() as data, _DType() as dtype, tuple() as shape, str() as order) if name in _FROM_BUFFER:
                return _NumpyArray(dtype, shape, order == "F", data)
            case name, (Storage() as storage, int() as offset, tuple() as size, tuple() as stride, *_) if name in _REBUILD:
                return _TorchTensor(storage, offset, size, stride)
            case "torch._utils._rebuild_parameter", (_TorchTensor() as tensor, *_):
                return tensor
        raise EngineError(f"the pickle calls {name} with arguments that it does not have")

    def _storage(self, reference: Any) -> Storage:
        match reference:
            case ("storage", _Name() as kind, str() as key, _, int() as count, *rest) if all(x is None for x in rest):
                if kind not in STORAGES:
                    raise EngineError(f"{kind} is no storage of torch")
                return self.storages.setdefault(key, Storage(np.dtype("<" + STORAGES[kind]), key, count))
        raise EngineError("a storage is named in a way that is not known")


def _known_name(name: str) -> _Name:
    if name not in _NAMES:
        raise EngineError(f"the pickle names {name[:200]!r}, which arrays do not need; nothing was executed")
    return _Name(name)


def expect(value: Any, kind: type[Any]) -> Any:
    """``value``; an :class:`EngineError` where it is of another kind."""
    if not isinstance(value, kind):
        raise EngineError(f"the pickle holds a {type(value).__name__} where a {kind.__name__.strip('_').lower()} belongs")
    return value


def _key(value: Any) -> str | int:
    # Nothing else: hashing deeply nested tuples would overflow the interpreter's stack.
    if isinstance(value, (str, int)):
        return value
    raise EngineError(f"the pickle uses a {type(value).__name__} as a name")


def _fill(target: Any, state: Any) -> None:
    match target, state:
        case dict(), _:
            pass  # an OrderedDict's own attributes, such as torch's _metadata
        case _DType(), (int(), str() as order, None, None, None, *_):
            target.order = order
        case _NumpyArray(), (int(), tuple() as shape, _DType() as dtype, bool() | int() as fortran, bytes() as data):
            target.shape, target.dtype, target.fortran, target.data = shape, dtype, bool(fortran), data
        case _:
            raise EngineError(f"the pickle sets the state of a {type(target).__name__.strip('_')} in a way that is not known")


def _count(shape: tuple[Any, ...], available: int) -> int:
    if len(shape) > _MAX_DIMENSIONS or not all(isinstance(n, int) and 0 <= n < 2**31 for n in shape):
        raise EngineError("an array's shape is no list of sizes")
    count = math.prod(int(n) for n in shape)
    if count > available:
        raise EngineError(f"an array of shape {shape} does not fit the {available} elements or bytes that are there")
    return count


def collect_arrays(root: Any, storage: Callable[[Storage], Array]) -> dict[str, Array]:
    """The arrays in nested dicts, read-only views; names are joined by ``/``, and ``storage`` gives a storage's elements, flat."""
    found: dict[str, Array] = {}
    waiting: list[tuple[str, int, Any]] = [("", 0, expect(root, dict))]
    visited = 0
    while waiting:
        prefix, depth, branch = waiting.pop()
        visited += len(branch) + 1
        if visited > _MAX_ARRAYS or depth > _MAX_DEPTH:
            raise EngineError("the pickle's dicts are nested too deep, or hold too much")
        for key, value in branch.items():
            name = f"{prefix}{str(key)[: _MAX_NAME + 1]}"
            if len(name) > _MAX_NAME:
                raise EngineError(f"an array's name is longer than {_MAX_NAME} characters")
            if isinstance(value, dict):
                waiting.append((f"{name}/", depth + 1, value))
            elif isinstance(value, _NumpyArray):
                found[name] = value.view()
            elif isinstance(value, _TorchTensor):
                found[name] = value.view(storage(value.storage))
    return found

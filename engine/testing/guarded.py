"""Operators on tensors that refuse what not every backend can do: that their numbers are looked at, or that they are more than tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import numpy as np

from engine.ops import Array, DType, Tensor
from engine.testing.oracle import OracleOps

_COMPILED = (
    "a backend that compiles a step reads the numbers of the first one only; compute with ops.where(condition, x, y), "
    "and leave ops.to_numpy, float() and `if` to shapes and settings"
)
_OWN = "a tensor is the framework's own, and on another one it has other methods; use the operators, as ops.mean(x) and ops.shape(x)"
_WRITES = (
    "it writes into a tensor, which on another framework stays as it was, or cannot be; "
    "compute with ops.where or ops.concat, and y = x + 1 for x += 1"
)
_MAKE = "make the array a tensor by ops.asarray(array)"
_ARITHMETIC = {"add", "subtract", "multiply", "divide", "floor_divide", "remainder", "power", "matmul", "negative", "positive", "absolute"}
_COMPARISON = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
_PYTHONS = _ARITHMETIC | _COMPARISON | {"bitwise_and", "bitwise_or", "bitwise_xor", "invert"}
"""What Python's arithmetic and comparison are called in NumPy."""


class Guarded(np.ndarray[Any, Any]):
    """Of no dimension it is a tensor too, not a number of Python."""

    def __getitem__(self, key: Any) -> Any:
        return _hide(_show(self)[_show(key) if isinstance(key, Guarded | tuple) else key], type(self))


class Unseen(Guarded):
    """Computes, and refuses to be a truth or a number of Python, as while a framework traces a function."""

    def _refuse(self, *_: object) -> NoReturn:
        raise AssertionError(f"it looks at a tensor's numbers: {_COMPILED}")

    __bool__ = __float__ = __int__ = __index__ = item = tolist = _refuse

    def __getitem__(self, key: Any) -> Any:
        if any(isinstance(part, Unseen) and np.asarray(part).dtype == bool for part in (key if isinstance(key, tuple) else (key,))):
            raise AssertionError("it picks elements by a mask, so that a shape depends on a tensor's numbers; compute with ops.where")
        return super().__getitem__(key)


class Bare(Guarded):
    """Has Python's arithmetic, comparison and slices, and nothing else of NumPy's."""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            raise AssertionError(f"it uses .{name} of a tensor: {_OWN}")
        return super().__getattribute__(name)

    def __setitem__(self, *_: object) -> NoReturn:
        raise AssertionError(_WRITES)

    def __pow__(self, exponent: Any, _: None = None) -> Any:
        return self.__array_ufunc__(np.power, "__call__", self, exponent)  # for which NumPy would call square or sqrt

    def __ipow__(self, exponent: Any, _: None = None) -> Any:
        return self.__array_ufunc__(np.power, "__call__", self, exponent, out=(self,))

    def __str__(self) -> str:
        return "a tensor"

    def __format__(self, _: str) -> str:
        return "a tensor"

    __repr__ = __str__

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **named: Any) -> Any:
        if ufunc.__name__ not in _PYTHONS or method != "__call__":
            raise AssertionError(f"it calls NumPy's {ufunc.__name__} on a tensor: {_OWN}")
        (target,) = named.pop("out", (None,))  # of x += 1
        if target is not None and _show(target).ndim and not target.__dict__.get("own"):
            raise AssertionError(_WRITES)
        if any(isinstance(x, np.ndarray | list | tuple) and not isinstance(x, Bare) for x in inputs):
            raise AssertionError(f"it computes with a NumPy array, or a list, and a tensor; {_MAKE}")
        result = _hide(ufunc(*map(_show, inputs), **named), Bare)
        result.__dict__["own"] = True  # nobody else has it, so it may be changed
        return result

    def __array_function__(self, function: Callable[..., Any], *_: object) -> NoReturn:
        raise AssertionError(f"it calls NumPy's {function.__name__} on a tensor: {_OWN}")


class GuardedOps:
    """:class:`engine.testing.OracleOps` on :class:`Unseen` or :class:`Bare` tensors."""

    def __init__(self, tensor: type[Unseen | Bare]) -> None:
        self._oracle, self._tensor = OracleOps(), tensor

    def asarray(self, x: Array | float, dtype: DType = "float32") -> Tensor:
        return _hide(self._oracle.asarray(_show(x), dtype), self._tensor)

    def to_numpy(self, x: Tensor) -> Array:
        if self._tensor is Unseen:
            raise AssertionError(f"it calls ops.to_numpy: {_COMPILED}")
        return self._oracle.to_numpy(_show(x))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._oracle, name)
        return self._hiding(found) if callable(found) else found

    def _hiding(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def hidden(*arguments: Any, **named: Any) -> Any:
            if any(isinstance(x, np.ndarray) and not isinstance(x, self._tensor) for x in (*arguments, *named.values())):
                raise AssertionError(f"ops.{function.__name__} is given a NumPy array; {_MAKE}")
            return _hide(function(*map(_show, arguments), **{key: _show(x) for key, x in named.items()}), self._tensor)

        return hidden


def _hide(x: Any, tensor: type[Guarded]) -> Any:
    return np.asarray(x).view(tensor) if isinstance(x, np.ndarray | np.generic) else x


def _show(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(map(_show, x))
    if isinstance(x, np.ndarray):
        return np.ndarray.view(x, np.ndarray)
    return list(map(_show, x)) if isinstance(x, Iterable) and not isinstance(x, str) else x

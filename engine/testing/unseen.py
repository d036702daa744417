"""Operators whose numbers cannot be looked at, as while a framework traces a function: who decides by them is found out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from engine.ops import Array, Tensor
from engine.testing.oracle import OracleOps

REMEDY = (
    "a backend that compiles a step reads the numbers of the first one only; compute with ops.where(condition, x, y), "
    "and leave ops.to_numpy, float() and `if` to shapes and settings"
)


class Unseen(np.ndarray[Any, Any]):
    """An array that computes, and refuses to be a truth or a number of Python."""

    def _refuse(self, *_: object) -> NoReturn:
        raise AssertionError(f"it looks at a tensor's numbers: {REMEDY}")

    __bool__ = __float__ = __int__ = __index__ = item = tolist = _refuse


class UnseenOps:
    """:class:`engine.testing.OracleOps` on :class:`Unseen`."""

    def __init__(self) -> None:
        self._oracle = OracleOps()

    def to_numpy(self, x: Tensor) -> Array:
        raise AssertionError(f"it calls ops.to_numpy: {REMEDY}")

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._oracle, name)
        return _hiding(found) if callable(found) else found


def _hiding(function: Callable[..., Any]) -> Callable[..., Any]:
    def hidden(*arguments: Any, **named: Any) -> Any:
        return _hide(function(*map(_show, arguments), **{key: _show(x) for key, x in named.items()}))

    return hidden


def _hide(x: Any) -> Any:
    return np.asarray(x).view(Unseen) if isinstance(x, np.ndarray | np.generic) else x


def _show(x: Any) -> Any:
    if isinstance(x, list | tuple):
        return type(x)(map(_show, x))
    return x.view(np.ndarray) if isinstance(x, Unseen) else x

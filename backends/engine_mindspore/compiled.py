"""Functions of tensors, compiled by MindSpore, and what its tracing mode trips over."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import mindspore as ms
from mindspore import Tensor

from engine_mindspore.tracing import quick_recording

_numbers = count()


class Compiled:
    """A function of tensors that gives a tuple of tensors, traced and compiled anew for every combination of shapes and types.

    It runs once in Python for each of them, with real values; later calls run the graph alone, so it must be pure.
    A gradient that is taken *inside* a traced function is kept as a constant (MindSpore 2.10), so :meth:`value_and_grad` takes it
    of the traced one; that wants at least two results.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        self._function = function
        self._fault: BaseException | None = None
        self._traced = self._trace()

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        with quick_recording():
            result = self._traced(*tensors)
        self._raise()
        return result if isinstance(result, tuple) else (result,)

    def value_and_grad(self, variables: int, *tensors: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The results, and the gradient of the first of them, a scalar, by each of the first ``variables`` tensors."""
        with quick_recording():
            result, gradients = ms.value_and_grad(self._traced, tuple(range(variables)), has_aux=True)(*tensors)
        self._raise()
        return result, gradients if isinstance(gradients, tuple) else (gradients,)  # of one variable MindSpore gives it bare

    def _trace(self) -> Callable[..., tuple[Tensor, ...]]:
        def traced(*tensors: Tensor) -> tuple[Tensor, ...]:
            try:
                return self._function(*tensors)
            except BaseException as fault:  # an exception would leave MindSpore's recorder open for the whole process
                self._fault = fault
                return (tensors[0], tensors[0])

        # MindSpore keeps graphs by name and id(), and an id comes back after collection; and a name that a tensor has as an
        # attribute would make it take the first argument for `self`.
        traced.__name__ = f"engine_compiled_{next(_numbers)}"
        compiled: Callable[..., tuple[Tensor, ...]] = ms.jit(traced, capture_mode="trace")
        return compiled

    def _raise(self) -> None:
        if self._fault is not None:
            fault, self._fault = self._fault, None
            self._traced = self._trace()  # what was compiled just now is no graph of the function
            raise fault

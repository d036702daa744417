"""Functions of tensors, compiled by MindSpore, and what its tracing mode trips over."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from itertools import count
from typing import TypeAlias

import mindspore as ms
from mindspore import Tensor

from engine_mindspore.tracing import forget, quick_recording, with_texts

Function: TypeAlias = Callable[..., tuple[Tensor, ...]]
MOST_SIZES = 2
"""Each takes memory: 1.5 GB for the network of ReCoNet's paper at 640x360. Two, for pictures upright and lying in turn."""

_numbers = count()


class Compiled:
    """A function of tensors that gives a tuple of tensors, traced and compiled anew for every combination of shapes and types.

    It runs once in Python for each of them, with real values; later calls run the graph alone, so it must be pure.
    A gradient that is taken *inside* a traced function is kept as a constant (MindSpore 2.10), so :meth:`value_and_grad` takes it
    of the traced one; that wants at least two results. Its graphs, and the memory of every tensor in them, live until
    :meth:`release`; those of gradients as long as the process (MindSpore 2.10).
    """

    def __init__(self, function: Function) -> None:
        self._function = function
        self._faults: list[BaseException] = []
        self._names: list[str] = []
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

    def release(self) -> None:
        """Let go of the graphs; not left to the garbage collector, which would do it in any thread and amid MindSpore's work."""
        for name in self._names:
            forget(name)

    def _trace(self) -> Function:
        function, faults = with_texts(self._function), self._faults

        def traced(*tensors: Tensor) -> tuple[Tensor, ...]:
            try:
                return function(*tensors)
            except BaseException as fault:  # an exception would leave MindSpore's recorder open for the whole process
                faults.append(fault)
                return (tensors[0], tensors[0])

        # MindSpore keeps graphs by name and id(), and an id comes back after collection; and a name that a tensor has as an
        # attribute would make it take the first argument for `self`.
        traced.__name__ = f"engine_compiled_{next(_numbers)}"
        self._names.append(traced.__name__)
        compiled: Function = ms.jit(traced, capture_mode="trace")
        return compiled

    def _raise(self) -> None:
        if self._faults:
            self._traced = self._trace()  # what was compiled just now is no graph of the function
            raise self._faults.pop()


class Graphs:
    """Compiled functions by what they compute and what they are given."""

    def __init__(self) -> None:
        self._graphs: dict[Hashable, Compiled] = {}

    def __len__(self) -> int:
        return len(self._graphs)

    def release(self) -> None:
        """Let go of all."""
        for graph in self._graphs.values():
            graph.release()

    def run(self, key: Hashable, function: Function, *tensors: Tensor) -> tuple[Tensor, ...]:
        """``function(*tensors)``; ``key`` is equal for functions that compute the same, and the first of them is kept."""
        full = (key, *((x.shape, x.dtype) for x in tensors))
        if full not in self._graphs:
            self._graphs[full] = Compiled(function)
        return self._graphs[full](*tensors)


class RecentGraphs:
    """The graphs of what was painted lately; those of everything else, and their memory, are let go."""

    def __init__(self, most: int = MOST_SIZES) -> None:
        self._most = most
        self._graphs: OrderedDict[Hashable, Graphs] = OrderedDict()

    def of(self, painted: Hashable) -> Graphs:
        """Those that paint one network at one size."""
        graphs = self._graphs.setdefault(painted, Graphs())
        self._graphs.move_to_end(painted)
        if len(self._graphs) > self._most:
            self._graphs.popitem(last=False)[1].release()
        return graphs

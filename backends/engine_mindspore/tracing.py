"""MindSpore's recorder: without what it writes down for its own developers, and with an end to what it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import local
from typing import Any, TypeVar

from mindspore import Tensor
from mindspore.graph import jit_trace
from mindspore.graph.api import GraphExecutor_, JitExecutor_, _pynative_executor

Result = TypeVar("Result")


class _Recorder(jit_trace.TraceJitContext):  # type: ignore[misc]  # mindspore ships no types
    """Records operators as its parent does, but prints no tensor into a debug message that nobody reads.

    It waits for every operator, as its parent does by printing. Otherwise the thread that writes down what the gradient will need
    copies a tensor's notes while the recorder writes there: one of some 300 recordings ended in a crash (MindSpore 2.10).
    """

    def run_op(self, prim: Any, prim_res: Any, *args: Any) -> Any:
        prim_res, files, lines, args = self.prepare_op(prim.name, prim_res, *args)
        jit_trace.tr.get_instance().new_node(prim, (prim_res, files, lines, False), *args)
        return prim_res

    def prepare_op(self, prim_name: str, prim_res: Any, *args: Any) -> Any:
        _pynative_executor.sync()
        return self.args_preprocess(prim_name, prim_res, *args)


@contextmanager
def quick_recording() -> Iterator[None]:
    """While functions are traced, or run as graphs: no source line is looked up, and no tensor made a text of.

    MindSpore 2.10 does both for its debug messages, whether or not they are shown: for every single operator while it traces, through the
    whole call stack, which fails where one of the callers stands in no file, in an interactive session or in ``python -c``; and for
    all that goes into a graph and comes out at every call, half of the time that painting a small picture takes.
    """
    kept = jit_trace._trace_jit_context, jit_trace._get_caller_lines
    jit_trace._trace_jit_context, jit_trace._get_caller_lines = _RECORDER, lambda: ([__file__], [1])
    try:
        with _texts(False):
            yield
    finally:
        jit_trace._trace_jit_context, jit_trace._get_caller_lines = kept


def with_texts(function: Callable[..., Result]) -> Callable[..., Result]:
    """The function as it is inside :func:`quick_recording`, where what it prints of a tensor is its numbers after all."""

    def printing(*tensors: Tensor) -> Result:
        with _texts(True):
            return function(*tensors)

    return printing


@contextmanager
def _texts(wanted: bool) -> Iterator[None]:
    kept = getattr(_THREAD, "texts", True)
    _THREAD.texts = wanted
    try:
        yield
    finally:
        _THREAD.texts = kept


def _where_wanted(text: Callable[[Tensor], str]) -> Callable[[Tensor], str]:
    def text_or_none(tensor: Tensor) -> str:
        if getattr(_THREAD, "texts", True):
            return text(tensor)
        tensor._data_ptr()  # waits for it, as making a text does: a graph that was let go while it ran ended in a crash, or never
        return ""

    return text_or_none


def forget(name: str) -> None:
    """Let go of the graphs of the traced function of that name, and of their memory; MindSpore 2.10 would keep them for good.

    Those of its gradients it keeps all the same.
    """
    phases = {phase for phase in jit_trace._trace_compile_cache if f".{name}#" in phase}
    for executor in (JitExecutor_, GraphExecutor_):
        executor.get_instance().del_net_res(None, phases)
    jit_trace._trace_compile_cache -= phases


_RECORDER = _Recorder()
_THREAD = local()
"""``texts``: whether this thread makes texts of tensors; it does where nothing is said."""
Tensor.__str__, Tensor.__repr__ = _where_wanted(Tensor.__str__), _where_wanted(Tensor.__repr__)

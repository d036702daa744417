"""OpenVINO itself: imported without its telemetry, a model compiled for the CPU, and what its errors are to the engine."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from engine import Array, DType, EngineError, RunError

TELEMETRY = "openvino_telemetry"
MOST_STREAMS = 4
"""Frames computed at once, each with memory for all activations: 0.6 GB at 1920x1080, 16 wide, float32. More threads share them."""


def _import_quietly() -> ModuleType:
    """Import openvino as where its telemetry is not installed: nothing is sent, no identifier is written to the home folder.

    Importing it otherwise reports the import to a server unless the user has opted out before. It goes without, by a stub of
    its own, where that package is absent; once openvino is there, the package can be imported again.
    """
    hidden = TELEMETRY not in sys.modules
    if hidden:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # how Python is told that there is no such module
    try:
        import openvino
        import openvino.opset13
    finally:
        if hidden:
            del sys.modules[TELEMETRY]
    module: ModuleType = openvino
    return module


ov: Any = _import_quietly()
opset: Any = ov.opset13
VERSION = str(ov.__version__).split("-")[0]


@cache
def core() -> Any:
    """OpenVINO's runtime, one for the process."""
    return ov.Core()


@cache
def capabilities() -> tuple[str, ...]:
    """Words for what the CPU computes in, such as FP32 and BF16."""
    return tuple(core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


class Session:
    """A model compiled for the CPU, of which ``streams`` requests can run at once; its inputs and outputs are numbered."""

    def __init__(self, model: Any, *, threads: int, streams: int = 1, precision: DType = "float32") -> None:
        self._streams = streams
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
            # Pinned, the threads of two processes share one core and leave the next one idle.
            "ENABLE_CPU_PINNING": False,
            "ENABLE_HYPER_THREADING": True,  # the number of threads is given, whatever the cores are
        }
        try:
            self._compiled = core().compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise explained(error, EngineError("OpenVINO does not take this graph")) from error

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs; a :class:`MemoryError` where they do not fit."""
        request = self._compiled.create_infer_request()
        _start(request, inputs)
        _wait(request)
        return [np.array(tensor.data) for tensor in request.output_tensors]

    def release(self) -> None:
        """Give the memory of activations back; the next run takes it anew. Nothing may be running."""
        self._compiled.release_memory()

    def stream(self, batches: Iterator[Array]) -> Generator[Array, None, None]:
        """What the one output is of the one input, image by image, and given back in the batches that they came in, in order."""
        free = [self._compiled.create_infer_request() for _ in range(self._streams)]
        busy: deque[tuple[Any, Array, Array]] = deque()  # in order: a request, what it reads, where the result goes
        made: deque[tuple[Array, int]] = deque()  # batches, and how many images were begun with them
        begun = 0

        def finish() -> None:
            request, _, target = busy.popleft()
            free.append(request)
            _wait(request)
            target[...] = request.output_tensors[0].data

        try:
            for batch in batches:
                result = np.empty_like(batch, order="C")
                for i in range(len(batch)):
                    if not free:
                        finish()
                    image = np.ascontiguousarray(batch[i : i + 1])
                    _start(free[-1], [image])
                    busy.append((free.pop(), image, result[i : i + 1]))
                begun += len(batch)
                made.append((result, begun))
                while made and made[0][1] <= begun - len(busy):
                    yield made.popleft()[0]
            while made:
                while made[0][1] > begun - len(busy):
                    finish()
                yield made.popleft()[0]
        finally:
            for request, *_ in busy:
                request.cancel()
            for request, *_ in busy:
                _settle(request)


class SharedMemory:
    """Of sessions that run one after another, only the latest keeps memory for activations: a network in parts has many."""

    def __init__(self) -> None:
        self._latest: weakref.ref[Session] | None = None  # whoever paints keeps it, not we
        self._turn = threading.Lock()

    def run(self, session: Session, inputs: Sequence[Array]) -> list[Array]:
        """:meth:`Session.run`, of one thread after another: a session that runs cannot give its memory back."""
        with self._turn:
            latest = self._latest() if self._latest else None
            if latest is not None and latest is not session:
                latest.release()
            self._latest = weakref.ref(session)
            return session.run(inputs)


def _start(request: Any, inputs: Sequence[Array]) -> None:
    # The memory is the array's, and nothing here keeps it: who starts a request holds its inputs until it has ended.
    for i, x in enumerate(inputs):
        request.set_input_tensor(i, ov.Tensor(x, shared_memory=True))
    request.start_async()


def _wait(request: Any) -> None:
    try:
        request.wait()
    except RuntimeError as error:
        raise explained(error, RunError("OpenVINO failed")) from error


def _settle(request: Any) -> None:
    """Wait for a request whose result nobody wants: its memory must not go before it has ended."""
    try:
        request.wait()
    except RuntimeError:  # that it was cancelled, or what would have been raised had anybody asked
        return


def explained(error: RuntimeError, as_what: EngineError) -> Exception:
    """The engine's error for one of OpenVINO's, with the last line of its message; a :class:`MemoryError` where memory ran out."""
    text = str(error)
    if "alloc" in text:
        return MemoryError("OpenVINO ran out of memory")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return type(as_what)(f"{as_what.problem}: {lines[-1] if lines else text}")


def cores() -> int:
    """How many threads compute: ``OMP_NUM_THREADS`` as for other frameworks, else as many as this process has cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked.isdigit() and int(asked):
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

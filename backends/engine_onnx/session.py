"""onnxruntime: a session for a model, and what its errors are to the engine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import onnx
import onnxruntime

from engine import Array, EngineError, RunError


class Session:
    """A model ready to run on the CPU."""

    def __init__(self, model: onnx.ModelProto, *, threads: int, optimise: bool = True) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # an error is raised; printing it as well tells nothing more
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no class in common but this one
            raise EngineError(f"onnxruntime does not take this graph: {error}") from error

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """The outputs of that name; a :class:`MemoryError` where they do not fit."""
        try:
            found: list[Array] = self._session.run(list(outputs), dict(inputs))
        except Exception as error:  # onnxruntime's errors have no class in common but this one
            if "alloc" in str(error):
                raise MemoryError("onnxruntime ran out of memory") from error
            raise RunError(f"onnxruntime failed: {error}") from error
        return found


def cores() -> int:
    """How many threads compute: ``OMP_NUM_THREADS`` as for other frameworks, else as many as this process has cores.

    onnxruntime's own default does not see that a process may be held to some of the machine's cores.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked.isdigit() and int(asked):
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

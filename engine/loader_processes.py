"""Processes that read samples for the loader."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from functools import lru_cache
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from engine.contracts.dataset import Sample
from engine.errors import EngineError
from engine.plugins import load_plugins
from engine.registration import describe

Read = Callable[[int], Sample]


def start_processes(read: Read, workers: int, plugins: Sequence[Path]) -> tuple[Executor, Callable[[int], Future[Sample]]]:
    """So many processes, and what asks them for ``read(index)``.

    They are spawned: a fork would copy a framework's threads and a GPU's context, which neither bears.

    Args:
        read: Pickled, so without heavy state; each process unpickles it once and keeps what it builds.
        workers: How many.
        plugins: Plugin files that ``read`` needs to be unpickled.

    Raises:
        EngineError: ``read`` cannot be pickled.
    """
    try:
        pickled = pickle.dumps(read)
    except Exception as error:  # whatever a plugin's own pickling raises
        remedy = "Use threads: --set loader.processes=false."
        raise EngineError(f"the dataset cannot be pickled for other processes: {describe(error)}", remedy=remedy) from error
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _enter)
    return pool, lambda index: pool.submit(_call, pickled, tuple(plugins), index)


def _enter() -> None:
    """Ctrl-C at a terminal reaches every process, but only the first may decide; and without that one there is nothing to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: Any) -> None:
    wait([sentinel])
    os._exit(1)


def _call(pickled: bytes, plugins: tuple[Path, ...], index: int) -> Sample:
    return _unpickled(pickled, plugins)(index)


@lru_cache(1)
def _unpickled(pickled: bytes, plugins: tuple[Path, ...]) -> Read:
    if plugins:
        load_plugins(plugins)  # their classes are found by the modules that this makes
    read: Read = pickle.loads(pickled)  # what this program pickled itself
    return read

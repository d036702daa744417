"""Where the time of painting goes: how long each stage worked itself, whatever it waited for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, TypeAlias, TypeVar

from engine.contracts.backend import Painter
from engine.ops import Array

T = TypeVar("T")
Stage: TypeAlias = Literal["decode", "paint", "encode"]


class Stages:
    """Seconds of work by stage. Stages overlap, so together they may be longer than the whole."""

    def __init__(self) -> None:
        self._seconds: dict[Stage, float] = {"decode": 0.0, "paint": 0.0, "encode": 0.0}  # each added to by one thread alone
        self._idle = 0.0

    @contextmanager
    def working(self, stage: Stage) -> Iterator[None]:
        """What is done inside is this stage's work."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[stage] += time.perf_counter() - started

    def each(self, stage: Stage, items: Iterable[T]) -> Generator[T, None, None]:
        """``items`` as they come; making each one is this stage's work."""
        source = iter(items)
        try:
            while True:
                with self.working(stage):
                    try:
                        item = next(source)
                    except StopIteration:
                        return
                yield item
        finally:
            if callable(close := getattr(source, "close", None)):
                close()

    @contextmanager
    def leaving(self, stage: Stage, context: AbstractContextManager[T]) -> Iterator[T]:
        """``context``, which does some of this stage's work when it is left."""
        ended = None
        try:
            with context as value:
                try:
                    yield value
                finally:
                    ended = time.perf_counter()
        finally:
            if ended is not None:
                self._seconds[stage] += time.perf_counter() - ended

    def calling(self, stage: Stage, function: Callable[[T], None]) -> Callable[[T], None]:
        """``function``, whose work is this stage's."""

        def call(item: T) -> None:
            with self.working(stage):
                function(item)

        return call

    def watched(self, painter: Painter) -> Painter:
        """The painter; the time for which it has nothing to paint is no work of the stage ``paint``, under which it runs."""
        return _Watched(painter, self._rest)

    def seconds(self) -> dict[Stage, float]:
        """Of work so far, by stage."""
        return {**self._seconds, "paint": max(self._seconds["paint"] - self._idle, 0.0)}

    def _rest(self, seconds: float) -> None:
        self._idle += seconds


class _Watched:
    """A painter whose empty-handed waits are counted: those within ``next`` while it holds no batch."""

    def __init__(self, painter: Painter, rest: Callable[[float], None]) -> None:
        self._painter, self._rest = painter, rest

    def paint(self, batches: Iterator[Array]) -> Generator[Array, None, None]:
        taken: list[float] = []  # when; appended where the painter reads, in a thread perhaps

        def given() -> Iterator[Array]:
            for batch in batches:
                taken.append(time.perf_counter())
                yield batch

        painted = self._painter.paint(given())
        returned = 0
        try:
            while True:
                asked, held = time.perf_counter(), len(taken) > returned
                try:
                    result = next(painted)
                except StopIteration:
                    if not held:
                        self._rest(time.perf_counter() - asked)
                    return
                if not held:  # it had to wait for the batch that this is made of
                    self._rest(max(taken[returned] - asked, 0.0))
                returned += 1
                yield result
        finally:
            if callable(close := getattr(painted, "close", None)):
                close()

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return self._painter.run(inputs)


def stages_to_json(seconds: Mapping[Stage, float], frames: int, resumed: int = 0) -> dict[str, Any]:
    """What ``--json`` says of the stages: of ``frames`` the first ``resumed`` were decoded only."""
    counts = {stage: frames if stage == "decode" else frames - resumed for stage in seconds}
    return {
        stage: {"seconds": round(x, 3), "frames_per_second": round(counts[stage] / x, 3) if x else None} for stage, x in seconds.items()
    }


def peak_memory() -> float | None:
    """MiB that this process has held at most since it began, of the machine's memory; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)

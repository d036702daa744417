"""What a training step takes while the loader makes the next batch, and what the same step takes while the loader rests."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from engine.contracts.backend import Trainer
from engine.contracts.dataset import Batch
from engine.loader import Batches

BLOCK = 4
"""Steps of one kind in a row."""
SHARE = 20
"""One step is timed for so many of the run."""
MOST = 96
"""Steps of a run that are timed."""
LIMIT = 10.0
"""Seconds after which no further block of both kinds is begun."""


@dataclass(frozen=True)
class StepTimes:
    """Seconds of a training step; medians."""

    live: float
    """While the loader works beside it, and what the run waited for a batch on average."""
    cached: float
    """Over a batch that is there, while the loader rests."""
    count: int
    """Steps of each kind that were timed."""

    @property
    def ratio(self) -> float:
        """How many times as long a step takes with the live loader."""
        return self.live / self.cached


def rounds_for(steps: int) -> int:
    """How many rounds of :func:`time_steps` a run of so many steps can bear: a twentieth of them; none for a short one."""
    return min(steps // SHARE, MOST) // (2 * BLOCK)


def time_steps(trainer: Trainer, batches: Batches, *, rounds: int, waited: float, stopped: Callable[[], bool]) -> StepTimes | None:
    """Go on training for some steps; the weights change.

    In each round come four steps with the live loader, then four over the last of their batches, so that whatever else the machine
    does meets both kinds. After a rest the next batches are ready, so how long a step waits for its own cannot be seen here.

    Args:
        trainer: After the run; each step is waited for.
        batches: They are read on.
        rounds: At most so many; after ten seconds no other one is begun.
        waited: Seconds that a step of the run waited for its batch, on average.
        stopped: Whether to leave off before the next step.

    Returns:
        None where it was left off in the first round, or the loader did not come to rest within ten seconds.
    """
    live: list[float] = []
    cached: list[float] = []
    begin = time.perf_counter()
    while len(live) < rounds * BLOCK and time.perf_counter() - begin < LIMIT and batches.settle(LIMIT):
        beside, alone = list[float](), list[float]()
        while len(beside) < BLOCK and not stopped():
            batch = next(batches)
            beside.append(_time(trainer, batch))
        if not batches.settle(LIMIT):
            break
        while len(alone) < len(beside) and not stopped():
            alone.append(_time(trainer, batch))
        if stopped():
            break
        live += beside
        cached += alone
    return StepTimes(median(live) + waited, median(cached), len(live)) if live else None


def _time(trainer: Trainer, batch: Batch) -> float:
    begin = time.perf_counter()
    float(trainer.step(batch)["total"])
    return time.perf_counter() - begin

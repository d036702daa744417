"""Batches of clips in a seeded order, fetched ahead, from any position on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from engine.contracts.dataset import Batch, Dataset, Sample
from engine.errors import EngineError, RunError
from engine.registration import describe


@dataclass(frozen=True)
class Loader:
    """Every index once an epoch, in an order that (seed, epoch) decides; a batch may reach over the end of an epoch."""

    dataset: Dataset
    indices: Sequence[int]
    batch: int
    frames: int
    """Of each clip, the newest so many."""
    seed: int = 0
    threads: int = 2
    ahead: int = 4
    """Batches prepared before they are asked for."""

    def batches(self, start: int = 0) -> Generator[Batch]:
        """Without end, from batch number ``start`` on; the same batches whatever the start was."""
        waiting: deque[list[Future[Sample]]] = deque()
        order = lru_cache(2)(self.order)  # of the epoch that goes on, and of the next where a batch reaches over the end
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="engine-loader")
        try:
            for number in range(start, start + self.ahead):
                waiting.append(self._ask(pool, number, order))
            while True:
                batch = self._stack([future.result() for future in waiting.popleft()])
                number += 1
                waiting.append(self._ask(pool, number, order))
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def order(self, epoch: int) -> list[int]:
        """The indices of one epoch."""
        rng = np.random.default_rng([self.seed, epoch])
        return [self.indices[i] for i in rng.permutation(len(self.indices))]

    def _ask(self, pool: ThreadPoolExecutor, number: int, order: Callable[[int], list[int]]) -> list[Future[Sample]]:
        size = len(self.indices)
        places = range(number * self.batch, (number + 1) * self.batch)
        return [pool.submit(read_sample, self.dataset, order(place // size)[place % size], self.frames) for place in places]

    def _stack(self, samples: list[Sample]) -> Batch:
        return stack(samples, self.dataset.name)


def read_sample(dataset: Dataset, index: int, frames: int) -> Sample:
    """One checked sample, cut to its newest ``frames`` frames; whatever a dataset raises becomes an error that names it."""
    where = f"dataset {dataset.name!r}, sample {index}"
    try:
        sample = dataset[index]
    except EngineError:
        raise
    except Exception as error:
        raise RunError(describe(error), where=where) from error
    if not isinstance(sample, Sample):
        raise EngineError(f"__getitem__ returned {type(sample).__name__}", where=where, allowed="engine.Sample")
    sample.check(where)
    count = len(sample.frames)
    if count < frames:
        raise EngineError(f"a clip has {count} frame(s), the losses need {frames}", where=where)
    if count == frames:
        return sample
    pairs = frames - 1
    flow, mask = sample.flow, sample.mask
    return Sample(
        sample.frames[-frames:],
        flow[len(flow) - pairs :] if flow is not None and pairs else None,
        mask[len(mask) - pairs :] if mask is not None and pairs else None,
    )


def stack(samples: Sequence[Sample], name: str) -> Batch:
    """Samples of one size as a batch."""
    if len({sample.frames.shape for sample in samples}) > 1:
        shapes = ", ".join(sorted({str(sample.frames.shape[1:3]) for sample in samples}))
        remedy = "Give the dataset one size."
        raise EngineError(f"clips of one batch have different sizes: {shapes}", where=f"dataset {name!r}", remedy=remedy)
    flows = [sample.flow for sample in samples if sample.flow is not None]
    masks = [sample.mask for sample in samples if sample.mask is not None]
    whole = len(flows) == len(samples)
    return Batch(np.stack([s.frames for s in samples]), np.stack(flows) if whole else None, np.stack(masks) if whole else None)

"""Batches of clips in a seeded order, fetched ahead, from any position on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from engine.contracts.dataset import Batch, Dataset, Sample
from engine.errors import BadSample, EngineError, RunError
from engine.loader_processes import start_processes
from engine.registration import describe

JUDGED_FROM = 20
"""Samples asked for, before the share of bad ones says anything."""


@dataclass
class BadSamples:
    """What could not be read so far."""

    asked: int = 0
    """Samples, without those that stood in for others."""
    replaced: int = 0
    """Of these."""
    indices: set[int] = field(default_factory=set)
    """Of all that were tried in vain."""
    files: dict[str, str] = field(default_factory=dict)
    """What is wrong with each file, in the order they were met."""

    def note(self, index: int, error: BadSample, dataset: Dataset, length: int) -> None:
        """Count one; an :class:`EngineError` where more are bad than ``dataset.bad_share`` of those asked for, or of all ``length``."""
        self.indices.add(index)
        self.files.setdefault(error.where or f"sample {index}", error.problem)
        share = dataset.bad_share
        if len(self.indices) >= length:
            said = f"none of the {length} samples can be read"
        elif not share or (self.asked >= JUDGED_FROM and self.replaced > share * self.asked):
            said = f"{self.replaced} of {self.asked} samples could not be read"
        elif len(self.indices) > max(JUDGED_FROM, share * length):  # many in a row, tried in place of one
            said = f"{len(self.indices)} samples were tried and cannot be read, of {length} that there are"
        else:
            return
        path, problem = next(iter(self.files.items()))
        remedy = f"The first is {path}: {problem}\n  `engine data check` says more; bad_share of a dataset says how many are borne."
        raise EngineError(said, where=f"dataset {dataset.name!r}", allowed=f"a share of {share:g}", remedy=remedy)


@dataclass(frozen=True)
class Loader:
    """Every index once an epoch, in an order that (seed, epoch) decides; a batch may reach over the end of an epoch.

    Of ``world`` loaders that differ only in ``rank``, each takes its part of every ``world * batch`` indices of the one
    order: together they take each index once an epoch, and all stand at the same number.

    For a sample that is bad (:class:`engine.BadSample`) the next of ``indices`` stands in, the first after the last:
    the same batches for the same files, whatever the start was.
    """

    dataset: Dataset
    indices: Sequence[int]
    batch: int
    frames: int
    """Of each clip, the newest so many."""
    seed: int = 0
    workers: int = 2
    """Samples read at once."""
    processes: bool = False
    """Read them in processes rather than in threads; each opens the dataset for itself."""
    plugins: Sequence[Path] = ()
    """The plugin files to load in each process."""
    rank: int = 0
    world: int = 1
    ahead: int = 4
    """Batches prepared before they are asked for."""
    bad: BadSamples = field(default_factory=BadSamples)
    """Filled while batches are taken."""

    def batches(self, start: int = 0) -> Batches:
        """Without end, from batch number ``start`` on; the same batches whatever the start was."""
        waiting: deque[list[_Asked]] = deque()
        return Batches(self._batches(start, waiting), waiting)

    def _batches(self, start: int, waiting: deque[list[_Asked]]) -> Generator[Batch]:
        order = lru_cache(2)(self.order)  # of the epoch that goes on, and of the next where a batch reaches over the end
        pool, read = self._start()
        try:
            for number in range(start, start + self.ahead):
                waiting.append(self._ask(read, number, order))
            while True:
                batch = stack([self._settle(read, asked) for asked in waiting.popleft()], self.dataset.name)
                number += 1
                waiting.append(self._ask(read, number, order))
                yield batch
        except BrokenProcessPool as error:
            where, problem = f"dataset {self.dataset.name!r}", "a process that reads samples was ended, perhaps for want of memory"
            remedy = "Fewer of them need less: --set loader.workers=1; threads share theirs: --set loader.processes=false."
            raise RunError(problem, where=where, remedy=remedy) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _start(self) -> tuple[Executor, _Read]:
        if self.processes:
            return start_processes(partial(read_sample, self.dataset, frames=self.frames), self.workers, self.plugins)
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="engine-loader")
        return pool, lambda index: pool.submit(read_sample, self.dataset, index, self.frames)

    def order(self, epoch: int) -> list[int]:
        """The indices of one epoch."""
        rng = np.random.default_rng([self.seed, epoch])
        return [self.indices[i] for i in rng.permutation(len(self.indices))]

    def _ask(self, read: _Read, number: int, order: Callable[[int], list[int]]) -> list[_Asked]:
        size, first = len(self.indices), (number * self.world + self.rank) * self.batch
        indices = [order(place // size)[place % size] for place in range(first, first + self.batch)]
        return [_Asked(index, read(index)) for index in indices]

    def _settle(self, read: _Read, asked: _Asked) -> Sample:
        """The sample, or the next one that can be read."""
        self.bad.asked += 1
        try:
            return asked.future.result()
        except BadSample as error:
            self.bad.replaced += 1
            self.bad.note(asked.index, error, self.dataset, len(self.indices))
        place = self.indices.index(asked.index)
        while True:
            place = (place + 1) % len(self.indices)
            index = self.indices[place]
            if index in self.bad.indices:
                continue
            try:
                return read(index).result()
            except BadSample as error:
                self.bad.note(index, error, self.dataset, len(self.indices))


_Read = Callable[[int], Future[Sample]]


@dataclass(frozen=True)
class _Asked:
    index: int
    future: Future[Sample]


class Batches(Iterator[Batch]):
    """What :meth:`Loader.batches` gives; to be closed. Reading begins with the first batch that is asked for."""

    def __init__(self, made: Generator[Batch], waiting: deque[list[_Asked]]) -> None:
        self._made = made
        self._waiting = waiting

    def __next__(self) -> Batch:
        return next(self._made)

    def settle(self, seconds: float) -> bool:
        """Wait until all that was asked for ahead is read, and the loader rests; False where that lasts longer."""
        return not wait([asked.future for batch in self._waiting for asked in batch], seconds).not_done

    def close(self) -> None:
        """End the threads or processes; what they are at is finished and thrown away."""
        self._made.close()


def hold_out(dataset: Dataset, frames: int) -> tuple[Sample, Sequence[int], BadSamples]:
    """The last sample that can be read, for previews; the indices before it, for training; and what was bad.

    A dataset of one sample has it trained on too.
    """
    bad, length = BadSamples(), len(dataset)
    for index in reversed(range(length)):
        try:
            sample = read_sample(dataset, index, frames)
        except BadSample as error:
            bad.replaced = bad.asked = 1
            bad.note(index, error, dataset, length)
        else:
            others: Sequence[int] = range(index)
            if index < length - 1:  # a mix keeps its last clip apart, and no other one
                others = [other for other in others if dataset.clip(other) != dataset.clip(index)]
            return sample, others or range(1), bad
    raise EngineError("the dataset is empty", where=f"dataset {dataset.name!r}")


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
        remedy = "Take a dataset that has a setting `frames`, or losses that compare fewer frames."
        raise EngineError(f"a clip has {count} frame(s), the losses need {frames}", where=where, remedy=remedy)
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

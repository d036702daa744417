"""The loader's order does not depend on where it starts, and a wrong sample is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Dataset, EngineError, RunError, Sample
from engine.loader import Loader, read_sample, stack


class Numbers(Dataset):
    """Clip i is grey level i."""

    name = "numbers"
    length: int = 7
    frames: int = 2
    fault: str = ""

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(index)
        t = self.frames
        frames = np.full((t, 6, 8, 3), index, np.uint8)
        flow = np.full((t - 1, 2, 6, 8), np.nan if self.fault == "nan" else index, np.float32)
        mask = np.ones((t - 1, 1, 6, 8), np.float64 if self.fault == "dtype" else np.float32)
        return Sample(frames, flow, None if self.fault == "half" else mask)


def take(loader: Loader, start: int, count: int) -> list[list[int]]:
    batches = loader.batches(start)
    found = [next(batches).frames[:, 0, 0, 0, 0].tolist() for _ in range(count)]
    batches.close()
    return found


@settings(max_examples=20)
@given(length=st.integers(1, 9), batch=st.integers(1, 4), start=st.integers(0, 12), seed=st.integers(0, 5))
def test_batches_are_the_same_from_any_start(length: int, batch: int, start: int, seed: int) -> None:
    loader = Loader(Numbers(length=length), range(length), batch, frames=2, seed=seed)
    assert take(loader, start, 4) == take(loader, 0, start + 4)[start:]


def test_every_index_once_an_epoch_and_each_epoch_in_another_order() -> None:
    loader = Loader(Numbers(length=9), range(9), 3, frames=2)
    seen = [i for batch in take(loader, 0, 6) for i in batch]
    assert sorted(seen[:9]) == sorted(seen[9:]) == list(range(9))
    assert seen[:9] != seen[9:]


class Counted(list[int]):
    """Indices that count how often they are looked at."""

    looks = 0

    def __getitem__(self, place: Any) -> Any:
        self.looks += 1
        return super().__getitem__(place)


def test_an_epoch_is_put_in_order_once() -> None:
    indices = Counted(range(50))
    take(Loader(Numbers(length=50), indices, 4, frames=2), 0, 30)  # into the third epoch, batches over both its ends
    assert indices.looks == 3 * 50


def test_newest_frames_are_kept() -> None:
    sample = read_sample(Numbers(frames=4), 3, frames=2)
    assert sample.frames.shape[0] == 2
    assert sample.flow is not None
    assert sample.flow.shape[0] == 1
    assert read_sample(Numbers(frames=4), 3, frames=1).flow is None


@pytest.mark.parametrize(("fault", "said"), [("nan", "NaN"), ("dtype", "mask is float64"), ("half", "together")])
def test_a_sample_that_breaks_the_contract_is_named(fault: str, said: str) -> None:
    with pytest.raises(EngineError, match=rf"dataset 'numbers', sample 2: .*{said}"):
        read_sample(Numbers(fault=fault), 2, frames=2)


def test_what_a_dataset_raises_names_it() -> None:
    class Broken(Numbers):
        name = "broken"

        def __getitem__(self, index: int) -> Sample:
            return {}["boo"] if index else np.zeros(3)

    with pytest.raises(RunError, match=r"dataset 'broken', sample 1: KeyError: 'boo' .*test_loader\.py"):
        read_sample(Broken(), 1, frames=2)
    with pytest.raises(EngineError, match=r"sample 0: __getitem__ returned ndarray; allowed: engine\.Sample"):
        read_sample(Broken(), 0, frames=2)


def test_too_few_frames_and_mixed_sizes_are_errors() -> None:
    with pytest.raises(EngineError, match="1 frame"):
        read_sample(Numbers(frames=1), 0, frames=2)
    small, large = Sample(np.zeros((1, 4, 4, 3), np.uint8)), Sample(np.zeros((1, 4, 6, 3), np.uint8))
    with pytest.raises(EngineError, match="different sizes"):
        stack([small, large], "numbers")


def test_an_error_in_a_thread_reaches_the_reader() -> None:
    with pytest.raises(EngineError, match="sample"):
        next(Loader(Numbers(fault="nan"), range(7), 1, frames=2).batches())


@settings(max_examples=20)
@given(length=st.integers(1, 13), batch=st.integers(1, 3), world=st.integers(1, 4), seed=st.integers(0, 5))
def test_ranks_share_the_order_of_one_loader(length: int, batch: int, world: int, seed: int) -> None:
    def loader(rank: int = 0, world: int = 1, batch: int = batch) -> Loader:
        return Loader(Numbers(length=length), range(length), batch, frames=2, seed=seed, rank=rank, world=world)

    shares = [take(loader(rank, world), 1, 3) for rank in range(world)]
    together = [[i for share in shares for i in share[step]] for step in range(3)]
    assert together == take(loader(batch=batch * world), 1, 3)


def test_ranks_take_every_index_once_an_epoch() -> None:
    loaders = [Loader(Numbers(length=12), range(12), 2, 2, rank=rank, world=3) for rank in range(3)]
    seen = [i for loader in loaders for batch in take(loader, 0, 2) for i in batch]
    assert sorted(seen) == list(range(12))

"""A bad sample is replaced by the next one, remembered by its file, and too many of them stop training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import BadSample, Dataset, EngineError, Sample
from engine.loader import Loader, hold_out


class Files(Dataset):
    """Clip i is grey level i, unless it is one of the bad ones."""

    name = "files"
    length: int = 40
    bad: tuple[int, ...] = ()
    one_file: bool = False

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if index in self.bad:
            raise BadSample("this file ends early", where="all.pfm" if self.one_file else f"{index}.pfm")
        return Sample(np.full((1, 4, 4, 3), index, np.uint8))


def take(loader: Loader, count: int, start: int = 0) -> list[int]:
    batches = loader.batches(start)
    found = [int(i) for _ in range(count) for i in next(batches).frames[:, 0, 0, 0, 0]]
    batches.close()
    return found


@settings(max_examples=20)
@given(st.integers(2, 12), st.data())
def test_the_next_index_stands_in_and_the_first_after_the_last(length: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, length - 1), max_size=length - 1))
    start = data.draw(st.integers(0, 9))
    good = Loader(Files(length=length), range(length), 2, 1)
    loader = Loader(Files(length=length, bad=tuple(bad), bad_share=1.0), range(length), 2, 1)
    stands_in = [next(j % length for j in range(i, i + length) if j % length not in bad) for i in range(length)]
    assert take(loader, 6, start) == [stands_in[i] for i in take(good, 6, start)]
    assert set(loader.bad.files) <= {f"{i}.pfm" for i in bad}
    assert loader.bad.asked == 12


def test_each_file_is_remembered_once_and_each_bad_sample_counted() -> None:
    loader = Loader(Files(length=40, bad=(3, 4), bad_share=0.2), range(40), 4, 1)
    take(loader, 20)  # two epochs
    assert loader.bad.files == {"3.pfm": "this file ends early", "4.pfm": "this file ends early"}
    assert (loader.bad.asked, loader.bad.replaced) == (80, 4)


def test_too_many_stop_training_from_the_twentieth_on() -> None:
    loader = Loader(Files(bad=tuple(range(0, 40, 4))), range(40), 1, 1)
    said = r"dataset 'files': \d+ of 2\d samples could not be read; allowed: a share of 0\.05\n .*\.pfm: this file"
    with pytest.raises(EngineError, match=said):
        take(loader, 40)
    assert 20 <= loader.bad.asked < 30
    one = Loader(Files(bad=(1,), bad_share=0.0), range(40), 1, 1)
    with pytest.raises(EngineError, match="1 of"):
        take(one, 40)


def test_a_dataset_of_which_nothing_can_be_read_is_not_searched_for_ever() -> None:
    for length, said in ((5, "none of the 5 samples"), (400, "21 samples were tried and cannot be read, of 400")):
        dataset = Files(length=length, bad=tuple(range(length)), one_file=True)
        with pytest.raises(EngineError, match=said):
            take(Loader(dataset, range(length), 1, 1), 1)
        with pytest.raises(EngineError, match=said):
            hold_out(dataset, 1)


def test_the_clip_that_is_held_out_is_the_last_good_one_and_is_not_trained_on() -> None:
    held_out, indices, bad = hold_out(Files(length=9, bad=(7, 8)), 1)
    assert held_out.frames[0, 0, 0, 0] == 6
    assert list(indices) == list(range(6))
    assert list(bad.files) == ["8.pfm", "7.pfm"]
    with pytest.raises(EngineError, match="the dataset is empty"):
        hold_out(Files(length=0), 1)


def test_a_bad_sample_is_an_error_of_the_user_elsewhere(tmp_path: Path) -> None:
    error = BadSample("this is not there", where=str(tmp_path / "a.pfm"))
    assert isinstance(error, EngineError)
    assert error.exit_code == 2

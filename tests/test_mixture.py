"""Several datasets as one, and recipes that ask for it."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from test_moving_layers import digest
from tiny import write_tiny

from engine import BadSample, Dataset, EngineError, Field, RunError, Sample
from engine.augmentation import Augmentation, Augmented
from engine.loader import hold_out
from engine.mixture import Mixture
from engine.plugins import load_plugins
from engine.recipe import CheckedRecipe, load_recipe
from engine.recipe_source import _summary
from engine.style import load_style
from engine.training import train

TWO = """\
  - {name: moving_layers, width: 24, height: 20, length: 7, layers: 2}
  - {name: moving_layers, share: 3, width: 24, height: 20, length: 5, integer: true}"""


class Numbers(Dataset):
    """Frames that all hold the clip's number."""

    name: ClassVar[str] = "numbers"
    first: int = Field(default=0, description="Number of the first clip.")
    count: int = Field(default=5, description="Clips.")
    side: int = Field(default=4, description="Pixels.")
    flow: bool = Field(default=False, description="Whether there is flow.")
    bad: tuple[int, ...] = Field(default=(), description="Clips that cannot be read.")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if index == 99:
            raise ZeroDivisionError("that was odd")
        if not 0 <= index < self.count:
            raise IndexError(index)
        if index in self.bad:
            raise BadSample("this is bad", where=f"clip {index}")
        frames = np.full((2, self.side, self.side, 3), self.first + index, np.uint8)
        if not self.flow:
            return Sample(frames)
        return Sample(frames, np.zeros((1, 2, self.side, self.side), np.float32), np.ones((1, 1, self.side, self.side), np.float32))


def mixed(*parts: tuple[Dataset, float]) -> Mixture:
    return Mixture.of(tuple(part for part, _ in parts), tuple(share for _, share in parts))


def number(sample: Sample) -> int:
    return int(sample.frames[0, 0, 0, 0])


@given(counts=st.lists(st.tuples(st.integers(1, 40), st.floats(0.05, 8)), min_size=1, max_size=4))
@settings(max_examples=60)
def test_every_clip_of_each_is_met_as_often_as_the_shares_say(counts: list[tuple[int, float]]) -> None:
    data = mixed(*((Numbers(count=count), share) for count, share in counts))
    met = [data.locate(index) for index in range(len(data))]
    assert met.pop() == (0, counts[0][0] - 1)  # held out
    clips = [max(counts[0][0] - 1, 1), *(count for count, _ in counts[1:])]
    drawn = Counter(part for part, _ in met)
    longest = max(count / share for count, (_, share) in zip(clips, counts, strict=True))
    for part, (count, (_, share)) in enumerate(zip(clips, counts, strict=True)):
        times = Counter(place for which, place in met if which == part)
        assert set(times) == set(range(count))
        assert max(times.values()) - min(times.values()) <= 1
        assert drawn[part] == pytest.approx(longest * share, abs=1)
    with pytest.raises(IndexError):
        data.locate(len(data))
    with pytest.raises(IndexError):
        data[-1]


def test_datasets_alternate() -> None:
    data = mixed((Numbers(count=1000), 1), (Numbers(count=10), 1))
    for start in range(0, 1900, 100):
        assert 45 <= sum(data.locate(start + i)[0] for i in range(100)) <= 55


def test_the_held_out_clip_is_shown_nowhere_else() -> None:
    data = mixed((Numbers(), 1), (Numbers(first=100, count=3), 2))
    shown = [number(sample) for sample in data]
    assert shown.pop() == 4
    assert 4 not in shown
    assert Counter(shown) == {**dict.fromkeys((0, 1, 2, 3), 1), 100: 3, 101: 3, 102: 2}


@pytest.mark.parametrize("bad", [(4,), (3, 4)])
def test_what_stands_in_for_a_bad_held_out_clip_is_shown_nowhere_else(bad: tuple[int, ...]) -> None:
    mix = mixed((Numbers(bad=bad), 1), (Numbers(first=100, count=40), 1))
    varied = Augmented.of(Numbers(bad=bad), Augmentation(versions=4), 0)
    for data in (mix, varied):
        held_out, indices, found = hold_out(data, 1)
        assert number(held_out) not in {*bad}
        assert len(found.files) >= 1
        shown = [number(data[index]) for index in indices if data.clip(index) not in {data.clip(len(data) - 1)} and readable(data, index)]
        assert shown
        assert number(held_out) not in shown


def readable(data: Dataset, index: int) -> bool:
    try:
        data[index]
    except BadSample:
        return False
    return True


def test_every_part_is_looked_at_before_a_run_begins(tmp_path: Path) -> None:
    mixed((Numbers(), 1), (Numbers(first=100, bad=(0, 1)), 1)).check()
    with pytest.raises(EngineError, match="none of the 2 samples can be read"):
        mixed((Numbers(), 1), (Numbers(count=2, bad=(0, 1)), 1)).check()
    with pytest.raises(EngineError, match="one size for all of a mix"):
        mixed((Numbers(), 1), (Numbers(side=8), 1)).check()
    (tmp_path / "empty").mkdir()
    listed = "\n  - {name: moving_layers, width: 24, height: 20, length: 7}\n  - {name: images, path: empty, width: 24, height: 20}"
    recipe = write_tiny(tmp_path, dataset=listed)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(EngineError, match="there is no photo in this folder"):
        train(recipe, run_dir=tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "run.json").read_text() == "{}"


def test_the_same_clip_for_the_same_index() -> None:
    data = mixed((Numbers(), 1), (Numbers(first=100), 2))
    again = pickle.loads(pickle.dumps(data))
    assert [number(sample) for sample in again] == [number(sample) for sample in data]


def test_bad_samples_count_by_share() -> None:
    assert mixed((Numbers(bad_share=0.1), 3), (Numbers(bad_share=0.5), 1)).bad_share == pytest.approx(0.2)


def test_clips_of_different_sizes_are_an_error_that_names_both() -> None:
    data = mixed((Numbers(), 1), (Numbers(side=8), 1))
    with pytest.raises(
        EngineError, match=r"dataset: dataset\.0 \(numbers\) gives clips of 4x4, and dataset\.1 \(numbers\) gives clips of 8x8"
    ):
        list(data)


def test_flow_from_one_and_not_from_the_other_is_an_error() -> None:
    data = mixed((Numbers(), 1), (Numbers(flow=True), 1))
    with pytest.raises(EngineError, match=r"dataset\.1 \(numbers\) gives flow, and dataset\.0 \(numbers\) does not"):
        list(data)


def test_an_empty_dataset_is_named() -> None:
    with pytest.raises(EngineError, match="dataset 'numbers': the dataset is empty"):
        len(mixed((Numbers(count=0), 1), (Numbers(), 1)))


def test_an_epoch_has_an_end() -> None:
    with pytest.raises(EngineError, match=r"an epoch would have .* clips; allowed: 16,777,216\n  Give 'numbers' a larger share"):
        len(mixed((Numbers(count=50_000), 1e-4), (Numbers(count=10), 1)))


def test_what_a_dataset_raises_names_it() -> None:
    class Wrong(Numbers):
        def __getitem__(self, index: int) -> Sample:
            return super().__getitem__(99)

    with pytest.raises(RunError, match=r"dataset 'numbers', sample \d: ZeroDivisionError: that was odd"):
        list(mixed((Wrong(), 1), (Numbers(), 1)))


def test_shares_are_above_zero() -> None:
    with pytest.raises(ValidationError, match="a share above 0"):
        mixed((Numbers(), 0), (Numbers(), 1))


def recipe_of_two(folder: Path, *overrides: str) -> CheckedRecipe:
    path = write_tiny(folder)
    lines = [f"dataset:\n{TWO}" if line.startswith("dataset:") else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines))
    return load_recipe(path, overrides, load_plugins())


def test_a_recipe_with_two_datasets(tmp_path: Path) -> None:
    checked = recipe_of_two(tmp_path, "dataset.0.seed=5", "dataset.moving_layers#2.noise=0", "augment.flip=0.5", "seed=3")
    data = checked.dataset
    assert isinstance(data, Augmented)
    assert (data.seed, data.augmentation.flip) == (3, 0.5)
    assert isinstance(data.dataset, Mixture)
    assert data.dataset.shares == (1, 3)
    assert [part.model_dump()["noise"] for part in data.dataset.parts] == [2, 0]
    assert [part.model_dump()["seed"] for part in data.dataset.parts] == [5, 0]
    assert recipe_of_two(tmp_path, "augment=null").dataset == recipe_of_two(tmp_path).dataset


def test_a_mix_reads_back_from_the_run_folder_and_draws_the_same_clips(tmp_path: Path) -> None:
    checked = recipe_of_two(tmp_path, "augment={crop: [16, 12], scale: [0.8, 1.2]}")
    (tmp_path / "again.yaml").write_text(checked.to_yaml())
    again = load_recipe(tmp_path / "again.yaml", (), load_plugins())
    assert again.data == checked.data
    assert again.dataset == checked.dataset
    assert [digest(sample) for sample in again.dataset] == [digest(sample) for sample in checked.dataset]
    assert [block["share"] for block in checked.data["dataset"]] == [1, 3]


def test_the_summary_of_a_mix_names_its_datasets(tmp_path: Path) -> None:
    assert _summary("x", recipe_of_two(tmp_path).path).dataset == "moving_layers + moving_layers"


def test_a_style_trained_on_a_mix_says_so_and_names_no_folder(tmp_path: Path) -> None:
    checked = recipe_of_two(tmp_path)
    (tmp_path / "photos").mkdir()
    overrides = [f"dataset.0.photos={tmp_path / 'photos'}", "dataset.0.photo_share=0", "augment={flip: 0.5, crop: [16, 12]}", "steps=2"]
    train(checked.path, overrides=overrides, run_dir=tmp_path / "run")
    recipe = load_style(tmp_path / "run/style.safetensors").info.recipe
    assert [(block["name"], block["share"], block["photos"]) for block in recipe["dataset"]] == [
        ("moving_layers", 1, "photos"),
        ("moving_layers", 3, None),
    ]
    assert recipe["augment"]["crop"] == [16, 12]
    assert str(tmp_path) not in json.dumps(recipe)

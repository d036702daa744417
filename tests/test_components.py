"""What every exchangeable part can do: heavy state stays behind when it is copied or pickled, datasets are gone through."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from engine import Array, Component, Dataset, RecipePath, Sample
from engine.components import recipe_paths


class Grey(Dataset):
    name = "grey"
    level: int = 1

    @cached_property
    def picture(self) -> Array:
        return np.full((1, 5, 5, 3), self.level, np.uint8)

    @cached_property
    def lock(self) -> Any:
        """What can be neither pickled nor copied deeply."""
        return Lock()

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < 3:
            raise IndexError(index)
        with self.lock:
            return Sample(self.picture + np.uint8(10 * index))


class Brighter(Grey):
    """Inherits its heavy state."""

    name = "brighter"


@pytest.mark.parametrize("cls", [Grey, Brighter])
@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda part: part.model_copy(),
        lambda part: part.model_copy(deep=True),
        lambda part: pickle.loads(pickle.dumps(part)),
    ],
    ids=["copy", "deepcopy", "model_copy", "model_copy deep", "pickle"],
)
def test_heavy_state_stays_behind(cls: type[Grey], copied: Callable[[Grey], Component]) -> None:
    data = cls(level=4)
    assert data[0].frames.max() == 4
    other = copied(data)
    assert other == data
    assert type(other) is cls
    assert set(vars(other)) == set(cls.model_fields)
    assert "picture" in vars(data)  # the one that is copied keeps its own


def test_a_changed_copy_uses_its_own_settings() -> None:
    data = Grey(level=4)
    assert data[0].frames.max() == 4
    assert data.model_copy(update={"level": 9})[0].frames.max() == 9


class Disc(BaseModel):
    side: RecipePath


class Shelf(Component):
    name = "shelf"
    one: RecipePath | None = None
    several: tuple[RecipePath, ...] = ()
    named: dict[str, list[RecipePath]] = {}
    unordered: frozenset[RecipePath] = frozenset()
    disc: Disc | None = None
    written: Path = Path("made/by/us")


def test_paths_to_read_are_found_at_any_depth() -> None:
    assert list(recipe_paths(Shelf())) == []
    settings = {"one": "a", "several": ["b", "c"], "named": {"x": ["d"]}, "unordered": ["e"], "disc": {"side": "f"}, "written": "g"}
    shelf = Shelf.model_validate(settings, context={"base": Path("r")})
    assert [(place, path.as_posix()) for place, path in recipe_paths(shelf)] == [
        (("one",), "r/a"),
        (("several", 0), "r/b"),
        (("several", 1), "r/c"),
        (("named", "x", 0), "r/d"),
        (("unordered",), "r/e"),
        (("disc", "side"), "r/f"),
    ]


def test_a_dataset_is_gone_through_sample_by_sample() -> None:
    assert [sample.frames.max() for sample in Grey()] == [1, 11, 21]
    assert [len(list(Grey())) for _ in range(2)] == [3, 3]

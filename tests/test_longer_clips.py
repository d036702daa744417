"""Losses say how many frames they compare, and datasets give clips that long."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from engine_datasets.clip_flow import fit_frame
from engine_datasets.moving_layers import MovingLayers
from engine_datasets.sceneflow import SceneFlow
from engine_datasets.sceneflow_sample import write_sample
from engine_datasets.video import Video
from media import write_clip
from tiny import write_tiny

from engine import Array, Dataset, EngineError, Sample, train
from engine.augmentation import Augmentation, Augmented
from engine.loader import Loader, read_sample
from engine.mixture import Mixture

SIZE = {"width": 64, "height": 48}
STILL = {"cut": 1.0, "motion": 0.0, "traceable": 0.0}
"""All pairs are kept, whatever they show."""


def moving(**settings: int) -> MovingLayers:
    return MovingLayers(length=4, width=24, height=20, layers=1, **settings)


class Pairs(Dataset):
    """A dataset without a setting ``frames``."""

    name = "pairs"

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        return Sample(np.zeros((2, 8, 8, 3), np.uint8))


def test_a_setting_frames_is_raised_and_never_lowered() -> None:
    assert len(moving().with_frames(4)[0].frames) == 4
    longer = moving(frames=5)
    assert longer.with_frames(3) is longer
    pairs = Pairs()
    assert pairs.with_frames(5) is pairs


def test_datasets_over_datasets_pass_it_on() -> None:
    mixed = Mixture.of((moving(), moving(seed=1)), (1.0, 2.0))
    varied = Augmented.of(mixed, Augmentation(flip=0.5, crop=(16, 16)), 0).with_frames(3)
    for index in range(len(varied)):
        sample = varied[index].check("here")
        assert sample.frames.shape == (3, 16, 16, 3)
        assert sample.flow is not None
        assert sample.flow.shape == (2, 2, 16, 16)


def test_batches_of_five_frames(tmp_path: Path) -> None:
    batches = Loader(moving().with_frames(5), range(3), 2, 5).batches()
    batch = next(batches)
    batches.close()
    assert batch.frames.shape == (2, 5, 20, 24, 3)
    assert batch.flow is not None
    assert batch.flow.shape == (2, 4, 2, 20, 24)


def test_a_dataset_that_has_only_pairs_is_told_with_a_remedy() -> None:
    with pytest.raises(EngineError, match=r"2 frame\(s\), the losses need 3") as caught:
        read_sample(Pairs().with_frames(3), 0, 3)
    assert "frames" in caught.value.remedy


def pictures(count: int) -> list[Array]:
    """A picture of blots, so that flow can be estimated, from further and further right."""
    wide = fit_frame(np.random.default_rng(3).integers(0, 256, (12, 24, 3), dtype=np.uint8), 96, 48)
    return [np.ascontiguousarray(wide[:, 2 * k : 2 * k + 64]) for k in range(count)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "a.mp4", pictures(8))


@pytest.mark.parametrize(("stride", "frames", "count"), [(1, 2, 7), (1, 4, 5), (2, 3, 4)])
def test_video_chains_the_pairs_of_its_cache(clip: Path, tmp_path: Path, stride: int, frames: int, count: int) -> None:
    pairs = Video(path=clip, cache=tmp_path, stride=stride, **SIZE, **STILL)
    assert len(pairs) == 8 - stride
    before = sorted(tmp_path.rglob("*"))
    data = pairs.with_frames(frames)
    assert len(data) == count
    sample = data[1].check("here")
    for k in range(frames - 1):  # sample 1 begins with the second frame of the clip
        pair = pairs[1 + k * stride]
        assert pair.flow is not None
        assert pair.mask is not None
        assert sample.flow is not None
        assert sample.mask is not None
        np.testing.assert_array_equal(sample.frames[k : k + 2], pair.frames)
        np.testing.assert_array_equal(sample.flow[k], pair.flow[0])
        np.testing.assert_array_equal(sample.mask[k], pair.mask[0])
    with pytest.raises(IndexError):
        data[count]
    assert sorted(tmp_path.rglob("*")) == before


def test_video_has_no_run_across_a_pair_that_is_left_out(tmp_path: Path) -> None:
    first, second = pictures(4), [255 - picture // 3 for picture in pictures(3)]
    clip = write_clip(tmp_path / "cut.mp4", [*first, *second])
    data = Video(path=clip, cache=tmp_path / "cache", **SIZE, **(STILL | {"cut": 0.5}))
    assert data.entries()[0].journal.pairs == [1, 2, 3, 5, 6]
    assert len(data.with_frames(3)) == 3
    with pytest.raises(EngineError, match="no 5 frames in a row") as caught:
        len(data.with_frames(5))
    assert "clip_share" in caught.value.remedy


def test_sceneflow_chains_consecutive_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    write_sample(tmp_path, scenes=1, frames=4, size=(24, 32), seed=1)
    shutil.rmtree(tmp_path / "Flyingthings3d")
    pairs = SceneFlow(roots=(tmp_path,), width=32, height=24)
    longer = pairs.with_frames(3)
    assert (len(pairs), len(longer)) == (3, 2)
    for index in range(2):
        sample = longer[index].check("here")
        for k in range(2):
            pair = pairs[index + k]
            np.testing.assert_array_equal(sample.frames[k : k + 2], pair.frames)
            assert sample.flow is not None
            assert pair.flow is not None
            np.testing.assert_array_equal(sample.flow[k], pair.flow[0])
    with pytest.raises(EngineError, match="no scene here has 5 frames that follow each other"):
        len(pairs.with_frames(5))


def test_training_asks_for_what_the_losses_compare(tmp_path: Path) -> None:
    recipe = write_tiny(tmp_path, steps="2")
    text = recipe.read_text().replace("- {name: output_temporal, weight: 10}", "- {name: long_term_temporal, distances: [1, 3]}")
    recipe.write_text(text)
    train(recipe, run_dir=tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [row["losses"]["long_term_temporal"]["raw"] for row in rows if "losses" in row]
    assert len(steps) == 2
    assert min(steps) > 0

"""Variations of clips: what they do to frames they do to flow and mask, and tracing stays exact."""

from __future__ import annotations

import pickle
from typing import Any, ClassVar

import numpy as np
import pytest
from engine_datasets.moving_layers import MovingLayers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from test_moving_layers import digest, parts, sampled

from engine import Array, Dataset, EngineError, Field, Sample
from engine.augmentation import Augmentation, Augmented

WHOLE = MovingLayers(width=60, height=44, frames=3, layers=3, illumination=0, noise=0, motion=6, integer=True, length=10_001)


class Still(Dataset):
    """Flat grey frames without flow."""

    name: ClassVar[str] = "still"
    count: int = Field(default=5, description="Clips.")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return Sample(np.full((3, 20, 30, 3), 40 * (index + 1), np.uint8))


class Card(Dataset):
    """A light card before a dark wall, moving by whole pixels: nothing is anti-aliased, so their edges touch."""

    name: ClassVar[str] = "card"

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        y, x = np.mgrid[0:90, 0:110, 0:1][:2]
        turn = rng.uniform(0, 2 * np.pi, (2, 2, 3))
        wave = [np.sin(x * np.cos(a) / 4 + y * np.sin(a) / 4 + b) for a, b in turn]
        pictures = np.rint([60 + 40 * wave[0], 190 + 40 * wave[1]]).astype(np.uint8)  # dark, light
        (wall_x, wall_y), (right, down) = rng.integers(-5, 6, 2), rng.integers(1, 5, 2)
        card_x, card_y = wall_x + right, wall_y + down
        frames = [pictures[0, 10 - wall_y * k : 70 - wall_y * k, 10 - wall_x * k : 90 - wall_x * k].copy() for k in (0, 1)]
        boxes = [np.s_[20 + card_y * k : 40 + card_y * k, 30 + card_x * k : 55 + card_x * k] for k in (0, 1)]
        owner = np.zeros((2, 60, 80), bool)
        for k in (0, 1):
            frames[k][boxes[k]] = pictures[1, :20, :25]
            owner[k][boxes[k]] = True
        flow = np.where(owner[1], np.array([card_x, card_y])[:, None, None] * -1.0, np.array([wall_x, wall_y])[:, None, None] * -1.0)
        y, x = np.mgrid[0:60, 0:80]
        to_x, to_y = x + flow[0].astype(int), y + flow[1].astype(int)
        inside = (to_x >= 0) & (to_x < 80) & (to_y >= 0) & (to_y < 60)
        same = owner[0][to_y.clip(0, 59), to_x.clip(0, 79)] == owner[1]
        return Sample(np.stack(frames), flow[None].astype(np.float32), (inside & same)[None, None].astype(np.float32))


def varied(data: Dataset, seed: int = 0, **how: Any) -> Augmented:
    return Augmented.of(data, Augmentation(**how), seed)


def gaps(sample: Sample) -> list[Array]:
    """Of each pair, how far the older frame, warped, is from the newer one inside the mask, in grey levels."""
    frames, flow, mask = parts(sample.check("here"))
    return [np.abs(sampled(frames[k], flow[k]) - frames[k + 1])[mask[k]] for k in range(len(flow))]


@given(
    index=st.integers(0, 9_999),
    seed=st.integers(0, 99),
    flip=st.sampled_from([0.0, 0.5, 1.0]),
    crop=st.none() | st.tuples(st.integers(4, 60), st.integers(4, 44)),
    colour=st.sampled_from([0.0, 0.5, 1.0]),
)
@settings(max_examples=60)
def test_without_scaling_tracing_is_bit_exact(index: int, seed: int, flip: float, crop: tuple[int, int] | None, colour: float) -> None:
    sample = varied(WHOLE, seed, flip=flip, crop=crop, colour=colour)[index]
    assert sample.frames.shape[1:3] == ((crop[1], crop[0]) if crop else (44, 60))
    for gap in gaps(sample):
        assert not gap.any()


@given(index=st.integers(0, 900), lowest=st.floats(0.5, 2.5), widest=st.floats(1, 1.6), flip=st.booleans())
@settings(max_examples=60)
def test_with_scaling_nothing_is_traced_to_another_thing(index: int, lowest: float, widest: float, flip: bool) -> None:
    size = (min(80, int(80 * lowest)), min(60, int(60 * lowest)))
    sample = varied(Card(), scale=(lowest, lowest * widest), crop=size, flip=float(flip))[index]
    plain = Card()[index]
    assume(np.mean(parts(sample)[2]) > 0.05)
    (gap,) = gaps(sample)
    assert gap.mean() < 2  # sampling between pixels loses a little
    assert gap.max() < 10  # of the 50 and more between card and wall
    factors = np.array([np.abs(parts(sample)[1]).max((0, 2, 3)) / np.maximum(np.abs(parts(plain)[1]).max((0, 2, 3)), 1)])
    assert (factors < lowest * widest * 1.1).all()


def test_scaling_moves_things_further_by_the_same_factor() -> None:
    data = WHOLE.model_copy(update={"layers": 0})
    for index in range(6):
        flow, plain = parts(varied(data, scale=(2, 2), crop=(60, 44))[index])[1], parts(data[index])[1]
        assert np.allclose(flow, 2 * plain[:, :, :1, :1])
        assert np.allclose(parts(varied(data, scale=(0.5, 0.5), crop=(30, 22))[index])[1], plain[:, :, :1, :1] / 2)


class Ramp(Still):
    """Brightness that rises by 4 levels a pixel and moves to the right by 3 pixels."""

    name: ClassVar[str] = "ramp"

    def __getitem__(self, index: int) -> Sample:
        frames = np.stack([np.broadcast_to(4 * (np.arange(50) - 3 * k + 6)[None, :, None], (40, 50, 3)) for k in (0, 1)])
        flow = np.zeros((1, 2, 40, 50), np.float32)
        flow[:, 0] = -3
        return Sample(frames.astype(np.uint8), flow, np.broadcast_to(np.arange(50) >= 3, (1, 1, 40, 50)).astype(np.float32))


@pytest.mark.parametrize("factor", [2, 4, 7])
def test_where_enlarging_repeats_the_border_nothing_is_traced(factor: int) -> None:
    (gap,) = gaps(varied(Ramp(), scale=(factor, factor))[0])
    assert len(gap) > 600
    assert gap.max() <= 1  # rounding, twice


def test_scaling_keeps_most_of_the_mask() -> None:
    data = WHOLE.model_copy(update={"width": 160, "height": 120})
    plain = np.mean([parts(data[i])[2].mean() for i in range(8)])
    assert np.mean([parts(varied(data, scale=(1.0, 1.5))[i])[2].mean() for i in range(8)]) > 0.7 * plain


def test_a_flip_negates_u_and_nothing_else() -> None:
    frames, flow, mask = parts(WHOLE[3])
    flipped = parts(varied(WHOLE, flip=1)[3])
    assert np.array_equal(flipped[0], frames[:, :, ::-1])
    assert np.array_equal(flipped[1], flow[..., ::-1] * [[[-1]], [[1]]])
    assert np.array_equal(flipped[2], mask[..., ::-1])


def test_how_many_are_flipped() -> None:
    frames = [(WHOLE[i].frames, varied(WHOLE, flip=0.3)[i].frames) for i in range(120)]
    assert 20 < sum(not np.array_equal(a, b) for a, b in frames) < 55


def test_colour_is_one_for_all_frames_and_light_is_not() -> None:
    coloured, lit = [varied(Still(count=100), **{key: 1.0}) for key in ("colour", "illumination")]
    for index in range(20):
        frames = coloured[index].frames
        assert np.array_equal(frames[0], frames[2])
    assert len({coloured[i].frames[0, 0, 0].tobytes() for i in range(4)}) == 4
    changes = [np.ptp(lit[i].frames.astype(float).mean((1, 2, 3))) for i in range(2)]
    assert min(changes) > 2


def test_light_leaves_flow_and_mask_alone() -> None:
    for mine, other in zip(parts(varied(WHOLE, illumination=0.5)[5])[1:], parts(WHOLE[5])[1:], strict=True):
        assert np.array_equal(mine, other)


def test_clips_without_flow_are_varied_too() -> None:
    sample = varied(Still(), flip=1, crop=(16, 12), scale=(0.8, 1.3))[0].check("here")
    assert sample.frames.shape == (3, 12, 16, 3)
    assert sample.flow is None


def test_the_same_variation_for_the_same_seed_and_index() -> None:
    data = varied(WHOLE, 5, flip=0.5, crop=(40, 32), scale=(0.8, 1.4), colour=0.5, illumination=0.5)
    first = digest(data[7])
    assert digest(pickle.loads(pickle.dumps(data))[7]) == first
    assert digest(data[7]) == first
    assert digest(data.model_copy(update={"seed": 6})[7]) != first


def test_versions_show_each_clip_that_often_and_the_last_one_once() -> None:
    data = varied(Still(), versions=3, illumination=0)
    assert len(data) == 13
    assert [int(sample.frames[0, 0, 0, 0]) // 40 for sample in data] == [1, 2, 3, 4] * 3 + [5]
    assert len(varied(Still(count=1), versions=3)) == 1
    assert len(varied(Still(count=0))) == 0
    for index in (-1, 13):
        with pytest.raises(IndexError):
            data[index]


def test_the_last_clip_is_only_cropped() -> None:
    data = WHOLE.model_copy(update={"length": 9})
    last = varied(data, flip=1, crop=(40, 32), scale=(0.8, 2), colour=1, illumination=1)[8]
    assert np.array_equal(last.frames, data[8].frames[:, 6:38, 10:50])


def test_as_many_samples_may_be_bad_as_of_the_dataset() -> None:
    assert varied(Still(bad_share=0.3)).bad_share == 0.3


@pytest.mark.parametrize("how", [{"crop": (64, 40)}, {"scale": (0.9, 1)}, {"scale": (0.5, 2), "crop": (40, 32)}])
def test_a_clip_that_is_too_small_is_refused(how: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match=r"augment, dataset 'moving_layers': clips of 60x44.* are smaller than \d+x\d+; allowed: a crop"):
        varied(WHOLE, **how)[0]


@pytest.mark.parametrize(
    "wrong",
    [{"flip": 1.5}, {"crop": (3, 8)}, {"crop": (8,)}, {"scale": (2, 1)}, {"scale": (0, 1)}, {"scale": 2}, {"hue": 1}, {"versions": 0}],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Augmentation(**wrong)

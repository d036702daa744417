"""Datasets with one fault each; and the tests that their author would have written. None of these passes."""

import random

import numpy as np

from engine import Dataset, Field, Sample
from engine.testing import DatasetContract, moving_sample


class Moving(Dataset):
    name = "wrong_moving"
    turn: str = Field(default="", description="What is done to the flow.")
    faded: int = Field(default=0, description="Grey levels.")

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError(index)
        sample = moving_sample(motion=(2 + index, -1), name=f"texture {index}")
        turned = {
            "": sample.flow,
            "transposed": sample.flow[:, ::-1].copy(),
            "negated": -sample.flow,
            "shares": sample.flow / [[[12]], [[8]]],
        }
        return Sample(sample.frames, turned[self.turn].astype(np.float32), sample.mask)


class Endless(Moving):
    def __getitem__(self, index):
        return super().__getitem__(index % 3)


class Faint(Moving):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return Sample((sample.frames / 255).astype(np.uint8), sample.flow, sample.mask)


class TestFaint(DatasetContract):
    component = Faint


class Random(Moving):
    def __getitem__(self, index):
        return Sample(np.random.default_rng().integers(0, 256, (2, 16, 24, 3), np.uint8)) if index < 3 else super().__getitem__(index)


class Hashed(Moving):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        frames = sample.frames + random.Random(hash(f"clip {index}")).randrange(100)
        return Sample(frames.astype(np.uint8), sample.flow, sample.mask)


class Seeding(Moving):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        np.random.seed(index)
        noise = [np.random.randint(0, 9, sample.frames[0].shape) for _ in range(40)]
        return Sample((sample.frames // 2 + noise[-1]).astype(np.uint8), sample.flow, sample.mask)


class Coupled(Moving):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return sample.frames, sample.flow, sample.mask


class Listed(Moving):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return Sample([*sample.frames], sample.flow, sample.mask)


class Narrow(Moving):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return Sample(sample.frames[:, :, : 24 - index].astype(np.uint8))


class TestTransposed(DatasetContract):
    component = Moving
    settings = {"turn": "transposed"}


class TestNegated(DatasetContract):
    component = Moving
    settings = {"turn": "negated"}


class TestShares(DatasetContract):
    component = Moving
    settings = {"turn": "shares"}


class TestEndless(DatasetContract):
    component = Endless


class Filed(Moving):
    path: str = Field(description="A folder.")


class TestFiled(DatasetContract):
    component = Filed


class TestHashed(DatasetContract):
    component = Hashed


class TestSeeding(DatasetContract):
    component = Seeding


class TestCoupled(DatasetContract):
    component = Coupled


class TestListed(DatasetContract):
    component = Listed


class TestRandom(DatasetContract):
    component = Random


class TestNarrow(DatasetContract):
    component = Narrow

"""Components with one fault each, and the tests that their author would have written; none of these passes."""

import random

import numpy as np

from engine import Conv2d, Dataset, Field, Layer, Loss, Model, Needs, Network, ReLU, Sample, chain
from engine.testing import DatasetContract, LayerContract, LossContract, ModelContract, moving_sample


class Painted(Loss):
    name = "wrong_painted"

    def needs(self):
        return Needs()

    def __call__(self, ops, clip, prepared):
        return ops.mean(ops.square(clip.output(0)))


class NotANumber(Painted):
    def __call__(self, ops, clip, prepared):
        return ops.mean(ops.sqrt(clip.output(0) - 2))


class NotFlat(Painted):
    def __call__(self, ops, clip, prepared):
        return ops.sqrt(ops.mean(ops.square(clip.output(0) + 1)))


class Deciding(Painted):
    def __call__(self, ops, clip, prepared):
        value = super().__call__(ops, clip, prepared)
        return value * 2 if float(ops.to_numpy(ops.stop_gradient(value))) > 0.1 else value


class Comparing(Painted):
    def __call__(self, ops, clip, prepared):
        value = super().__call__(ops, clip, prepared)
        return value * 2 if value > 0.1 else value


class EvenSides(Painted):
    def __call__(self, ops, clip, prepared):
        n, c, h, w = ops.shape(clip.output(0))
        return ops.mean(ops.square(ops.reshape(clip.output(0), (n, c, h // 2, 2, w // 2, 2))))


KEPT = []


class Keeping(Painted):
    def needs(self):
        return Needs(encoder=("relu1_2",))

    def prepare(self, ops, style):
        KEPT.append(float(ops.to_numpy(ops.mean(style["relu1_2"]))))

    def __call__(self, ops, clip, prepared):
        return ops.mean(ops.square(clip.encoded("output", "relu1_2", 0) - KEPT[0]))


class NoScalar(Painted):
    def __call__(self, ops, clip, prepared):
        return ops.square(clip.output(0))


class NoGradient(Painted):
    def __call__(self, ops, clip, prepared):
        return ops.mean(ops.square(ops.stop_gradient(clip.output(0))))


class Greedy(Painted):
    def __call__(self, ops, clip, prepared):
        return ops.mean(ops.square(clip.tap("features", 0)))


class Wasteful(Painted):
    def needs(self):
        return Needs(frames=2, encoder=("relu1_2",), flow=True)


class Summed(Painted):
    def __call__(self, ops, clip, prepared):
        return ops.sum(ops.square(clip.output(0)))


class Weighted(Painted):
    def __call__(self, ops, clip, prepared):
        return self.weight * ops.mean(ops.square(clip.output(0)))


class Undescribed(Painted):
    size: int = 3


class TestDeciding(LossContract):
    component = Deciding


class TestComparing(LossContract):
    component = Comparing


class TestEvenSides(LossContract):
    component = EvenSides


class TestKeeping(LossContract):
    component = Keeping


class TestNotANumber(LossContract):
    component = NotANumber


class TestNotFlat(LossContract):
    component = NotFlat


class TestNoScalar(LossContract):
    component = NoScalar


class TestNoGradient(LossContract):
    component = NoGradient


class TestGreedy(LossContract):
    component = Greedy


class TestWasteful(LossContract):
    component = Wasteful


class TestSummed(LossContract):
    component = Summed


class TestWeighted(LossContract):
    component = Weighted


class TestUndescribed(LossContract):
    component = Undescribed


class Lettered(Painted):
    def needs(self):
        return Needs(encoder="relu1_2")


class TestLettered(LossContract):
    component = Lettered


class TestNothing(LossContract):
    pass


class TestMisnamed(LossContract):
    component = Painted
    expected_failures = {"test_value[torhc]": "a slip"}


class TestCaseless(LossContract):
    component = Painted
    expected_failures = {"test_reads_only_what_it_needs[torch]": "it has no cases"}


class TestForgiven(LossContract):
    component = Summed
    expected_failures = {"test_batch_is_averaged": "sums on purpose", "test_value[torch]": "not true: this one passes"}


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


class Halved(Layer):
    name = "wrong_halved"

    def apply(self, ops, weights, *x):
        return ops.max_pool2d(x[0], 2, 2)


class Blurred(Conv2d):
    name = "wrong_blurred"
    out_channels: int = Field(default=3, description="Channels.")

    def window(self):
        return super().window().__class__(0, 0)

    def initial(self, rng, *channels):
        return {key: x.astype(np.float64) for key, x in super().initial(rng, *channels).items()}


class Peeking(Layer):
    name = "wrong_peeking"

    def shape(self, *shapes):
        return shapes[0]

    def apply(self, ops, weights, *x):
        return x[0] * 2 if float(ops.to_numpy(ops.mean(x[0]))) > 0.001 else x[0]


class Joined(Layer):
    name = "wrong_joined"

    def shape(self, *shapes):
        return shapes[0]

    def apply(self, ops, weights, *x):
        return x[0] - ops.mean(x[0], axis=(0, 2, 3), keepdims=True)


class TestPeeking(LayerContract):
    component = Peeking


class TestJoined(LayerContract):
    component = Joined


class TestHalved(LayerContract):
    component = Halved


class TestBlurred(LayerContract):
    component = Blurred
    settings = {"padding": 1}


class Shrinking(Model):
    name = "wrong_shrinking"

    def network(self):
        return Network({"image": 3}, chain("image", {"conv": Conv2d(out_channels=3), "relu": ReLU()}), ("relu",))


class TestShrinking(ModelContract):
    component = Shrinking


class Batched(Model):
    name = "wrong_batched"

    def network(self):
        return Network({"image": 3}, chain("image", {"joined": Joined(), "conv": Conv2d(out_channels=3)}), ("conv",))


class TestBatched(ModelContract):
    component = Batched


class Idle(Conv2d):
    name = "wrong_idle"

    def weights(self, *channels):
        return {**super().weights(*channels), "idle": (7,)}

    def initial(self, rng, *channels):
        return {**super().initial(rng, *channels), "idle": np.zeros(7, np.float32)}


class TestIdle(LayerContract):
    component = Idle
    settings = {"out_channels": 3, "kernel": 3}

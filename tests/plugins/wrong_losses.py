"""Losses with one fault each; and the tests that their author would have written. None of these passes."""

from engine import Loss, Needs
from engine.testing import LossContract


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


class Methodical(Painted):
    def __call__(self, ops, clip, prepared):
        return ops.square(clip.output(0)).mean()


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


class TestMethodical(LossContract):
    component = Methodical


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

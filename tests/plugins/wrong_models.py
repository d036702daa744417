"""Layers and models with one fault each; and the tests that their author would have written. None of these passes."""

import numpy as np

from engine import Conv2d, Field, Layer, Model, Network, ReLU, chain
from engine.testing import LayerContract, ModelContract


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

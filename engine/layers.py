"""The layers a network is made of: settings, weights, shapes, and a reference form over ``ops``."""

from __future__ import annotations

import math
import sys
from abc import abstractmethod
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar, TypeAlias

import numpy as np
from pydantic import Field

from engine.components import Component
from engine.errors import EngineError
from engine.ops import Array, Ops, PadMode, Shape, Tensor, UpsampleMode
from engine.windows import Window

Weights: TypeAlias = Mapping[str, Tensor]


class UnknownLayer(EngineError):
    """No layer of that name has been imported."""


class Layer(Component):
    """One kind of layer. Shapes here are (channels, height, width); tensors are (n, c, h, w).

    A description of a network knows it by its ``name``, so a second layer of a name is an :class:`EngineError` where it is defined.
    """

    kind: ClassVar[str] = "layer"
    arity: ClassVar[int | None] = 1
    """How many inputs it takes; None for any number from one."""
    statistics: ClassVar[tuple[str, ...]] = ()
    """Which of its weights are no parameters: they came with a trained network, and training leaves them as they are."""
    exact: ClassVar[tuple[int, ...]] = ()
    """Which of its inputs are read as float32 whatever precision the network computes in, where they are inputs of the network."""
    kinds: ClassVar[dict[str, type[Layer]]] = {}
    """Every layer that has been imported so far, by name; a plugin's layer counts once its module is loaded."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if "name" not in vars(cls):
            return
        other = Layer.kinds.get(cls.name, cls)
        origins = {(getattr(sys.modules.get(of.__module__), "__file__", of.__module__), of.__qualname__) for of in (other, cls)}
        if len(origins) > 1:  # a file that is read again replaces its own layers
            both = " and ".join(f"{of.__module__}.{of.__qualname__}" for of in (other, cls))
            raise EngineError(f"{both} are both layers called {cls.name!r}")
        Layer.kinds[cls.name] = cls

    def weights(self, *channels: int) -> dict[str, Shape]:
        """Its weights' shapes for inputs of so many channels."""
        return {}

    def initial(self, rng: np.random.Generator, *channels: int) -> dict[str, Array]:
        """Its weights before training, float32."""
        return {}

    def shape(self, *shapes: Shape) -> Shape:
        """The output's shape; an :class:`EngineError` where the inputs do not fit."""
        return shapes[0]

    def window(self) -> Window | None:
        """Which rows of its inputs a row of its output is made of; None where that may be all of them.

        A layer that says None is never painted in stripes, and one that overrides ``apply`` must say it anew.
        """
        return None

    def macs(self, *shapes: Shape) -> int:
        """Multiply-accumulates of one image's matrix work; norms and activations count nothing, as the field does."""
        return 0

    @abstractmethod
    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        """The reference form; a backend may have a native one and is compared with this."""


class Conv2d(Layer):
    """A 2-D convolution, weights (out, in/groups, k, k)."""

    name = "conv2d"
    out_channels: int = Field(ge=1, description="Channels of the output.")
    kernel: int = Field(default=3, ge=1, description="Side of the square kernel.")
    stride: int = Field(default=1, ge=1, description="Step between outputs.")
    padding: int = Field(default=0, ge=0, description="Zeros on every side.")
    groups: int = Field(default=1, ge=1, description="Groups of channels that do not mix.")
    bias: bool = Field(default=True, description="Add a bias per output channel.")

    def weights(self, *channels: int) -> dict[str, Shape]:
        (c,) = channels
        if c % self.groups or self.out_channels % self.groups:
            raise EngineError(f"{c} -> {self.out_channels} channels do not divide into {self.groups} groups")
        shapes: dict[str, Shape] = {"weight": (self.out_channels, c // self.groups, self.kernel, self.kernel)}
        return shapes | {"bias": (self.out_channels,)} if self.bias else shapes

    def initial(self, rng: np.random.Generator, *channels: int) -> dict[str, Array]:
        shapes = self.weights(*channels)
        bound = 1 / math.sqrt(math.prod(shapes["weight"][1:]))  # torch's default for convolutions, weight and bias alike
        return {key: rng.uniform(-bound, bound, shape).astype(np.float32) for key, shape in shapes.items()}

    def shape(self, *shapes: Shape) -> Shape:
        _, h, w = shapes[0]
        h, w = h + 2 * self.padding, w + 2 * self.padding
        if min(h, w) < self.kernel:
            raise EngineError(f"{h}x{w} pixels are smaller than the {self.kernel}x{self.kernel} kernel")
        return (self.out_channels, (h - self.kernel) // self.stride + 1, (w - self.kernel) // self.stride + 1)

    def macs(self, *shapes: Shape) -> int:
        return math.prod(self.weights(shapes[0][0])["weight"]) * math.prod(self.shape(*shapes)[1:])

    def window(self) -> Window:
        return Window(self.padding, self.kernel - 1 - self.padding, Fraction(1, self.stride))

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        dtype = ops.dtype(x[0])
        bias = ops.cast(weights["bias"], dtype) if self.bias else None
        weight = ops.cast(weights["weight"], dtype)
        return ops.conv2d(x[0], weight, bias, stride=self.stride, padding=self.padding, groups=self.groups)


class InstanceNorm2d(Layer):
    """Each channel of each image to mean 0 and variance 1 (biased), then an affine map; no running statistics."""

    name = "instance_norm2d"
    eps: float = Field(default=1e-5, gt=0, description="Added to the variance.")

    def weights(self, *channels: int) -> dict[str, Shape]:
        return {"weight": (channels[0],), "bias": (channels[0],)}

    def initial(self, rng: np.random.Generator, *channels: int) -> dict[str, Array]:
        return {"weight": np.ones(channels[0], np.float32), "bias": np.zeros(channels[0], np.float32)}

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        wide = ops.cast(x[0], "float32")  # statistics of reduced precision lose the small differences
        centred = wide - ops.mean(wide, axis=(2, 3), keepdims=True)
        deviation = ops.sqrt(ops.mean(ops.square(centred), axis=(2, 3), keepdims=True) + self.eps)
        scale = ops.reshape(weights["weight"], (1, -1, 1, 1))
        shift = ops.reshape(weights["bias"], (1, -1, 1, 1))
        return ops.cast(centred / deviation * scale + shift, ops.dtype(x[0]))


class BatchNorm2d(Layer):
    """Batch norm as a trained network computes it: (x - running_mean) / sqrt(running_var + eps) * weight + bias, channel by channel.

    The mean and the variance are stored with the weights and never change: no statistics are gathered from a batch, so every
    image is mapped by itself. Where a network with this layer is trained, only ``weight`` and ``bias`` learn.
    (Ioffe, Szegedy: Batch Normalization, ICML 2015, arXiv 1502.03167, algorithm 2.)
    """

    name = "batch_norm2d"
    statistics = ("running_mean", "running_var")
    eps: float = Field(default=1e-5, gt=0, description="Added to the variance.")

    def weights(self, *channels: int) -> dict[str, Shape]:
        return dict.fromkeys(("weight", "bias", *self.statistics), (channels[0],))

    def initial(self, rng: np.random.Generator, *channels: int) -> dict[str, Array]:
        ones, zeros = np.ones(channels[0], np.float32), np.zeros(channels[0], np.float32)
        return {"weight": ones, "bias": zeros, "running_mean": zeros.copy(), "running_var": ones.copy()}

    def window(self) -> Window:
        return Window()

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        # In float32: x and the mean can be large and nearly equal.
        wide = {key: ops.reshape(ops.cast(value, "float32"), (1, -1, 1, 1)) for key, value in weights.items()}
        scale = wide["weight"] / ops.sqrt(ops.stop_gradient(wide["running_var"]) + self.eps)
        shift = wide["bias"] - ops.stop_gradient(wide["running_mean"]) * scale
        return ops.cast(ops.cast(x[0], "float32") * scale + shift, ops.dtype(x[0]))


class ReLU(Layer):
    """max(x, 0)."""

    name = "relu"

    def window(self) -> Window:
        return Window()

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        return ops.relu(x[0])


class Tanh(Layer):
    """The hyperbolic tangent."""

    name = "tanh"

    def window(self) -> Window:
        return Window()

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        return ops.tanh(x[0])


class MaxPool2d(Layer):
    """The largest value of each window."""

    name = "max_pool2d"
    kernel: int = Field(default=2, ge=1, description="Side of the square window.")
    stride: int = Field(default=2, ge=1, description="Step between windows.")

    def shape(self, *shapes: Shape) -> Shape:
        c, h, w = shapes[0]
        if min(h, w) < self.kernel:
            raise EngineError(f"{h}x{w} pixels are smaller than the {self.kernel}x{self.kernel} window")
        return (c, (h - self.kernel) // self.stride + 1, (w - self.kernel) // self.stride + 1)

    def window(self) -> Window:
        return Window(0, self.kernel - 1, Fraction(1, self.stride))

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        return ops.max_pool2d(x[0], self.kernel, self.stride)


class Upsample2d(Layer):
    """Each side times ``factor``."""

    name = "upsample2d"
    factor: int = Field(default=2, ge=1, description="Times each side.")
    mode: UpsampleMode = Field(default="nearest", description="How the new pixels are made.")

    def shape(self, *shapes: Shape) -> Shape:
        c, h, w = shapes[0]
        return (c, h * self.factor, w * self.factor)

    def window(self) -> Window:
        return Window(int(self.mode == "bilinear"), int(self.mode != "nearest"), Fraction(self.factor))

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        return ops.upsample(x[0], self.factor, self.mode)


class Add(Layer):
    """The sum of two inputs of one shape."""

    name = "add"
    arity = 2

    def shape(self, *shapes: Shape) -> Shape:
        if shapes[0] != shapes[1]:
            raise EngineError(f"cannot add shapes {shapes[0]} and {shapes[1]}")
        return shapes[0]

    def window(self) -> Window:
        return Window()

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        return x[0] + x[1]


class Concat(Layer):
    """Its inputs' channels one after another."""

    name = "concat"
    arity = None

    def shape(self, *shapes: Shape) -> Shape:
        if len({shape[1:] for shape in shapes}) != 1:
            raise EngineError(f"cannot join channels of different sizes: {shapes}")
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def window(self) -> Window:
        return Window()

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        return ops.concat(x, axis=1)


class Pad(Layer):
    """The same number of pixels on every side."""

    name = "pad"
    amount: int = Field(ge=0, description="Pixels on each side.")
    mode: PadMode = Field(default="reflect", description="Zeros, or the picture mirrored.")

    def shape(self, *shapes: Shape) -> Shape:
        c, h, w = shapes[0]
        if self.mode == "reflect" and min(h, w) <= self.amount:
            raise EngineError(f"{h}x{w} pixels are too few to mirror {self.amount}", allowed=f"sides over {self.amount} pixels")
        return (c, h + 2 * self.amount, w + 2 * self.amount)

    def window(self) -> Window:
        return Window(self.amount, -self.amount)

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        return ops.pad(x[0], (self.amount,) * 4, self.mode)


class PadToMultiple(Layer):
    """Mirror right and below until both sides are divisible; undone by :class:`CropLike`."""

    name = "pad_to_multiple"
    multiple: int = Field(default=4, ge=1, description="What both sides become divisible by.")

    def shape(self, *shapes: Shape) -> Shape:
        c, h, w = shapes[0]
        if -h % self.multiple >= h or -w % self.multiple >= w:
            raise EngineError(f"{h}x{w} pixels are too few to mirror to a multiple of {self.multiple}")
        return (c, h + -h % self.multiple, w + -w % self.multiple)

    def window(self) -> Window:
        return Window(multiple=self.multiple)

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        return ops.pad_to_multiple(x[0], self.multiple)


class CropLike(Layer):
    """The upper left part of the first input in the size of the second."""

    name = "crop_like"
    arity = 2

    def shape(self, *shapes: Shape) -> Shape:
        (c, h, w), (_, new_h, new_w) = shapes
        if new_h > h or new_w > w:
            raise EngineError(f"cannot crop {h}x{w} pixels to {new_h}x{new_w}")
        return (c, new_h, new_w)

    def window(self) -> Window:
        return Window()

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        return ops.crop_like(x[0], x[1])


class Normalize(Layer):
    """From the range [low, high] to (value in [0, 1] - mean) / std, channel by channel."""

    name = "normalize"
    low: float = Field(default=-1.0, description="What black is in the input.")
    high: float = Field(default=1.0, description="What white is in the input.")
    mean: tuple[float, ...] = Field(description="One a channel, of values in [0, 1].")
    std: tuple[float, ...] = Field(description="One a channel.")

    def shape(self, *shapes: Shape) -> Shape:
        channels = shapes[0][0]
        if {len(self.mean), len(self.std)} - {1, channels} or 0 in self.std or not self.low < self.high:
            raise EngineError(f"mean {self.mean}, std {self.std} and range [{self.low}, {self.high}] do not fit {channels} channels")
        return shapes[0]

    def window(self) -> Window:
        return Window()

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        std, mean = np.array(self.std), np.array(self.mean)
        scale = ops.asarray((1 / ((self.high - self.low) * std)).reshape(1, -1, 1, 1), ops.dtype(x[0]))
        shift = ops.asarray((-(self.low / (self.high - self.low) + mean) / std).reshape(1, -1, 1, 1), ops.dtype(x[0]))
        return x[0] * scale + shift


def make_layer(name: str, settings: Mapping[str, Any]) -> Layer:
    """The layer of that name with these settings; an :class:`UnknownLayer` where there is none."""
    if name not in Layer.kinds:
        known = ", ".join(sorted(Layer.kinds))
        raise UnknownLayer(f"no layer is called {name!r}", allowed=known, remedy="Install the plugin that it comes from.")
    return Layer.kinds[name].model_validate(settings)

"""A layer that the engine has not: a convolution in two cheap steps."""

import math
from fractions import Fraction

import numpy as np

from engine import Array, EngineError, Field, Layer, Ops, Shape, Tensor, Weights, Window


class SeparableConv2d(Layer):
    """A convolution of each channel by itself, then a mix of the channels at each pixel (Howard et al.: MobileNets, arXiv 1704.04861).

    Weights: ``depthwise`` (in, 1, k, k), ``pointwise`` (out, in, 1, 1), ``bias`` (out). No padding.
    """

    name = "separable_conv2d"
    out_channels: int = Field(ge=1, description="Channels of the output.")
    kernel: int = Field(default=3, ge=1, description="Side of the square kernel.")
    stride: int = Field(default=1, ge=1, description="Step between outputs.")

    def weights(self, *channels: int) -> dict[str, Shape]:
        (c,) = channels
        return {"depthwise": (c, 1, self.kernel, self.kernel), "pointwise": (self.out_channels, c, 1, 1), "bias": (self.out_channels,)}

    def initial(self, rng: np.random.Generator, *channels: int) -> dict[str, Array]:
        shapes = self.weights(*channels)
        bounds = {key: 1 / math.sqrt(math.prod(shapes["pointwise" if key == "bias" else key][1:])) for key in shapes}
        return {key: rng.uniform(-bounds[key], bounds[key], shape).astype(np.float32) for key, shape in shapes.items()}

    def shape(self, *shapes: Shape) -> Shape:
        _, h, w = shapes[0]
        if min(h, w) < self.kernel:
            raise EngineError(f"{h}x{w} pixels are smaller than the {self.kernel}x{self.kernel} kernel")
        return (self.out_channels, (h - self.kernel) // self.stride + 1, (w - self.kernel) // self.stride + 1)

    def macs(self, *shapes: Shape) -> int:
        c, (_, h, w) = shapes[0][0], self.shape(*shapes)
        return c * (self.kernel**2 + self.out_channels) * h * w

    def window(self) -> Window:
        return Window(0, self.kernel - 1, Fraction(1, self.stride))

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        own = {key: ops.cast(value, ops.dtype(x[0])) for key, value in weights.items()}
        channels = ops.shape(own["depthwise"])[0]  # of the weights, which are known also where a backend leaves the picture's sizes open
        each = ops.conv2d(x[0], own["depthwise"], stride=self.stride, groups=channels)
        return ops.conv2d(each, own["pointwise"], own["bias"])

"""An instance norm in two halves, for painting in stripes: each measures its part of the frame, all are mapped by the frame's moments."""

from __future__ import annotations

from engine.errors import EngineError
from engine.layers import Layer, Weights
from engine.ops import Ops, Shape, Tensor
from engine.windows import Window


class Moments(Layer):
    """The mean of each channel, and after them the variance of each (biased), over the rows that the second input (1, h, 1) marks.

    A row counts where its mark is over 0.5. Without any the moments are those of zeros. Always float32.
    """

    name = "moments"
    arity = 2

    def shape(self, *shapes: Shape) -> Shape:
        (c, h, _), marks = shapes
        if marks != (1, h, 1):
            raise EngineError(f"marks of shape {marks} do not fit {h} rows", allowed=f"(1, {h}, 1)")
        return (2 * c, 1, 1)

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        wide = ops.cast(x[0], "float32")
        inside = ops.cast(ops.cast(x[1], "float32") > 0.5, "float32")
        counted = ops.mean(inside, axis=(2, 3), keepdims=True)
        share = ops.where(counted > 0, counted, counted + 1)
        mean = ops.mean(wide * inside, axis=(2, 3), keepdims=True) / share
        # Twice over the rows: the mean of squares less the square of the mean loses the small differences.
        variance = ops.mean(ops.square((wide - mean) * inside), axis=(2, 3), keepdims=True) / share
        return ops.concat([mean, variance], axis=1)


class ScaleShift(Layer):
    """x * scale + shift; the second and the third input have one number a channel, (c, 1, 1), in float32."""

    name = "scale_shift"
    arity = 3
    exact = (1, 2)

    def shape(self, *shapes: Shape) -> Shape:
        one = (shapes[0][0], 1, 1)
        if shapes[1:] != (one, one):
            raise EngineError(f"scale {shapes[1]} and shift {shapes[2]} do not fit {shapes[0][0]} channels", allowed=str(one))
        return shapes[0]

    def window(self) -> Window:
        return Window()

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        wide, scale, shift = (ops.cast(one, "float32") for one in x)
        return ops.cast(wide * scale + shift, ops.dtype(x[0]))

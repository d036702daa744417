"""Keep what is seen and its colours: content by luminance, and the input's colours in the large."""

from engine import Clip, Field, Loss, Needs, Ops, Prepared, Tensor
from engine_losses.output_temporal import relative_luminance


class ColourContentLoss(Loss):
    """sum((phi(Y(O)) - phi(Y(I)))^2) / (C H W) + colour * mean((B(O) - B(I))^2) on every frame.

    Y = 0.2126 R + 0.7152 G + 0.0722 B, shown to the encoder as a grey picture; phi is one of its layers, so what things are is
    told by light alone, as in luminance-only transfer (Gatys, Bethge, Hertzmann and Shechtman, Preserving Color in Neural
    Artistic Style Transfer, 2016, arXiv:1606.05897). B is the mean colour of each square of ``square`` pixels a side, in place
    of the blur of the colour loss of Ignatov, Kobyshev, Timofte, Vanhoey and Van Gool (DSLR-Quality Photos on Mobile Devices with
    Deep Convolutional Networks, ICCV 2017, section 3.1): strokes are free, and together they have the scene's colours and light.
    Summed over the frames of a clip, averaged over the batch.
    """

    name = "colour_content"
    weight: float = Field(default=1.5e4, ge=0, description="What its value is multiplied by in the total.")
    layer: str = Field(default="relu3_3", description="The encoder layer that is compared.")
    colour: float = Field(default=500.0, ge=0, description="How much a wrong colour counts beside the features; 0 leaves colours free.")
    square: int = Field(default=8, ge=1, description="Pixels a side of the squares whose mean colours are compared; 1 colours each pixel.")

    def needs(self) -> Needs:
        return Needs(encoder=(self.layer,))

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        return sum(self._frame(ops, clip, t) for t in clip.times)

    def _frame(self, ops: Ops, clip: Clip, t: int) -> Tensor:
        painted, seen = clip.output(t), clip.frame(t)
        features = self._features(ops, clip, painted) - ops.stop_gradient(self._features(ops, clip, seen))  # (n, c, h', w')
        colours = self._colours(ops, painted) - self._colours(ops, seen)  # (n, 3, rows, columns)
        return ops.mean(ops.square(features)) + self.colour * ops.mean(ops.square(colours))

    def _features(self, ops: Ops, clip: Clip, x: Tensor) -> Tensor:
        return clip.encode(ops.concat([relative_luminance(x)] * 3, 1), (self.layer,))[self.layer]

    def _colours(self, ops: Ops, x: Tensor) -> Tensor:
        """Of whole squares; fewer rows or columns than that at the bottom and on the right are left out."""
        n, c, h, w = ops.shape(x)
        high, wide = min(self.square, h), min(self.square, w)
        rows, columns = h // high, w // wide
        squares = ops.reshape(x[:, :, : rows * high, : columns * wide], (n, c, rows, high, columns, wide))
        return ops.mean(squares, axis=(3, 5))

"""Keep what is seen and its colours: content by luminance, and the input's chroma."""

from engine import Clip, Field, Loss, Needs, Ops, Prepared, Tensor
from engine_losses.output_temporal import relative_luminance


class ColourContentLoss(Loss):
    """sum((phi(Y(O)) - phi(Y(I)))^2) / (C H W) + chroma * sum(((O - Y(O)) - (I - Y(I)))^2) / (3 H W) on every frame.

    Y = 0.2126 R + 0.7152 G + 0.0722 B, shown to the encoder as a grey picture; phi is one of its layers; X - Y(X) is the
    colour that is left without luminance. Our own formulation, as a loss, of luminance-only transfer (Gatys, Bethge,
    Hertzmann and Shechtman, Preserving Color in Neural Artistic Style Transfer, 2016, arXiv:1606.05897), which
    paints the luminance and takes the input's chroma over unchanged. Strokes and light come from the style, colours from
    the scene; ``chroma`` says how firmly. Summed over the frames of a clip, averaged over the batch.
    """

    name = "colour_content"
    weight: float = Field(default=1e4, ge=0, description="What its value is multiplied by in the total.")
    layer: str = Field(default="relu3_3", description="The encoder layer that is compared.")
    chroma: float = Field(default=3000.0, ge=0, description="How much a wrong colour counts beside the features; 0 leaves colours free.")

    def needs(self) -> Needs:
        return Needs(encoder=(self.layer,))

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        return sum(self._frame(ops, clip, t) for t in clip.times)

    def _frame(self, ops: Ops, clip: Clip, t: int) -> Tensor:
        painted, seen = clip.output(t), clip.frame(t)
        light, wanted = relative_luminance(painted), relative_luminance(seen)
        features = self._features(ops, clip, light) - ops.stop_gradient(self._features(ops, clip, wanted))  # (n, c, h', w')
        colour = (painted - light) - (seen - wanted)  # (n, 3, h, w)
        return ops.mean(ops.square(features)) + self.chroma * ops.mean(ops.square(colour))

    def _features(self, ops: Ops, clip: Clip, light: Tensor) -> Tensor:
        return clip.encode(ops.concat([light] * 3, 1), (self.layer,))[self.layer]

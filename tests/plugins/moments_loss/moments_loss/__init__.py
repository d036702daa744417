"""A style loss for styleengine: each channel's mean, deviation and skewness, those of the style image."""

from engine import Clip, Features, Field, Loss, Needs, Ops, Prepared, Tensor, hookimpl

ENGINE_API = "1"


class ChannelMoments(Loss):
    """Over layers and moments m: mean_c((m(O) - m(S))^2), of each channel over its pixels.

    Order 2 compares means and standard deviations (Huang, Belongie: Arbitrary Style Transfer in Real-time with Adaptive Instance
    Normalization, ICCV 2017, equation 13, with squares in place of norms). Order 3 adds E[((x - mean) / deviation)^3]; that style
    lies in higher moments too is shown by Kalischek, Wegner, Schindler (In the Light of Feature Distributions, CVPR 2021). The fourth is
    left out: of an untrained network it is some 400 times the others, and no weight would suit both.
    """

    name = "channel_moments"
    layers: tuple[str, ...] = Field(default=("relu1_2", "relu2_2", "relu3_3"), min_length=1, description="Encoder layers to compare.")
    order: int = Field(default=3, ge=1, le=3, description="The highest moment: 1 = mean, 2 = deviation, 3 = skewness.")

    def needs(self) -> Needs:
        return Needs(encoder=self.layers)

    def prepare(self, ops: Ops, style: Features) -> Prepared:
        """The style image's moments by layer, (1, order * c)."""
        return {layer: moments(ops, style[layer], self.order) for layer in self.layers}

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        terms = [(clip.encoded("output", layer, t), prepared[layer]) for t in clip.times for layer in self.layers]
        return sum(self.order * ops.mean(ops.square(moments(ops, painted, self.order) - style)) for painted, style in terms)


def moments(ops: Ops, x: Tensor, order: int) -> Tensor:
    """The first ``order`` moments of each channel, (n, c, h, w) -> (n, order * c)."""
    n, c, _, _ = ops.shape(x)
    mean = ops.mean(x, axis=(2, 3), keepdims=True)
    deviation = ops.sqrt(ops.mean(ops.square(x - mean), axis=(2, 3), keepdims=True) + 1e-5)  # a root has no slope at 0
    score = (x - mean) / deviation
    skewness = ops.mean(score * score * score, axis=(2, 3), keepdims=True)
    return ops.concat([ops.reshape(moment, (n, c)) for moment in (mean, deviation, skewness)[:order]], axis=1)


@hookimpl
def engine_register_losses() -> list[type[Loss]]:
    """The losses of this plugin."""
    return [ChannelMoments]

"""Take over the style by each channel's mean and spread alone."""

from engine import Clip, Features, Field, Loss, Needs, Ops, Prepared, Tensor

EPS = 1e-5
"""Added to a variance, so that the root's slope stays finite where a channel is constant."""


class MomentsLoss(Loss):
    """Over the layers: mean_c((mu(O) - mu(S))^2) + mean_c((sigma(O) - sigma(S))^2), of each channel over its pixels.

    Mean and standard deviation of encoder features (Huang & Belongie, Arbitrary Style Transfer in Real-time with Adaptive
    Instance Normalization, ICCV 2017, equation 13). The paper sums Euclidean norms; as in its published code it is the mean
    square over the channels here, which has a gradient where both agree. sigma = sqrt(var + 1e-5), var divided by H W.
    Cheaper than ``style`` and looser: it takes palette and contrast, not how channels go together. Summed over the layers
    and the frames of a clip, averaged over the batch.
    """

    name = "moments"
    weight: float = Field(default=3e4, ge=0, description="What its value is multiplied by in the total.")
    layers: tuple[str, ...] = Field(
        default=("relu1_2", "relu2_2", "relu3_3", "relu4_3"), min_length=1, description="The encoder layers that are compared."
    )

    def needs(self) -> Needs:
        return Needs(encoder=self.layers)

    def prepare(self, ops: Ops, style: Features) -> Prepared:
        """The style image's moments of each layer, (1, 2 c): the means, then the deviations."""
        return {layer: moments(ops, style[layer]) for layer in self.layers}

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        # Half of the 2 c entries are means, half deviations: twice the mean over all is the sum of the two means.
        return sum(
            2 * ops.mean(ops.square(moments(ops, clip.encoded("output", layer, t)) - prepared[layer]))
            for t in clip.times
            for layer in self.layers
        )


def moments(ops: Ops, features: Tensor) -> Tensor:
    """Means and standard deviations of the channels of each image: (n, c, h, w) -> (n, 2 c)."""
    mean = ops.mean(features, axis=(2, 3), keepdims=True)
    deviation = ops.sqrt(ops.mean(ops.square(features - mean), axis=(2, 3)) + EPS)
    n, c, _, _ = ops.shape(features)
    return ops.concat([ops.reshape(mean, (n, c)), deviation], 1)

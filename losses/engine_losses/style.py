"""Take over the style: the correlations between the encoder's channels become those of the style image."""

from engine import Clip, Features, Field, Loss, Needs, Ops, Prepared, Tensor


class StyleLoss(Loss):
    """Over the layers: sum((G(O) - G(S))^2), G = F F^T / (C H W) the Gram matrix (Gao et al., ReCoNet, ACCV 2018).

    Summed over the layers and the frames of a clip, averaged over the batch. The style image's Gram matrices are
    made once. The published code takes that image at its own size, about 500 pixels; here the recipe's ``size`` decides.
    """

    name = "style"
    weight: float = Field(default=1e5, ge=0, description="What its value is multiplied by in the total.")
    layers: tuple[str, ...] = Field(
        default=("relu1_2", "relu2_2", "relu3_3", "relu4_3"), min_length=1, description="The encoder layers that are compared."
    )

    def needs(self) -> Needs:
        return Needs(encoder=self.layers)

    def prepare(self, ops: Ops, style: Features) -> Prepared:
        """The style image's Gram matrix of each layer, (1, c, c)."""
        return {layer: gram(ops, style[layer]) for layer in self.layers}

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        return sum(
            ops.sum(ops.mean(ops.square(gram(ops, clip.encoded("output", layer, t)) - prepared[layer]), axis=0))  # (n, c, c)
            for t in clip.times
            for layer in self.layers
        )


def gram(ops: Ops, features: Tensor) -> Tensor:
    """F F^T / (C H W) of each image: (n, c, h, w) -> (n, c, c)."""
    n, c, h, w = ops.shape(features)
    # Scaled before the product, whose entries would otherwise grow with the image and leave reduced precision's range.
    flat = ops.reshape(features, (n, c, h * w)) * (c * h * w) ** -0.5
    return ops.matmul(flat, ops.permute_dims(flat, (0, 2, 1)))

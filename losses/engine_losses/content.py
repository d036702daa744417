"""Keep what is seen: the painted frame's deep features stay those of the input frame."""

from engine import Clip, Field, Loss, Needs, Ops, Prepared, Tensor


class ContentLoss(Loss):
    """sum((phi(O) - phi(I))^2) / (C H W) on every frame, phi one layer of the encoder (Gao et al., ReCoNet, ACCV 2018).

    Summed over the frames of a clip, averaged over the batch. Dimensionless; 0 when the features are equal.
    Gradients reach the painted frame only through its own features: the input frame is data.
    """

    name = "content"
    weight: float = Field(default=1e4, ge=0, description="What its value is multiplied by in the total.")
    layer: str = Field(default="relu3_3", description="The encoder layer that is compared.")

    def needs(self) -> Needs:
        return Needs(encoder=(self.layer,), frame_encoder=(self.layer,))

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        return sum(
            ops.mean(ops.square(clip.encoded("output", self.layer, t) - clip.encoded("frame", self.layer, t)))  # over (n, c, h, w)
            for t in clip.times
        )

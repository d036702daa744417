"""Let the painted picture's features change from frame to frame as the scene's do; no flow is needed."""

from engine import Clip, Field, Loss, Needs, Ops, Prepared, Tensor


class FeatureDifferenceLoss(Loss):
    """Over the layers: sum(((phi(O_t) - phi(O_{t-1})) - (phi(I_t) - phi(I_{t-1})))^2) / (C H W) over consecutive frames.

    phi is a layer of the encoder. The frame difference loss in feature space of Xu, Xiong and Hu (Frame Difference-Based
    Temporal Loss for Video Stylization, 2021, arXiv:2102.05822), there a distance, here its mean square. Works on clips without
    optical flow. Summed over the layers and the pairs of a clip, averaged over the batch. Gradients reach both painted
    frames; the input frames are data.
    """

    name = "feature_difference"
    weight: float = Field(default=1e4, ge=0, description="What its value is multiplied by in the total.")
    layers: tuple[str, ...] = Field(default=("relu3_3",), min_length=1, description="The encoder layers that are compared.")

    def needs(self) -> Needs:
        return Needs(frames=2, encoder=self.layers, frame_encoder=self.layers)

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        return sum(
            ops.mean(ops.square(_excess(clip, layer, t) - _excess(clip, layer, before)))  # (n, c, h, w)
            for t, before in zip(clip.times, clip.times[1:], strict=False)
            for layer in self.layers
        )


def _excess(clip: Clip, layer: str, t: int) -> Tensor:
    # The difference of differences, the other way round: what the painting adds, compared between two frames.
    return clip.encoded("output", layer, t) - clip.encoded("frame", layer, t)

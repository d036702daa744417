"""Keep the painted frame smooth."""

from engine import Clip, Field, Loss, Needs, Ops, Prepared, Tensor


class TotalVariationLoss(Loss):
    """sum|dx| + sum|dy| of the painted frame, neighbouring pixels' differences over all channels (Johnson et al.,
    Perceptual Losses for Real-Time Style Transfer and Super-Resolution, ECCV 2016, section 3.2; anisotropic, not squared).

    Summed over the pixels and the frames of a clip, averaged over the batch. Not divided by the number of pixels, as in
    the published code: the same weight smooths a larger image more.
    """

    name = "total_variation"
    weight: float = Field(default=1e-5, ge=0, description="What its value is multiplied by in the total.")

    def needs(self) -> Needs:
        return Needs()

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        return sum(_variation(ops, clip.output(t)) for t in clip.times)


def _variation(ops: Ops, image: Tensor) -> Tensor:
    across = ops.abs(image[:, :, :, 1:] - image[:, :, :, :-1])
    down = ops.abs(image[:, :, 1:, :] - image[:, :, :-1, :])
    return (ops.sum(across) + ops.sum(down)) / ops.shape(image)[0]

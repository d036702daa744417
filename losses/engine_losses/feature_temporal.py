"""Keep features moving with the scene from one frame to the next."""

from engine import Clip, Field, Loss, Needs, Ops, Prepared, Tensor


class FeatureTemporalLoss(Loss):
    """sum(M' (F_t - W(F_{t-1}))^2) / (C H' W') over consecutive frames, F a tap of the network (Gao et al., ReCoNet, ACCV 2018).

    W(x)(p) = x(p + flow(p)); the flow is resized bilinearly to the features' size and scaled by w'/w and h'/h, the mask
    M' takes the nearest pixel. Summed over the pairs of a clip, averaged over the batch; the divisor counts masked
    pixels too. Gradients reach both frames. The published code's warp is off by half a pixel; here zero flow is the identity.
    """

    name = "feature_temporal"
    weight: float = Field(default=1e5, ge=0, description="What its value is multiplied by in the total.")
    tap: str = Field(default="features", description="The tap of the model that is compared.")

    def needs(self) -> Needs:
        return Needs(frames=2, taps=(self.tap,), flow=True)

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        return sum(self._pair(ops, clip, t, before) for t, before in zip(clip.times, clip.times[1:], strict=False))

    def _pair(self, ops: Ops, clip: Clip, t: int, before: int) -> Tensor:
        now = clip.tap(self.tap, t)
        _, _, h, w = ops.shape(now)
        change = now - ops.warp(clip.tap(self.tap, before), clip.flow(t, before, (h, w)))
        return ops.mean(clip.mask(t, before, (h, w)) * ops.square(change))  # (n, c, h', w')

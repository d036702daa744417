"""Keep the painted picture moving with the scene, letting it brighten and darken as the scene does."""

from engine import Clip, Field, Loss, Needs, Ops, Prepared, Tensor


class OutputTemporalLoss(Loss):
    """sum over RGB of sum(M ((O_t - W(O_{t-1}))_c - Y(I_t - W(I_{t-1})))^2) / (H W) over consecutive frames.

    Y = 0.2126 R + 0.7152 G + 0.0722 B, relative luminance: the luminance constraint of Gao et al., ReCoNet, ACCV 2018.
    W(x)(p) = x(p + flow(p)); M is 1 where the pixel can be traced. Summed over the pairs of a clip, averaged over the
    batch; the divisor counts masked pixels too. Gradients reach both frames. Two faults of the published code are not
    repeated: it weighs green by 0.7512, and its warp is off by half a pixel.
    """

    name = "output_temporal"
    weight: float = Field(default=2e5, ge=0, description="What its value is multiplied by in the total.")
    luminance: bool = Field(default=True, description="Expect the input's change of luminance in the output; false expects no change.")

    def needs(self) -> Needs:
        return Needs(frames=2, flow=True)

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        return sum(self._pair(ops, clip, t, before) for t, before in zip(clip.times, clip.times[1:], strict=False))

    def _pair(self, ops: Ops, clip: Clip, t: int, before: int) -> Tensor:
        flow = clip.flow(t, before)
        change = clip.output(t) - ops.warp(clip.output(before), flow)
        if self.luminance:
            change = change - relative_luminance(clip.frame(t) - ops.warp(clip.frame(before), flow))
        return ops.sum(ops.mean(clip.mask(t, before) * ops.square(change), axis=(0, 2, 3)))  # mean over (n, h, w), sum over RGB


def relative_luminance(rgb: Tensor) -> Tensor:
    """0.2126 R + 0.7152 G + 0.0722 B: (n, 3, h, w) -> (n, 1, h, w), in the range of its input."""
    return 0.2126 * rgb[:, 0:1] + 0.7152 * rgb[:, 1:2] + 0.0722 * rgb[:, 2:3]

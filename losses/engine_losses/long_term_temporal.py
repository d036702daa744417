"""Keep the painted picture moving with the scene over many frames, so that strokes do not drift."""

from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator

from engine import Clip, Field, Loss, Needs, Ops, Prepared, Tensor
from engine_losses.output_temporal import relative_luminance


def _rising(distances: tuple[int, ...]) -> tuple[int, ...]:
    if any(a >= b for a, b in pairwise(distances)):
        raise ValueError("distances rise, as [1, 2, 4]")
    return distances


class LongTermTemporalLoss(Loss):
    """Over the distances j: sum(M_j ((O_0 - W_j(O_{-j})) - Y(I_0 - W_j(I_{-j})))^2) / (3 H W), O_0 the newest frame.

    The long-term consistency of Ruder, Dosovitskiy and Brox (Artistic Style Transfer for Videos, GCPR 2016), J = {1, 2, 4}.
    W_j(x)(p) = x(p + flow(p)); flow and mask M_j from frame 0 to -j are chained from those of consecutive frames. Ruder et al.
    estimate the flow over each distance and compare a pixel with the nearest of those frames in which it is seen. What is
    chained is seen in all frames between, so nearest would always be the frame before; here every distance counts, and
    what was hidden in between is not compared. Y = 0.2126 R + 0.7152 G + 0.0722 B lets the output brighten with the input, as in
    ReCoNet; Ruder et al. have no such term. Gradients reach the older frames too. Averaged over the batch.

    With distances up to 4 a clip has five frames, and the losses that are summed over frames or pairs see all of them.
    """

    name = "long_term_temporal"
    weight: float = Field(default=6e5, ge=0, description="What its value is multiplied by in the total.")
    distances: Annotated[tuple[Annotated[int, Field(ge=1)], ...], AfterValidator(_rising)] = Field(
        min_length=1, default=(1, 2, 4), description="How many frames back it compares the newest one with, rising."
    )
    luminance: bool = Field(default=True, description="Expect the input's change of luminance in the output; false expects no change.")

    def needs(self) -> Needs:
        return Needs(frames=self.distances[-1] + 1, flow=True)

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        return sum(self._pair(ops, clip, -distance) for distance in self.distances)

    def _pair(self, ops: Ops, clip: Clip, to: int) -> Tensor:
        flow = clip.flow(0, to)
        change = clip.output(0) - ops.warp(clip.output(to), flow)
        if self.luminance:
            change = change - relative_luminance(clip.frame(0) - ops.warp(clip.frame(to), flow))
        return ops.mean(clip.mask(0, to) * ops.square(change))  # (n, 3, h, w)

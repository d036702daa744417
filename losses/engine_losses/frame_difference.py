"""Let the painted picture change from frame to frame as much as the scene does; no flow is needed."""

from typing import Literal

from engine import Clip, Field, Loss, Needs, Ops, Prepared, Tensor
from engine_losses.output_temporal import relative_luminance


class FrameDifferenceLoss(Loss):
    """sum(((O_t - O_{t-1}) - (I_t - I_{t-1}))^2) / (C H W) over consecutive frames.

    The frame difference loss in pixel space of Xu, Xiong and Hu (Frame Difference-Based Temporal Loss for Video Stylization,
    2021, arXiv:2102.05822), there a distance, here its mean square. Works on clips without optical flow, moving cameras
    included. With ``channels: luminance``, our own variant, Y = 0.2126 R + 0.7152 G + 0.0722 B of both changes is compared,
    C = 1, and colours are free. Summed over the pairs of a clip, averaged over the batch. Gradients reach both painted frames.
    """

    name = "frame_difference"
    weight: float = Field(default=1e6, ge=0, description="What its value is multiplied by in the total.")
    channels: Literal["rgb", "luminance"] = Field(default="rgb", description="What must change alike: all channels, or their luminance.")

    def needs(self) -> Needs:
        return Needs(frames=2)

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        return sum(self._pair(ops, clip, t, before) for t, before in zip(clip.times, clip.times[1:], strict=False))

    def _pair(self, ops: Ops, clip: Clip, t: int, before: int) -> Tensor:
        excess = (clip.output(t) - clip.output(before)) - (clip.frame(t) - clip.frame(before))
        return ops.mean(ops.square(relative_luminance(excess) if self.channels == "luminance" else excess))  # (n, c, h, w)

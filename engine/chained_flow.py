"""Optical flow over several frames, chained from the flow between consecutive ones."""

from __future__ import annotations

from collections.abc import Sequence

from engine.ops import Ops, Tensor

CERTAIN = 0.999
"""What a mask sampled between pixels must reach, so that all the pixels that it was mixed from are 1."""


def chain_flow(ops: Ops, flows: Sequence[Tensor], masks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Follow every pixel through the flows: w(p) = f_1(p) + f_2(p + f_1(p)) + ...

    Args:
        ops: The backend's operators.
        flows: (n, 2, h, w) in pixels, newest first, each from a frame to the one before it.
        masks: (n, 1, h, w) of each, 1 where it can be followed.

    Returns:
        Flow (n, 2, h, w) from the newest frame to the oldest, and mask (n, 1, h, w): 1 where every step can be followed, from
        each pixel that the step's flow is mixed from. Whole-pixel shifts are exact, and so is a flow that is affine
        wherever the mask is 1.
    """
    whole, seen = flows[0], masks[0]
    for flow, mask in zip(flows[1:], masks[1:], strict=True):
        seen = seen * _certain(ops, ops.warp(mask, whole))
        whole = whole + ops.warp(flow, whole)
    return whole, seen


def _certain(ops: Ops, mask: Tensor) -> Tensor:
    # Clipped so that CERTAIN lies half-way, and only what is above it is rounded to 1.
    slope = 0.5 / (1 - CERTAIN)
    return ops.round(ops.clip((mask - CERTAIN) * slope + 0.5, 0.0, 1.0))

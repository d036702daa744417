"""A clip of given tensors, with no network or encoder behind it: what a loss is tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from engine.errors import EngineError
from engine.ops import Ops, Tensor


@dataclass(frozen=True)
class GivenClip:
    """A :class:`engine.Clip` of what a loss reads and nothing else.

    Tensors by frame, newest first: each (n, c, h, w). Flow and mask ``k`` lead from frame -k to frame -k - 1.
    """

    ops: Ops
    frames: Sequence[Tensor] = ()
    outputs: Sequence[Tensor] = ()
    flows: Sequence[Tensor] = ()
    masks: Sequence[Tensor] = ()
    taps: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    encoded_output: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    encoded_frame: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)

    @property
    def times(self) -> tuple[int, ...]:
        given = [self.frames, self.outputs, *self.taps.values(), *self.encoded_output.values()]
        return tuple(-k for k in range(max(len(tensors) for tensors in given)))

    def frame(self, t: int) -> Tensor:
        return self.frames[-t]

    def output(self, t: int) -> Tensor:
        return self.outputs[-t]

    def tap(self, name: str, t: int) -> Tensor:
        return self.taps[name][-t]

    def encoded(self, what: Literal["output", "frame"], layer: str, t: int) -> Tensor:
        return {"output": self.encoded_output, "frame": self.encoded_frame}[what][layer][-t]

    def flow(self, t: int, to: int, size: tuple[int, int] | None = None) -> Tensor:
        flow = self._pair(self.flows, t, to)
        if size is None:
            return flow
        _, _, h, w = self.ops.shape(flow)
        scale = np.array([size[1] / w, size[0] / h]).reshape(1, 2, 1, 1)
        return self.ops.resize(flow, size, "bilinear") * self.ops.asarray(scale)

    def mask(self, t: int, to: int, size: tuple[int, int] | None = None) -> Tensor:
        mask = self._pair(self.masks, t, to)
        return mask if size is None else self.ops.resize(mask, size, "nearest")

    def paint(self, x: Tensor) -> Tensor:
        raise EngineError("this clip has no network")

    def encode(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        raise EngineError("this clip has no encoder")

    def _pair(self, tensors: Sequence[Tensor], t: int, to: int) -> Tensor:
        if to != t - 1:
            raise EngineError(f"a loss asks for the flow from frame {t} to {to}", allowed="from a frame to the one before it")
        return tensors[-t]

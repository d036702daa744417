"""A clip made of given tensors, with no network or encoder behind it: what losses are tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from engine import EngineError, Ops, Tensor


@dataclass(frozen=True)
class GivenClip:
    """Tensors by frame, newest first; flow and mask ``k`` lead from frame -k to frame -k - 1."""

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

    def encoded(self, what: str, layer: str, t: int) -> Tensor:
        return {"output": self.encoded_output, "frame": self.encoded_frame}[what][layer][-t]

    def flow(self, t: int, to: int, size: tuple[int, int] | None = None) -> Tensor:
        assert to == t - 1
        flow = self.flows[-t]
        if size is None:
            return flow
        _, _, h, w = self.ops.shape(flow)
        scale = np.array([size[1] / w, size[0] / h]).reshape(1, 2, 1, 1)
        return self.ops.resize(flow, size, "bilinear") * self.ops.asarray(scale)

    def mask(self, t: int, to: int, size: tuple[int, int] | None = None) -> Tensor:
        assert to == t - 1
        return self.masks[-t] if size is None else self.ops.resize(self.masks[-t], size, "nearest")

    def paint(self, x: Tensor) -> Tensor:
        raise EngineError("this clip has no network")

    def encode(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        raise EngineError("this clip has no encoder")

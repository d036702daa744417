"""A clip of given tensors, with no network or encoder behind it: what a loss is tested on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from engine.chained_flow import chain_flow
from engine.errors import EngineError
from engine.ops import Ops, Tensor


@dataclass(frozen=True)
class GivenClip:
    """A :class:`engine.Clip` of what a loss reads and nothing else.

    Tensors by frame, newest first: each (n, c, h, w). Flow and mask ``k`` lead from frame -k to frame -k - 1. ``network`` and
    ``encoder`` stand in for those that a loss runs on other images: (n, 3, h, w) to the painted one, and to features by layer.
    """

    ops: Ops
    frames: Sequence[Tensor] = ()
    outputs: Sequence[Tensor] = ()
    flows: Sequence[Tensor] = ()
    masks: Sequence[Tensor] = ()
    taps: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    encoded_output: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    encoded_frame: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    network: Callable[[Tensor], Tensor] | None = None
    encoder: Callable[[Tensor], Mapping[str, Tensor]] | None = None

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
        flow, _ = self._motion(t, to)
        if size is None:
            return flow
        _, _, h, w = self.ops.shape(flow)
        scale = np.array([size[1] / w, size[0] / h]).reshape(1, 2, 1, 1)
        return self.ops.resize(flow, size, "bilinear") * self.ops.asarray(scale)

    def mask(self, t: int, to: int, size: tuple[int, int] | None = None) -> Tensor:
        _, mask = self._motion(t, to)
        return mask if size is None else self.ops.resize(mask, size, "nearest")

    def paint(self, x: Tensor) -> Tensor:
        if self.network is None:
            raise EngineError("this clip has no network")
        return self.network(x)

    def encode(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        if self.encoder is None:
            raise EngineError("this clip has no encoder")
        features = self.encoder(x)
        return {layer: features[layer] for layer in layers}

    def _motion(self, t: int, to: int) -> tuple[Tensor, Tensor]:
        if not -len(self.flows) <= to < t <= 0:
            allowed = f"to an older frame, both from {-len(self.flows)} to 0"
            raise EngineError(f"a loss asks for the flow from frame {t} to {to}", allowed=allowed)
        return chain_flow(self.ops, self.flows[-t:-to], self.masks[-t:-to])

"""What is minimised: run network and encoder on a batch of clips and hand the losses what they need."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.asked_clip import AskedClip
from engine.chained_flow import chain_flow
from engine.contracts.backend import TrainingPlan
from engine.contracts.dataset import Batch
from engine.contracts.loss import Loss, Needs, Prepared
from engine.discovery import file_of
from engine.errors import EngineError, LossFailed
from engine.layers import Weights
from engine.network import NativeLayers, Network
from engine.ops import Array, DType, Ops, Tensor
from engine.pixels import from_uint8
from engine.registration import describe


def union(losses: Mapping[str, Loss]) -> Needs:
    """What all losses together need."""
    needs = [loss.needs() for loss in losses.values()]
    return Needs(
        frames=max((n.frames for n in needs), default=1),
        encoder=tuple(dict.fromkeys(layer for n in needs for layer in n.encoder)),
        frame_encoder=tuple(dict.fromkeys(layer for n in needs for layer in n.frame_encoder)),
        taps=tuple(dict.fromkeys(tap for n in needs for tap in n.taps)),
        flow=any(n.flow for n in needs),
    )


@dataclass(frozen=True)
class BatchTensors:
    """A batch on the device, time first, so that every frame is one contiguous piece."""

    frames: Tensor
    """uint8 (t * n, h, w, 3), oldest first."""
    flow: Tensor | None
    """(t-1, n, 2, h, w)."""
    mask: Tensor | None
    """(t-1, n, 1, h, w)."""
    times: int

    @classmethod
    def of(cls, ops: Ops, batch: Batch) -> BatchTensors:
        """Copy a batch to the backend's device."""
        n, t, h, w, c = batch.frames.shape

        def time_first(x: Array) -> Array:
            return np.ascontiguousarray(x.swapaxes(0, 1))

        frames = ops.asarray(time_first(batch.frames).reshape(t * n, h, w, c), "uint8")
        flow = None if batch.flow is None else ops.asarray(time_first(batch.flow))
        mask = None if batch.mask is None else ops.asarray(time_first(batch.mask))
        return cls(frames, flow, mask, t)


class Objective:
    """The weighted sum of a plan's losses, a pure function of weights and batch over ``ops``.

    Network and encoder compute in ``precision``; it ends at their outputs, so that every loss sees float32.
    """

    def __init__(self, ops: Ops, plan: TrainingPlan, precision: DType, native: NativeLayers) -> None:
        self.ops, self.plan, self.precision, self.native = ops, plan, precision, native
        self.needs = union(plan.losses)
        self._check()
        self._cut: dict[tuple[str, ...], Network] = {}
        style = from_uint8(ops, ops.asarray(plan.style[None], "uint8"), plan.network.low, plan.network.high)
        self._encoder_weights = {name: ops.asarray(x) for name, x in plan.encoder_weights.items()}
        features = self._encode(style, self.needs.encoder, "float32")
        # The style is read once, in full precision; from here on the frozen weights stay as the steps want them.
        self._encoder_weights = {name: ops.cast(x, precision) for name, x in self._encoder_weights.items()}
        self.prepared: dict[str, Prepared] = {}
        for label, loss in plan.losses.items():
            own = {layer: features[layer] for layer in loss.needs().encoder}
            with _named(label, loss):
                self.prepared[label] = loss.prepare(ops, own)

    def __call__(self, weights: Weights, tensors: BatchTensors) -> tuple[Tensor, dict[str, Tensor]]:
        """The total, a float32 scalar, and the raw losses by label."""
        clip = PlanClip(self, weights, tensors)
        raw = {label: self._value(label, loss, clip) for label, loss in self.plan.losses.items()}
        total = sum((raw[label] * loss.weight for label, loss in self.plan.losses.items()), start=self.ops.asarray(0.0))
        return total, raw

    def _value(self, label: str, loss: Loss, clip: PlanClip) -> Tensor:
        """What a loss gives for a clip, once it is a number; else a :class:`LossFailed` that names the loss and its line."""
        with _named(label, loss):
            value = loss(self.ops, AskedClip(clip, label, loss.needs()), self.prepared[label])
            try:
                shape = self.ops.shape(value)  # where MindSpore first says that something did not fit
            except (AttributeError, TypeError, ValueError):  # no tensor; each framework says so in its way
                shape = None
        if shape != ():
            found = repr(value) if shape is None else f"a tensor of shape {shape}"
            raise LossFailed(f"the loss {label} returns {found}", allowed="a tensor of shape (), made by ops", remedy=check_of(loss))
        return value

    def paint(self, weights: Weights, x: Tensor) -> dict[str, Tensor]:
        """The network's output under ``output`` and the taps that losses need; float32."""
        network, image = self.plan.network, {next(iter(self.plan.network.inputs)): self.ops.cast(x, self.precision)}
        values = network.apply(self.ops, weights, image, keep=self.needs.taps, native=self.native)
        named = {name: values[name] for name in self.needs.taps} | {"output": values[network.outputs[0]]}
        return {name: self.ops.cast(value, "float32") for name, value in named.items()}

    def encode(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Encoder features of an image in the network's range, float32, no deeper than the layers asked for."""
        return self._encode(x, layers, self.precision)

    def _encode(self, x: Tensor, layers: Sequence[str], precision: DType) -> dict[str, Tensor]:
        if not layers or self.plan.encoder is None:
            return {}
        network = self._pruned(self.plan.encoder, tuple(layers))
        image = {next(iter(network.inputs)): self.ops.cast(x, precision)}
        values = network.apply(self.ops, self._encoder_weights, image, keep=layers, native=self.native)
        return {layer: self.ops.cast(values[layer], "float32") for layer in layers}

    def _pruned(self, encoder: Network, layers: tuple[str, ...]) -> Network:
        if layers not in self._cut:
            self._cut[layers] = encoder.prune(layers)
        return self._cut[layers]

    def _check(self) -> None:
        network, encoder = self.plan.network, self.plan.encoder
        if encoder is None and (self.needs.encoder or self.needs.frame_encoder):
            raise EngineError("a loss compares encoder features, but there is no encoder")
        if encoder is not None and (encoder.low, encoder.high) != (network.low, network.high):
            raise EngineError(f"the model paints in [{network.low}, {network.high}], the encoder reads [{encoder.low}, {encoder.high}]")


@contextmanager
def _named(label: str, loss: Loss) -> Iterator[None]:
    """What a loss raises, as a :class:`LossFailed` that names it and its line."""
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        file = getattr(sys.modules.get(type(loss).__module__), "__file__", None)
        raise LossFailed(f"the loss {label} failed: {describe(error, file)}", remedy=check_of(loss)) from error


def check_of(loss: Loss) -> str:
    """What to do where a loss is at fault."""
    file = file_of(type(loss))
    words = ["engine", "plugins", "check", "loss", loss.name, *(("--plugin", str(file)) if file else ())]
    return f"`{shlex.join(words)}` says what is wrong with it and what to look for."


class PlanClip:
    """The :class:`engine.Clip` that a training step hands to the losses."""

    def __init__(self, objective: Objective, weights: Weights, tensors: BatchTensors) -> None:
        ops, plan = objective.ops, objective.plan
        self._objective, self._weights, self._tensors = objective, weights, tensors
        self._frames = from_uint8(ops, tensors.frames, plan.network.low, plan.network.high)
        self._chained: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        self._painted = objective.paint(weights, self._frames)
        self._encoded: dict[str, dict[str, Tensor]] = {}

    @property
    def times(self) -> tuple[int, ...]:
        return tuple(-k for k in range(self._tensors.times))

    def frame(self, t: int) -> Tensor:
        return self._at(self._frames, t)

    def output(self, t: int) -> Tensor:
        return self._at(self._painted["output"], t)

    def tap(self, name: str, t: int) -> Tensor:
        return self._at(self._painted[name], t)

    def encoded(self, what: Literal["output", "frame"], layer: str, t: int) -> Tensor:
        if what not in self._encoded:  # when first read: a loss may encode other images only
            self._encoded[what] = self._encode(what)
        return self._at(self._encoded[what][layer], t)

    def flow(self, t: int, to: int, size: tuple[int, int] | None = None) -> Tensor:
        flow, _ = self._motion(t, to)
        if size is None or size == self._size(flow):
            return flow
        ops, (height, width) = self._objective.ops, self._size(flow)
        scale = np.array([size[1] / width, size[0] / height], np.float32).reshape(1, 2, 1, 1)
        return ops.resize(flow, size, "bilinear") * ops.asarray(scale)

    def mask(self, t: int, to: int, size: tuple[int, int] | None = None) -> Tensor:
        _, mask = self._motion(t, to)
        return mask if size is None or size == self._size(mask) else self._objective.ops.resize(mask, size, "nearest")

    def paint(self, x: Tensor) -> Tensor:
        return self._objective.paint(self._weights, x)["output"]

    def encode(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        return self._objective.encode(x, layers)

    def _encode(self, what: Literal["output", "frame"]) -> dict[str, Tensor]:
        """All layers that losses need of it, for all frames at once."""
        objective, needs = self._objective, self._objective.needs
        if what == "output":
            return objective.encode(self._painted["output"], needs.encoder)
        return {k: objective.ops.stop_gradient(x) for k, x in objective.encode(self._frames, needs.frame_encoder).items()}

    def _at(self, x: Tensor, t: int) -> Tensor:
        count = self._tensors.times
        if not -count < t <= 0:
            raise EngineError(f"a loss asks for frame {t}", allowed=f"{1 - count} to 0")
        n = self._objective.ops.shape(x)[0] // count
        start = (count - 1 + t) * n
        return x[start : start + n]

    def _motion(self, t: int, to: int) -> tuple[Tensor, Tensor]:
        """Flow and mask between two frames."""
        flow, mask, count = self._tensors.flow, self._tensors.mask, self._tensors.times
        if flow is None or mask is None:
            raise EngineError("a loss reads flow or mask, and the dataset has none")
        if not -count < to < t <= 0:
            raise EngineError(f"a loss asks for the flow from frame {t} to {to}", allowed=f"to an older frame, both from {1 - count} to 0")
        if (t, to) not in self._chained:
            steps = [count - 2 + k for k in range(t, to, -1)]
            self._chained[t, to] = chain_flow(self._objective.ops, [flow[k] for k in steps], [mask[k] for k in steps])
        return self._chained[t, to]

    def _size(self, x: Tensor) -> tuple[int, int]:
        height, width = self._objective.ops.shape(x)[-2:]
        return height, width

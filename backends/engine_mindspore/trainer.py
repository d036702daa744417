"""A training run in MindSpore: the objective and its gradient, compiled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import SupportsFloat

from mindspore import Tensor

from engine import Batch, BatchTensors, DType, NativeLayers, Objective, Optimiser, TrainingPlan
from engine_mindspore.compiled import Compiled
from engine_mindspore.ops import MindSporeOps


class MindSporeTrainer(Optimiser):
    """See :class:`engine.Trainer`."""

    def __init__(self, ops: MindSporeOps, plan: TrainingPlan, precision: DType, native: NativeLayers) -> None:
        super().__init__(ops, plan, precision, compiled=Compiled)
        self._objective = Objective(ops, plan, precision, native)
        self._labels = tuple(plan.losses)
        self._forward = Compiled(self._losses)

    def step(self, batch: Batch) -> Mapping[str, SupportsFloat]:
        weights = tuple(self.tensors.values())
        (_, *values), gradients = self._forward.value_and_grad(len(weights), *weights, *self._inputs(batch, self.scale))
        self.update(gradients)
        return dict(zip((*self._labels, "total"), values, strict=True))

    def evaluate(self, batch: Batch) -> Mapping[str, SupportsFloat]:
        _, *values = self._forward(*self.tensors.values(), *self._inputs(batch, 1.0))
        return dict(zip((*self._labels, "total"), values, strict=True))

    def _inputs(self, batch: Batch, scale: float) -> list[Tensor]:
        """What :meth:`_losses` reads after the weights: tensors alone, because anything else would be compiled in."""
        tensors = BatchTensors.of(self._ops, batch)
        self._times = tensors.times
        motion = [] if tensors.flow is None else [tensors.flow, tensors.mask]
        return [self._ops.asarray(scale), tensors.frames, *motion]

    def _losses(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The scaled total, which is what is differentiated, the raw losses and the total."""
        weights = dict(zip(self.tensors, tensors, strict=False))
        scale, frames, *motion = tensors[len(weights) :]
        flow, mask = motion or (None, None)
        total, raw = self._objective(weights, BatchTensors(frames, flow, mask, self._times))
        return (total * scale, *(raw[label] for label in self._labels), total)

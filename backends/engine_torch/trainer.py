"""A training run in PyTorch: the objective and its gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import SupportsFloat

import torch

from engine import Batch, BatchTensors, DType, NativeLayers, Objective, Optimiser, TrainingPlan
from engine_torch.gradients import gradients
from engine_torch.ops import TorchOps


class TorchTrainer(Optimiser):
    """See :class:`engine.Trainer`."""

    def __init__(self, ops: TorchOps, plan: TrainingPlan, precision: DType, native: NativeLayers) -> None:
        super().__init__(ops, plan, precision)
        with torch.no_grad():
            self._objective = Objective(ops, plan, precision, native)

    def step(self, batch: Batch) -> Mapping[str, SupportsFloat]:
        weights = {name: x.requires_grad_() for name, x in self.tensors.items()}
        total, raw = self._objective(weights, BatchTensors.of(self._ops, batch))
        found = gradients(total * self.scale, list(weights.values()))
        with torch.no_grad():
            self.update(found)
        return {name: x.detach() for name, x in raw.items()} | {"total": total.detach()}

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Mapping[str, SupportsFloat]:
        total, raw = self._objective(self.tensors, BatchTensors.of(self._ops, batch))
        return raw | {"total": total}

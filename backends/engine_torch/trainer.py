"""A training run in PyTorch: the objective, its gradient, Adam."""

from __future__ import annotations

from collections.abc import Mapping
from typing import SupportsFloat

import numpy as np
import torch

from engine import Adam, Array, Batch, BatchTensors, DType, LossScale, NativeLayers, Objective, TrainingPlan, named_state
from engine_torch.ops import TorchOps


class TorchTrainer:
    """See :class:`engine.Trainer`."""

    def __init__(self, ops: TorchOps, plan: TrainingPlan, precision: DType, native: NativeLayers) -> None:
        self._ops = ops
        with torch.no_grad():
            self._objective = Objective(ops, plan, precision, native)
        self._adam = Adam(plan.learning_rate, plan.betas, plan.eps, plan.steps, plan.decay)
        self._scale = LossScale() if precision == "float16" else None
        self._steps = 0
        self._load(plan.weights)
        self._m = {name: torch.zeros_like(x) for name, x in self._weights.items()}
        self._v = {name: torch.zeros_like(x) for name, x in self._weights.items()}

    def step(self, batch: Batch) -> Mapping[str, SupportsFloat]:
        total, raw = self._objective(self._weights, BatchTensors.of(self._ops, batch))
        scale = self._scale.value if self._scale else 1.0
        gradients = torch.autograd.grad(total * scale, list(self._weights.values()), allow_unused=True, materialize_grads=True)
        finite = self._scale is None or all(bool(x.isfinite().all()) for x in gradients)
        if finite:
            self._update([x / scale for x in gradients] if self._scale else gradients)
        if self._scale:
            self._scale.after(finite)
        return {name: x.detach() for name, x in raw.items()} | {"total": total.detach()}

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Mapping[str, SupportsFloat]:
        total, raw = self._objective(self._weights, BatchTensors.of(self._ops, batch))
        return raw | {"total": total}

    def weights(self) -> dict[str, Array]:
        return {name: self._ops.to_numpy(x) for name, x in self._weights.items()}

    def state(self) -> dict[str, Array]:
        scale = [self._scale.value, self._scale.good_steps] if self._scale else [1.0, 0]
        moments = {name: self._ops.to_numpy(x) for name, x in named_state(self._m, self._v).items()}
        return moments | {"step": np.array(self._steps, np.int64), "loss_scale": np.array(scale, np.float32)}

    def restore(self, weights: Mapping[str, Array], state: Mapping[str, Array]) -> None:
        self._load(weights)
        self._m = {name: self._ops.asarray(state[f"adam.m.{name}"]) for name in self._weights}
        self._v = {name: self._ops.asarray(state[f"adam.v.{name}"]) for name in self._weights}
        self._steps = int(state["step"])
        if self._scale:
            self._scale = LossScale(float(state["loss_scale"][0]), int(state["loss_scale"][1]))

    def _load(self, weights: Mapping[str, Array]) -> None:
        self._weights = {name: self._ops.asarray(x).requires_grad_() for name, x in weights.items()}

    @torch.no_grad()
    def _update(self, gradients: list[torch.Tensor] | tuple[torch.Tensor, ...]) -> None:
        self._steps += 1
        size, root = self._adam.factors(self._steps)
        for (name, weight), gradient in zip(self._weights.items(), gradients, strict=True):
            new, m, v = self._adam.update(self._ops, weight, gradient, self._m[name], self._v[name], size, root)
            self._weights[name], self._m[name], self._v[name] = new.requires_grad_(), m, v

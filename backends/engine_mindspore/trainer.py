"""A training run in MindSpore: the objective, its gradient, Adam."""

from __future__ import annotations

from collections.abc import Mapping
from typing import SupportsFloat

import numpy as np
from mindspore import Tensor

from engine import Adam, Array, Batch, BatchTensors, DType, LossScale, NativeLayers, Objective, TrainingPlan, named_state
from engine_mindspore.compiled import Compiled
from engine_mindspore.ops import MindSporeOps


class MindSporeTrainer:
    """See :class:`engine.Trainer`."""

    def __init__(self, ops: MindSporeOps, plan: TrainingPlan, precision: DType, native: NativeLayers) -> None:
        self._ops = ops
        self._objective = Objective(ops, plan, precision, native)
        self._labels = tuple(plan.losses)
        self._adam = Adam(plan.learning_rate, plan.betas, plan.eps, plan.steps, plan.decay)
        self._scale = LossScale() if precision == "float16" else None
        self._steps = 0
        self._weights: dict[str, Tensor]
        self._load(plan.weights)
        self._m = {name: ops.zeros_like(x) for name, x in self._weights.items()}
        self._v = {name: ops.zeros_like(x) for name, x in self._weights.items()}
        self._forward, self._update = Compiled(self._losses), Compiled(self._updated)

    def step(self, batch: Batch) -> Mapping[str, SupportsFloat]:
        ops, names, scale = self._ops, tuple(self._weights), self._scale.value if self._scale else 1.0
        (_, *values), gradients = self._forward.value_and_grad(len(names), *self._weights.values(), *self._inputs(batch, scale))
        finite = self._scale is None or all(bool(ops.isfinite(x).all()) for x in gradients)
        if finite:
            self._steps += 1
            size, root = self._adam.factors(self._steps)
            state = (*self._weights.values(), *gradients, *self._m.values(), *self._v.values())
            new = self._update(*(ops.asarray(x) for x in (size, root, 1 / scale)), *state)
            parts = (new[k : k + len(names)] for k in range(0, len(new), len(names)))
            self._weights, self._m, self._v = (dict(zip(names, part, strict=True)) for part in parts)
        if self._scale:
            self._scale.after(finite)
        return dict(zip((*self._labels, "total"), values, strict=True))

    def evaluate(self, batch: Batch) -> Mapping[str, SupportsFloat]:
        _, *values = self._forward(*self._weights.values(), *self._inputs(batch, 1.0))
        return dict(zip((*self._labels, "total"), values, strict=True))

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
        self._weights = {name: self._ops.asarray(x) for name, x in weights.items()}

    def _inputs(self, batch: Batch, scale: float) -> list[Tensor]:
        """What :meth:`_losses` reads after the weights: tensors alone, because anything else would be compiled in."""
        tensors = BatchTensors.of(self._ops, batch)
        self._times = tensors.times
        motion = [] if tensors.flow is None else [tensors.flow, tensors.mask]
        return [self._ops.asarray(scale), tensors.frames, *motion]

    def _losses(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The scaled total, which is what is differentiated, the raw losses and the total."""
        weights = dict(zip(self._weights, tensors, strict=False))
        scale, frames, *motion = tensors[len(weights) :]
        flow, mask = motion or (None, None)
        total, raw = self._objective(weights, BatchTensors(frames, flow, mask, self._times))
        return (total * scale, *(raw[label] for label in self._labels), total)

    def _updated(self, size: Tensor, root: Tensor, factor: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """New weights, then both moments, of weights, gradients and moments one after another."""
        count = len(state) // 4
        parts = zip(*(state[k * count : (k + 1) * count] for k in range(4)), strict=True)
        new = [self._adam.update(self._ops, weight, gradient * factor, m, v, size, root) for weight, gradient, m, v in parts]
        return tuple(x for part in zip(*new, strict=True) for x in part)

"""Adam (Kingma and Ba 2015) over ``ops``, one for all backends, the scaling of a float16 loss, and what a run keeps of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from engine.contracts.backend import TrainingPlan
from engine.ops import Array, DType, Ops, Tensor

Flat: TypeAlias = Callable[..., tuple[Tensor, ...]]
"""A function that takes and gives tensors one after another, as compilers want it."""


@dataclass(frozen=True)
class Adam:
    """As torch computes it: bias-corrected moments, ``eps`` added outside the root."""

    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    steps: int = 0
    """Updates of the whole run; only ``decay`` needs it."""
    decay: float = 0.0
    """Over this last share of the run the learning rate falls linearly to zero."""

    def rate(self, step: int) -> float:
        """The learning rate of update number ``step``, counted from 1."""
        falling = self.steps * self.decay
        left = self.steps - step + 1
        return self.learning_rate * min(1.0, max(left, 0) / falling) if falling else self.learning_rate

    def factors(self, step: int) -> tuple[float, float]:
        """(step size, root of the second moment's correction) for update number ``step``, counted from 1."""
        return self.rate(step) / (1 - self.betas[0] ** step), math.sqrt(1 - self.betas[1] ** step)

    def update(
        self, ops: Ops, weight: Tensor, gradient: Tensor, m: Tensor, v: Tensor, size: Tensor | float, root: Tensor | float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """New weight and moments; ``size`` and ``root`` come from :meth:`factors`, as tensors where a step is compiled."""
        m = m + (gradient - m) * (1 - self.betas[0])
        v = v * self.betas[1] + ops.square(gradient) * (1 - self.betas[1])
        return weight - m / (ops.sqrt(v) / root + self.eps) * size, m, v


@dataclass
class LossScale:
    """Keeps float16 gradients inside their range: halve where one overflows, double after a while without."""

    value: float = 1.0
    good_steps: int = 0
    patience: int = 200

    def after(self, finite: bool) -> None:
        """Learn from one step; a step whose gradients were not finite must not be applied."""
        if not finite:
            self.value, self.good_steps = self.value / 2, 0
            return
        self.good_steps += 1
        if self.good_steps == self.patience:
            self.value, self.good_steps = self.value * 2, 0


def named_state(m: Mapping[str, Tensor], v: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The flat names under which every backend keeps Adam's moments."""
    return {f"adam.m.{name}": x for name, x in m.items()} | {f"adam.v.{name}": x for name, x in v.items()}


class Optimiser:
    """A trainer but for differentiation: the weights of a run, Adam at work on them, and what it remembers.

    A backend's :class:`engine.Trainer` derives from it and adds ``step``, which differentiates the total times ``scale`` by
    ``tensors`` and hands the gradients to :meth:`update`, and ``evaluate``.
    """

    def __init__(self, ops: Ops, plan: TrainingPlan, precision: DType, compiled: Callable[[Flat], Flat] | None = None) -> None:
        """Start from the plan's weights.

        Args:
            ops: The backend's operators.
            plan: What is trained, and how fast.
            precision: What the network computes in; in ``float16`` the loss is scaled.
            compiled: Makes a compiled function of one of tensors alone; without, an update runs operator by operator.
        """
        self._ops = ops
        self._adam = Adam(plan.learning_rate, plan.betas, plan.eps, plan.steps, plan.decay)
        self._loss_scale = LossScale() if precision == "float16" else None
        self._updated = compiled(self._plain_update) if compiled else self._plain_update
        self._number = ops.asarray if compiled else float  # what is no tensor would be compiled in
        self._steps = 0
        self.tensors = {name: ops.asarray(x) for name, x in plan.weights.items()}
        """The weights on the device, float32, by name; new ones after every update."""
        self._m = {name: ops.zeros_like(x) for name, x in self.tensors.items()}
        self._v = {name: ops.zeros_like(x) for name, x in self.tensors.items()}

    @property
    def scale(self) -> float:
        """What the total is multiplied by before it is differentiated; 1 but in float16."""
        return self._loss_scale.value if self._loss_scale else 1.0

    def update(self, gradients: Sequence[Tensor]) -> None:
        """One update from the gradients of the scaled total, in the order of ``tensors``.

        In float16 gradients that are not all finite change nothing but the scale.
        """
        finite = self._loss_scale is None or self._are_finite(gradients)
        if finite:
            self._steps += 1
            numbers = (self._number(x) for x in (*self._adam.factors(self._steps), 1 / self.scale))
            new = self._updated(*numbers, *self.tensors.values(), *gradients, *self._m.values(), *self._v.values())
            names = tuple(self.tensors)
            parts = (new[k : k + len(names)] for k in range(0, len(new), len(names)))
            self.tensors, self._m, self._v = (dict(zip(names, part, strict=True)) for part in parts)
        if self._loss_scale:
            self._loss_scale.after(finite)

    def weights(self) -> dict[str, Array]:
        """See :meth:`engine.Trainer.weights`."""
        return {name: self._ops.to_numpy(x) for name, x in self.tensors.items()}

    def state(self) -> dict[str, Array]:
        """See :meth:`engine.Trainer.state`."""
        scale = [self._loss_scale.value, self._loss_scale.good_steps] if self._loss_scale else [1.0, 0]
        moments = {name: self._ops.to_numpy(x) for name, x in named_state(self._m, self._v).items()}
        return moments | {"step": np.array(self._steps, np.int64), "loss_scale": np.array(scale, np.float32)}

    def restore(self, weights: Mapping[str, Array], state: Mapping[str, Array]) -> None:
        """See :meth:`engine.Trainer.restore`; they may come from another backend."""
        self.tensors = {name: self._ops.asarray(x) for name, x in weights.items()}
        self._m = {name: self._ops.asarray(state[f"adam.m.{name}"]) for name in self.tensors}
        self._v = {name: self._ops.asarray(state[f"adam.v.{name}"]) for name in self.tensors}
        self._steps = int(state["step"])
        if self._loss_scale:
            self._loss_scale = LossScale(float(state["loss_scale"][0]), int(state["loss_scale"][1]))

    def _are_finite(self, gradients: Sequence[Tensor]) -> bool:
        ops = self._ops
        return not any(float(ops.sum(1 - ops.cast(ops.isfinite(x), "float32"))) for x in gradients)

    def _plain_update(self, size: Tensor | float, root: Tensor | float, factor: Tensor | float, *state: Tensor) -> tuple[Tensor, ...]:
        """New weights, then both moments, of weights, gradients and moments one after another; gradients times ``factor``."""
        count = len(state) // 4
        parts = zip(*(state[k * count : (k + 1) * count] for k in range(4)), strict=True)
        new = [self._adam.update(self._ops, weight, gradient * factor, m, v, size, root) for weight, gradient, m, v in parts]
        return tuple(x for part in zip(*new, strict=True) for x in part)

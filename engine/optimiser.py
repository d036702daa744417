"""Adam (Kingma and Ba 2015) over ``ops``, one for all backends, and the scaling of a float16 loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from engine.ops import Ops, Tensor


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

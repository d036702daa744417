"""A training run in JAX: objective, gradient and Adam compiled as one function."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple, SupportsFloat

import jax
import numpy as np

from engine import Adam, Array, Batch, BatchTensors, DType, Objective, TrainingPlan
from engine_jax.ops import JaxOps


class Learned(NamedTuple):
    """What an update changes, by the weights' names: a tree that JAX knows how to pass."""

    weights: dict[str, jax.Array]
    m: dict[str, jax.Array]
    v: dict[str, jax.Array]


class JaxTrainer:
    """See :class:`engine.Trainer`."""

    def __init__(self, ops: JaxOps, plan: TrainingPlan, precision: DType) -> None:
        self._ops = ops
        self._adam = Adam(plan.learning_rate, plan.betas, plan.eps, plan.steps, plan.decay)
        self._objective = Objective(ops, plan, precision, {})
        self._steps = 0
        weights = {name: ops.asarray(x) for name, x in plan.weights.items()}
        m, v = ({name: ops.asarray(np.zeros(x.shape)) for name, x in plan.weights.items()} for _ in range(2))
        self._learned = Learned(weights, m, v)
        self._updated = jax.jit(self._update, static_argnames="times", donate_argnums=0)
        self._evaluated = jax.jit(self._losses, static_argnames="times")

    def step(self, batch: Batch) -> Mapping[str, SupportsFloat]:
        self._steps += 1
        size, root = (self._ops.asarray(x) for x in self._adam.factors(self._steps))
        tensors, times = self._tensors(batch)
        self._learned, values = self._updated(self._learned, size, root, tensors, times=times)
        return dict(values)

    def evaluate(self, batch: Batch) -> Mapping[str, SupportsFloat]:
        tensors, times = self._tensors(batch)
        return dict(self._evaluated(self._learned.weights, tensors, times=times)[1])

    def weights(self) -> dict[str, Array]:
        return self._arrays(self._learned.weights)

    def state(self) -> dict[str, Array]:
        moments = {f"adam.m.{name}": x for name, x in self._learned.m.items()} | {
            f"adam.v.{name}": x for name, x in self._learned.v.items()
        }
        numbers: dict[str, Array] = {"step": np.array(self._steps, np.int64), "loss_scale": np.array([1.0, 0], np.float32)}
        return self._arrays(moments) | numbers

    def restore(self, weights: Mapping[str, Array], state: Mapping[str, Array]) -> None:
        parts = (weights, *({name: state[f"adam.{moment}.{name}"] for name in weights} for moment in "mv"))
        self._learned = Learned(*({name: self._ops.asarray(x) for name, x in part.items()} for part in parts))
        self._steps = int(state["step"])

    def _arrays(self, tensors: Mapping[str, jax.Array]) -> dict[str, Array]:
        return {name: self._ops.to_numpy(x) for name, x in tensors.items()}

    def _tensors(self, batch: Batch) -> tuple[tuple[jax.Array | None, ...], int]:
        """What a compiled function reads of a batch, and the frames of a clip, which are compiled in."""
        tensors = BatchTensors.of(self._ops, batch)
        return (tensors.frames, tensors.flow, tensors.mask), tensors.times

    def _losses(
        self, weights: dict[str, jax.Array], tensors: tuple[jax.Array, jax.Array | None, jax.Array | None], *, times: int
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        total, raw = self._objective(weights, BatchTensors(*tensors, times))
        return total, raw | {"total": total}

    def _update(
        self,
        learned: Learned,
        size: jax.Array,
        root: jax.Array,
        tensors: tuple[jax.Array, jax.Array | None, jax.Array | None],
        *,
        times: int,
    ) -> tuple[Learned, dict[str, jax.Array]]:
        differentiated = jax.value_and_grad(partial(self._losses, times=times), has_aux=True)
        (_, values), gradients = differentiated(learned.weights, tensors)
        new: Learned = Learned({}, {}, {})
        for name, weight in learned.weights.items():
            found = self._adam.update(self._ops, weight, gradients[name], learned.m[name], learned.v[name], size, root)
            new.weights[name], new.m[name], new.v[name] = found
        return new, values

"""A training run in JAX: objective, gradient and Adam compiled as one function."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any, NamedTuple, SupportsFloat

import jax
import numpy as np

from engine import Adam, Array, Batch, BatchTensors, DType, Objective, TrainingPlan
from engine_jax.compiling import compiled
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
        self._compiled: dict[Hashable, Callable[..., Any]] = {}

    def step(self, batch: Batch) -> Mapping[str, SupportsFloat]:
        self._steps += 1
        size, root = (self._ops.asarray(x) for x in self._adam.factors(self._steps))
        self._learned, values = self._run(self._update, batch, self._learned, size, root, donate=(0,))
        return dict(values)

    def evaluate(self, batch: Batch) -> Mapping[str, SupportsFloat]:
        return dict(self._run(self._losses, batch, self._learned.weights)[1])

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

    def _run(self, function: Callable[..., Any], batch: Batch, *arguments: Any, donate: tuple[int, ...] = ()) -> Any:
        """``function(frames of a clip, *arguments, *the batch)``, compiled once for each shape of batch."""
        tensors = BatchTensors.of(self._ops, batch)
        given = (tensors.frames, tensors.flow, tensors.mask)
        key = (function.__name__, tensors.times, *(x if x is None else x.shape for x in given))
        if key not in self._compiled:
            self._compiled[key] = compiled(partial(function, tensors.times), *arguments, *given, donate=donate)
        return self._compiled[key](*arguments, *given)

    def _losses(
        self, times: int, weights: dict[str, jax.Array], frames: jax.Array, flow: jax.Array | None, mask: jax.Array | None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        total, raw = self._objective(weights, BatchTensors(frames, flow, mask, times))
        return total, raw | {"total": total}

    def _update(
        self,
        times: int,
        learned: Learned,
        size: jax.Array,
        root: jax.Array,
        frames: jax.Array,
        flow: jax.Array | None,
        mask: jax.Array | None,
    ) -> tuple[Learned, dict[str, jax.Array]]:
        differentiated = jax.value_and_grad(partial(self._losses, times), has_aux=True)
        (_, values), gradients = differentiated(learned.weights, frames, flow, mask)
        new: Learned = Learned({}, {}, {})
        for name, weight in learned.weights.items():
            found = self._adam.update(self._ops, weight, gradients[name], learned.m[name], learned.v[name], size, root)
            new.weights[name], new.m[name], new.v[name] = found
        return new, values

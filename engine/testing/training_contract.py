"""The part of :class:`engine.testing.BackendContract` that trains: a step against the oracle's, and a run that is restored."""

from __future__ import annotations

import numpy as np
import pytest

from engine.contracts.backend import Backend, Trainer
from engine.errors import EngineError
from engine.ops import Array, Ops, Tensor
from engine.optimiser import Adam
from engine.testing.cases import draw
from engine.testing.contract import Contract
from engine.testing.gradients import directions, slopes
from engine.testing.operator_contract import near
from engine.testing.oracle import OracleOps
from engine.testing.small_training import STATISTICS, reference_steps, small_batch, small_plan


class TrainingChecks(Contract):
    """The trainer, on a network and three losses that the oracle trains too; a backend that only paints has to say so."""

    def test_only_painting_is_said(self, backend: Backend) -> None:
        """A backend with ``trains = False`` refuses both, with an :class:`engine.EngineError`; another one has both."""
        if backend.trains:
            missing = [name for name in ("gradient", "trainer") if getattr(type(backend), name) is getattr(Backend, name)]
            assert not missing, f"it says that it trains, but has no {' and no '.join(missing)}; set trains = False"
            return
        for call in (lambda: backend.gradient(lambda x: x, np.zeros(1, np.float32)), lambda: backend.trainer(small_plan())):
            with pytest.raises(EngineError, match="only paints"):
                call()

    def test_a_constant_has_no_gradient(self, trained: Backend) -> None:
        """Zeros in the shape of each input, where the function reads none of them."""
        value, (gradient,) = trained.gradient(lambda x: trained.ops.sum(trained.ops.stop_gradient(x)), np.ones((2, 3), np.float32))
        assert value == 6, f"gradient() gives the value {value}, not 6"
        assert np.array_equal(gradient, np.zeros((2, 3))), f"the gradient of a constant is {gradient}"

    def test_a_gradient_past_constants(self, trained: Backend) -> None:
        """Of a function that closes over tensors, as a loss does over what it has prepared: within 1e-3 of the oracle's slopes."""
        shapes = {"kernel": (4, 3, 3, 3), "bias": (4,), "style": (1, 3, 20, 20)}

        def far_from_style(ops: Ops, x: Tensor) -> Tensor:
            kernel, bias, style = (ops.asarray(draw(f"a constant {name}", shape)) for name, shape in shapes.items())
            ours, wanted = (_correlations(ops, ops.relu(ops.conv2d(image, kernel, bias, padding=1))) for image in (x, style))
            return ops.mean(ops.square(ours - wanted))

        picture, oracle = draw("a picture past constants", (2, 3, 16, 24)), OracleOps()
        _, (gradient,) = trained.gradient(lambda x: far_from_style(trained.ops, x), picture)
        lines = directions(picture, 4)
        (wanted,) = slopes(lambda x: float(far_from_style(oracle, x)), [picture], [lines])
        found = np.array([float((gradient * line).sum(dtype=np.float64)) for line in lines])
        assert np.abs(found - wanted).max() <= 1e-3 * np.abs(wanted).max(), (
            f"the gradient along four directions is {found}, and {wanted} by differences of the float64 oracle; "
            "is what the function closes over treated as a variable, or folded wrongly by a compiler?"
        )

    def test_one_step_moves_every_weight(self, trainer: Trainer) -> None:
        """And leaves a batch norm's statistics as they are; weights are float32, in the plan's names and shapes."""
        plan = small_plan()
        losses = {label: float(x) for label, x in trainer.step(small_batch(0)).items()}
        assert set(losses) == {*plan.losses, "total"}, f"step() gives {sorted(losses)}, not {sorted({*plan.losses, 'total'})}"
        weights = trainer.weights()
        assert {name: x.shape for name, x in weights.items()} == {name: x.shape for name, x in plan.weights.items()}
        assert {str(x.dtype) for x in weights.values()} == {"float32"}, "weights() are float32"
        still = [name for name, x in weights.items() if np.array_equal(x, plan.weights[name]) and name not in STATISTICS]
        assert not still, f"a step left these weights as they were: {', '.join(still)}"
        moved = [name for name in STATISTICS if not np.array_equal(weights[name], plan.weights[name])]
        assert not moved, f"a step changed statistics, which are no parameters: {', '.join(moved)}"

    def test_every_step_is_the_oracles(self, trainer: Trainer) -> None:
        """From its weights and state: losses within 1e-4, gradients within 1e-3 of their norm, and the update is Adam's to 1e-5.

        The gradient is found again in Adam's first moment. The second step starts from moments, at half the learning rate.
        """
        plan, ops = small_plan(), OracleOps()
        adam = Adam(plan.learning_rate, plan.betas, plan.eps, plan.steps, plan.decay)
        for number, step in enumerate(reference_steps(), 1):
            trainer.restore(step.weights, step.state)
            values = trainer.step(step.batch)
            for label, wanted in step.losses.items():
                assert float(values[label]) == pytest.approx(wanted, rel=1e-4), f"step {number}: the loss {label}"
            weights, state = trainer.weights(), trainer.state()
            assert int(state["step"]) == number, f"after step {number} the state's step is {state['step']}"
            for name, expected in step.gradients.items():
                old = [np.float64(x) for x in (step.weights[name], step.state[f"adam.m.{name}"], step.state[f"adam.v.{name}"])]
                gradient = (state[f"adam.m.{name}"] - plan.betas[0] * old[1]) / (1 - plan.betas[0])
                error, norm = float(np.linalg.norm(gradient - expected)), float(np.linalg.norm(expected))
                assert error <= 1e-3 * norm, f"step {number}: the gradient by {name} is off by {error:.1e}, its norm is {norm:.1e}"
                new = adam.update(ops, old[0], gradient, old[1], old[2], *adam.factors(number))
                for what, x, wanted in zip(("weight", "m", "v"), (weights[name], *_moments(state, name)), new, strict=True):
                    near(x, wanted, 1e-5, f"step {number}: Adam's {what} of {name}")

    def test_evaluating_learns_nothing(self, trainer: Trainer) -> None:
        """``evaluate`` gives the losses that a step then starts from, and changes neither weights nor state."""
        weights, state = trainer.weights(), trainer.state()
        before = {label: float(x) for label, x in trainer.evaluate(small_batch(0)).items()}
        assert before == pytest.approx(reference_steps()[0].losses, rel=1e-4)
        assert not (changed := _different({**weights, **state}, {**trainer.weights(), **trainer.state()})), f"it changed {changed}"

    def test_training_lowers_the_loss(self, trainer: Trainer) -> None:
        """One step on one batch, as ``evaluate`` sees it."""
        trainer.step(small_batch(0))
        after, before = float(trainer.evaluate(small_batch(0))["total"]), reference_steps()[0].losses["total"]
        assert after < before, f"the total went from {before} to {after}"

    def test_state_is_flat_and_named(self, trained: Backend) -> None:
        """``adam.m.<weight>``, ``adam.v.<weight>`` as float32, ``step``, ``loss_scale``: what every backend can go on from."""
        plan, trainer = small_plan(), trained.trainer(small_plan())
        state = trainer.state()
        wanted = {f"adam.{moment}.{name}" for moment in "mv" for name in plan.weights} | {"step", "loss_scale"}
        assert not (missing := wanted - set(state)), f"state() lacks {', '.join(sorted(missing))}"
        assert not (more := set(state) - wanted), f"state() has more than every backend knows: {', '.join(sorted(more))}"
        arrays = [key for key, x in state.items() if not isinstance(x, np.ndarray | np.generic)]
        assert not arrays, f"these are no NumPy arrays: {', '.join(arrays)}"
        for name, x in plan.weights.items():
            for moment in _moments(state, name):
                assert moment.dtype == np.float32, f"a moment of {name} is {moment.dtype}, not float32"
                assert moment.shape == x.shape, f"a moment of {name} has shape {moment.shape}, not {x.shape}"
        assert int(state["step"]) == 0, f"the step of a new run is {state['step']}"
        assert state["loss_scale"].shape == (2,), f"loss_scale has shape {state['loss_scale'].shape}, not (2,)"

    def test_what_is_restored_goes_on_exactly(self, trained: Backend, trainer: Trainer) -> None:
        """A new trainer, from the weights and the state after a step, takes the next two bit for bit as the first one does."""
        first, second = trainer, trained.trainer(small_plan())
        first.step(small_batch(0))
        weights, state = first.weights(), first.state()
        kept = {key: np.array(x) for key, x in {**weights, **state}.items()}
        second.restore(weights, state)
        for number in (1, 0):
            one, other = ({label: float(x) for label, x in trainer.step(small_batch(number)).items()} for trainer in (first, second))
            assert one == other, f"the losses are {one}, of what was restored {other}"
        assert not (found := _different(_all(first), _all(second))), f"not the same after two more steps: {found}"
        assert not (shared := _different(kept, {**weights, **state})), f"weights() or state() are no copies: steps changed {shared}"


def _moments(state: dict[str, Array], name: str) -> tuple[Array, Array]:
    return state[f"adam.m.{name}"], state[f"adam.v.{name}"]


def _all(trainer: Trainer) -> dict[str, Array]:
    return {**trainer.weights(), **trainer.state()}


def _different(one: dict[str, Array], other: dict[str, Array]) -> str:
    """The names of what is not bit for bit the same."""
    return ", ".join(
        sorted(key for key in one.keys() | other.keys() if key not in one or key not in other or not np.array_equal(one[key], other[key]))
    )


def _correlations(ops: Ops, features: Tensor) -> Tensor:
    """F F^T / (C H W): (n, c, h, w) -> (n, c, c)."""
    n, c, h, w = ops.shape(features)
    flat = ops.reshape(features, (n, c, h * w)) * (c * h * w) ** -0.5
    return ops.matmul(flat, ops.permute_dims(flat, (0, 2, 1)))

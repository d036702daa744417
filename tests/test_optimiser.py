"""Adam over ops equals torch's own, on every backend's operators and on the oracle, and what a run keeps of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from installed import TRAINING, backend

from engine import Adam, Array, Conv2d, DType, LossScale, Network, Ops, Optimiser, TrainingPlan, chain
from engine.testing import OracleOps, draw

PLACES = pytest.mark.parametrize("place", ["oracle", *TRAINING])


def operators(place: str) -> Ops:
    return OracleOps() if place == "oracle" else backend(place).ops


@PLACES
def test_adam_is_torchs_adam(place: str) -> None:
    ops = operators(place)
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(5, 3)), rng.normal(size=(20, 5, 3)) * 10.0 ** rng.integers(-6, 3, (20, 1, 1))
    theirs = torch.nn.Parameter(torch.tensor(start))  # float64
    optimiser = torch.optim.Adam([theirs], lr=3e-3, betas=(0.8, 0.95), eps=1e-6)
    adam = Adam(3e-3, (0.8, 0.95), 1e-6)
    ours, m, v = (ops.asarray(x) for x in (start, np.zeros_like(start), np.zeros_like(start)))
    for step, gradient in enumerate(gradients, start=1):
        theirs.grad = torch.tensor(gradient)
        optimiser.step()
        ours, m, v = adam.update(ops, ours, ops.asarray(gradient), m, v, *adam.factors(step))
    tolerance = 1e-12 if place == "oracle" else 2e-6
    np.testing.assert_allclose(ops.to_numpy(ours), theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_the_learning_rate_falls_linearly_over_the_last_share() -> None:
    adam = Adam(2.0, steps=10, decay=0.4)
    assert [adam.rate(step) for step in (1, 6, 7, 8, 9, 10)] == [2.0, 2.0, 2.0, 1.5, 1.0, 0.5]
    assert Adam(2.0, steps=10).rate(10) == 2.0


def test_the_loss_scale_halves_on_overflow_and_doubles_after_patience() -> None:
    scale = LossScale(8.0, patience=3)
    scale.after(finite=False)
    assert scale.value == 4.0
    for _ in range(3):
        scale.after(finite=True)
    assert (scale.value, scale.good_steps) == (8.0, 0)


NETWORK = Network({"x": 2}, chain("x", {"one": Conv2d(out_channels=3), "two": Conv2d(out_channels=1)}), ("two",))
PLAN = TrainingPlan(NETWORK, NETWORK.initial_weights(0), {}, None, {}, np.zeros((4, 4, 3), np.uint8), 1e-2, steps=8, decay=0.5)


def make(place: str, precision: DType) -> Optimiser:
    """As the backend's trainer makes it: MindSpore compiles an update."""
    if place != "mindspore":
        return Optimiser(operators(place), PLAN, precision)
    from engine_mindspore.compiled import Compiled

    return Optimiser(operators(place), PLAN, precision, compiled=Compiled)


def gradients(step: int) -> dict[str, Array]:
    return {name: draw(f"{name} {step}", x.shape) for name, x in PLAN.weights.items()}


def learn(optimiser: Optimiser, ops: Ops, step: int) -> None:
    optimiser.update([ops.asarray(x * optimiser.scale) for x in gradients(step).values()])


def same(one: dict[str, Array], two: dict[str, Array]) -> bool:
    return one.keys() == two.keys() and all(one[name].tobytes() == two[name].tobytes() for name in one)


@PLACES
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_an_update_is_adams_for_each_weight(place: str, precision: DType) -> None:
    ops, oracle = operators(place), OracleOps()
    optimiser = make(place, precision)
    state = optimiser.state() | {"loss_scale": np.float32([1024, 3])}
    optimiser.restore(optimiser.weights(), state)
    assert optimiser.scale == (1024 if precision == "float16" else 1)
    for step in (1, 2, 3, 4, 5):
        learn(optimiser, ops, step)
    adam = Adam(1e-2, steps=8, decay=0.5)
    for name, weight in PLAN.weights.items():
        x, m, v = weight.astype(np.float64), np.zeros(weight.shape), np.zeros(weight.shape)
        for step in (1, 2, 3, 4, 5):
            x, m, v = adam.update(oracle, x, gradients(step)[name], m, v, *adam.factors(step))
        np.testing.assert_allclose(optimiser.weights()[name], x, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(optimiser.state()[f"adam.m.{name}"], m, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(optimiser.state()[f"adam.v.{name}"], v, rtol=1e-5, atol=1e-6)
    assert optimiser.state()["step"] == 5
    assert optimiser.state()["loss_scale"].tolist() == ([1024, 8] if precision == "float16" else [1, 0])


@PLACES
@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_float16_gradients_that_are_not_finite_change_the_scale_alone(place: str, wrong: float) -> None:
    ops = operators(place)
    optimiser = make(place, "float16")
    learn(optimiser, ops, 1)
    weights, state = optimiser.weights(), optimiser.state()
    bad = gradients(2)
    bad["two.weight"][0, 1, 2, 0] = wrong
    optimiser.update([ops.asarray(x) for x in bad.values()])
    assert same(optimiser.weights(), weights)
    assert optimiser.scale == 0.5
    assert same(optimiser.state(), state | {"loss_scale": np.float32([0.5, 0])})


@PLACES
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_what_is_restored_goes_on_exactly(place: str, precision: DType) -> None:
    ops = operators(place)
    whole, part = make(place, precision), make(place, precision)
    for step in (1, 2, 3):
        learn(whole, ops, step)
    weights, state = whole.weights(), whole.state()
    part.restore(weights, state)
    for step in (4, 5):
        learn(whole, ops, step)
        learn(part, ops, step)
    assert same(part.weights(), whole.weights())
    assert same(part.state(), whole.state())
    assert not same(part.weights(), weights)

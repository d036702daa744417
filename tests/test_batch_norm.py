"""Batch norm of stored statistics: what it computes, and that training leaves the statistics alone."""

from __future__ import annotations

import numpy as np
import pytest
from installed import HOST, TRAINING, backend

from engine import Array, Batch, BatchNorm2d, Conv2d, Network, Tanh, TrainingPlan, chain
from engine.testing import OracleOps, draw


def network() -> Network:
    layers = {"conv": Conv2d(out_channels=4, padding=1), "norm": BatchNorm2d(), "out": Conv2d(out_channels=3, kernel=1), "tanh": Tanh()}
    return Network({"image": 3}, chain("image", layers), ("tanh",))


def weights() -> dict[str, Array]:
    shapes = network().weight_shapes()
    drawn = {name: draw(name, shape) for name, shape in shapes.items()}
    return drawn | {"norm.running_var": np.abs(drawn["norm.running_var"]) + 0.5}


def test_by_hand() -> None:
    x = np.array([[1.0, 3], [5, 7]])[None, None]
    given = {"weight": [2.0], "bias": [1.0], "running_mean": [3.0], "running_var": [12.0]}
    found = BatchNorm2d(eps=4).apply(OracleOps(), {key: np.array(value) for key, value in given.items()}, x)
    np.testing.assert_allclose(found[0, 0], np.array([[-2.0, 0], [2, 4]]) / 4 * 2 + 1)  # sqrt(12 + 4) = 4


def test_a_mean_that_is_large_beside_the_differences() -> None:
    given = {"weight": [1.0], "bias": [0.0], "running_mean": [200.0], "running_var": [1.0]}
    x = np.array([199.0, 200, 202], np.float32).reshape(1, 1, 1, 3)
    for name in TRAINING:
        ops = backend(name).ops
        tensors = {key: ops.asarray(np.array(value)) for key, value in given.items()}
        found = ops.to_numpy(BatchNorm2d().apply(ops, tensors, ops.asarray(x, "bfloat16")))  # 199, 200 and 202 are exact in it
        np.testing.assert_allclose(found.ravel(), [-1, 0, 2], atol=1e-2)


def test_it_begins_as_the_identity() -> None:
    initial = {key: np.float64(x) for key, x in BatchNorm2d(eps=1e-12).initial(np.random.default_rng(0), 5).items()}
    x = np.float64(draw("images", (2, 5, 3, 4)))
    np.testing.assert_allclose(BatchNorm2d(eps=1e-12).apply(OracleOps(), initial, x), x, atol=1e-9)


def test_statistics_are_no_parameters() -> None:
    assert network().parameters() == 3 * 4 * 9 + 4 + 2 * 4 + 4 * 3 + 3
    assert {"norm.running_mean", "norm.running_var"} < set(network().weight_shapes())


@pytest.mark.parametrize("name", TRAINING)
def test_training_moves_everything_but_the_statistics(name: str) -> None:
    rng = np.random.default_rng(0)
    losses = {"total_variation": HOST.make_loss("total_variation", {})}
    plan = TrainingPlan(network(), weights(), losses, None, {}, rng.integers(0, 256, (8, 8, 3), np.uint8), 1e-2)
    trainer = backend(name).trainer(plan)
    for _ in range(2):
        trainer.step(Batch(rng.integers(0, 256, (2, 1, 8, 8, 3), np.uint8)))
    moved = {key for key, x in trainer.weights().items() if not np.array_equal(x, plan.weights[key])}
    assert moved == set(plan.weights) - {"norm.running_mean", "norm.running_var"}

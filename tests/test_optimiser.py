"""Adam over ops equals torch's own, on every backend's operators and on the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine import Adam, LossScale
from engine.plugins import load_plugins
from engine.testing import OracleOps


@pytest.mark.parametrize("backend", ["oracle", "torch"])
def test_adam_is_torchs_adam(backend: str) -> None:
    ops = OracleOps() if backend == "oracle" else load_plugins().make_backend(backend, device="cpu").ops
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
    tolerance = 1e-12 if backend == "oracle" else 2e-6
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

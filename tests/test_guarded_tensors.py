"""Tensors that refuse what not every backend can do, and operators that name what they are not."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

import numpy as np
import pytest

from engine import Tensor
from engine.testing.guarded import Bare, GuardedOps, Unseen


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda x: x.mean(), "it uses .mean of a tensor"),
        (lambda x: x.shape, "it uses .shape of a tensor"),
        (lambda x: np.sqrt(x), "it calls NumPy's sqrt on a tensor"),
        (lambda x: np.add.reduce(x), "it calls NumPy's add on a tensor"),
        (lambda x: np.concatenate([x, x]), "it calls NumPy's concatenate on a tensor"),
        (lambda x: x[0, 0].mean(), "it uses .mean of a tensor"),
        (lambda x: next(iter(x)).ndim, "it uses .ndim of a tensor"),
        (lambda x: x * np.ones(3), "make the array a tensor by ops.asarray(array)"),
        (lambda x: np.ones((1, 1)) - x, "make the array a tensor by ops.asarray(array)"),
        (lambda x: operator.mul(x, [1.0, 2.0, 3.0]), "a list, and a tensor"),
        (lambda x: GuardedOps(Bare).mean(np.asarray(x)), "ops.mean is given a NumPy array"),
        (lambda x: operator.iadd(x, 1), "y = x + 1 for x += 1"),
        (lambda x: operator.ipow(x, 2), "y = x + 1 for x += 1"),
        (lambda x: x.__setitem__(0, 1.0), "it writes into a tensor"),
    ],
)
def test_a_bare_tensor_refuses_what_only_some_frameworks_have(use: Callable[[Tensor], object], said: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(said)):
        use(GuardedOps(Bare).asarray(np.ones((2, 3))))


def test_the_oracle_knows_its_operators_by_name() -> None:
    with pytest.raises(AttributeError, match=r"no operator is called 'maen'; did you mean 'mean'\? known: abs, asarray, .*, zeros_like$"):
        GuardedOps(Bare).maen(1)


def test_a_bare_tensor_computes() -> None:
    """Python's arithmetic, comparison and slices, both ways round, and every operator."""
    ops, a = GuardedOps(Bare), np.linspace(0.1, 2.0, 6).reshape(2, 3)
    x = ops.asarray(a, "float64")
    found = -(1 - x / 2 + 3 * x**2)[..., ::2] @ ops.permute_dims(abs(x[None, 0, 1:]), (1, 0)) + x // 0.5 % 3
    assert type(found) is type(x[0, 0]) is Bare
    assert f"{x}" == str(x) == repr(x) == "a tensor"
    np.testing.assert_allclose(ops.to_numpy(found), -(1 - a / 2 + 3 * a**2)[..., ::2] @ np.abs(a[None, 0, 1:]).T + a // 0.5 % 3)
    assert ops.to_numpy((x > -1) & ~(x >= 2.5) | (x == 3) ^ (x != 3)).all()
    assert ops.shape(ops.mean(x, (0,))) == (3,)
    total = ops.mean(x)
    total += ops.mean(2 * x)
    twice = 2 * x
    twice **= 1
    twice -= x
    np.testing.assert_allclose(ops.to_numpy(total * twice), 3 * a.mean() * a)
    for several in ([x, x], (x, x), {1: x, 2: x}.values(), (part for part in (x, x))):
        assert ops.shape(ops.concat(several, 1)) == (2, 6)


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda x: 1 if x[0, 0] > 0 else 0, "it looks at a tensor's numbers"),
        (lambda x: float(x[0, 0]), "it looks at a tensor's numbers"),
        (lambda x: x[x > 0], "it picks elements by a mask"),
        (lambda x: x[0, x[0] > 0], "it picks elements by a mask"),
        (lambda x: GuardedOps(Unseen).to_numpy(x), "it calls ops.to_numpy"),
    ],
)
def test_an_unseen_tensor_keeps_its_numbers(use: Callable[[Tensor], object], said: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(said)):
        use(GuardedOps(Unseen).asarray(np.ones((2, 3))))

"""The table of cases that every backend is compared on (tests/test_backend_contract.py), and what torch alone is asked."""

from __future__ import annotations

import inspect
import os

import numpy as np
import pytest
from installed import BACKENDS, TRAINING, backend

from engine import Ops, Tensor
from engine.testing import OP_CASES, OracleOps

METHODS = sorted(name for name in vars(Ops) if not name.startswith("_") and name != "name")


def test_torch_is_among_the_backends() -> None:
    assert "torch" in TRAINING  # its absence would turn many comparisons into nothing, without a failure


@pytest.mark.skipif("CI" not in os.environ, reason="a machine of one's own may have fewer")
def test_ci_has_every_backend() -> None:
    assert {"torch", "mindspore", "onnx", "openvino"} <= set(BACKENDS)


def test_every_operator_has_cases() -> None:
    assert {case.op for case in OP_CASES} == {*METHODS, "tensor"}


def test_case_names_are_unique() -> None:
    assert len({case.name for case in OP_CASES}) == len(OP_CASES)


def test_the_oracles_signatures_are_the_protocol() -> None:
    assert sorted(key for key in dir(OracleOps) if not key.startswith("_") and key != "name") == METHODS
    for method in METHODS:
        wanted, found = (inspect.signature(getattr(of, method)).parameters.values() for of in (Ops, OracleOps))
        assert [(p.name, p.kind, p.default) for p in found] == [(p.name, p.kind, p.default) for p in wanted], method


def test_warp_reads_the_right_pixel_where_float32_counts_no_further() -> None:
    """Of a picture of more than 2^24 pixels; on torch alone, since the others are much slower at it."""
    host, width, found = backend("torch"), 2**23 + 64, []
    x, cotangent = (np.arange(2 * width, dtype=np.int32).reshape(1, 1, 2, width) % prime for prime in (251, 127))
    still, held = (host.ops.asarray(array) for array in (np.zeros((1, 2, 2, width)), cotangent))

    def read(x: Tensor) -> Tensor:
        found.append(host.ops.warp(x, still))
        return host.ops.sum(found[0] * held)

    _, (by_x,) = host.gradient(read, x)
    np.testing.assert_array_equal(host.ops.to_numpy(found[0]), x)
    np.testing.assert_array_equal(by_x, cotangent)

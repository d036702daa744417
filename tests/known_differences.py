"""What a framework computes wrongly or not at all: tests that must fail because of it, and traps that a backend goes around."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine_mindspore.known_differences import ON_CPU, without_bfloat16
from engine_openvino.known_differences import CUTS_OFF, KNOWN


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What a framework does, and a few lines of it alone that show it."""

    backend: str
    what: str
    code: str
    """Says what should be; as long as the framework misbehaves it fails."""
    said: str
    """A text in what it fails with."""


@dataclass(frozen=True, kw_only=True)
class KnownDifference(Reproduction):
    """Tests that must fail on one backend, with the text that its framework alone fails with; never because of our code."""

    tests: tuple[str, ...]
    """File, class and function with its case in brackets, of each."""


@dataclass(frozen=True, kw_only=True)
class Trap(Reproduction):
    """What a backend must not do, and therefore does otherwise."""

    avoided: str
    """Where, and how."""
    or_said: str = ""
    """Another text that it may fail with instead."""


def _of_contract(known: Mapping[str, str], what: str, tests: str) -> tuple[str, ...]:
    """The tests that a backend itself says to fail for this reason."""
    return tuple(f"test_backend_contract.py::{tests}::{name}" for name, reason in known.items() if reason == what)


def _mindspore(what: str, code: str, said: str) -> KnownDifference:
    return KnownDifference(backend="mindspore", what=what, code=code, said=said, tests=_of_contract(ON_CPU, what, "TestMindSpore"))


def _no_bfloat16(
    what: str,
    call: str,
    said: str = "fail! Unsupported data type!",  # MindSpore may name the operator of an earlier failure, so no name is looked for
) -> KnownDifference:
    code = f"""
import mindspore as ms
from mindspore import ops
x = ops.ones((1, 2, 4, 4), ms.bfloat16)
{call}.astype(ms.float32).asnumpy()
"""
    return _mindspore(without_bfloat16(what), code, said)


KNOWN_DIFFERENCES = (
    _mindspore(
        "MindSpore 2.10 has no gradient of a slice with a step and a start, along one axis, on a CPU",
        """
import mindspore as ms
from mindspore import ops
gradient = ms.grad(lambda x: x[:, :, ::2, 1::2].sum())(ops.ones((2, 3, 4, 5)))
assert gradient.asnumpy().sum() == 24
""",
        said="For 'StridedSliceGrad, 6 input memory out of bounds.",
    ),
    _no_bfloat16("gathering", "ops.gather_elements(x, 3, ops.zeros((1, 2, 4, 4), ms.int32))"),
    _no_bfloat16("unfolding", "ops.unfold(x, 3)", "For primitive[Im2Col], the input argument[x] must be a type of"),
    _no_bfloat16("matrix product", "ops.matmul(x[0, 0], x[0, 0])"),
    _no_bfloat16("relu", "ops.relu(x)"),
    _no_bfloat16("tanh", "ops.tanh(x)"),
    _no_bfloat16("max pool", "ops.MaxPool(2, 2, 'valid')(x)"),
    _no_bfloat16("nearest interpolation", "ops.interpolate(x, size=(8, 8), mode='nearest')"),
    _no_bfloat16("bilinear interpolation", "ops.interpolate(x, size=(8, 8), mode='bilinear')"),
    KnownDifference(
        backend="openvino",
        what=CUTS_OFF,
        code="""
import sys
import numpy as np
sys.modules["openvino_telemetry"] = None  # which would report that openvino is imported
import openvino
from openvino import opset13
x = np.array([-2.264353], np.float32)
there = opset13.convert(opset13.constant(x), openvino.Type.bf16)
model = openvino.Model([opset13.convert(there, openvino.Type.f32)], [], "model")
found = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([])[0]
np.testing.assert_allclose(found, x, rtol=2**-8, atol=2**-8)
""",
        said="Not equal to tolerance rtol=0.00390625, atol=0.00390625",
        tests=_of_contract(KNOWN, CUTS_OFF, "TestOpenVino"),
    ),
)
"""Each must fail (xfail, strict), and so must its reproduction."""

TRAPS = (
    Trap(
        backend="mindspore",
        what="the tanh of float32 is an approximation on a CPU",
        code="""
import mindspore as ms
import numpy as np
x = np.linspace(-6, 6, 1001, dtype=np.float32)
error = np.abs(ms.ops.tanh(ms.Tensor(x)).asnumpy() - np.tanh(x)).max()
assert error < 1e-6, f"off by {error}"
""",
        said="AssertionError: off by ",
        avoided="engine_mindspore/ops.py: that of float64 is taken",
    ),
    Trap(
        backend="mindspore",
        what="the gradient of batch_norm is zero in a compiled graph",
        code="""
import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
x, cotangent = (Tensor(np.random.default_rng(seed).normal(size=(1, 3, 4, 4)).astype(np.float32)) for seed in (0, 1))
ones, zeros = ops.ones(3), ops.zeros(3)
def normalised(x):
    return (ops.batch_norm(x, zeros, ones, ones, zeros, True) * cotangent).sum()
eager = ms.grad(normalised)(x).asnumpy()
compiled = ms.grad(ms.jit(normalised, capture_mode="trace"))(x).asnumpy()
assert np.abs(eager).max() > 1
assert np.abs(compiled).max() > 1, "a gradient of zero"
""",
        said="a gradient of zero",
        avoided="engine_mindspore/layers.py: instance norm is written out",
    ),
    Trap(
        backend="mindspore",
        what="the gradient of stack brings a compiled graph down",
        code="""
import mindspore as ms
from mindspore import Tensor, ops
def stacked(x):
    return (ops.stack([x, x * 2], 1) ** 2).sum()
gradient = ms.grad(ms.jit(stacked, capture_mode="trace"))(Tensor([1.0, 2.0]))
assert gradient.asnumpy().tolist() == [10, 20]
""",
        said='Bprop "Stack" encounter a problem',
        avoided="engine_mindspore/ops.py: the asymmetric upsampling concatenates",
    ),
    Trap(
        backend="mindspore",
        what="the gradient of pad with zeros is garbage, or never ends, when a compiled graph runs again",
        code="""
import faulthandler
import mindspore as ms
from mindspore import Tensor, ops
def padded(x):
    return ops.square(ops.pad(x, (1, 1, 1, 1))).sum()
traced = ms.jit(padded, capture_mode="trace")
faulthandler.dump_traceback_later(20, exit=True)
for _ in range(4):
    assert (ms.grad(traced)(ops.ones((1, 1, 3, 3))).asnumpy() == 2).all(), "garbage"
""",
        said="garbage",
        or_said="Timeout (",
        avoided="engine_mindspore/slicing.py: pieces are joined",
    ),
    Trap(
        backend="mindspore",
        what="a gradient inside a traced function is a constant",
        code="""
import mindspore as ms
from mindspore import Tensor
def squares(x):
    return (x * x).sum()
def gradient_within(x):
    return ms.grad(squares)(x)
traced = ms.jit(gradient_within, capture_mode="trace")
assert traced(Tensor([1.0])).asnumpy() == 2
assert traced(Tensor([5.0])).asnumpy() == 10, "the first gradient again"
""",
        said="the first gradient again",
        avoided="engine_mindspore/compiled.py: the gradient is taken of the traced function",
    ),
    Trap(
        backend="mindspore",
        what="a new function in the place of a collected one gets its graph",
        code="""
import mindspore as ms
from mindspore import Tensor
def times(number):
    def product(x):
        return x * number
    return product
def product_of_one(number):
    traced = ms.jit(times(number), capture_mode="trace")
    return float(traced(Tensor([1.0])).asnumpy()[0])
found = [product_of_one(number) for number in range(10)]
assert found == list(range(10)), "the graph of another function"
""",
        said="the graph of another function",
        avoided="engine_mindspore/compiled.py: every traced function has a name of its own",
    ),
    Trap(
        backend="mindspore",
        what="a traced function called like an attribute of a tensor is taken for a method",
        code="""
import mindspore as ms
from mindspore import Tensor
def shape(x):
    return x + 1
assert ms.jit(shape, capture_mode="trace")(Tensor([1.0])).asnumpy() == 2
""",
        said="AttributeError: 'Tensor' object has no attribute 'create_time'",
        avoided="engine_mindspore/compiled.py: no tensor has an attribute of that name",
    ),
    Trap(
        backend="mindspore",
        what="an exception in a traced function leaves the recorder open",
        code="""
import mindspore as ms
from mindspore import Tensor
def raises(x):
    raise ValueError(x + 1)
try:
    ms.jit(raises, capture_mode="trace")(Tensor([1.0]))
except ValueError:
    pass
""",
        said="Fatal Python error: PyThreadState_Get",
        avoided="engine_mindspore/compiled.py: exceptions are carried around it",
    ),
)
"""Each reproduction must fail: where one no longer does, what goes around it may go."""

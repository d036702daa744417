"""What a framework computes wrongly or not at all: tests that must fail because of it, and traps that a backend goes around."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reproduction:
    """A few lines of the framework alone."""

    code: str
    """Says what should be; as long as the framework misbehaves it fails, with a text in which :attr:`said` stands."""
    said: str


@dataclass(frozen=True)
class KnownDifference:
    """A test that must fail on one backend, because of its framework and never because of our code."""

    backend: str
    test: str
    """File and function."""
    case: str
    """What pytest writes in brackets."""
    reason: str
    reproduction: Reproduction


@dataclass(frozen=True)
class Trap:
    """What a backend must not do, and therefore does otherwise."""

    backend: str
    name: str
    avoided: str
    """Where, and how."""
    reproduction: Reproduction


_BFLOAT16 = """
import mindspore as ms
from mindspore import ops
x = ops.ones((1, 2, 4, 4), ms.bfloat16)
{0}.astype(ms.float32).asnumpy()
"""
_WITHOUT_BFLOAT16 = {
    # MindSpore computes behind Python's back and may name the operator of an earlier failure, so no name is looked for.
    "a matrix product": ("ops.matmul(x[0, 0], x[0, 0])", "fail! Unsupported data type!"),
    "relu": ("ops.relu(x)", "fail! Unsupported data type!"),
    "tanh": ("ops.tanh(x)", "fail! Unsupported data type!"),
    "a max pool": ("ops.MaxPool(2, 2, 'valid')(x)", "fail! Unsupported data type!"),
    "nearest interpolation": (
        "ops.interpolate(x, size=(8, 8), mode='nearest')",
        "fail! Unsupported data type!",
    ),
    "bilinear interpolation": (
        "ops.interpolate(x, size=(8, 8), mode='bilinear')",
        "fail! Unsupported data type!",
    ),
    "padding with zeros": ("ops.Pad(((0, 0), (0, 0), (1, 1), (1, 1)))(x)", "fail! Unsupported data type!"),
    "mirroring": ("ops.pad(x, (1, 1, 1, 1), 'reflect')", "For primitive[PadV3], the input argument[x] must be a type of"),
    "gathering": (
        "ops.gather_elements(x, 3, ops.zeros((1, 2, 4, 4), ms.int32))",
        "fail! Unsupported data type!",
    ),
}
_REDUCED = {
    "conv2d out_channels=4 3x5x6": "a matrix product",
    "conv2d out_channels=2 kernel=1 bias=False 3x5x6": "a matrix product",
    "conv2d out_channels=4 stride=2 padding=1 2x7x5": "a matrix product",
    "conv2d out_channels=6 padding=1 groups=3 3x5x6": "a matrix product",
    "conv2d out_channels=1 kernel=9 padding=4 1x4x6": "a matrix product",
    "relu 3x5x6": "relu",
    "tanh 3x5x6": "tanh",
    "max_pool2d 3x5x6": "a max pool",
    "max_pool2d kernel=3 2x7x8": "a max pool",
    "upsample2d 3x5x6": "nearest interpolation",
    "upsample2d mode=bilinear 3x5x6": "bilinear interpolation",
    "pad amount=1 3x5x6": "mirroring",
    "pad amount=4 3x5x6": "mirroring",
    "pad amount=2 mode=constant 3x5x6": "padding with zeros",
    "pad_to_multiple 3x5x6": "mirroring",
    "pad_to_multiple multiple=3 2x6x4": "mirroring",
}


def _no_bfloat16(test: str, case: str, what: str) -> KnownDifference:
    call, said = _WITHOUT_BFLOAT16[what]
    reason = f"MindSpore 2.10 has no {what.removeprefix('a ')} of bfloat16 on a CPU"
    return KnownDifference("mindspore", test, case, reason, Reproduction(_BFLOAT16.format(call), said))


KNOWN_DIFFERENCES = (
    KnownDifference(
        backend="mindspore",
        test="test_ops.py::test_gradient",
        case="tensor step-mindspore",
        reason="MindSpore 2.10 has no gradient of a slice with a step and a start, along one axis, on a CPU",
        reproduction=Reproduction(
            """
import mindspore as ms
from mindspore import ops
gradient = ms.grad(lambda x: x[:, :, ::2, 1::2].sum())(ops.ones((2, 3, 4, 5)))
assert gradient.asnumpy().sum() == 24
""",
            "For 'StridedSliceGrad, 6 input memory out of bounds.",
        ),
    ),
    _no_bfloat16("test_ops.py::test_warp_of_reduced_precision_keeps_its_type_and_its_place", "bfloat16-mindspore", "gathering"),
    *(
        _no_bfloat16("test_layers.py::test_reduced_precision", f"bfloat16-mindspore reference {case}", what)
        for case, what in _REDUCED.items()
    ),
)
"""Each must fail (xfail, strict), and so must its reproduction."""

TRAPS = (
    Trap(
        backend="mindspore",
        name="the gradient of batch_norm is zero in a compiled graph",
        avoided="engine_mindspore/layers.py: instance norm is written out",
        reproduction=Reproduction(
            """
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
            "a gradient of zero",
        ),
    ),
    Trap(
        backend="mindspore",
        name="the gradient of stack brings a compiled graph down",
        avoided="engine_mindspore/ops.py: the asymmetric upsampling concatenates",
        reproduction=Reproduction(
            """
import mindspore as ms
from mindspore import Tensor, ops
def stacked(x):
    return (ops.stack([x, x * 2], 1) ** 2).sum()
gradient = ms.grad(ms.jit(stacked, capture_mode="trace"))(Tensor([1.0, 2.0]))
assert gradient.asnumpy().tolist() == [10, 20]
""",
            'Bprop "Stack" encounter a problem',
        ),
    ),
    Trap(
        backend="mindspore",
        name="the gradient of pad with zeros is garbage, or never ends, when a compiled graph runs again",
        avoided="engine_mindspore/ops.py: the primitive Pad",
        reproduction=Reproduction(
            """
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
            "garbage",
        ),
    ),
    Trap(
        backend="mindspore",
        name="a gradient inside a traced function is a constant",
        avoided="engine_mindspore/compiled.py: the gradient is taken of the traced function",
        reproduction=Reproduction(
            """
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
            "the first gradient again",
        ),
    ),
    Trap(
        backend="mindspore",
        name="a new function in the place of a collected one gets its graph",
        avoided="engine_mindspore/compiled.py: every traced function has a name of its own",
        reproduction=Reproduction(
            """
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
            "the graph of another function",
        ),
    ),
    Trap(
        backend="mindspore",
        name="a traced function called like an attribute of a tensor is taken for a method",
        avoided="engine_mindspore/compiled.py: no tensor has an attribute of that name",
        reproduction=Reproduction(
            """
import mindspore as ms
from mindspore import Tensor
def shape(x):
    return x + 1
assert ms.jit(shape, capture_mode="trace")(Tensor([1.0])).asnumpy() == 2
""",
            "AttributeError: 'Tensor' object has no attribute 'create_time'",
        ),
    ),
    Trap(
        backend="mindspore",
        name="an exception in a traced function leaves the recorder open",
        avoided="engine_mindspore/compiled.py: exceptions are carried around it",
        reproduction=Reproduction(
            """
import mindspore as ms
from mindspore import Tensor
def raises(x):
    raise ValueError(x + 1)
try:
    ms.jit(raises, capture_mode="trace")(Tensor([1.0]))
except ValueError:
    pass
""",
            "Fatal Python error: PyThreadState_Get",
        ),
    ),
)
"""Each reproduction must fail: where one no longer does, what goes around it may go."""

"""What only the MindSpore backend decides: what its compiled graphs compute, and which devices and precisions it takes."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from installed import HOST, backend

from engine import Array, EngineError, Tensor
from engine.testing import LAYER_CASES, OP_CASES, LayerCase, OpCase, OracleOps

if "CI" not in os.environ:
    pytest.importorskip("mindspore")

import mindspore as ms
from engine_mindspore import tracing
from engine_mindspore.compiled import Compiled
from engine_mindspore.known_differences import ON_CPU

ENGINE = Path(sys.executable).with_name("engine")
DIFFERENTIABLE = [case for case in OP_CASES if case.differentiable and f"test_operator_gradient[{case.name}]" not in ON_CPU]
FORMS = [
    pytest.param(case, native, id=f"{'native' if native else 'reference'} {case.name}")
    for case in LAYER_CASES
    for native in (False, True)
    if not native or type(case.layer) in backend("mindspore").native
]


def compare(compiled: Compiled, case: OpCase | LayerCase, gradients: list[Array]) -> None:
    ops = backend("mindspore").ops
    (value, doubled), found = compiled.value_and_grad(len(case.variables), *(ops.asarray(x) for x in case.variables))
    oracle = OracleOps()
    variables = [oracle.asarray(x) for x in case.variables]
    wanted = float(case.scalar(oracle, *variables) if isinstance(case, OpCase) else case.scalar(oracle, None, *variables))
    assert float(value.asnumpy()) == pytest.approx(wanted, abs=case.gradient_tolerance * max(1, abs(wanted), np.abs(case.value).sum()))
    assert float(doubled.asnumpy()) == 2 * float(value.asnumpy())
    assert len(found) == len(gradients)
    for gradient, expected in zip(found, gradients, strict=True):
        np.testing.assert_allclose(gradient.asnumpy(), expected, rtol=case.gradient_tolerance, atol=case.gradient_tolerance)


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=lambda case: case.name)
def test_compiled_gradient_of_an_operator(case: OpCase) -> None:
    """And of the same graph with other values, where what was kept from tracing would show."""
    ops = backend("mindspore").ops

    def function(*x: Tensor) -> tuple[Tensor, ...]:
        value = case.scalar(ops, *x)
        return value, value * 2

    compiled = Compiled(function)
    compare(compiled, case, case.gradients())
    inputs = tuple(x * np.float32(0.9) if i in case.differentiable else x for i, x in enumerate(case.inputs))
    other = replace(case, inputs=inputs)
    compare(compiled, other, other.gradients())


def test_every_operator_is_waited_for_while_it_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or MindSpore's threads write to one tensor at once: now and then a training run ended with a crash in its first step."""
    waits: list[int] = []
    executor = tracing._pynative_executor

    class Waited:
        def sync(self) -> None:
            waits.append(1)
            executor.sync()

    monkeypatch.setattr(tracing, "_pynative_executor", Waited())
    ops = backend("mindspore").ops
    compiled = Compiled(lambda x: (ops.relu(ops.matmul(ops.square(x), ops.permute_dims(x, (1, 0)))), x * 2 + 1))
    x = np.arange(12, dtype=np.float32).reshape(3, 4) - 6
    value, other = compiled(ops.asarray(x))
    np.testing.assert_allclose(value.asnumpy(), np.maximum(x**2 @ x.T, 0))
    np.testing.assert_allclose(other.asnumpy(), 2 * x + 1)
    recorded = len(waits)
    assert recorded >= 6
    compiled(ops.asarray(x))
    assert len(waits) == recorded  # the graph alone has run


def test_a_call_prints_no_tensor_and_the_function_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """MindSpore would make text of all that goes in and comes out, and of the result, and copies it for that."""
    read, printed = [], []
    asnumpy = ms.Tensor.asnumpy
    monkeypatch.setattr(ms.Tensor, "asnumpy", lambda x: (read.append(x.shape), asnumpy(x))[1])

    def function(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        printed.append((str(x), repr(y)))
        return (x * y).sum(), x + y

    compiled, ops = Compiled(function), backend("mindspore").ops
    x, y = ops.asarray(np.array([3.0])), ops.asarray(np.array([4.0]))
    for _ in range(2):
        compiled(x, y)
        compiled.value_and_grad(1, x, y)
    assert read == [(1,), (1,)]  # by the function itself, each time that it was traced
    assert printed == [("[3.]", "Tensor(shape=[1], dtype=Float32, value= [ 4.00000000e+00])")] * 2
    assert str(compiled(x, y)[1]) == "[7.]"
    with tracing.quick_recording():
        assert str(x) == repr(x) == ""  # with repr MindSpore prints a tuple of them


class Smaller(LayerCase):
    """The same layer with other weights and inputs."""

    @property
    def variables(self) -> tuple[Array, ...]:
        return tuple(x * np.float32(0.9) for x in super().variables)


@pytest.mark.parametrize(("case", "native"), FORMS)
def test_compiled_gradient_of_a_layer(case: LayerCase, native: bool) -> None:
    host = backend("mindspore")
    form = host.native[type(case.layer)] if native else None

    def function(*x: Tensor) -> tuple[Tensor, ...]:
        value = case.scalar(host.ops, form, *x)
        return value, value * 2

    compiled = Compiled(function)
    compare(compiled, case, case.gradients)
    other = Smaller(case.layer, case.shapes, case.value_tolerance, case.gradient_tolerance, case.positive)
    compare(compiled, other, other.gradients)


def test_one_result_one_variable() -> None:
    ops = backend("mindspore").ops
    compiled = Compiled(lambda x: ((x * x).sum(), x.sum()))
    for number in (3.0, 5.0):
        x = ops.asarray(np.array([number, 1.0]))
        assert [float(y.asnumpy()) for y in compiled(x)] == [number**2 + 1, number + 1]
        assert [y.asnumpy().tolist() for y in Compiled(lambda x: (x + 1,))(x)] == [[number + 1, 2]]
        (value, _), (gradient,) = compiled.value_and_grad(1, x)
        assert float(value.asnumpy()) == number**2 + 1
        assert gradient.asnumpy().tolist() == [2 * number, 2]


class Refused(Exception):
    """No exception that MindSpore knows."""


@pytest.mark.parametrize("error", [EngineError("no flow"), Refused("at all"), KeyboardInterrupt()], ids=lambda error: type(error).__name__)
def test_an_exception_in_a_traced_function_comes_out_as_itself(error: BaseException) -> None:
    """MindSpore's recorder is usable after it, by the same function, by another one, and without compiling."""
    refuses, ops = [True], backend("mindspore").ops

    def function(x: Tensor) -> tuple[Tensor, ...]:
        y = ops.square(x)
        if refuses[0]:
            raise error
        return ops.sum(y), y

    compiled = Compiled(function)
    x = ops.asarray(np.array([1.0, 2.0]))
    for call in (compiled, lambda x: compiled.value_and_grad(1, x)):
        with pytest.raises(type(error)) as caught:
            call(x)
        assert caught.value is error
    assert ops.to_numpy(ops.square(x)).tolist() == [1, 4]
    assert Compiled(lambda x: (x * 3,))(x)[0].asnumpy().tolist() == [3, 6]
    refuses[0] = False
    assert compiled.value_and_grad(1, x)[1][0].asnumpy().tolist() == [2, 4]
    assert float(compiled(x)[0].asnumpy()) == 5


def test_functions_never_share_a_graph() -> None:
    """Neither by name, nor by an id() that comes back after collection, nor by having the same code."""
    x = backend("mindspore").ops.asarray(np.array([1.0]))

    def result(number: float) -> float:
        return float(Compiled(lambda x: (x * number,))(x)[0].asnumpy()[0])

    found = []
    for number in range(8):
        found.append(result(number))
        gc.collect()
    assert found == list(range(8))


def test_another_shape_or_type_is_compiled_anew() -> None:
    ops, traced = backend("mindspore").ops, []

    def function(x: Tensor) -> tuple[Tensor, ...]:
        traced.append(ops.shape(x))
        return (ops.sum(ops.cast(x, "float32")) / ops.shape(x)[0],)

    compiled = Compiled(function)
    for shape in ((2, 3), (4, 3), (2, 3)):
        assert float(compiled(ops.asarray(np.ones(shape)))[0].asnumpy()) == 3
    assert float(compiled(ops.asarray(np.full((2, 3), 200), "uint8"))[0].asnumpy()) == 600
    assert float(compiled(ops.asarray(np.full((2, 3), 0.5)))[0].asnumpy()) == 1.5
    assert sorted(traced) == [(2, 3), (2, 3), (4, 3)]  # the known ones ran without Python


@pytest.mark.parametrize("device", ["gpu", "gpu:1", "ascend"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    kind = {"gpu": "GPU", "ascend": "Ascend"}[device.partition(":")[0]]
    with pytest.raises(EngineError, match=rf"finds no {kind} device; allowed: auto, cpu") as caught:
        HOST.make_backend("mindspore", device=device).describe()
    assert caught.value.exit_code == 2


def test_a_number_of_a_device_and_a_second_device_in_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    backend("mindspore").describe()  # this process computes on the CPU
    monkeypatch.setattr(ms.hal, "device_count", lambda target: 2 if target == "GPU" else 0)
    with pytest.raises(EngineError, match=r"finds no GPU device number 2; allowed: 0 to 1"):
        HOST.make_backend("mindspore", device="gpu:2").describe()
    with pytest.raises(EngineError, match=r"finds no Ascend device; allowed: auto, cpu, gpu"):
        HOST.make_backend("mindspore", device="ascend").describe()
    with pytest.raises(EngineError, match=r"cannot change to GPU:1 .*[^)]\)\n?") as caught:
        HOST.make_backend("mindspore", device="gpu:1").describe()
    assert "in a process of its own" in str(caught.value.remedy)
    assert backend("mindspore").ops.to_numpy(backend("mindspore").ops.asarray(np.ones(2)) + 1).tolist() == [2, 2]


def test_without_a_card_auto_is_the_cpu() -> None:
    assert HOST.make_backend("mindspore").describe() == {
        "backend": "mindspore",
        "framework": "mindspore",
        "version": ms.__version__,
        "device": "cpu",
        "precision": "float32",
    }


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_cpu_computes_in_float32_alone(precision: str) -> None:
    with pytest.raises(EngineError, match=f"MindSpore has no {precision} on a CPU; allowed: auto, float32"):
        HOST.make_backend("mindspore", device="cpu", precision=precision).describe()


def test_doctor_says_nothing_on_stderr() -> None:
    """MindSpore logs warnings about every kind of device that is not there to whoever asks for it in the documented way."""
    done = subprocess.run([ENGINE, "doctor", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)["backends"]["mindspore"]["device"] == "cpu"


IMPORTS = """
import os, sys
from engine.plugins import load_plugins
backend = load_plugins().make_backend("mindspore", device="cpu")

class Watch:
    def find_spec(self, name, *_):
        if name == "mindspore":
            sys.exit(f"GLOG_v={os.environ.get('GLOG_v')}")

sys.meta_path.insert(0, Watch())
"""


@pytest.mark.parametrize(
    "first", ["ops", "native", "describe()", "gradient(abs)", "trainer(None)", "painter(None, {})", "known_differences"]
)
def test_whatever_is_used_first_mindspore_is_told_to_be_quiet(first: str) -> None:
    """What it reads when it is imported; told later, it prints warnings of its compiler into a user's script."""
    environment = {key: value for key, value in os.environ.items() if key != "GLOG_v"}
    done = subprocess.run([sys.executable, "-c", f"{IMPORTS}backend.{first}"], capture_output=True, text=True, env=environment)
    assert done.stderr == "GLOG_v=3\n"


def test_a_wrong_device_ends_the_command_with_2_and_one_message(tmp_path: Path) -> None:
    done = subprocess.run(
        [ENGINE, "infer", "--backend", "mindspore", "--device", "ascend", "-o", tmp_path / "x.mp4"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "finds no Ascend device; allowed: auto, cpu" in done.stderr
    assert "WARNING" not in done.stderr
    assert list(tmp_path.iterdir()) == []

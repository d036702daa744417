"""The OpenVINO backend as a whole: pictures and videos of any size, frames that do not depend on each other, what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from installed import BACKENDS, HOST, backend
from media import IDENTITY_WEIGHTS, identity_network, identity_style

if "CI" not in os.environ and find_spec("openvino") is None:  # importing it here would report it to its makers
    pytest.skip("openvino is not installed", allow_module_level=True)

from engine_openvino.session import MOST_STREAMS, capabilities, cores

from engine import Array, Conv2d, EngineError, Layer, Network, Node, Ops, Painter, ReLU, Tensor, Upsample2d, Weights, chain
from engine.plugins import load_plugins

SIZES = [(1, 32, 64), (2, 37, 53), (3, 5, 18), (1, 90, 161)]
"""Batch, height, width."""
REDUCED = pytest.param("bfloat16", marks=pytest.mark.skipif("BF16" not in capabilities(), reason="no bfloat16 in this CPU"))


def test_it_is_among_the_backends() -> None:
    assert "openvino" in BACKENDS  # its absence would turn the comparisons of operators and layers into nothing, without a failure


def reconet(width: int, upsample: str = "nearest") -> tuple[Network, dict[str, Array]]:
    """The network with weights that no norm is trivial with."""
    network = HOST.make_model("reconet", {"width": width, "residual_blocks": 2}).network()
    layers = [Upsample2d(mode=upsample) if isinstance(node.layer, Upsample2d) else node.layer for node in network.nodes]  # type: ignore[arg-type]  # one of its three
    network = replace(network, nodes=tuple(replace(node, layer=layer) for node, layer in zip(network.nodes, layers, strict=True)))
    rng = np.random.default_rng(width)
    weights = network.initial_weights(1)
    return network, {
        name: x + rng.normal(scale=0.2, size=x.shape).astype(np.float32) if ".norm" in name else x for name, x in weights.items()
    }


def pictures(n: int, h: int, w: int) -> Array:
    return np.random.default_rng(h).integers(0, 256, (n, h, w, 3), np.uint8)


def images(n: int, h: int, w: int) -> Array:
    return np.random.default_rng(h).uniform(-1, 1, (n, 3, h, w)).astype(np.float32)


def painter_of(network: Network, weights: dict[str, Array], precision: str = "float32") -> Painter:
    return backend("openvino", precision).painter(network, weights)


@pytest.mark.parametrize("upsample", ["nearest", "bilinear", "bilinear_asymmetric"])
@pytest.mark.parametrize("width", [16, 48])
def test_one_graph_paints_any_size_as_torch_does(width: int, upsample: str) -> None:
    network, weights = reconet(width, upsample)
    painter, torch = painter_of(network, weights), backend("torch").painter(network, weights)
    for size in SIZES:
        frames = pictures(*size)
        (painted,), (expected,) = painter.paint(iter([frames])), torch.paint(iter([frames]))
        assert painted.dtype == np.uint8
        assert np.abs(painted.astype(int) - expected).max() <= 1
        assert np.abs(painted.astype(int) - frames).mean() > 1
        found, wanted = (p.run({"image": images(*size)}) for p in (painter, torch))
        assert found.keys() == wanted.keys()
        np.testing.assert_allclose(found["crop"], wanted["crop"], atol=1e-4)
    assert len({id(value) for value in vars(painter).values() if type(value).__name__ == "Session"}) <= 3  # one for all sizes


def test_painting_is_exact_where_the_network_is() -> None:
    frames = pictures(2, 9, 13)[:, :, ::-1]  # negative strides
    (painted,) = painter_of(identity_network(), IDENTITY_WEIGHTS).paint(iter([frames]))
    np.testing.assert_array_equal(painted, frames)


@pytest.mark.parametrize("precision", ["float32", REDUCED])
def test_a_frame_does_not_depend_on_its_batch(precision: str) -> None:
    painter, frames = painter_of(*reconet(16), precision), pictures(7, 45, 62)
    ways = ([1] * 7, [2, 2, 2, 1], [4, 3], [7])
    whole = [np.concatenate(list(painter.paint(iter(np.split(frames, np.cumsum(way)[:-1]))))) for way in ways]
    for one in whole[1:]:
        np.testing.assert_array_equal(one, whole[0])


def test_a_single_picture_is_the_frame_of_a_video() -> None:
    painter, frames = painter_of(*reconet(16)), pictures(3, 45, 62)
    (video,) = painter.paint(iter([frames]))
    for i in range(3):
        (alone,) = painter.paint(iter([frames[i : i + 1]]))
        assert np.abs(alone[0].astype(int) - video[i]).max() <= 1


@pytest.mark.parametrize("threads", ["1", "2", "9"])
def test_batches_come_back_in_order_and_few_are_read_ahead(monkeypatch: pytest.MonkeyPatch, threads: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    given = [pictures(1 + i % 3, 20 + i % 5, 30) for i in range(40)]  # sizes may change, though the engine gives one
    read = 0

    def batches() -> Iterator[Array]:
        nonlocal read
        for batch in given:
            read += 1
            yield batch

    painted = painter_of(identity_network(), IDENTITY_WEIGHTS).paint(batches())
    for done, (found, expected) in enumerate(zip(painted, given, strict=True), 1):
        np.testing.assert_array_equal(found, expected)
        assert read - done <= MOST_STREAMS + 1
    assert read == 40


def test_nothing_paints_nothing() -> None:
    assert list(painter_of(identity_network(), IDENTITY_WEIGHTS).paint(iter([]))) == []


def test_two_videos_at_once_and_one_left_early() -> None:
    painter, frames = painter_of(*reconet(4)), pictures(6, 24, 33)
    (whole,) = painter.paint(iter([frames]))
    first, second = (painter.paint(iter(np.split(frames, 6))) for _ in range(2))
    for i in range(3):
        for one in (first, second):
            np.testing.assert_array_equal(next(one), whole[i : i + 1])
    first.close()  # type: ignore[attr-defined]  # a generator
    np.testing.assert_array_equal(np.concatenate(list(second)), whole[3:])


def test_an_error_of_the_source_comes_out() -> None:
    def batches() -> Iterator[Array]:
        yield from np.split(pictures(3, 20, 30), 3)
        raise ValueError("a damaged file")

    with pytest.raises(ValueError, match="a damaged file"):
        list(painter_of(identity_network(), IDENTITY_WEIGHTS).paint(batches()))


def test_a_picture_that_cannot_be_mirrored_is_an_error() -> None:
    painter = painter_of(*reconet(4))
    with pytest.raises(EngineError, match=r"an image of 3x4 does not fit 'encoder\.0\.pad'"):
        painter.run({"image": images(1, 4, 3)})
    with pytest.raises(EngineError, match="too few to mirror"):
        next(painter.paint(iter([pictures(1, 3, 9)])))


def test_several_inputs_and_an_output_that_is_an_input() -> None:
    nodes = (Node("sum", Conv2d(out_channels=2, kernel=1), ("a",)), Node("relu", ReLU(), ("sum",)))
    network = Network({"a": 1, "b": 2}, nodes, ("relu", "b"))
    given, weights = {"b": images(1, 4, 5)[:, :2], "a": images(1, 6, 5)[:, :1]}, network.initial_weights(0)
    found, expected = (backend(name).painter(network, weights).run(given) for name in ("openvino", "torch"))
    assert list(found) == ["relu", "b"]
    for key, x in expected.items():
        np.testing.assert_allclose(found[key], x, atol=1e-6)
    with pytest.raises(EngineError, match="does not paint pictures"):
        next(painter_of(network, weights).paint(iter([pictures(1, 8, 8)])))


class Halves(Layer):
    """A stranger's layer that computes with sizes."""

    name = "openvino_test_halves"

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        n, c, h, w = ops.shape(x[0])
        small = ops.resize(x[0], (h // 2, w // 2 + 1), "bilinear")
        mean = ops.sum(ops.reshape(small, (n, c, -1)), axis=2) / ((h // 2) * (w // 2 + 1))
        return ops.resize(small, (h, w), "nearest") * 0.5 + ops.reshape(mean, (n, c, 1, 1))


class Looks(Layer):
    """A stranger's layer that wants to know a size."""

    name = "openvino_test_looks"

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        return x[0] if ops.shape(x[0])[2] > 9 else ops.relu(x[0])


def test_a_strangers_layer_computes_with_free_sizes() -> None:
    network = Network({"image": 3}, chain("image", {"halves": Halves(), "relu": ReLU()}), ("relu",))
    painter, torch = (backend(name).painter(network, {}) for name in ("openvino", "torch"))
    for size in SIZES:
        np.testing.assert_allclose(painter.run({"image": images(*size)})["relu"], torch.run({"image": images(*size)})["relu"], atol=1e-4)


def test_a_strangers_layer_may_look_at_a_size() -> None:
    network = Network({"image": 3}, chain("image", {"conv": Conv2d(out_channels=3, kernel=1), "looks": Looks()}), ("looks",))
    painter, torch = (backend(name).painter(network, network.initial_weights(0)) for name in ("openvino", "torch"))
    for height in (8, 12):  # on both sides of what it looks at
        (found,), (want,) = (list(one.paint(iter([pictures(1, height, 8)]))) for one in (painter, torch))
        np.testing.assert_allclose(found.astype(int), want, atol=1)
        given = {"image": images(1, height, 8)}
        np.testing.assert_allclose(painter.run(given)["looks"], torch.run(given)["looks"], atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"precision": "float16"}, r"OpenVINO does not compute in float16 on this CPU; allowed: auto, float32"),
        ({"device": "gpu:1"}, "the openvino backend has no device 'gpu:1'; allowed: auto, cpu"),
        ({"device": "ascend"}, "no device 'ascend'"),
    ],
)
def test_what_it_has_not_is_refused(settings: dict[str, str], said: str) -> None:
    refused = HOST.make_backend("openvino", **settings)  # type: ignore[arg-type]  # device and precision
    for use in (refused.describe, lambda: refused.painter(identity_network(), IDENTITY_WEIGHTS)):
        with pytest.raises(EngineError, match=said):
            use()


@pytest.mark.parametrize(
    ("words", "asked", "precision"),
    [
        (("FP32", "BF16"), "auto", "bfloat16"),
        (("FP32",), "auto", "float32"),
        (("FP32", "BF16"), "float32", "float32"),
        (("FP32", "BF16"), "bfloat16", "bfloat16"),
        (("FP32",), "bfloat16", None),
    ],
)
def test_auto_is_bfloat16_where_the_cpu_multiplies_in_it(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], asked: str, precision: str | None
) -> None:
    monkeypatch.setattr("engine_openvino.session.capabilities", lambda: words)
    made = HOST.make_backend("openvino", precision=asked)
    if precision:
        assert made.describe()["precision"] == precision
    else:
        with pytest.raises(EngineError, match="does not compute in bfloat16 on this CPU; allowed: auto, float32\n"):
            made.describe()


@pytest.mark.parametrize("precision", [REDUCED])
def test_bfloat16_is_near_float32(precision: str) -> None:
    frames = pictures(2, 64, 80)
    (one,), (other,) = (painter_of(*reconet(16), p).paint(iter([frames])) for p in ("float32", precision))
    assert 0 < np.abs(one.astype(int) - other).mean() < 3


def test_it_only_paints() -> None:
    with pytest.raises(EngineError, match="the backend 'openvino' only paints"):
        HOST.make_backend("openvino", training=True)
    assert HOST.pick_backend(training=True) != "openvino"
    assert HOST.pick_backend("cpu") == "openvino"
    assert load_plugins().make_backend("auto", device="cpu").name == "openvino"


def fresh(code: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a process of its own, ``folder`` its home and current folder."""
    # Telemetry keeps still by itself where CI is set.
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "TF_BUILD", "JENKINS_URL")}
    environment |= {"HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


PAINTS = """
import sys, numpy as np
from engine.plugins import load_plugins
from engine.style import load_style
style = load_style("same.safetensors")
host = load_plugins().make_backend("openvino", device="cpu")
painter = host.painter(style.network, style.weights)
list(painter.paint(iter([np.zeros((2, 32, 40, 3), np.uint8)])))
print(sorted({"torch", "onnx", "onnxruntime", "mindspore", "openvino", "openvino_telemetry"} & set(sys.modules)))
"""


def test_painting_imports_no_other_framework_writes_no_file_says_nothing_and_tells_nobody(tmp_path: Path) -> None:
    identity_style(tmp_path / "same.safetensors")
    done = fresh(PAINTS, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "['openvino']\n", "")
    assert [path.name for path in tmp_path.rglob("*")] == ["same.safetensors"]


def test_others_can_still_import_the_telemetry(tmp_path: Path) -> None:
    done = fresh("import engine_openvino.session, openvino_telemetry, openvino; print(openvino.convert_model)", tmp_path)
    assert done.stdout.startswith("<function convert_model"), done.stderr


def test_without_the_package_the_command_is_named(tmp_path: Path) -> None:
    identity_style(tmp_path / "same.safetensors")
    before = sorted(tmp_path.iterdir())
    hiding = """
import sys
class Hidden:
    def find_spec(name, path=None, target=None):
        if name == "openvino":
            raise ModuleNotFoundError("No module named 'openvino'", name=name)
sys.meta_path.insert(0, Hidden)
from engine.cli import main
"""
    done = fresh(hiding + "main('infer --style same.safetensors --backend openvino -o a.mp4'.split())", tmp_path)
    said = "error: the backend 'openvino' needs openvino, which is not installed\n  Install it: pip install 'styleengine[openvino]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("asked", "threads"), [("3", 3), ("2,1", 2), ("", None), ("0", None), ("many", None)])
def test_threads_are_what_is_asked_for_or_what_the_process_has(monkeypatch: pytest.MonkeyPatch, asked: str, threads: int | None) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert cores() == (threads or len(os.sched_getaffinity(0)))


def test_threads_that_paint_with_one_backend_take_turns() -> None:
    """The memory of a session is given back when another one runs, and not while it runs itself."""
    used = load_plugins().make_backend("openvino", device="cpu", precision="float32")
    parts = [reconet(width) for width in (4, 8)]
    painters = [used.painter(*part) for part in parts]
    image = images(1, 64, 96)
    wanted = [next(iter(painter.run({"image": image}).values())) for painter in painters]

    def paint(i: int) -> bool:
        return all(np.array_equal(next(iter(painters[i].run({"image": image}).values())), wanted[i]) for _ in range(25))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(paint, [0, 1, 0, 1]))

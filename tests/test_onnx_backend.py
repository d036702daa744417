"""The ONNX backend as a whole: exported files of free size, painting through onnxruntime, what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed import BACKENDS, HOST, backend
from media import IDENTITY_WEIGHTS, identity_network, identity_style
from typer.testing import CliRunner

if "CI" not in os.environ:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")

import onnx
import onnxruntime
from engine_onnx.session import cores

from engine import Array, Conv2d, EngineError, Layer, Network, Ops, ReLU, Tensor, Upsample2d, Weights, chain
from engine.cli import make_app
from engine.foreign import export_style
from engine.style import Style, StyleInfo

SIZES = [(1, 32, 64), (2, 37, 53), (3, 5, 18)]
"""Batch, height, width."""
INFO = StyleInfo(name="x")


def test_it_is_among_the_backends() -> None:
    assert "onnx" in BACKENDS  # its absence would turn the comparisons of operators and layers into nothing, without a failure


def reconet(width: int, upsample: str) -> tuple[Network, dict[str, Array]]:
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


def exported(path: Path, network: Network, weights: Mapping[str, Array], **settings: Any) -> onnxruntime.InferenceSession:
    """The file, checked, in a session of onnxruntime's own."""
    HOST.make_backend("onnx", settings=settings).export(network, weights, path, metadata={"style": "candy", "licence": "CC0-1.0"})
    onnx.checker.check_model(str(path), full_check=True)
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


NETWORKS = pytest.mark.parametrize(
    ("width", "upsample"), [(w, u) for w in (16, 48) for u in ("nearest", "bilinear", "bilinear_asymmetric")]
)


@NETWORKS
def test_an_exported_graph_paints_pictures_of_any_size(tmp_path: Path, width: int, upsample: str) -> None:
    network, weights = reconet(width, upsample)
    session = exported(tmp_path / "a.onnx", network, weights)
    torch = backend("torch").painter(network, weights)
    for size in SIZES:
        frames = pictures(*size)
        (painted,) = session.run(None, {"frames": frames})
        (expected,) = torch.paint(iter([frames]))
        assert painted.dtype == np.uint8
        assert painted.shape == frames.shape
        assert np.abs(painted.astype(int) - expected).max() <= 1
        assert np.abs(painted.astype(int) - frames).mean() > 1
    (port, *_), (result, *_) = session.get_inputs(), session.get_outputs()
    assert (port.name, port.shape, port.type) == ("frames", ["n", "h", "w", 3], "tensor(uint8)")
    assert (result.name, result.shape, result.type) == ("painted", ["n", "h", "w", 3], "tensor(uint8)")


@NETWORKS
def test_an_exported_graph_of_float32_has_the_networks_own_names(tmp_path: Path, width: int, upsample: str) -> None:
    network, weights = reconet(width, upsample)
    session = exported(tmp_path / "a.onnx", network, weights, export_input="float32")
    torch = backend("torch").painter(network, weights)
    for size in SIZES:
        (found,) = session.run(["crop"], {"image": images(*size)})
        np.testing.assert_allclose(found, torch.run({"image": images(*size)})["crop"], atol=1e-4)
    (port, *_) = session.get_inputs()
    assert (port.name, port.shape, port.type) == ("image", ["n", 3, "h", "w"], "tensor(float)")


@pytest.mark.parametrize("taken", ["", "uint8", "float32"])
def test_the_command_line_exports_what_takes_either(tmp_path: Path, taken: str) -> None:
    network, weights = reconet(4, "nearest")
    Style(StyleInfo(name="waves"), network, weights).save(tmp_path / "waves.safetensors")
    options = ["-o", str(tmp_path / "a.onnx"), *(["--input", taken] if taken else [])]
    CliRunner().invoke(make_app(), ["styles", "export", str(tmp_path / "waves.safetensors"), "--format", "onnx", *options])
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    (port, *_), torch = session.get_inputs(), backend("torch").painter(network, weights)
    assert (port.name, port.type) == (("image", "tensor(float)") if taken == "float32" else ("frames", "tensor(uint8)"))
    for size in SIZES:
        if taken == "float32":
            (found,), expected = session.run(None, {"image": images(*size)}), torch.run({"image": images(*size)})["crop"]
            np.testing.assert_allclose(found, expected, atol=1e-4)
        else:
            (found,), (expected,) = session.run(None, {"frames": pictures(*size)}), torch.paint(iter([pictures(*size)]))
            assert np.abs(found.astype(int) - expected).max() <= 1
        assert found.shape == expected.shape


def test_an_exported_file_says_what_it_is_and_older_programs_read_it(tmp_path: Path) -> None:
    exported(tmp_path / "a.onnx", identity_network(), IDENTITY_WEIGHTS)
    model = onnx.load(tmp_path / "a.onnx")
    assert {entry.key: entry.value for entry in model.metadata_props} == {"style": "candy", "licence": "CC0-1.0"}
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (8, [("", 18)])
    assert {"conv.weight", "conv.bias"} <= {tensor.name for tensor in model.graph.initializer}
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_what_cannot_be_exported_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    vgg = HOST.make_model("vgg16").network().prune(["relu1_2", "relu2_2"])
    with pytest.raises(EngineError, match=r"does not paint pictures; allowed: one input of 3 channels and one output"):
        export_style(Style(INFO, vgg, vgg.initial_weights(0)), path, "onnx")
    with pytest.raises(EngineError, match=r"weight 'conv\.weight' is missing"):
        export_style(Style(INFO, identity_network(), {}), path, "onnx")
    with pytest.raises(EngineError, match="cannot write here"):
        export_style(Style(INFO, identity_network(), IDENTITY_WEIGHTS), tmp_path / "absent/a.onnx", "onnx")
    path.write_bytes(b"what was there")
    with pytest.raises(EngineError, match=r"weight 'conv\.weight' is missing"):
        export_style(Style(INFO, identity_network(), {}), path, "onnx")
    assert path.read_bytes() == b"what was there"
    path.unlink()
    assert not list(tmp_path.iterdir())


def test_a_network_that_no_file_can_hold_is_refused_before_it_is_copied(tmp_path: Path) -> None:
    network = Network({"image": 3}, chain("image", {"wide": Conv2d(out_channels=24_000), "deep": Conv2d(out_channels=2_500)}), ("deep",))
    weights = {name: np.broadcast_to(np.float32(0), shape) for name, shape in network.weight_shapes().items()}
    said = r"this network's ONNX graph has 2\.16 GB; allowed: up to 2\.15 GB, the limit of the format\n  Export it as pth"
    tracemalloc.start()
    for taken in ("uint8", "float32"):
        with pytest.raises(EngineError, match=said):
            HOST.make_backend("onnx", settings={"export_input": taken}).export(network, weights, tmp_path / "a.onnx", metadata={})
    with pytest.raises(EngineError, match=said):
        next(backend("onnx").painter(network, weights).paint(iter([pictures(1, 8, 8)])))
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    assert not list(tmp_path.iterdir())


def test_all_that_is_in_a_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes, names and metadata too, and not much more than that."""
    network, weights = reconet(4, "nearest")
    exported(tmp_path / "a.onnx", network, weights)
    size = (tmp_path / "a.onnx").stat().st_size
    assert size > sum(x.nbytes for x in weights.values())
    monkeypatch.setattr("engine_onnx.model.MOST_BYTES", size - 1)
    with pytest.raises(EngineError, match="the limit of the format"):
        exported(tmp_path / "b.onnx", network, weights)
    assert not (tmp_path / "b.onnx").exists()
    monkeypatch.setattr("engine_onnx.model.MOST_BYTES", size + 20_000)
    exported(tmp_path / "b.onnx", network, weights)


def test_a_network_of_several_outputs_is_exported_as_float32(tmp_path: Path) -> None:
    vgg = HOST.make_model("vgg16").network().prune(["relu1_2", "relu2_2"])
    weights = vgg.initial_weights(0)
    session = exported(tmp_path / "a.onnx", vgg, weights, export_input="float32")
    found = session.run(list(vgg.outputs), {name: images(1, 20, 24) for name in vgg.inputs})
    expected = backend("torch").painter(vgg, weights).run({name: images(1, 20, 24) for name in vgg.inputs})
    for name, x in zip(vgg.outputs, found, strict=True):
        np.testing.assert_allclose(x, expected[name], atol=1e-4)


@pytest.mark.parametrize("upsample", ["nearest", "bilinear_asymmetric"])
def test_one_painter_paints_batches_of_many_sizes(upsample: str) -> None:
    network, weights = reconet(4, upsample)
    painter, torch = (backend(name).painter(network, weights) for name in ("onnx", "torch"))
    batches = [pictures(*size) for size in SIZES]
    for painted, expected in zip(painter.paint(iter(batches)), torch.paint(iter(batches)), strict=True):
        assert painted.dtype == np.uint8
        assert np.abs(painted.astype(int) - expected).max() <= 1
    for size in SIZES:
        found, expected = (p.run({"image": images(*size)}) for p in (painter, torch))
        assert found.keys() == expected.keys()
        np.testing.assert_allclose(found["crop"], expected["crop"], atol=1e-4)


def test_painting_is_exact_where_the_network_is() -> None:
    frames = pictures(2, 9, 13)[:, :, ::-1]  # negative strides
    (painted,) = backend("onnx").painter(identity_network(), IDENTITY_WEIGHTS).paint(iter([frames]))
    np.testing.assert_array_equal(painted, frames)


def test_a_picture_that_cannot_be_mirrored_is_an_error() -> None:
    network, weights = reconet(4, "nearest")
    painter = backend("onnx").painter(network, weights)
    with pytest.raises(EngineError, match=r"an image of 3x4 does not fit 'encoder\.0\.pad'"):
        painter.run({"image": images(1, 4, 3)})
    with pytest.raises(EngineError, match="too few to mirror"):
        next(painter.paint(iter([pictures(1, 3, 9)])))


class Halves(Layer):
    """A stranger's layer that computes with sizes."""

    name = "onnx_test_halves"

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        n, c, h, w = ops.shape(x[0])
        small = ops.resize(x[0], (h // 2, w // 2 + 1), "bilinear")
        mean = ops.sum(ops.reshape(small, (n, c, -1)), axis=2) / ((h // 2) * (w // 2 + 1))
        return ops.resize(small, (h, w), "nearest") * 0.5 + ops.reshape(mean, (n, c, 1, 1))


class Looks(Layer):
    """A stranger's layer that wants to know a size."""

    name = "onnx_test_looks"

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        return x[0] if ops.shape(x[0])[2] > 9 else ops.relu(x[0])


def test_a_strangers_layer_computes_with_free_sizes() -> None:
    network = Network({"image": 3}, chain("image", {"halves": Halves(), "relu": ReLU()}), ("relu",))
    painter, torch = (backend(name).painter(network, {}) for name in ("onnx", "torch"))
    for size in SIZES:
        np.testing.assert_allclose(painter.run({"image": images(*size)})["relu"], torch.run({"image": images(*size)})["relu"], atol=1e-5)


def test_a_strangers_layer_that_looks_at_a_free_size_is_refused() -> None:
    network = Network({"image": 3}, chain("image", {"conv": Conv2d(out_channels=3, kernel=1), "looks": Looks()}), ("looks",))
    with pytest.raises(EngineError, match="before the graph runs"):
        next(backend("onnx").painter(network, network.initial_weights(0)).paint(iter([pictures(1, 8, 8)])))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"precision": "bfloat16"}, "onnxruntime computes in float32 on a CPU, not in bfloat16; allowed: auto, float32"),
        ({"precision": "float16"}, "not in float16"),
        ({"device": "gpu:1"}, "the onnx backend has no device 'gpu:1'; allowed: auto, cpu"),
        ({"device": "ascend"}, "no device 'ascend'"),
    ],
)
def test_what_it_has_not_is_refused(settings: dict[str, str], said: str) -> None:
    refused = HOST.make_backend("onnx", **settings)  # type: ignore[arg-type]  # device and precision
    for use in (refused.describe, lambda: refused.painter(identity_network(), IDENTITY_WEIGHTS), lambda: refused.ops):
        with pytest.raises(EngineError, match=said):
            use()


def without(folder: Path, packages: set[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in ``folder`` as it runs where these packages are not installed."""
    hiding = f"""
import sys
class Hidden:
    def find_spec(name, path=None, target=None):
        if name in {packages}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden)
"""
    return subprocess.run([sys.executable, "-c", hiding + code], cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("absent", ["onnx", "onnxruntime"])
def test_one_package_without_the_other_is_no_backend(tmp_path: Path, absent: str) -> None:
    asks = "from engine.plugins import load_plugins; print(load_plugins().pick_backend())"
    assert without(tmp_path, {"torch", "mindspore", "openvino"}, asks).stdout == "onnx\n"
    assert "EngineError: no backend is installed" in without(tmp_path, {"torch", "mindspore", "openvino", absent}, asks).stderr
    if "mindspore" in BACKENDS:  # of less priority
        assert without(tmp_path, {"torch", "openvino", absent}, asks).stdout == "mindspore\n"


@pytest.mark.parametrize("absent", ["onnx", "onnxruntime"])
def test_asked_for_by_name_it_says_which_package_is_absent(tmp_path: Path, absent: str) -> None:
    identity_style(tmp_path / "same.safetensors")
    before = sorted(tmp_path.iterdir())
    said = f"error: the backend 'onnx' needs {absent}, which is not installed\n  Install it: pip install 'styleengine[onnx]'\n"
    commands = ["infer --style same.safetensors --backend onnx -o a.mp4", "styles export same.safetensors --format onnx"]
    for command in commands:
        done = without(tmp_path, {absent}, f"from engine.cli import main; main({command.split()})")
        assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
    shown = without(tmp_path, {absent}, "from engine.cli import main; main(['plugins', 'show', 'backend', 'onnx'])")
    assert "framework: onnxruntime and onnx, not installed: pip install 'styleengine[onnx]'\n" in shown.stdout
    doctor = without(tmp_path, {absent}, "from engine.cli import main; main(['doctor', '--json'])")
    assert json.loads(doctor.stdout)["backends"]["onnx"]["problem"] == f"{absent} is not installed"
    assert sorted(tmp_path.iterdir()) == before


def test_it_only_paints() -> None:
    with pytest.raises(EngineError, match="the backend 'onnx' only paints"):
        HOST.make_backend("onnx", training=True)
    assert HOST.pick_backend() != "onnx"  # torch is here too, and comes before it


@pytest.mark.parametrize(("asked", "threads"), [("3", 3), ("2,1", 2), ("", None), ("0", None), ("many", None)])
def test_threads_are_what_is_asked_for_or_what_the_process_has(monkeypatch: pytest.MonkeyPatch, asked: str, threads: int | None) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert cores() == (threads or len(os.sched_getaffinity(0)))

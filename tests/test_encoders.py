"""Both VGG16 encoders see what PyTorch's own layers see, and their weights are found in MindSpore's files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed import HOST, TRAINING, backend

from engine import Array, BatchNorm2d, Conv2d, MaxPool2d, Network, Normalize
from engine.ckpt import write_ckpt
from engine.testing import draw
from engine.weights import fetch_weights, list_cached, load_weights

torch = pytest.importorskip("torch") if "CI" not in os.environ else __import__("torch")  # in CI a skip is a failure
READ = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
CONVOLUTIONS = {0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40}  # of VGG16 with batch norm
WORDS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def made_up(network: Network) -> dict[str, Array]:
    """Weights that leave activations in size; no variance is 1, no mean 0."""
    weights = {}
    for name, shape in network.weight_shapes().items():
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) == 4 else 0.3
        weights[name] = draw(name, shape) * np.float32(scale)
        if name.endswith("running_var"):
            weights[name] = np.abs(weights[name]) + np.float32(0.5)
    return weights


def torchs_own(network: Network, weights: dict[str, Array], image: Array) -> dict[str, Array]:
    """The taps by torch.nn alone."""
    layers: list[Any] = []
    for node in network.nodes[1:]:
        if isinstance(node.layer, Conv2d):
            outputs, inputs = weights[f"{node.name}.weight"].shape[:2]
            layers.append(torch.nn.Conv2d(inputs, outputs, 3, padding=1))
        elif isinstance(node.layer, BatchNorm2d):
            layers.append(torch.nn.BatchNorm2d(weights[f"{node.name}.bias"].size))
        else:
            layers.append(torch.nn.MaxPool2d(2) if isinstance(node.layer, MaxPool2d) else torch.nn.ReLU())
    model = torch.nn.Sequential(*layers).eval()
    state = {name.removeprefix("features."): torch.from_numpy(x) for name, x in weights.items()}
    counters = {name: x for name, x in model.state_dict().items() if name.endswith("num_batches_tracked")}
    model.load_state_dict(state | counters)
    mean, std = (np.array(x, np.float32).reshape(3, 1, 1) for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    x, found = torch.from_numpy(((image + 1) / 2 - mean) / std), {}
    wanted = {int(node.split(".")[1]): tap for tap, node in network.taps.items()}
    with torch.no_grad():
        for index, layer in enumerate(model):
            x = layer(x)
            if index in wanted:
                found[wanted[index]] = x.numpy()
    return found


@pytest.mark.parametrize("backend_name", TRAINING)
@pytest.mark.parametrize("name", ["vgg16", "vgg16_bn"])
def test_every_tap_is_torchs(name: str, backend_name: str) -> None:
    network = HOST.make_model(name).network()
    assert isinstance(network.nodes[0].layer, Normalize)
    weights, image = made_up(network), np.tanh(draw("picture", (1, 3, 33, 38)))
    wanted = torchs_own(network, weights, image)
    assert set(wanted) == set(network.taps)
    used = backend(backend_name)
    tensors = {key: used.ops.asarray(x) for key, x in weights.items()}
    found = network.apply(used.ops, tensors, {"image": used.ops.asarray(image)}, keep=network.taps, native=used.native)
    for tap, x in wanted.items():
        assert 0.05 < (x > 0).mean() < 0.95
        np.testing.assert_allclose(used.ops.to_numpy(found[tap]), x, atol=1e-4 * np.abs(x).max(), err_msg=tap)


def test_the_encoder_that_reconets_publishers_cut_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written as theirs is described: MindSpore's names, no more than relu4_3 needs."""
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    model, said = HOST.make_model("vgg16"), list[str]()
    weights = {name: x for name, x in made_up(model.network()).items() if int(name.split(".")[1]) <= 21}
    write_ckpt(tmp_path / "vgg16_for_reconet.ckpt", {name.replace("features", "layers"): x for name, x in weights.items()})
    fetch_weights(model, file=tmp_path / "vgg16_for_reconet.ckpt", unchecked=True, report=said.append)
    assert "end at relu4_3" in said[-1]
    assert list_cached()[0].origin.endswith("/vision/reconet/vgg16_for_reconet.ckpt")
    found = load_weights(model, network=model.network().prune(READ))
    assert set(found) == set(weights)
    assert all(np.array_equal(found[name], x) for name, x in weights.items())


@pytest.mark.parametrize("biased", [True, False])
def test_the_model_zoos_batch_norm_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, biased: bool) -> None:
    """Written by MindSpore, with the layers of its model zoo's VGG16 and something of what lies behind them."""
    mindspore = pytest.importorskip("mindspore") if "CI" not in os.environ else __import__("mindspore")
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    model, cells = HOST.make_model("vgg16_bn"), list[object]()
    weights = made_up(model.network())
    for node in model.network().nodes[1:]:
        channels = model.network().shapes(32, 32)[node.name][0]
        if isinstance(node.layer, Conv2d):
            inputs = weights[f"{node.name}.weight"].shape[1]
            cells.append(mindspore.nn.Conv2d(inputs, channels, 3, pad_mode="pad", padding=1, has_bias=biased))
        else:
            cells.append(mindspore.nn.BatchNorm2d(channels) if isinstance(node.layer, BatchNorm2d) else mindspore.nn.ReLU())
    theirs = {in_their_words(name): x for name, x in weights.items() if biased or not is_bias(name)}
    assert {f"layers.{name}" for name in mindspore.nn.SequentialCell(cells).parameters_dict()} == set(theirs)
    theirs["classifier.6.bias"] = np.ones(1000, np.float32)
    records = [{"name": name, "data": mindspore.Tensor(x)} for name, x in theirs.items()]
    mindspore.save_checkpoint(records, str(tmp_path / "vgg16_bn.ckpt"))
    fetch_weights(model, file=tmp_path / "vgg16_bn.ckpt", unchecked=True, report=lambda line: None)
    found = load_weights(model, report=lambda line: None)
    assert set(found) == set(weights)
    for name, x in weights.items():
        np.testing.assert_array_equal(found[name], x if biased or not is_bias(name) else np.zeros_like(x), err_msg=name)


def is_bias(name: str) -> bool:
    _, number, key = name.split(".")
    return key == "bias" and int(number) in CONVOLUTIONS


def in_their_words(name: str) -> str:
    _, number, key = name.split(".")
    return f"layers.{number}.{key if int(number) in CONVOLUTIONS else WORDS[key]}"

"""The models' descriptions: RECONET.md's numbers, names and sizes, without a framework."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Conv2d, EngineError, InstanceNorm2d, Network, Pad, Upsample2d
from engine.plugins import load_plugins

HOST = load_plugins()


def reconet(**settings: object) -> Network:
    return HOST.make_model("reconet", settings).network()


@pytest.fixture(scope="module")
def vgg16() -> Network:
    return HOST.make_model("vgg16").network()


@pytest.mark.parametrize(
    ("width", "blocks", "parameters", "gmac"),
    [(48, 4, 3_098_307, 67.5), (32, 5, 1_679_235, 35.4), (24, 3, 615_459, 15.8), (16, 3, 276_675, 7.6)],
)
def test_parameters_and_work_of_the_published_widths(width: int, blocks: int, parameters: int, gmac: float) -> None:
    network = reconet(width=width, residual_blocks=blocks)
    assert network.parameters() == parameters
    assert round(network.gmac(360, 640), 1) == gmac


def test_parameters_of_the_paper_width_counted_by_hand() -> None:
    def block(i: int, o: int, k: int) -> int:
        return i * o * k * k + o + 2 * o  # kernel, bias, affine instance norm

    encoder = block(3, 48, 9) + block(48, 96, 3) + block(96, 192, 3)
    decoder = block(192, 96, 3) + block(96, 48, 3) + 48 * 3 * 81 + 3
    assert reconet().parameters() == encoder + 4 * 2 * block(192, 192, 3) + decoder == 3_098_307


def test_the_table_of_blocks_at_640x360() -> None:
    network = reconet()
    shapes = network.shapes(360, 640)
    assert shapes["encoder.0.relu"] == (48, 360, 640)
    assert shapes["encoder.1.relu"] == (96, 180, 320)
    assert shapes["encoder.2.relu"] == (192, 90, 160)
    assert all(shapes[f"residual.{i}.relu"] == (192, 90, 160) for i in range(4))
    assert shapes["decoder.0.relu"] == (96, 180, 320)
    assert shapes["decoder.1.relu"] == (48, 360, 640)
    assert shapes["decoder.2.tanh"] == shapes["crop"] == (3, 360, 640)
    assert network.outputs == ("crop",)
    assert dict(network.inputs) == {"image": 3}
    assert (network.low, network.high) == (-1.0, 1.0)
    assert dict(network.taps) == {"features": "residual.3.relu"}


def test_convolutions_pad_by_reflection_and_norms_follow_all_but_the_last() -> None:
    nodes = reconet().nodes
    by_name = {node.name: node for node in nodes}
    convolutions = [node for node in nodes if isinstance(node.layer, Conv2d)]
    assert len(convolutions) == 14
    for node in convolutions:
        assert isinstance(node.layer, Conv2d)
        pad = by_name[node.inputs[0]].layer
        assert isinstance(pad, Pad)
        assert (pad.mode, pad.amount, node.layer.padding, node.layer.bias) == ("reflect", node.layer.kernel // 2, 0, True)
    normed = {node.inputs[0] for node in nodes if isinstance(node.layer, InstanceNorm2d)}
    assert [node.name for node in convolutions if node.name not in normed] == ["decoder.2.conv"]
    assert all(node.layer.eps == 1e-5 for node in nodes if isinstance(node.layer, InstanceNorm2d))


def test_a_residual_block_adds_before_its_last_relu() -> None:
    by_name = {node.name: node for node in reconet().nodes}
    assert by_name["residual.1.add"].inputs == ("residual.0.relu", "residual.1.norm2")
    assert by_name["residual.1.relu"].inputs == ("residual.1.add",)


@given(st.integers(5, 200), st.integers(5, 200))
@settings(max_examples=30)
def test_every_size_is_kept_and_works_on_multiples_of_four(height: int, width: int) -> None:
    shapes = reconet(width=2, residual_blocks=1).shapes(height, width)
    assert shapes["crop"] == (3, height, width)
    assert shapes["decoder.2.tanh"] == (3, -(-height // 4) * 4, -(-width // 4) * 4)
    assert shapes["residual.0.relu"] == (8, -(-height // 4), -(-width // 4))


@pytest.mark.parametrize("size", [(4, 64), (64, 3), (1, 1)])
def test_a_side_under_five_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(EngineError, match=f"{size[1]}x{size[0]}"):
        reconet().shapes(*size)


def test_upsampling_is_a_setting() -> None:
    modes = {node.layer.mode for node in reconet(upsample="bilinear_asymmetric").nodes if isinstance(node.layer, Upsample2d)}
    assert modes == {"bilinear_asymmetric"}
    with pytest.raises(EngineError, match="upsample"):
        reconet(upsample="bilinear")


def test_a_network_comes_back_from_its_description() -> None:
    network = reconet(width=8, residual_blocks=2)
    assert Network.from_json(network.to_json()) == network


def test_weights_are_drawn_by_name_and_seed() -> None:
    first, deeper = reconet(width=4, residual_blocks=1).initial_weights(7), reconet(width=4, residual_blocks=2).initial_weights(7)
    assert "encoder.0.conv.weight" in first
    assert all(np.array_equal(x, deeper[name]) for name, x in first.items())
    assert not np.array_equal(first["residual.0.conv1.weight"], first["residual.0.conv2.weight"])


def test_vgg16_is_torchvisions_features(vgg16: Network) -> None:
    convolutions = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert list(vgg16.weight_shapes()) == [f"features.{i}.{part}" for i in convolutions for part in ("weight", "bias")]
    assert vgg16.parameters() == 14_714_688
    assert round(vgg16.gmac(224, 224), 2) == 15.35
    wanted = {
        "relu1_2": "features.3",
        "relu2_2": "features.8",
        "relu3_3": "features.15",
        "relu4_3": "features.22",
        "relu5_3": "features.29",
    }
    assert wanted.items() <= dict(vgg16.taps).items()
    assert len(vgg16.taps) == 13
    assert vgg16.shapes(224, 224)["features.22"] == (512, 28, 28)


def test_the_encoder_up_to_a_tap_holds_nothing_beyond_it(vgg16: Network) -> None:
    short = vgg16.prune(["relu1_2", "relu3_3"])
    assert short.outputs == ("features.3", "features.15")
    assert short.nodes[-1].name == "features.15"


def test_vgg16_with_batch_norm_is_torchvisions_features() -> None:
    network = HOST.make_model("vgg16_bn").network()
    convolutions = [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]
    norms = ["weight", "bias", "running_mean", "running_var"]
    wanted = [
        [f"features.{i}.{part}" for part in ("weight", "bias")] + [f"features.{i + 1}.{part}" for part in norms] for i in convolutions
    ]
    assert list(network.weight_shapes()) == [name for names in wanted for name in names]
    assert network.parameters() == 14_714_688 + 2 * 4_224  # weight and bias of each normalised channel
    assert round(network.gmac(224, 224), 2) == 15.35
    taps = {"relu1_2": "features.5", "relu2_2": "features.12", "relu3_3": "features.22", "relu4_3": "features.32", "relu5_3": "features.42"}
    assert taps.items() <= dict(network.taps).items()
    assert list(network.taps) == list(HOST.make_model("vgg16").network().taps)
    assert network.shapes(224, 224)["features.32"] == (512, 28, 28)


@pytest.mark.parametrize("name", ["vgg16", "vgg16_bn"])
def test_every_source_names_every_weight_and_only_what_has_a_sum_is_fetched(name: str) -> None:
    model = HOST.make_model(name)
    sources = model.sources()
    for source in sources:
        assert list(source.names) == list(model.network().weight_shapes())
        assert len(set(source.names.values())) == len(source.names)
        assert source.by_hand or len(source.sha256) == 64
    assert not sources[0].by_hand


def test_loading_the_models_imports_no_framework() -> None:
    code = "import sys, engine.models; print(sorted({'torch', 'mindspore', 'openvino', 'cv2', 'av'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"

"""The model and its layer keep their contracts; and the network is the small one that it claims to be."""

import math

from unet_model import SeparableUNet
from unet_model.layer import SeparableConv2d

from engine.testing import LayerContract, ModelContract


class TestSeparableUNet(ModelContract):
    """A narrow one."""

    component = SeparableUNet
    settings = {"width": 4}


class TestSeparableConv2d(LayerContract):
    """As in the network."""

    component = SeparableConv2d
    settings = {"out_channels": 5}


class TestStride(LayerContract):
    """Downwards."""

    component = SeparableConv2d
    settings = {"out_channels": 4, "stride": 2}


def test_a_fraction_of_whole_convolutions() -> None:
    network = SeparableUNet(width=32).network()
    shapes = network.shapes(64, 64)
    whole = sum(
        9 * shapes[node.inputs[0]][0] * math.prod(shapes[node.name]) for node in network.nodes if isinstance(node.layer, SeparableConv2d)
    )
    assert network.gmac(64, 64) < whole / 1e9 / 4


def test_skips_join_both_sizes() -> None:
    joins = {node.name: node.inputs for node in SeparableUNet().network().nodes if node.layer.name == "concat"}
    assert joins == {"join_half": ("up_half", "half.relu"), "join_full": ("up_full", "full.relu")}

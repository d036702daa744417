"""Convolutions that are computed another way than they are written, and nodes that become one, against the plain form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from installed import BACKENDS, HOST, backend

from engine import Array, Conv2d, Layer, Network, Node, Pad, ReLU, Upsample2d, UpsampledConv2d, chain, fuse
from engine.testing import OracleOps

SIZES = ((2, 9, 14), (1, 12, 11))
"""Batch, height, width."""


def images(n: int, h: int, w: int) -> Array:
    return np.random.default_rng(h).uniform(-1, 1, (n, 3, h, w)).astype(np.float32)


def oracle(network: Network, weights: dict[str, Array], image: Array) -> Array:
    (found,) = network.apply(OracleOps(), {key: x.astype(np.float64) for key, x in weights.items()}, {"image": np.float64(image)}).values()
    return np.asarray(found)


def doubled(**others: Layer) -> Network:
    layers = {"up": Upsample2d(), "pad": Pad(amount=1), "conv": Conv2d(out_channels=5), "relu": ReLU()} | others
    return Network({"image": 3}, chain("image", layers), ("relu",))


@pytest.mark.parametrize("name", [name for name in BACKENDS if name in ("torch", "openvino")])
@pytest.mark.parametrize("width", [1, 7])
@pytest.mark.parametrize("pad", [Pad(amount=1), Pad(amount=1, mode="constant"), Pad(amount=2)], ids=str)
@pytest.mark.parametrize("conv", [{}, {"bias": False}, {"kernel": 9, "padding": 4}, {"kernel": 2}, {"stride": 2}], ids=str)
def test_whatever_comes_near_those_that_are_computed_another_way(name: str, width: int, pad: Pad, conv: dict[str, Any]) -> None:
    layer = Conv2d(out_channels=width, **conv)
    for network in (doubled(pad=pad, conv=layer), Network({"image": 3}, chain("image", {"conv": layer}), ("conv",))):
        weights = network.initial_weights(3)
        painter = backend(name).painter(network, weights)
        for size in SIZES:
            (found,) = painter.run({"image": images(*size)}).values()
            np.testing.assert_allclose(found, oracle(network, weights, images(*size)), atol=2e-5)


def test_reconet_keeps_its_function_and_its_weights() -> None:
    network = HOST.make_model("reconet", {"width": 4, "residual_blocks": 1}).network()
    fused, weights = fuse(network), network.initial_weights(1)
    assert sum(isinstance(node.layer, UpsampledConv2d) for node in fused.nodes) == 2
    assert len(fused.nodes) == len(network.nodes) - 4
    assert fused.weight_shapes() == network.weight_shapes()
    assert fused.gmac(40, 60) == network.gmac(40, 60)
    assert fused.shapes(22, 30)[fused.outputs[0]] == (3, 22, 30)
    image = images(1, 22, 30)
    np.testing.assert_allclose(oracle(fused, weights, image), oracle(network, weights, image), atol=1e-12)


@pytest.mark.parametrize(
    "network",
    [
        doubled(up=Upsample2d(mode="bilinear")),
        doubled(up=Upsample2d(factor=3)),
        doubled(pad=Pad(amount=1, mode="constant")),
        doubled(pad=Pad(amount=2)),
        doubled(conv=Conv2d(out_channels=5, kernel=5)),
        doubled(conv=Conv2d(out_channels=5, stride=2)),
        doubled(conv=Conv2d(out_channels=5, padding=1)),
        doubled(conv=Conv2d(out_channels=3, groups=3)),
        replace(doubled(), outputs=("relu", "up")),
        replace(doubled(), taps={"features": "pad"}),
        replace(doubled(), nodes=(*doubled().nodes, Node("again", Conv2d(out_channels=2), ("pad",))), outputs=("relu", "again")),
    ],
    ids=["bilinear", "by 3", "zeros", "margin of 2", "5x5", "stride", "padding", "groups", "an output", "a tap", "read twice"],
)
def test_what_is_not_the_same_or_is_read_elsewhere_stays(network: Network) -> None:
    assert fuse(network) == network
    assert fuse(doubled()) != doubled()

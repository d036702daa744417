"""How the MindSpore backend paints on a CPU: graphs that come and go, and upsampling that is one with its convolution."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from installed import HOST, backend

from engine import Array, Conv2d, Layer, Network, Node, Ops, Pad, ReLU, Shape, Tensor, Upsample2d
from engine.testing import OracleOps

if "CI" not in os.environ:
    pytest.importorskip("mindspore")

from engine_mindspore.compiled import RecentGraphs
from engine_mindspore.upsampling import bordered, convolve_upsampled, is_upsampled_convolution, square_kernels
from mindspore.graph import jit_trace

NODES = (Node("up", Upsample2d(), ("image",)), Node("pad", Pad(amount=1), ("up",)), Node("conv", Conv2d(out_channels=3), ("pad",)))
UPSAMPLED = Network({"image": 2}, NODES, ("conv",), {})
RECONET = HOST.make_model("reconet", {"width": 4, "residual_blocks": 1}).network()


def picture(height: int, width: int) -> Array:
    return np.random.default_rng(0).normal(size=(2, 2, height, width)).astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4), (3, 1), (5, 4)])
def test_an_upsampled_convolution_is_what_its_layers_are(height: int, width: int) -> None:
    ops, oracle, weights = backend("mindspore").ops, OracleOps(), UPSAMPLED.initial_weights(0)
    x = picture(height, width)
    wanted = UPSAMPLED.apply(oracle, {name: oracle.asarray(w) for name, w in weights.items()}, {"image": oracle.asarray(x)})["conv"]
    kernels = ops.asarray(square_kernels(weights["conv.weight"]))
    found = convolve_upsampled(kernels, ops.asarray(weights["conv.bias"]), bordered(ops.asarray(x)))
    np.testing.assert_allclose(ops.to_numpy(found), oracle.to_numpy(wanted), atol=1e-6)


@pytest.mark.parametrize(
    "nodes",
    [
        NODES[1:],
        (replace(NODES[0], layer=Upsample2d(factor=3)), *NODES[1:]),
        (replace(NODES[0], layer=Upsample2d(mode="bilinear_asymmetric")), *NODES[1:]),
        (NODES[0], replace(NODES[1], layer=Pad(amount=1, mode="constant")), NODES[2]),
        (NODES[0], replace(NODES[1], inputs=("image",)), NODES[2]),
        *(
            (*NODES[:2], replace(NODES[2], layer=Conv2d(out_channels=2, **other)))
            for other in ({"kernel": 5}, {"stride": 2}, {"bias": False})
        ),
    ],
)
def test_nothing_else_is_taken_for_one(nodes: tuple[Node, ...]) -> None:
    assert is_upsampled_convolution(NODES)
    assert not is_upsampled_convolution(nodes)


@pytest.mark.parametrize("outputs", [("conv",), ("up", "conv"), ("pad", "conv")])
def test_what_is_upsampled_can_be_an_output_too(outputs: tuple[str, ...]) -> None:
    network, x = replace(UPSAMPLED, outputs=outputs), picture(4, 6)
    weights, oracle = network.initial_weights(0), OracleOps()
    wanted = network.apply(oracle, {name: oracle.asarray(w) for name, w in weights.items()}, {"image": oracle.asarray(x)})
    found = backend("mindspore").painter(network, weights).run({"image": x})
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, oracle.to_numpy(wanted[name]), atol=1e-6)


def test_graphs_of_what_was_painted_lately_are_kept() -> None:
    gc.collect()  # what other tests have left is not counted
    ops, recent, traced = backend("mindspore").ops, RecentGraphs(most=2), []

    def doubled(x: Tensor) -> tuple[Tensor, ...]:
        traced.append(ops.shape(x))
        return (x * 2,)

    kept = len(jit_trace._trace_compile_cache)
    for size in (1, 2, 2, 3, 1):
        (y,) = recent.of(size).run("doubled", doubled, ops.asarray(np.arange(size, dtype=np.float32)))
        np.testing.assert_array_equal(ops.to_numpy(y), 2 * np.arange(size))
    assert traced == [(1,), (2,), (3,), (1,)]  # that of 1 was let go for that of 3
    assert len(jit_trace._trace_compile_cache) == kept + 2


def test_what_a_graph_gave_outlives_it() -> None:
    ops, recent = backend("mindspore").ops, RecentGraphs(most=1)
    given = [recent.of(size).run("half", lambda x: (x / 2,), ops.asarray(np.full(size, size)))[0] for size in (1000, 2000, 3000)]
    assert [float(ops.to_numpy(x).mean()) for x in given] == [500, 1000, 1500]


def test_a_second_painter_of_a_backend_compiles_nothing_anew() -> None:
    """So do previews, each with a painter of its own; and the graphs that they share keep none of them alive."""
    host = HOST.make_backend("mindspore", device="cpu")
    frames = np.random.default_rng(0).integers(0, 256, (1, 8, 12, 3), np.uint8)
    painted, counts, painters = [], [], []
    gc.collect()
    for seed in (0, 0, 1):
        painter = host.painter(RECONET, RECONET.initial_weights(seed))
        painted.append(next(painter.paint(iter([frames]))))
        counts.append(len(jit_trace._trace_compile_cache))
        painters.append(weakref.ref(painter))
    assert counts[0] == counts[1] == counts[2]
    np.testing.assert_array_equal(painted[0], painted[1])
    assert (painted[1] != painted[2]).any()
    del painter
    gc.collect()
    assert [reference() for reference in painters] == [None] * 3


def test_many_sizes_take_no_more_memory_than_two() -> None:
    host = HOST.make_backend("mindspore", device="cpu")
    painter, counts = host.painter(RECONET, RECONET.initial_weights(0)), []
    gc.collect()
    for size in range(8, 16, 2):
        next(painter.paint(iter([np.zeros((1, size, 12, 3), np.uint8)])))
        counts.append(len(jit_trace._trace_compile_cache))
    assert counts[0] < counts[1] == counts[2] == counts[3]


class Halved(Conv2d):
    """A convolution with half of its weights."""

    name = "test_halved"

    def apply(self, ops: Ops, weights: Mapping[str, Tensor], *x: Tensor) -> Tensor:
        return super().apply(ops, {key: value * 0.5 for key, value in weights.items()}, *x)


class Whitened(ReLU):
    """A ReLU that looks at all channels."""

    name = "test_whitened"
    shifts: list[float] = [0.0]

    def apply(self, ops: Ops, weights: Mapping[str, Tensor], *x: Tensor) -> Tensor:
        return super().apply(ops, weights, x[0] - ops.mean(x[0], axis=1, keepdims=True))


class Dilated(Conv2d):
    """A 3x3 convolution whose weights lie two pixels apart."""

    name = "test_dilated"

    def shape(self, *shapes: Shape) -> Shape:
        return (self.out_channels, shapes[0][1] - 4, shapes[0][2] - 4)

    def apply(self, ops: Ops, weights: Mapping[str, Tensor], *x: Tensor) -> Tensor:
        weight = weights["weight"]
        for axis in (2, 3):
            rows = [weight[:, :, i : i + 1] if axis == 2 else weight[..., i : i + 1] for i in range(3)]
            gap = ops.zeros_like(rows[0])
            weight = ops.concat([rows[0], gap, rows[1], gap, rows[2]], axis)
        return ops.conv2d(x[0], weight, weights["bias"])


@pytest.mark.parametrize("layer", [Halved(out_channels=3), Whitened(), Dilated(out_channels=3)], ids=lambda layer: layer.name)
def test_a_layer_that_derives_from_one_of_ours_is_itself(layer: Layer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where pictures are large: in bands, and a few channels at a time."""
    monkeypatch.setattr("engine_mindspore.convolution.MOST_ELEMENTS", 2**10)
    monkeypatch.setattr("engine_mindspore.painter.MOST_IMAGE", 2**7)
    network = Network({"image": 2}, (*NODES[:2], Node("own", layer, ("pad",))), ("own",), {})
    weights, oracle, x = network.initial_weights(0), OracleOps(), picture(8, 10)
    wanted = network.apply(oracle, {name: oracle.asarray(w) for name, w in weights.items()}, {"image": oracle.asarray(x)})["own"]
    found = backend("mindspore").painter(network, weights).run({"image": x})["own"]
    np.testing.assert_allclose(found, oracle.to_numpy(wanted), atol=1e-5)


@pytest.mark.parametrize("amount", [3, 4])
def test_mirroring_more_than_there_is_is_an_error(amount: int) -> None:
    ops = backend("mindspore").ops
    with pytest.raises((ValueError, RuntimeError)):
        ops.to_numpy(ops.pad(ops.asarray(np.zeros((1, 1, 3, 3))), (amount, 0, 0, 0), "reflect"))

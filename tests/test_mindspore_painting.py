"""How the MindSpore backend paints on a CPU: graphs that come and go, and upsampling that is one with its convolution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from installed import BACKENDS, HOST, backend

from engine import Array, Conv2d, Network, Node, Pad, Tensor, Upsample2d
from engine.testing import OracleOps

if "mindspore" not in BACKENDS:
    pytest.skip("mindspore is not installed", allow_module_level=True)

from engine_mindspore.compiled import Graphs
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


def test_graphs_come_and_go_and_compute_the_same() -> None:
    ops, graphs, traced = backend("mindspore").ops, Graphs(most=2), []

    def doubled(x: Tensor) -> tuple[Tensor, ...]:
        traced.append(ops.shape(x))
        return (x * 2,)

    kept = len(jit_trace._trace_compile_cache)
    for size in (1, 2, 2, 3, 1):
        (y,) = graphs.run("doubled", doubled, ops.asarray(np.arange(size, dtype=np.float32)))
        np.testing.assert_array_equal(ops.to_numpy(y), 2 * np.arange(size))
    assert traced == [(1,), (2,), (3,), (1,)]  # that of 1 was let go for that of 3
    assert len(graphs) == 2
    assert len(jit_trace._trace_compile_cache) == kept + 2
    del graphs
    assert len(jit_trace._trace_compile_cache) == kept


def test_what_a_graph_gave_outlives_it() -> None:
    ops, graphs = backend("mindspore").ops, Graphs(most=1)
    given = [graphs.run("half", lambda x: (x / 2,), ops.asarray(np.full(size, size)))[0] for size in (1000, 2000, 3000)]
    assert [float(ops.to_numpy(x).mean()) for x in given] == [500, 1000, 1500]


def test_a_second_painter_of_a_backend_compiles_nothing_anew() -> None:
    """So do previews, each with a painter of its own."""
    host = HOST.make_backend("mindspore", device="cpu")
    frames = np.random.default_rng(0).integers(0, 256, (1, 8, 12, 3), np.uint8)
    painted, counts = [], []
    for seed in (0, 0, 1):
        painter = host.painter(RECONET, RECONET.initial_weights(seed))
        painted.append(next(painter.paint(iter([frames]))))
        counts.append(len(jit_trace._trace_compile_cache))
    assert counts[0] == counts[1] == counts[2]
    np.testing.assert_array_equal(painted[0], painted[1])
    assert (painted[1] != painted[2]).any()

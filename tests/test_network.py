"""A network as data: what it refuses, and what it computes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from installed import BACKENDS, HOST, backend
from small_network import run, small

from engine import Add, Array, Concat, Conv2d, EngineError, InstanceNorm2d, Layer, MaxPool2d, Network, Node, ReLU, Tanh, chain, residual
from engine.testing import OracleOps, draw


def test_chain_and_residual() -> None:
    relu, tanh = ReLU(), Tanh()
    assert chain("x", {"a": relu, "b": tanh}) == (Node("a", relu, ("x",)), Node("b", tanh, ("a",)))
    nodes = residual("x", "r", [("a", relu), ("b", tanh)])
    assert nodes == (Node("r.a", relu, ("x",)), Node("r.b", tanh, ("r.a",)), Node("r.add", Add(), ("x", "r.b")))


def test_residual_adds_its_source() -> None:
    network = Network({"x": 1}, residual("x", "r", [("relu", ReLU())]), ("r.add",))
    x = draw("x", (1, 1, 3, 3))
    np.testing.assert_allclose(run(network, {"x": x})["r.add"], x + np.maximum(x, 0))


@pytest.mark.parametrize("size", [(5, 7), (8, 8), (6, 9)])
def test_shapes_are_what_comes_out(size: tuple[int, int]) -> None:
    network = small()
    every = tuple(node.name for node in network.nodes)
    shapes = network.shapes(*size)
    values = run(network, {"image": draw("image", (2, 3, *size))}, keep=every)
    assert {name: values[name].shape[1:] for name in every} == {name: shapes[name] for name in every}
    assert shapes["crop"] == (3, *size)


def test_too_small_an_image_names_the_node_and_the_size() -> None:
    network = Network({"image": 3}, chain("image", {"pool": MaxPool2d(), "conv": Conv2d(out_channels=2, kernel=9)}), ("conv",))
    assert network.shapes(18, 18)["conv"] == (2, 1, 1)
    with pytest.raises(EngineError, match="an image of 20x16 does not fit 'conv': 8x10 pixels are smaller"):
        network.shapes(16, 20)


def test_weight_shapes_and_parameters() -> None:
    network = small()
    assert network.weight_shapes() == {
        "down.weight": (4, 3, 3, 3),
        "down.bias": (4,),
        "block.conv.weight": (4, 4, 3, 3),
        "block.conv.bias": (4,),
        "block.norm.weight": (4,),
        "block.norm.bias": (4,),
        "last.weight": (3, 4, 3, 3),
        "last.bias": (3,),
    }
    assert network.parameters() == 108 + 4 + 144 + 4 + 4 + 4 + 108 + 3


def test_multiply_accumulates() -> None:
    macs = 108 * 4 * 5 + 144 * 4 * 5 + 108 * 8 * 10  # weights times output pixels of the three convolutions
    assert small().gmac(8, 10) == pytest.approx(macs / 1e9, rel=1e-12)
    grouped = Network({"x": 4}, chain("x", {"conv": Conv2d(out_channels=8, groups=4, padding=1)}), ("conv",))
    assert grouped.gmac(5, 6) == pytest.approx(8 * 1 * 9 * 30 / 1e9, rel=1e-12)


def test_initial_weights_are_deterministic_and_within_bounds() -> None:
    network = small()
    first, again, other = network.initial_weights(7), network.initial_weights(7), network.initial_weights(8)
    assert list(first) == list(network.weight_shapes())
    for name, x in first.items():
        assert x.dtype == np.float32
        assert x.tobytes() == again[name].tobytes()
    assert not np.array_equal(first["down.weight"], other["down.weight"])
    for name, inputs in (("down", 27), ("block.conv", 36), ("last", 36)):
        for key in ("weight", "bias"):
            assert np.abs(first[f"{name}.{key}"]).max() <= inputs**-0.5
        assert np.abs(first[f"{name}.weight"]).max() > 0.9 * inputs**-0.5
    assert (first["block.norm.weight"] == 1).all()
    assert (first["block.norm.bias"] == 0).all()


def test_initial_weights_are_torchs_by_distribution() -> None:
    wide = Network({"x": 64}, chain("x", {"conv": Conv2d(out_channels=64)}), ("conv",))
    weight = wide.initial_weights(0)["conv.weight"]
    bound = (64 * 9) ** -0.5
    assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert abs(weight.mean()) < 0.01 * bound


def test_adding_a_node_changes_no_other_weight() -> None:
    network = small()
    longer = Network(network.inputs, (*network.nodes, *chain("crop", {"more": Conv2d(out_channels=1)})), ("more",))
    weights = longer.initial_weights(0)
    for name, x in network.initial_weights(0).items():
        np.testing.assert_array_equal(weights[name], x)


def test_same_named_layers_elsewhere_draw_other_weights() -> None:
    weights = Network({"x": 2}, chain("x", {"a": Conv2d(out_channels=2), "b": Conv2d(out_channels=2)}), ("b",)).initial_weights(0)
    assert not np.array_equal(weights["a.weight"], weights["b.weight"])


def test_prune_keeps_what_is_needed_and_no_more() -> None:
    network = small()
    early = network.prune(["early"])
    assert [node.name for node in early.nodes] == ["even", "down", "relu"]
    assert early.outputs == ("relu",)
    assert early.taps == {"early": "relu"}
    both = network.prune(["features", "early"])
    assert both.outputs == ("block.add", "relu")
    assert both.nodes[-1].name == "block.add"
    image = draw("image", (1, 3, 6, 6))
    whole = run(network, {"image": image}, keep=("early", "features"))
    part = run(both, {"image": image}, keep=("early", "features"))
    for tap in ("early", "features"):
        np.testing.assert_array_equal(part[tap], whole[tap])


def test_prune_of_what_is_not_there() -> None:
    with pytest.raises(EngineError, match=r"no tap or node is called 'deep'.*allowed: early, features"):
        small().prune(["deep"])


@given(data=st.data())
@settings(max_examples=25)
def test_parts_run_one_after_another_come_to_the_same(data: st.DataObject) -> None:
    network = HOST.make_model("reconet", {"width": 2, "residual_blocks": 1}).network()
    at = data.draw(st.sets(st.sampled_from([node.name for node in network.nodes])))
    weights, image = network.initial_weights(0), draw("an image", (1, 3, 12, 16))
    parts = network.cut(at)
    assert [node for part in parts for node in part.nodes] == list(network.nodes)
    assert {part.nodes[0].name for part in parts} == at | {network.nodes[0].name}
    assert {name for part in parts for name in part.weight_shapes()} == set(weights)
    values: dict[str, Array] = {"image": image}
    for part in parts:
        values |= part.apply(OracleOps(), weights, {name: values[name] for name in part.inputs})
    whole = network.apply(OracleOps(), weights, {"image": image})
    for name in network.outputs:
        np.testing.assert_array_equal(values[name], whole[name])


def test_a_part_knows_its_shapes_for_one_size_alone() -> None:
    *_, last = HOST.make_model("reconet", {"width": 2, "residual_blocks": 1}).network().cut({"decoder.2.conv"})
    assert last.shapes(256, 256)["decoder.2.conv"] == (3, 256, 256)
    with pytest.raises(EngineError, match="256x256 alone"):
        last.shapes(64, 64)


def test_apply_returns_outputs_and_what_is_kept() -> None:
    image = {"image": draw("image", (1, 3, 6, 6))}
    assert set(run(small(), image)) == {"crop"}
    values = run(small(), image, keep=("features", "block.add", "relu"))
    assert set(values) == {"crop", "features", "block.add", "relu"}
    np.testing.assert_array_equal(values["features"], values["block.add"])


def test_apply_uses_native_forms_of_exactly_that_layer() -> None:
    ops, network = OracleOps(), small()
    weights = {name: ops.asarray(x) for name, x in network.initial_weights(0).items()}
    seen: list[tuple[Layer, set[str]]] = []

    def norm(layer: Layer, own: dict[str, Array], x: Array) -> Array:
        seen.append((layer, set(own)))
        return x * 0

    image = {"image": np.float64(draw("image", (1, 3, 6, 6)))}
    values = network.apply(ops, weights, image, keep=("early", "features"), native={InstanceNorm2d: norm})
    assert seen == [(InstanceNorm2d(), {"weight", "bias"})]
    np.testing.assert_array_equal(values["features"], values["early"])  # the branch is gone


@pytest.mark.parametrize("name", BACKENDS)
def test_backends_run_it_as_the_oracle_does(name: str) -> None:
    host, network = backend(name), small()
    image, weights = draw("image", (2, 3, 7, 9)), network.initial_weights(3)
    expected = run(network, {"image": image}, seed=3)["crop"]
    tensors = {key: host.ops.asarray(x) for key, x in weights.items()}
    for native in (None, host.native):
        found = network.apply(host.ops, tensors, {"image": host.ops.asarray(image)}, native=native)["crop"]
        np.testing.assert_allclose(host.ops.to_numpy(found), expected, atol=1e-5)


def test_several_inputs_and_outputs() -> None:
    nodes = (Node("join", Concat(), ("a", "b")), Node("relu", ReLU(), ("join",)))
    network = Network({"a": 1, "b": 2}, nodes, ("relu", "a"))
    a, b = draw("a", (1, 1, 2, 2)), draw("b", (1, 2, 2, 2))
    values = run(network, {"a": a, "b": b})
    np.testing.assert_allclose(values["relu"], np.maximum(np.concatenate([a, b], axis=1), 0))
    np.testing.assert_allclose(values["a"], a)


@pytest.mark.parametrize(
    ("nodes", "outputs", "taps", "said"),
    [
        ((Node("a", ReLU(), ("y",)),), ("a",), {}, "node 'a' reads 'y', which no earlier node makes"),
        ((Node("a", ReLU(), ("b",)), Node("b", ReLU(), ("x",))), ("a",), {}, "reads 'b', which no earlier"),
        ((Node("a", ReLU(), ("x",)), Node("a", Tanh(), ("x",))), ("a",), {}, "two nodes are called 'a'"),
        ((Node("x", ReLU(), ("x",)),), ("x",), {}, "two nodes are called 'x'"),
        ((Node("a", ReLU(), ("x",)),), ("b",), {}, "the output or tap 'b' is no node"),
        ((Node("a", ReLU(), ("x",)),), ("a",), {"t": "b"}, "the output or tap 'b' is no node"),
    ],
)
def test_networks_that_cannot_run_are_refused(nodes: tuple[Node, ...], outputs: tuple[str, ...], taps: dict[str, str], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        Network({"x": 1}, nodes, outputs, taps)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (1, -1), (0, float("inf")), (float("nan"), 1)])
def test_a_range_without_values_is_refused(low: float, high: float) -> None:
    with pytest.raises(EngineError, match="the range"):
        Network({"x": 1}, (), ("x",), low=low, high=high)


@pytest.mark.parametrize("node", [Node("a", ReLU(), ()), Node("a", ReLU(), ("x", "x")), Node("a", Add(), ("x",)), Node("a", Concat(), ())])
def test_a_wrong_number_of_inputs_is_refused(node: Node) -> None:
    with pytest.raises(EngineError, match=f"node 'a' has {len(node.inputs)} inputs; allowed: "):
        Network({"x": 1}, (node,), ("a",))


def test_an_input_without_channels_is_refused() -> None:
    with pytest.raises(EngineError, match="the input 'x' has no channels"):
        Network({"x": 0}, (), ("x",))


def test_check_weights() -> None:
    network = small()
    weights = network.initial_weights(0)
    network.check_weights(weights)
    with pytest.raises(EngineError, match=r"^a\.pth: weight 'down\.bias' is missing$"):
        network.check_weights({name: x for name, x in weights.items() if name != "down.bias"}, where="a.pth")
    with pytest.raises(EngineError, match="weight 'more' is not part of the network"):
        network.check_weights(weights | {"more": weights["down.bias"]})
    with pytest.raises(EngineError, match=r"weight 'down.bias' has shape \(5,\), not \(4,\)"):
        network.check_weights(weights | {"down.bias": np.zeros(5, np.float32)})
    with pytest.raises(EngineError, match=r"\(and 5 more\)"):
        network.check_weights({})

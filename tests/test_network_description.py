"""A network's description there and back, and what stands in a stranger's file in its place."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_network import run, small

from engine import Conv2d, EngineError, InstanceNorm2d, Layer, Network, Pad, ReLU, Tanh, Upsample2d, chain
from engine.testing import draw


def test_description_there_and_back() -> None:
    network = small()
    again = Network.from_json(network.to_json())
    assert again == network
    assert again.to_json() == network.to_json()
    image = {"image": draw("image", (1, 3, 6, 6))}
    np.testing.assert_array_equal(run(again, image)["crop"], run(network, image)["crop"])


LAYERS = st.sampled_from(
    [ReLU(), Tanh(), Conv2d(out_channels=3, padding=1), InstanceNorm2d(eps=0.1), Pad(amount=2), Upsample2d(mode="bilinear")]
)
NAMES = st.text(min_size=1, max_size=5)


@settings(max_examples=50)
@given(layers=st.dictionaries(NAMES, LAYERS, max_size=6), low=st.floats(-10, 0), width=st.floats(0.1, 10), channels=st.integers(1, 4))
def test_any_chain_survives_its_description(layers: dict[str, Layer], low: float, width: float, channels: int) -> None:
    layers.pop("image", None)
    nodes = chain("image", layers)
    names = ["image", *layers]
    network = Network({"image": channels}, nodes, (names[-1],), {f"tap {name}": name for name in names}, low, low + width)
    assert Network.from_json(network.to_json()) == network


@given(text=st.text(max_size=60))
def test_any_text_is_a_network_or_an_engine_error(text: str) -> None:
    with pytest.raises(EngineError, match="description of the network is damaged"):
        Network.from_json(text)


def test_damaged_descriptions() -> None:
    whole = json.loads(small().to_json())
    for key in whole:
        if key not in ("outputs", "taps"):
            with pytest.raises(EngineError):
                Network.from_json(json.dumps({k: v for k, v in whole.items() if k != key}))
    with pytest.raises(EngineError, match="damaged"):
        Network.from_json(small().to_json()[:-9])


PLACES = [
    ("inputs",), ("nodes",), ("outputs",), ("taps",), ("low",), ("high",), ("inputs", "image"), ("outputs", 0), ("taps", "early"),
    *((("nodes", i, *rest)) for i in (0, 1, 10) for rest in ((), ("name",), ("layer",), ("inputs",), ("inputs", 0), ("settings",))),
    ("nodes", 1, "settings", "kernel"), ("nodes", 1, "settings", "out_channels"), ("nodes", 1, "settings", "groups"),
]  # fmt: skip
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300)
@given(place=st.sampled_from(PLACES), junk=JUNK)
def test_junk_anywhere_is_refused_or_makes_a_network(place: tuple[Any, ...], junk: Any) -> None:
    """A description from a stranger's file: whatever stands in it, a network that describes itself, or an EngineError."""
    data = json.loads(small().to_json())
    holder = data
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = junk
    try:
        network = Network.from_json(json.dumps(data))
    except EngineError:
        return
    assert Network.from_json(network.to_json()) == network
    try:
        network.weight_shapes()
        network.shapes(6, 6)
    except EngineError:
        return


BOMBS = {
    "deep": "[" * 200_000,
    "deep settings": small().to_json().replace('"amount": 1', '"amount": ' + "[" * 50_000 + "]" * 50_000),
    "infinite channels": small().to_json().replace('"image": 3', '"image": Infinity'),
    "low": small().to_json().replace('"low": -1.0', '"low": -1' + "0" * 400),
    "long": small().to_json() + " " * 2**22,
    "many nodes": json.dumps({"nodes": [{}] * 5000}),
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_a_description_that_is_a_trap_is_refused(text: str) -> None:
    with pytest.raises(EngineError, match=r"the description of the network|the network has 5000 nodes"):
        Network.from_json(text)

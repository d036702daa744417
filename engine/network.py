"""A network as data: named nodes in order, each a layer and where its inputs come from."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

import engine.moments  # noqa: F401 - a description finds its layers by name, once they are loaded
from engine.errors import EngineError
from engine.layers import Add, Layer, Weights, make_layer
from engine.ops import Array, Ops, Shape, Tensor

MOST_TEXT = 2**22
"""Characters of a description; ours have some ten thousand."""
MOST_NODES = 4096
"""Of a description; ours have less than a hundred."""

NativeLayers: TypeAlias = Mapping[type[Layer], Callable[..., Tensor]]
"""A backend's own form of a layer: called as ``native[type(layer)](layer, weights, *inputs)``."""


@dataclass(frozen=True)
class Node:
    """One layer in its place; ``name`` is the prefix of its weights, ``inputs`` name nodes or network inputs."""

    name: str
    layer: Layer
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """Nodes in an order in which each comes after its inputs."""

    inputs: Mapping[str, int]
    """Channels of each input."""
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    taps: Mapping[str, str] = field(default_factory=dict)
    """Public names of nodes inside, for losses."""
    low: float = -1.0
    high: float = 1.0
    """What black and white are in the image inputs, and in the image outputs."""
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Of a part that :meth:`cut` made, (height, width) of its inputs where the image has 256x256; they may differ."""

    def __post_init__(self) -> None:
        known = set(self.inputs)
        if empty := [name for name, channels in self.inputs.items() if channels < 1]:
            raise EngineError(f"the input {empty[0]!r} has no channels")
        for node in self.nodes:
            arity = node.layer.arity
            if not node.inputs if arity is None else len(node.inputs) != arity:
                raise EngineError(
                    f"node {node.name!r} has {len(node.inputs)} inputs", allowed="at least 1" if arity is None else str(arity)
                )
            if missing := [name for name in node.inputs if name not in known]:
                raise EngineError(f"node {node.name!r} reads {missing[0]!r}, which no earlier node makes")
            if node.name in known:
                raise EngineError(f"two nodes are called {node.name!r}")
            known.add(node.name)
        for name in (*self.outputs, *self.taps.values()):
            if name not in known:
                raise EngineError(f"the output or tap {name!r} is no node", allowed=", ".join(sorted(known)))
        if not -math.inf < self.low < self.high < math.inf:
            raise EngineError(f"the range [{self.low}, {self.high}] is no range of values")

    def prune(self, wanted: Iterable[str]) -> Network:
        """Only what the given taps or nodes need; they become the outputs."""
        outputs = tuple(self.taps.get(name, name) for name in wanted)
        if unknown := [name for name in outputs if name not in self.inputs and name not in {n.name for n in self.nodes}]:
            raise EngineError(f"no tap or node is called {unknown[0]!r}", allowed=", ".join(sorted(self.taps)))
        needed, kept = set(outputs), []
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(node.inputs)
                kept.append(node)
        taps = {tap: name for tap, name in self.taps.items() if name in needed}
        return replace(self, nodes=tuple(reversed(kept)), outputs=outputs, taps=taps)

    def cut(self, at: Collection[str]) -> tuple[Network, ...]:
        """Networks that come to the same when run one after another: a new one begins at each of the named nodes.

        What a part reads of an earlier one is an input of it, and an output there, under the node's name. Taps are left out.
        """
        pieces: list[list[Node]] = [[]]
        for node in self.nodes:
            if node.name in at and pieces[-1]:
                pieces.append([])
            pieces[-1].append(node)
        shapes = self.shapes(256, 256)
        parts, wanted = [], set(self.outputs)
        for piece in reversed(pieces):
            made = [node.name for node in piece]
            reads = dict.fromkeys(name for node in piece for name in node.inputs if name not in made)
            outputs = tuple(name for name in made if name in wanted)
            inputs = {name: shapes[name][0] for name in reads}
            sizes = {name: (shapes[name][1], shapes[name][2]) for name in reads}
            parts.append(Network(inputs, tuple(piece), outputs, {}, self.low, self.high, sizes))
            wanted.update(reads)
        return tuple(reversed(parts))

    def shapes(self, height: int, width: int) -> dict[str, Shape]:
        """(c, h, w) of every input and node for an image of that size; an :class:`EngineError` where it is too small."""
        if self.sizes and (height, width) != (256, 256):
            raise EngineError("a part of a network knows its shapes for an image of 256x256 alone")
        return self._shapes({name: self.sizes.get(name, (height, width)) for name in self.inputs}, f"an image of {width}x{height}")

    def check_inputs(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """(c, h, w) of every input and node for inputs of these shapes (..., h, w); an :class:`EngineError` where they do not fit."""
        sizes = {name: (shapes[name][-2], shapes[name][-1]) for name in self.inputs}
        said = " and ".join(dict.fromkeys(f"{width}x{height}" for height, width in sizes.values()))
        return self._shapes(sizes, f"an image of {said}" if len(sizes) == 1 else f"inputs of {said}")

    def weight_shapes(self) -> dict[str, Shape]:
        """The shape of every weight by its full name, ``<node>.<weight>``."""
        return {f"{node.name}.{key}": shape for node, channels in self._channels() for key, shape in node.layer.weights(*channels).items()}

    def initial_weights(self, seed: int) -> dict[str, Array]:
        """The weights before training; each node draws from its own stream, so adding a node changes no other."""
        weights: dict[str, Array] = {}
        for node, channels in self._channels():
            rng = np.random.default_rng([seed, zlib.crc32(node.name.encode())])
            weights |= {f"{node.name}.{key}": x for key, x in node.layer.initial(rng, *channels).items()}
        return weights

    def parameters(self) -> int:
        """How many numbers training can change; what a batch norm has stored does not count."""
        weights = [(node.layer, node.layer.weights(*channels)) for node, channels in self._channels()]
        return sum(math.prod(shape) for layer, shapes in weights for key, shape in shapes.items() if key not in layer.statistics)

    def gmac(self, height: int, width: int) -> float:
        """Billions of multiply-accumulates for one image."""
        shapes = self.shapes(height, width)
        return sum(node.layer.macs(*(shapes[name] for name in node.inputs)) for node in self.nodes) / 1e9

    def check_weights(self, weights: Mapping[str, Array], where: str = "") -> None:
        """Refuse weights that do not fit by name and shape."""
        self.check_shapes({name: x.shape for name, x in weights.items()}, where)

    def check_shapes(self, shapes: Mapping[str, Shape], where: str = "") -> None:
        """:meth:`check_weights` by their shapes alone."""
        check_shapes(self.weight_shapes(), shapes, where=where)

    def apply(
        self, ops: Ops, weights: Weights, inputs: Mapping[str, Tensor], *, keep: Collection[str] = (), native: NativeLayers | None = None
    ) -> dict[str, Tensor]:
        """Run it.

        Args:
            ops: The backend's operators.
            weights: Tensors by full name.
            inputs: Tensors (n, c, h, w) by input name.
            keep: Taps or nodes to return beside the outputs.
            native: The backend's own forms of layers.

        Returns:
            The outputs by node name, and what ``keep`` names by that name.
        """
        wanted = {name: name for name in self.outputs} | {name: self.taps.get(name, name) for name in keep}
        last_use = {name: i for i, node in enumerate(self.nodes) for name in node.inputs}
        values = dict(inputs)
        for i, node in enumerate(self.nodes):
            own = {key: weights[f"{node.name}.{key}"] for key in self._weight_names[node.name]}
            x = [values[name] for name in node.inputs]
            form = native.get(type(node.layer)) if native else None
            values[node.name] = form(node.layer, own, *x) if form else node.layer.apply(ops, own, *x)
            for name in set(node.inputs):  # let go of what nobody reads any more: painting's peak memory
                if last_use[name] == i and name not in wanted.values():
                    del values[name]
        return {name: values[node] for name, node in wanted.items()}

    def to_json(self) -> str:
        """The whole description as JSON text."""
        nodes = [
            {"name": n.name, "layer": n.layer.name, "inputs": n.inputs, "settings": n.layer.model_dump(mode="json")} for n in self.nodes
        ]
        head = {"inputs": dict(self.inputs), "outputs": self.outputs, "taps": dict(self.taps), "low": self.low, "high": self.high}
        return json.dumps(head | {"nodes": nodes})

    @classmethod
    def from_json(cls, text: str) -> Network:
        """The network that :meth:`to_json` described; an :class:`EngineError` where the text describes none."""
        if len(text) > MOST_TEXT:
            raise EngineError(f"the description of the network has {len(text)} characters", allowed=f"at most {MOST_TEXT}")
        try:
            data: dict[str, Any] = json.loads(text)
            if len(data["nodes"]) > MOST_NODES:
                raise EngineError(f"the network has {len(data['nodes'])} nodes", allowed=f"at most {MOST_NODES}")
            nodes = tuple(Node(str(n["name"]), make_layer(n["layer"], n["settings"]), tuple(n["inputs"])) for n in data["nodes"])
            inputs = {str(name): int(c) for name, c in data["inputs"].items()}
            return cls(inputs, nodes, tuple(data["outputs"]), dict(data["taps"]), float(data["low"]), float(data["high"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise EngineError(f"the description of the network is damaged ({type(error).__name__}: {error})") from None

    @cached_property
    def _weight_names(self) -> dict[str, tuple[str, ...]]:
        return {node.name: tuple(node.layer.weights(*channels)) for node, channels in self._channels()}

    @cached_property
    def exact_inputs(self) -> frozenset[str]:
        """Inputs that stay float32 in every precision, because a layer reads them so (:attr:`Layer.exact`)."""
        return frozenset(node.inputs[i] for node in self.nodes for i in node.layer.exact) & frozenset(self.inputs)

    def _shapes(self, sizes: Mapping[str, tuple[int, int]], image: str) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {name: (c, *sizes[name]) for name, c in self.inputs.items()}
        for node in self.nodes:
            try:
                shapes[node.name] = node.layer.shape(*(shapes[name] for name in node.inputs))
            except EngineError as error:
                raise EngineError(f"{image} does not fit {node.name!r}: {error}") from None
        return shapes

    def _channels(self) -> list[tuple[Node, tuple[int, ...]]]:
        # Channels do not depend on the image's size, so any that every layer takes will do.
        shapes = self.shapes(256, 256)
        return [(node, tuple(shapes[name][0] for name in node.inputs)) for node in self.nodes]


def check_shapes(expected: Mapping[str, Shape], found: Mapping[str, Shape], spare: Mapping[str, Shape] = {}, where: str = "") -> None:
    """Refuse weights that do not fit by name and shape; those of ``spare`` may be absent."""
    known = {**expected, **spare}
    faults = [f"weight {name!r} is missing" for name in expected if name not in found]
    faults += [f"weight {name!r} is not part of the network" for name in found if name not in known]
    faults += [f"weight {name!r} has shape {found[name]}, not {shape}" for name, shape in known.items() if found.get(name, shape) != shape]
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise EngineError("; ".join(faults[:3]) + more, where=where)


def chain(source: str, layers: Mapping[str, Layer]) -> tuple[Node, ...]:
    """Nodes one after another, the first one reading ``source``."""
    names = [source, *layers]
    return tuple(Node(name, layer, (before,)) for before, (name, layer) in zip(names, layers.items(), strict=False))


def residual(source: str, name: str, branch: Sequence[tuple[str, Layer]]) -> tuple[Node, ...]:
    """``source`` + branch(source), the sum being the node ``<name>.add``."""
    nodes = chain(source, {f"{name}.{key}": layer for key, layer in branch})
    return (*nodes, Node(f"{name}.add", Add(), (source, nodes[-1].name)))

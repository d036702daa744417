"""How a network is computed in stripes: its parts between norms in their order, and which rows each stripe of them reads and gives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

from engine.errors import EngineError
from engine.layers import InstanceNorm2d, Layer
from engine.moments import Moments, ScaleShift
from engine.network import Network, Node
from engine.ops import Shape
from engine.windows import Window

MOST_KEPT = 32
"""Numbers for each pixel of the picture that an activation before a norm may have to be kept; a larger one is computed again.

ReCoNet 48 wide at 3840x2160 has 0.8 GB in float32 before a norm at half the size, 0.4 GB at a quarter and 1.6 GB at full size, twice.
Computing those two again, once for the moments and once for what follows, is a fifth more work, for convolutions at full size are
few; in float16 they would lose accuracy, and a file would need a disk as fast as that.
"""
SIDE = 256
"""Of the picture that a network's shapes are compared at."""

Rows: TypeAlias = tuple[int, int]
"""From the first to behind the last."""


@dataclass(frozen=True)
class Stripe:
    """One stripe of a part of the network."""

    inputs: Mapping[str, Rows]
    """What is read of every input."""
    outputs: Mapping[str, Rows]
    """What is given of every output, and measured: of what comes out those rows that are right."""
    begins: Mapping[str, int]
    """Which row of these is the first that comes out."""
    heights: Mapping[str, int]
    """How many rows come out."""

    def local(self, name: str) -> Rows:
        """The rows of an output among those that come out."""
        first, last = self.outputs[name]
        return first - self.begins[name], last - self.begins[name]


@dataclass(frozen=True)
class Work:
    """One way over the frame."""

    part: Network
    """The nodes as they are in the whole network."""
    network: Network
    """The same with norms that are a scale and a shift, and with moments."""
    outputs: tuple[str, ...]
    measured: tuple[str, ...]
    """Nodes, or inputs, that later norms read."""
    norms: Mapping[str, tuple[str, float]]
    """Of those in the part: what each reads, and its ``eps``."""

    @cached_property
    def numbers(self) -> float:
        """The most that it needs at once for a pixel of the picture."""
        return _most_numbers(self.part)


@dataclass(frozen=True)
class Plan:
    """A network in parts."""

    network: Network
    works: tuple[Work, ...]
    windows: Mapping[str, Window]
    scales: Mapping[str, Fraction]
    """Rows of every input and node for one of the picture."""
    multiple: int
    """What the first row of a stripe must be divisible by."""

    @classmethod
    def of(cls, network: Network) -> Plan:
        """The plan for a network; an :class:`EngineError` where a layer may read all rows, or rows of different scales meet."""
        network = network.prune(network.outputs)
        windows: dict[str, Window] = {}
        scales: dict[str, Fraction] = dict.fromkeys(network.inputs, Fraction(1))
        multiple = 1
        for node in network.nodes:
            window = window_of(node.layer)
            read = {scales[name] for name in node.inputs}
            if window is None or len(read) != 1:
                problem = f"the layer {node.layer.name!r} of {node.name!r} may read all of its input"
                raise EngineError(problem, allowed="layers with a window", remedy="Give --tile off.")
            scale = read.pop()
            windows[node.name], scales[node.name] = window, scale * window.scale
            multiple = math.lcm(multiple, scales[node.name].denominator, (window.multiple / scale).numerator)
        if given := [name for name in network.outputs if name in network.inputs]:
            raise EngineError(f"the output {given[0]!r} is an input", remedy="Give --tile off.")
        return cls(network, tuple(_works(network)), windows, scales, multiple)

    @cached_property
    def most_numbers(self) -> float:
        """The most that the whole network needs at once for a pixel of the picture."""
        return _most_numbers(self.network)

    @cached_property
    def widest(self) -> float:
        """The most that a part needs at once for a pixel of a stripe."""
        return max(work.numbers for work in self.works)

    @cached_property
    def kept_numbers(self) -> float:
        """The most that is kept between parts for a pixel of the picture."""
        last_use = {name: i for i, work in enumerate(self.works) for name in work.part.inputs}
        born = {name: i for i, work in enumerate(self.works) for name in work.outputs if name in last_use}
        shapes = self.network.shapes(SIDE, SIDE)
        size = {name: math.prod(shapes[name]) / SIDE**2 for name in born}
        # While a part is computed, what it reads last goes as what it gives comes.
        held = [sum(size[name] for name in born if born[name] < i < last_use[name]) for i in range(len(self.works))]
        gone = [sum(size[name] for name in born if last_use[name] == i) for i in range(len(self.works))]
        come = [sum(size[name] for name in born if born[name] == i) for i in range(len(self.works))]
        return max(still + max(old, new) for still, old, new in zip(held, gone, come, strict=True))

    def stripes(self, work: Work, shapes: Mapping[str, Shape], height: int, rows: int) -> list[Stripe]:
        """The stripes of one way over a frame, from the top down, as equal as they can be.

        Args:
            work: One of ``works``.
            shapes: Of the whole network for the frame.
            height: Of the frame.
            rows: Of the frame in a stripe where the network is widest; a part that is narrower takes more.
        """
        tall = max(1, int(rows * self.widest / work.numbers))
        step = self._up(math.ceil(height / math.ceil(height / tall)))
        frame_rows = [(y, min(y + step, height)) for y in range(0, height, step)]
        outputs = [{name: self._rows_of(name, own, shapes, height) for name in (*work.outputs, *work.measured)} for own in frame_rows]
        # The last rows of a frame may come to nothing where a layer rounds down.
        outputs = [wanted for wanted in outputs if any(first < last for first, last in wanted.values())]
        bases = [self._base(work, wanted, shapes, height) for wanted in outputs]
        # As high as the highest: a backend that compiles for a size does so once.
        most = self._up(max(last - first for first, last in bases))
        bases = [self._stretched(base, most, work, shapes, height) for base in bases]
        return [self._stripe(work, wanted, base, shapes, height) for wanted, base in zip(outputs, bases, strict=True)]

    def _base(self, work: Work, wanted: Mapping[str, Rows], shapes: Mapping[str, Shape], height: int) -> Rows:
        """Which rows of the frame a part must be computed for, so that the wanted rows come out right."""
        needed = {name: rows for name, rows in wanted.items() if rows[0] < rows[1]}
        for node in reversed(work.part.nodes):
            if node.name in needed:
                for name in node.inputs:
                    first, last = self.windows[node.name].reads(*needed[node.name], shapes[name][1])
                    old = needed.get(name, (first, last))
                    needed[name] = min(first, old[0]), max(last, old[1])
        read = {name: needed[name] for name in work.part.inputs if name in needed}
        if not read:
            return (0, height)
        first = min(int(rows[0] // self.scales[name]) for name, rows in read.items()) // self.multiple * self.multiple
        last = self._up(max(math.ceil(rows[1] / self.scales[name]) for name, rows in read.items()))
        if any(rows[1] == shapes[name][1] for name, rows in read.items()):
            last = height
        return first, self._end(last, work, shapes, height)

    def _stretched(self, base: Rows, most: int, work: Work, shapes: Mapping[str, Shape], height: int) -> Rows:
        first, last = base
        if last == height:
            first = min(first, max(0, height - most) // self.multiple * self.multiple)
        else:
            last = self._end(first + most, work, shapes, height)
        return first, last

    def _stripe(self, work: Work, wanted: Mapping[str, Rows], base: Rows, shapes: Mapping[str, Shape], height: int) -> Stripe:
        more = self.multiple
        while True:
            inputs = {name: self._cut_at(name, base, shapes, height) for name in work.part.inputs}
            try:
                local = work.part.check_inputs({name: (rows[1] - rows[0], shapes[name][2]) for name, rows in inputs.items()})
                break
            except EngineError:  # too few rows to mirror, say
                if base == (0, height):
                    raise
                base = max(0, base[0] - more), self._end(base[1] + more, work, shapes, height)
                more *= 2
        begins = {name: int(base[0] * self.scales[name]) for name in wanted}
        return Stripe(inputs, wanted, begins, {name: local[name][1] for name in wanted})

    def _rows_of(self, name: str, frame_rows: Rows, shapes: Mapping[str, Shape], height: int) -> Rows:
        first, last = self._cut_at(name, frame_rows, shapes, height)
        return min(first, shapes[name][1]), last

    def _cut_at(self, name: str, frame_rows: Rows, shapes: Mapping[str, Shape], height: int) -> Rows:
        first, last = (int(row * self.scales[name]) for row in frame_rows)
        own = shapes[name][1]
        return first, own if frame_rows[1] == height else min(last, own)

    def _end(self, last: int, work: Work, shapes: Mapping[str, Shape], height: int) -> int:
        """Behind the last row of the frame to compute for: where an input ends before it, the frame's end."""
        ends = last >= height or any(last * self.scales[name] > shapes[name][1] for name in work.part.inputs)
        return height if ends else last

    def _up(self, rows: int) -> int:
        return -(-rows // self.multiple) * self.multiple


def window_of(layer: Layer) -> Window | None:
    """The layer's window, where it belongs to what it computes; an instance norm's once its moments are known."""
    if type(layer) is InstanceNorm2d:
        return Window()
    for cls in type(layer).__mro__:
        if "window" in vars(cls):
            return layer.window()
        if "apply" in vars(cls):  # another computation than that of the window which it would inherit
            return None
    return None


def scale_of(norm: str) -> str:
    """The input that is the scale of a norm."""
    return f"{norm}:scale"


def shift_of(norm: str) -> str:
    """The input that is the shift of a norm."""
    return f"{norm}:shift"


def marks_of(name: str) -> str:
    """The input that says which rows are measured."""
    return f"{name}:marks"


def moments_of(name: str) -> str:
    """The output that is the moments of a node."""
    return f"{name}:moments"


def _works(network: Network) -> Iterable[Work]:
    shapes = network.shapes(SIDE, SIDE)
    read_by_norms = {node.inputs[0] for node in network.nodes if type(node.layer) is InstanceNorm2d}
    kept = {
        node.name
        for node in network.nodes
        if type(node.layer) is InstanceNorm2d and math.prod(shapes[node.inputs[0]]) <= MOST_KEPT * SIDE**2
    }
    known: set[str] = set()
    for part in network.cut(kept):
        for node in part.nodes:
            if type(node.layer) is InstanceNorm2d and (source := node.inputs[0]) not in known:
                yield _work(part.prune([source]), (), (source,), shapes)
                known.add(source)
        measured = tuple(name for name in part.outputs if name in read_by_norms - known)
        known.update(measured)
        if part.outputs:
            yield _work(part, part.outputs, measured, shapes)


def _work(part: Network, outputs: tuple[str, ...], measured: tuple[str, ...], shapes: Mapping[str, Shape]) -> Work:
    read = {name for node in part.nodes for name in node.inputs} | set(measured)
    inputs = {name: channels for name, channels in part.inputs.items() if name in read}
    sizes = {name: (shapes[name][1], shapes[name][2]) for name in inputs}
    part = replace(part, inputs=inputs, sizes=sizes, outputs=tuple(dict.fromkeys((*outputs, *measured))), taps={})
    nodes, norms = [], {}
    for node in part.nodes:
        if isinstance(layer := node.layer, InstanceNorm2d):
            source, small = node.inputs[0], (scale_of(node.name), shift_of(node.name))
            nodes.append(Node(node.name, ScaleShift(), (source, *small)))
            norms[node.name] = source, layer.eps
            inputs = inputs | dict.fromkeys(small, shapes[source][0])
            sizes = sizes | dict.fromkeys(small, (1, 1))
        else:
            nodes.append(node)
    for name in measured:
        nodes.append(Node(moments_of(name), Moments(), (name, marks_of(name))))
        inputs = inputs | {marks_of(name): 1}
        sizes = sizes | {marks_of(name): (shapes[name][1], 1)}
    made = (*outputs, *(moments_of(name) for name in measured))
    return Work(part, replace(part, inputs=inputs, nodes=tuple(nodes), outputs=made, sizes=sizes), outputs, measured, norms)


def _most_numbers(network: Network) -> float:
    """What a network has at once at the most for a pixel of the picture: what is read later, and the inputs and output of a node."""
    sizes = {name: math.prod(shape) / SIDE**2 for name, shape in network.shapes(SIDE, SIDE).items()}
    last_use = {name: i for i, node in enumerate(network.nodes) for name in node.inputs}
    live, most = set(network.inputs), sum(sizes[name] for name in network.inputs)
    for i, node in enumerate(network.nodes):
        live.add(node.name)
        most = max(most, sum(sizes[name] for name in live))
        live = {name for name in live if last_use.get(name, -1) > i or name in network.outputs}
    return most

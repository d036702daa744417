"""Painting in MindSpore."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from functools import partial
from itertools import pairwise

from mindspore import Tensor
from mindspore import ops as mo

from engine import (
    Add,
    Array,
    Conv2d,
    DType,
    InstanceNorm2d,
    NativeLayers,
    Network,
    Pad,
    PadToMultiple,
    ReLU,
    Tanh,
    Upsample2d,
    from_uint8,
    to_uint8,
)
from engine_mindspore.compiled import Compiled
from engine_mindspore.convolution import band_rows
from engine_mindspore.ops import MindSporeOps
from engine_mindspore.slicing import narrow

MOST_IMAGE = 2**22
"""Elements of the images between two convolutions that are computed at once, 16 MiB in float32."""
_CHANNEL_BY_CHANNEL = (InstanceNorm2d, ReLU, Tanh, Pad, PadToMultiple, Upsample2d, Add)


class MindSporePainter:
    """See :class:`engine.Painter`.

    On a CPU a compiled graph keeps the memory of every tensor in it as long as it lives: of the whole network at 640x360,
    48 wide, 5 GB. So convolutions and what lies between them are compiled apart, parts of one shape share a graph, and a
    large convolution is computed in bands of rows, and large images between them a few channels at a time.
    """

    def __init__(self, ops: MindSporeOps, network: Network, weights: Mapping[str, Array], precision: DType, native: NativeLayers) -> None:
        network = network.prune(network.outputs)  # a part that nobody reads has no output to give
        self._ops, self._network, self._precision = ops, network, precision
        self._from_uint8 = Compiled(lambda frames: (from_uint8(ops, frames, network.low, network.high, precision),))
        self._to_uint8 = Compiled(lambda image: (to_uint8(ops, image, network.low, network.high),))
        graphs: dict[Hashable, Compiled] = {}
        self._steps = []
        for part in network.cut(_around_convolutions(network) if ops.target == "CPU" else ()):
            graph = graphs.setdefault(_signature(part), Compiled(partial(_apply, ops, part, native)))
            self._steps.append((part, graph, [ops.asarray(weights[name]) for name in part.weight_shapes()]))

    def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
        ops, network = self._ops, self._network
        for frames in batches:
            (image,) = self._from_uint8(ops.asarray(frames, "uint8"))
            values = self._run({next(iter(network.inputs)): image})
            (painted,) = self._to_uint8(values[network.outputs[0]])
            yield ops.to_numpy(painted)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        values = self._run({name: self._ops.asarray(inputs[name], self._precision) for name in self._network.inputs})
        return {name: self._ops.to_numpy(values[name]) for name in self._network.outputs}

    def _run(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        last_use = {name: i for i, (part, _, _) in enumerate(self._steps) for name in part.inputs}
        for i, (part, graph, weights) in enumerate(self._steps):
            results = self._step(part, graph, weights, *(values[name] for name in part.inputs))
            values |= dict(zip(part.outputs, results, strict=True))
            for name in part.inputs:  # let go of what nobody reads any more
                if last_use[name] == i and name not in self._network.outputs:
                    del values[name]
        return values

    def _step(self, part: Network, graph: Compiled, weights: list[Tensor], *x: Tensor) -> tuple[Tensor, ...]:
        if self._ops.target == "CPU":
            layers = [node.layer for node in part.nodes]
            if isinstance(layers[0], Conv2d) and not layers[0].padding and layers[0].groups == 1:
                return (_in_bands(layers[0], graph, weights, x[0]),)
            if all(isinstance(layer, _CHANNEL_BY_CHANNEL) for layer in layers) and len(part.outputs) == 1:
                return (_in_channels(graph, weights, x),)
        return graph(*weights, *x)


def _in_bands(layer: Conv2d, graph: Compiled, weights: list[Tensor], x: Tensor) -> Tensor:
    k, stride = layer.kernel, layer.stride
    height, width = ((size - k) // stride + 1 for size in x.shape[2:])
    rows = band_rows(layer.out_channels, x.shape[1], k, stride, height, width)
    if rows == height:
        return graph(*weights, x)[0]
    starts = [*range(0, height - rows, rows), height - rows]  # the last one overlaps, so that all have one shape
    bands = [graph(*weights, _piece(x, 2, y * stride, (rows - 1) * stride + k))[0] for y in starts]
    left = height - rows * (len(bands) - 1)
    return mo.concat([*bands[:-1], narrow(bands[-1], 2, rows - left, left)], 2)


def _in_channels(graph: Compiled, weights: list[Tensor], x: tuple[Tensor, ...]) -> Tensor:
    n, channels, height, width = x[0].shape
    most = max(1, MOST_IMAGE // (n * height * width))
    count = next(count for count in range(1, channels + 1) if channels % count == 0 and channels // count <= most)
    if count == 1:
        return graph(*weights, *x)[0]
    size = channels // count
    slices = [([_piece(w, 0, k, size) for w in weights], [_piece(a, 1, k, size) for a in x]) for k in range(0, channels, size)]
    return mo.concat([graph(*w, *a)[0] for w, a in slices], 1)


def _piece(x: Tensor, axis: int, start: int, size: int) -> Tensor:
    # Outside a graph a slice is a view, which a graph reads so slowly that a copy takes half of its time away.
    piece: Tensor = narrow(x, axis, start, size).contiguous()
    return piece


def _around_convolutions(network: Network) -> set[str]:
    """The convolutions, and what comes after each."""
    nodes = network.nodes
    return {name for node, after in pairwise(nodes) if isinstance(node.layer, Conv2d) for name in (node.name, after.name)}


def _apply(ops: MindSporeOps, part: Network, native: NativeLayers, *tensors: Tensor) -> tuple[Tensor, ...]:
    """A part of a network, of its weights and then its inputs."""
    names = (*part.weight_shapes(), *part.inputs)
    values = dict(zip(names, tensors, strict=True))
    outputs = part.apply(ops, values, {name: values[name] for name in part.inputs}, native=native)
    return tuple(outputs[name] for name in part.outputs)


def _signature(part: Network) -> Hashable:
    """The same for parts that differ in names alone."""
    numbers = {name: i for i, name in enumerate((*part.inputs, *(node.name for node in part.nodes)))}
    nodes = tuple((node.layer, tuple(numbers[name] for name in node.inputs)) for node in part.nodes)
    return len(part.inputs), nodes, tuple(numbers[name] for name in part.outputs)

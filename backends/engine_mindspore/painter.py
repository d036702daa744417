"""Painting in MindSpore."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

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
from engine_mindspore.compiled import Function, Graphs, RecentGraphs
from engine_mindspore.convolution import band_rows, even_rows
from engine_mindspore.ops import MindSporeOps
from engine_mindspore.slicing import narrow
from engine_mindspore.upsampling import bordered, convolve_upsampled, is_upsampled_convolution, square_kernels

MOST_IMAGE = 2**21
"""Elements of the images between two convolutions that are computed at once, 8 MiB in float32."""
_CHANNEL_BY_CHANNEL = (InstanceNorm2d, ReLU, Tanh, Pad, PadToMultiple, Upsample2d, Add)
"""These types and no others: a layer that derives from one of them may do something else."""

Step: TypeAlias = Callable[..., tuple[Tensor, ...]]
"""Called with graphs and the inputs of a part of a network; gives its outputs."""


class MindSporePainter:
    """See :class:`engine.Painter`.

    On a CPU a compiled graph keeps the memory of every tensor in it as long as it lives: of the whole network at 640x360,
    48 wide, 5 GB. So convolutions and what lies between them are compiled apart, parts of one shape share a graph, and a
    large convolution is computed in bands of rows, and large images between them a few channels at a time.
    """

    def __init__(
        self,
        ops: MindSporeOps,
        network: Network,
        weights: Mapping[str, Array],
        precision: DType,
        native: NativeLayers,
        recent: RecentGraphs,
    ) -> None:
        self._ops, self._precision, self._recent = ops, precision, recent
        self._network = network = network.prune(network.outputs)  # a part that nobody reads has no output to give
        self._key = network.to_json()
        cuts = _around_convolutions(network) if ops.target == "CPU" else ()
        self._steps = [(part, _step(ops, part, weights, native)) for part in network.cut(cuts)]
        self._from_uint8 = _Work("from_uint8", partial(_from_uint8, ops, network.low, network.high, precision))
        self._to_uint8 = _Work("to_uint8", partial(_to_uint8, ops, network.low, network.high))

    def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
        for frames in batches:
            self._network.shapes(*frames.shape[1:3])  # an error where the picture is too small
            graphs = self._recent.of((self._key, frames.shape))
            (image,) = self._from_uint8(graphs, self._ops.asarray(frames, "uint8"))
            values = self._run(graphs, {next(iter(self._network.inputs)): image})
            (painted,) = self._to_uint8(graphs, values[self._network.outputs[0]])
            yield self._ops.to_numpy(painted)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self._network.check_inputs({name: x.shape for name, x in inputs.items()})
        graphs = self._recent.of((self._key, *(inputs[name].shape for name in self._network.inputs)))
        exact = self._network.exact_inputs
        tensors = {name: self._ops.asarray(inputs[name], "float32" if name in exact else self._precision) for name in self._network.inputs}
        values = self._run(graphs, tensors)
        return {name: self._ops.to_numpy(values[name]) for name in self._network.outputs}

    def _run(self, graphs: Graphs, values: dict[str, Tensor]) -> dict[str, Tensor]:
        last_use = {name: i for i, (part, _) in enumerate(self._steps) for name in part.inputs}
        for i, (part, step) in enumerate(self._steps):
            values |= dict(zip(part.outputs, step(graphs, *(values[name] for name in part.inputs)), strict=True))
            for name in part.inputs:  # let go of what nobody reads any more
                if last_use[name] == i and name not in self._network.outputs:
                    del values[name]
        return values


@dataclass(frozen=True)
class _Work:
    """What one graph computes; called with the graphs to find it among."""

    key: Hashable
    function: Function
    weights: tuple[Tensor, ...] = ()

    def __call__(self, graphs: Graphs, *x: Tensor) -> tuple[Tensor, ...]:
        return graphs.run(self.key, self.function, *self.weights, *x)


def _step(ops: MindSporeOps, part: Network, weights: Mapping[str, Array], native: NativeLayers) -> Step:
    """What computes a part's outputs of its inputs."""
    tensors = tuple(ops.asarray(weights[name]) for name in part.weight_shapes())
    whole = _Work(_signature(part), partial(_apply, ops, part, native), tensors)
    layers = [node.layer for node in part.nodes]
    if ops.target != "CPU" or len(part.outputs) > 1:
        return whole
    if is_upsampled_convolution(part.nodes):
        weight, bias = part.weight_shapes()
        kernels = ops.asarray(square_kernels(weights[weight]))
        return partial(_upsampled, _Work("convolve_upsampled", _convolve_upsampled, (kernels, ops.asarray(weights[bias]))))
    if type(layers[0]) is Conv2d and not layers[0].padding and layers[0].groups == 1:
        return partial(_convolved, layers[0], whole)
    if all(type(layer) in _CHANNEL_BY_CHANNEL for layer in layers):
        return partial(_in_channels, whole)
    return whole


def _convolved(layer: Conv2d, work: _Work, graphs: Graphs, x: Tensor) -> tuple[Tensor, ...]:
    k, stride = layer.kernel, layer.stride
    height, width = ((size - k) // stride + 1 for size in x.shape[2:])
    return _in_bands(work, graphs, x, k, stride, height, band_rows(layer.out_channels, x.shape[1], k, stride, height, width))


def _upsampled(work: _Work, graphs: Graphs, x: Tensor) -> tuple[Tensor, ...]:
    height, width = x.shape[2:]
    written = 2 * sum(work.weights[0].shape) * height * width
    (x,) = graphs.run("bordered", lambda x: (bordered(x),), x)
    return _in_bands(work, graphs, x, 3, 1, height, even_rows(height, written))


def _in_bands(work: _Work, graphs: Graphs, x: Tensor, k: int, stride: int, height: int, rows: int) -> tuple[Tensor, ...]:
    """The work, so many of ``height`` rows at a time, each of ``k`` rows of ``x``; a row may come out as several."""
    if rows == height:
        return work(graphs, x)
    starts = [*range(0, height - rows, rows), height - rows]  # the last one overlaps, so that all have one shape
    bands = [work(graphs, _piece(x, 2, y * stride, (rows - 1) * stride + k))[0] for y in starts]
    left = (height - rows * (len(bands) - 1)) * (bands[0].shape[2] // rows)
    return (mo.concat([*bands[:-1], narrow(bands[-1], 2, bands[-1].shape[2] - left, left)], 2),)


def _in_channels(work: _Work, graphs: Graphs, *x: Tensor) -> tuple[Tensor, ...]:
    """The work, a few channels at a time."""
    n, channels, height, width = x[0].shape
    most = max(1, MOST_IMAGE // (n * height * width))
    count = next(count for count in range(1, channels + 1) if channels % count == 0 and channels // count <= most)
    if count == 1:
        return work(graphs, *x)
    size, pieces = channels // count, list[Tensor]()
    for k in range(0, channels, size):
        some = replace(work, weights=tuple(_piece(w, 0, k, size) for w in work.weights))
        pieces += some(graphs, *(_piece(a, 1, k, size) for a in x))
    return (mo.concat(pieces, 1),)


def _piece(x: Tensor, axis: int, start: int, size: int) -> Tensor:
    # Outside a graph a slice is a view, which a graph reads so slowly that a copy takes half of its time away.
    piece: Tensor = narrow(x, axis, start, size).contiguous()
    return piece


def _around_convolutions(network: Network) -> set[str]:
    """The convolutions, with the upsampling that becomes one with them, and what comes after each."""
    nodes, cuts = network.nodes, set()
    for i, node in enumerate(nodes):
        if isinstance(node.layer, Conv2d):
            first = i - 2 if is_upsampled_convolution(nodes[max(0, i - 2) : i + 1]) else i
            cuts |= {nodes[first].name, *(after.name for after in nodes[i + 1 : i + 2])}
    return cuts


def _convolve_upsampled(kernels: Tensor, bias: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    return (convolve_upsampled(kernels, bias, x),)


def _from_uint8(ops: MindSporeOps, low: float, high: float, precision: DType, frames: Tensor) -> tuple[Tensor, ...]:
    return (from_uint8(ops, frames, low, high, precision),)


def _to_uint8(ops: MindSporeOps, low: float, high: float, image: Tensor) -> tuple[Tensor, ...]:
    return (to_uint8(ops, image, low, high),)


def _apply(ops: MindSporeOps, part: Network, native: NativeLayers, *tensors: Tensor) -> tuple[Tensor, ...]:
    """A part of a network, of its weights and then its inputs."""
    names = (*part.weight_shapes(), *part.inputs)
    values = dict(zip(names, tensors, strict=True))
    outputs = part.apply(ops, values, {name: values[name] for name in part.inputs}, native=native)
    return tuple(outputs[name] for name in part.outputs)


def _signature(part: Network) -> Hashable:
    """The same for parts that differ in names alone."""
    numbers = {name: i for i, name in enumerate((*part.inputs, *(node.name for node in part.nodes)))}
    nodes = tuple((type(node.layer), node.layer.model_dump_json(), tuple(numbers[name] for name in node.inputs)) for node in part.nodes)
    return len(part.inputs), nodes, tuple(numbers[name] for name in part.outputs)

"""Painting in MindSpore."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from functools import partial

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
from engine_mindspore.compiled import Function, Graphs
from engine_mindspore.convolution import band_rows, even_rows
from engine_mindspore.ops import MindSporeOps
from engine_mindspore.slicing import narrow
from engine_mindspore.upsampling import bordered, convolve_upsampled, is_upsampled_convolution, square_kernels

MOST_IMAGE = 2**21
"""Elements of the images between two convolutions that are computed at once, 8 MiB in float32."""
_CHANNEL_BY_CHANNEL = (InstanceNorm2d, ReLU, Tanh, Pad, PadToMultiple, Upsample2d, Add)


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
        graphs: Graphs,
    ) -> None:
        self._ops, self._precision, self._graphs = ops, precision, graphs
        self._network = network = network.prune(network.outputs)  # a part that nobody reads has no output to give
        cuts = _around_convolutions(network) if ops.target == "CPU" else ()
        self._steps = [(part, _step(ops, part, weights, native, graphs)) for part in network.cut(cuts)]

    def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
        ops, network, low, high = self._ops, self._network, self._network.low, self._network.high
        for frames in batches:
            given, form = ops.asarray(frames, "uint8"), (low, high, self._precision)
            (image,) = self._graphs.run(("from_uint8", *form), lambda x: (from_uint8(ops, x, low, high, self._precision),), given)
            values = self._run({next(iter(network.inputs)): image})
            (painted,) = self._graphs.run(("to_uint8", *form), lambda x: (to_uint8(ops, x, low, high),), values[network.outputs[0]])
            yield ops.to_numpy(painted)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        values = self._run({name: self._ops.asarray(inputs[name], self._precision) for name in self._network.inputs})
        return {name: self._ops.to_numpy(values[name]) for name in self._network.outputs}

    def _run(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        last_use = {name: i for i, (part, _) in enumerate(self._steps) for name in part.inputs}
        for i, (part, step) in enumerate(self._steps):
            values |= dict(zip(part.outputs, step(*(values[name] for name in part.inputs)), strict=True))
            for name in part.inputs:  # let go of what nobody reads any more
                if last_use[name] == i and name not in self._network.outputs:
                    del values[name]
        return values


def _step(ops: MindSporeOps, part: Network, weights: Mapping[str, Array], native: NativeLayers, graphs: Graphs) -> Function:
    """What computes a part's outputs of its inputs."""
    tensors = [ops.asarray(weights[name]) for name in part.weight_shapes()]
    run = partial(graphs.run, _signature(part), partial(_apply, ops, part, native))
    layers = [node.layer for node in part.nodes]
    if ops.target != "CPU" or len(part.outputs) > 1:
        return partial(run, *tensors)
    if is_upsampled_convolution(part.nodes):
        weight, bias = part.weight_shapes()
        return partial(_upsampled, graphs, ops.asarray(square_kernels(weights[weight])), ops.asarray(weights[bias]))
    if isinstance(layers[0], Conv2d) and not layers[0].padding and layers[0].groups == 1:
        return partial(_convolved, layers[0], partial(run, *tensors))
    if all(isinstance(layer, _CHANNEL_BY_CHANNEL) for layer in layers):
        return partial(_in_channels, run, tensors)
    return partial(run, *tensors)


def _convolved(layer: Conv2d, run: Function, x: Tensor) -> tuple[Tensor, ...]:
    k, stride = layer.kernel, layer.stride
    height, width = ((size - k) // stride + 1 for size in x.shape[2:])
    return _in_bands(run, x, k, stride, height, band_rows(layer.out_channels, x.shape[1], k, stride, height, width))


def _upsampled(graphs: Graphs, kernels: Tensor, bias: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    height, width = x.shape[2:]
    (x,) = graphs.run("bordered", lambda x: (bordered(x),), x)
    run = partial(graphs.run, "convolve_upsampled", lambda *tensors: (convolve_upsampled(*tensors),), kernels, bias)
    return _in_bands(run, x, 3, 1, height, even_rows(height, 2 * sum(kernels.shape) * height * width))


def _in_bands(run: Function, x: Tensor, k: int, stride: int, height: int, rows: int) -> tuple[Tensor, ...]:
    """``run(x)``, so many of ``height`` rows at a time, each of ``k`` rows of ``x``; a row may come out as several."""
    if rows == height:
        return run(x)
    starts = [*range(0, height - rows, rows), height - rows]  # the last one overlaps, so that all have one shape
    bands = [run(_piece(x, 2, y * stride, (rows - 1) * stride + k))[0] for y in starts]
    left = (height - rows * (len(bands) - 1)) * (bands[0].shape[2] // rows)
    return (mo.concat([*bands[:-1], narrow(bands[-1], 2, bands[-1].shape[2] - left, left)], 2),)


def _in_channels(run: Function, weights: list[Tensor], *x: Tensor) -> tuple[Tensor, ...]:
    """``run(*weights, *x)``, a few channels at a time."""
    n, channels, height, width = x[0].shape
    most = max(1, MOST_IMAGE // (n * height * width))
    count = next(count for count in range(1, channels + 1) if channels % count == 0 and channels // count <= most)
    if count == 1:
        return run(*weights, *x)
    size = channels // count
    slices = [([_piece(w, 0, k, size) for w in weights], [_piece(a, 1, k, size) for a in x]) for k in range(0, channels, size)]
    return (mo.concat([run(*w, *a)[0] for w, a in slices], 1),)


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

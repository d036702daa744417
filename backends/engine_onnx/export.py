"""A whole network as an ONNX model of free size: of float32 images, or from uint8 pictures to uint8 pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx

from engine import Array, EngineError, NativeLayers, Network, from_uint8, to_uint8
from engine_onnx.graph import Value, constant, free_input
from engine_onnx.model import Port, check_size, write_model
from engine_onnx.ops import OnnxOps

FRAMES, PAINTED = "frames", "painted"
"""The names of the input and the output of a graph of pictures."""


def export(
    ops: OnnxOps,
    network: Network,
    weights: Mapping[str, Array],
    native: NativeLayers,
    path: Path,
    *,
    pictures: bool,
    metadata: Mapping[str, str],
) -> None:
    """Write :func:`picture_model` or :func:`image_model` to a file, which the engine puts in its place when it is whole."""
    make = picture_model if pictures else image_model
    onnx.save(make(ops, network, weights, native, metadata=metadata), str(path))


def picture_model(
    ops: OnnxOps, network: Network, weights: Mapping[str, Array], native: NativeLayers, *, metadata: Mapping[str, str] = {}
) -> onnx.ModelProto:
    """``frames`` uint8 RGB (n, h, w, 3) to ``painted``, the same; an :class:`EngineError` for a network that does not paint pictures."""
    if list(network.inputs.values()) != [3] or len(network.outputs) != 1:
        raise EngineError(
            "this network does not paint pictures",
            allowed="one input of 3 channels and one output",
            remedy="Export it with --input float32.",
        )
    frames = free_input(FRAMES, "uint8", (None, None, None, 3))
    image = from_uint8(ops, frames, network.low, network.high)
    (output,) = network.apply(ops, _weights(network, weights), {next(iter(network.inputs)): image}, native=native).values()
    painted = to_uint8(ops, output, network.low, network.high)
    sizes, about = ("n", "h", "w", 3), "RGB pictures, uint8 (n, h, w, 3)"
    return write_model({FRAMES: Port(frames, sizes, about)}, {PAINTED: Port(painted, sizes, about)}, metadata=metadata)


def image_model(
    ops: OnnxOps, network: Network, weights: Mapping[str, Array], native: NativeLayers, *, metadata: Mapping[str, str] = {}
) -> onnx.ModelProto:
    """The network as it is: its inputs (n, c, h, w), float32 in its range, to its outputs, under its own names."""
    about = f"float32 (n, c, h, w), black is {network.low:g} and white {network.high:g}"
    inputs = {name: free_input(name, "float32", (None, c, None, None)) for name, c in network.inputs.items()}
    outputs = network.apply(ops, _weights(network, weights), inputs, native=native)
    # Sizes of one name are taken for equal, and memory is shared by them; those of a part's inputs are not.
    free = (None, None) if network.sizes else ("h", "w")
    return write_model(
        {name: Port(x, ("n", network.inputs[name], *free), about) for name, x in inputs.items()},
        {name: Port(x, ("n", *x.sizes[1:])) for name, x in outputs.items()},
        metadata=metadata,
    )


def _weights(network: Network, weights: Mapping[str, Array]) -> dict[str, Value]:
    network.check_weights(weights)
    check_size(sum(4 * x.size for x in weights.values()))  # before any of them is copied
    return {name: constant(x, "float32", name) for name, x in weights.items()}

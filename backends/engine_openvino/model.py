"""A whole network as an OpenVINO model: of float32 images, or from a uint8 picture to a uint8 picture, of one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine import Array, EngineError, NativeLayers, Network, Shape, from_uint8, fuse, to_uint8
from engine_openvino.graph import Value, constant, graph_input
from engine_openvino.session import explained, opset, ov

if TYPE_CHECKING:
    from engine_openvino.ops import OpenVinoOps


def make_model(inputs: Sequence[Value], outputs: Sequence[Value]) -> Any:
    """The model that computes ``outputs`` of ``inputs``; an :class:`EngineError` where it needs another input."""
    try:
        return ov.Model([opset.result(x.port) for x in outputs], [x.port.get_node() for x in inputs], "network")
    except RuntimeError as error:
        raise explained(error, EngineError("these values are no graph of these inputs")) from error


def picture_model(ops: OpenVinoOps, network: Network, weights: Mapping[str, Array], native: NativeLayers, height: int, width: int) -> Any:
    """One uint8 RGB picture (1, h, w, 3) to the same; an :class:`EngineError` for a network that does not paint pictures."""
    if list(network.inputs.values()) != [3] or len(network.outputs) != 1:
        raise EngineError("this network does not paint pictures", allowed="one input of 3 channels and one output")
    frames = graph_input("uint8", (1, height, width, 3))
    image = from_uint8(ops, frames, network.low, network.high)
    (output,) = fuse(network).apply(ops, _weights(network, weights), {next(iter(network.inputs)): image}, native=native).values()
    return make_model([frames], [to_uint8(ops, output, network.low, network.high)])


def image_model(ops: OpenVinoOps, network: Network, weights: Mapping[str, Array], native: NativeLayers, shapes: Mapping[str, Shape]) -> Any:
    """The network as it is: its inputs (n, c, h, w), float32 in its range, to its outputs, both in the network's order."""
    inputs = {name: graph_input("float32", shapes[name]) for name in network.inputs}
    outputs = fuse(network).apply(ops, _weights(network, weights), inputs, native=native)
    return make_model(list(inputs.values()), [outputs[name] for name in network.outputs])


def _weights(network: Network, weights: Mapping[str, Array]) -> dict[str, Value]:
    network.check_weights(weights)
    return {name: constant(x, "float32") for name, x in weights.items()}

"""Nodes of a network that a backend computes faster as one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from pydantic import Field

from engine.layers import Conv2d, Layer, Pad, Upsample2d, Weights
from engine.network import Network
from engine.ops import Array, Ops, Shape, Tensor

_UPSAMPLE, _PAD = Upsample2d(mode="nearest", factor=2), Pad(amount=1, mode="reflect")
KERNEL_SUMS: Array = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
"""By what the kernel of an :class:`UpsampledConv2d` becomes that of a transposed convolution: ``KERNEL_SUMS @ kernel @ KERNEL_SUMS.T``.

Each row of the source stands twice, so two of the kernel's three rows meet it, and nine products come to four. That transposed
convolution is 4x4, has a stride of 2 and a padding of 3, and reads the source with a margin of its own last pixel (mode "edge"):
the mirrored margin of doubled pixels is just that.
"""


class UpsampledConv2d(Layer):
    """Nearest upsampling by 2, a mirrored margin of one pixel and a 3x3 convolution: in one, as :func:`fuse` makes it."""

    name = "upsampled_conv2d"
    out_channels: int = Field(ge=1, description="Channels of the output.")
    bias: bool = Field(default=True, description="Add a bias per output channel.")

    @property
    def convolution(self) -> Conv2d:
        """What comes after upsampling and margin."""
        return Conv2d(out_channels=self.out_channels, bias=self.bias)

    def weights(self, *channels: int) -> dict[str, Shape]:
        return self.convolution.weights(*channels)

    def initial(self, rng: np.random.Generator, *channels: int) -> dict[str, Array]:
        return self.convolution.initial(rng, *channels)

    def shape(self, *shapes: Shape) -> Shape:
        return self.convolution.shape(_PAD.shape(_UPSAMPLE.shape(*shapes)))

    def macs(self, *shapes: Shape) -> int:
        return self.convolution.macs(_PAD.shape(_UPSAMPLE.shape(*shapes)))

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        return self.convolution.apply(ops, weights, _PAD.apply(ops, {}, _UPSAMPLE.apply(ops, {}, *x)))


def fuse(network: Network) -> Network:
    """The same function of the same weights, with one node where :class:`UpsampledConv2d` says what three nodes said.

    Its window is not stated, so networks are fused after they were planned in stripes, by whoever computes them.
    """
    nodes = {node.name: node for node in network.nodes}
    reads = Counter(name for node in network.nodes for name in node.inputs)
    shown = {*network.outputs, *network.taps.values()}

    def hidden(name: str, layer: Layer) -> bool:
        return name in nodes and nodes[name].layer == layer and reads[name] == 1 and name not in shown

    gone: set[str] = set()
    made = []
    for node in network.nodes:
        layer, pad = node.layer, node.inputs[0]
        if isinstance(layer, Conv2d) and hidden(pad, _PAD) and hidden(up := nodes[pad].inputs[0], _UPSAMPLE):
            fused = UpsampledConv2d(out_channels=layer.out_channels, bias=layer.bias)
            if layer == fused.convolution:
                gone |= {pad, up}
                node = replace(node, layer=fused, inputs=nodes[up].inputs)
        made.append(node)
    return replace(network, nodes=tuple(node for node in made if node.name not in gone))

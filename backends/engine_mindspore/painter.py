"""Painting in MindSpore."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mindspore import Tensor

from engine import Array, DType, NativeLayers, Network, from_uint8, to_uint8
from engine_mindspore.compiled import Compiled
from engine_mindspore.ops import MindSporeOps


class MindSporePainter:
    """See :class:`engine.Painter`."""

    def __init__(self, ops: MindSporeOps, network: Network, weights: Mapping[str, Array], precision: DType, native: NativeLayers) -> None:
        self._ops, self._network, self._precision, self._native = ops, network, precision, native
        self._weights = {name: ops.asarray(x) for name, x in weights.items()}
        self._apply, self._paint = Compiled(self._outputs), Compiled(self._painted)

    def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
        for frames in batches:
            (painted,) = self._paint(self._ops.asarray(frames, "uint8"))
            yield self._ops.to_numpy(painted)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        tensors = [self._ops.asarray(inputs[name], self._precision) for name in self._network.inputs]
        outputs = self._apply(*tensors)
        return {name: self._ops.to_numpy(x) for name, x in zip(self._network.outputs, outputs, strict=True)}

    def _outputs(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        inputs = dict(zip(self._network.inputs, tensors, strict=True))
        outputs = self._network.apply(self._ops, self._weights, inputs, native=self._native)
        return tuple(outputs[name] for name in self._network.outputs)

    def _painted(self, frames: Tensor) -> tuple[Tensor, ...]:
        network = self._network
        image = from_uint8(self._ops, frames, network.low, network.high, self._precision)
        return (to_uint8(self._ops, self._outputs(image)[0], network.low, network.high),)

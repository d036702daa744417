"""Painting in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from engine import Array, DType, NativeLayers, Network, from_uint8, fuse, to_uint8
from engine_torch.ops import TorchOps


class TorchPainter:
    """See :class:`engine.Painter`."""

    def __init__(self, ops: TorchOps, network: Network, weights: Mapping[str, Array], precision: DType, native: NativeLayers) -> None:
        self._ops, self._network, self._precision, self._native = ops, fuse(network), precision, native
        self._weights = {name: ops.asarray(x) for name, x in weights.items()}
        self._input = next(iter(network.inputs))

    def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
        for frames in batches:
            yield self._paint(frames)

    @torch.inference_mode()
    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self._network.check_inputs({name: x.shape for name, x in inputs.items()})
        exact = self._network.exact_inputs
        tensors = {name: self._ops.asarray(x, "float32" if name in exact else self._precision) for name, x in inputs.items()}
        outputs = self._network.apply(self._ops, self._weights, tensors, native=self._native)
        return {name: self._ops.to_numpy(x) for name, x in outputs.items()}

    @torch.inference_mode()
    def _paint(self, frames: Array) -> Array:
        network = self._network
        network.shapes(*frames.shape[1:3])  # an error where the picture is too small
        image = from_uint8(self._ops, self._ops.asarray(frames, "uint8"), network.low, network.high, self._precision)
        if image.device.type in ("cpu", "cuda"):
            # Frames lie so in memory already; 640x360, 16 wide, 2 threads, torch 2.13 on a CPU, a frame against NCHW:
            # float32 141 ms instead of 175, bfloat16 81 instead of 96.
            image = image.contiguous(memory_format=torch.channels_last)
        outputs = network.apply(self._ops, self._weights, {self._input: image}, native=self._native)
        return self._ops.to_numpy(to_uint8(self._ops, outputs[network.outputs[0]], network.low, network.high))

"""Painting with onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np

from engine import Array, NativeLayers, Network
from engine_onnx.export import FRAMES, PAINTED, image_model, picture_model
from engine_onnx.ops import OnnxOps
from engine_onnx.session import Session, cores


class OnnxPainter:
    """See :class:`engine.Painter`. A graph is made when it is first used, once for all sizes."""

    def __init__(self, ops: OnnxOps, network: Network, weights: Mapping[str, Array], native: NativeLayers) -> None:
        self._parts = (ops, network, weights, native)
        self._network = network

    def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
        for frames in batches:
            # An image too small to mirror is an error here: onnxruntime 1.20 reads past its edge.
            self._network.shapes(*frames.shape[1:3])
            (painted,) = self._pictures.run({FRAMES: np.ascontiguousarray(frames)}, [PAINTED])
            yield painted

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        arrays = {name: np.ascontiguousarray(x, np.float32) for name, x in inputs.items()}
        self._network.check_inputs({name: x.shape for name, x in arrays.items()})
        outputs = self._network.outputs
        return dict(zip(outputs, self._images.run(arrays, outputs), strict=True))

    @cached_property
    def _pictures(self) -> Session:
        return Session(picture_model(*self._parts), threads=cores())

    @cached_property
    def _images(self) -> Session:
        return Session(image_model(*self._parts), threads=cores())

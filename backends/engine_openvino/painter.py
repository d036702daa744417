"""Painting with OpenVINO: a picture by all threads together, the frames of a video side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import chain, groupby, islice

import numpy as np

from engine import Array, DType, NativeLayers, Network
from engine_openvino.model import image_model, picture_model
from engine_openvino.ops import OpenVinoOps
from engine_openvino.session import MOST_STREAMS, Session, cores


class OpenVinoPainter:
    """See :class:`engine.Painter`.

    A graph is compiled when it is first used: that of :meth:`paint` for one size of picture, the latest (it takes some 0.2 s, and
    computes in down to two thirds of the time of one of free size), that of :meth:`run` once for all sizes.

    Frames are computed one by one whatever batches they come in, so that a frame does not depend on those beside it: in bfloat16
    OpenVINO chooses another kernel for another size of batch, and the two may differ by 4 grey levels.
    """

    def __init__(self, ops: OpenVinoOps, network: Network, weights: Mapping[str, Array], precision: DType, native: NativeLayers) -> None:
        self._parts = (ops, network, weights, native)
        self._network, self._precision = network, precision
        self._latest: tuple[tuple[int, int, int], Session] | None = None

    def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
        checked = self._checked(batches)
        first = list(islice(checked, 2))
        alone = len(first) == 1 and len(first[0]) == 1
        streams = 1 if alone else min(cores(), MOST_STREAMS)
        for (height, width), same in groupby(chain(first, checked), key=lambda frames: frames.shape[1:3]):
            yield from self._pictures(streams, height, width).stream(same)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        arrays = [np.ascontiguousarray(inputs[name], np.float32) for name in self._network.inputs]
        self._network.check_inputs({name: x.shape for name, x in zip(self._network.inputs, arrays, strict=True)})
        return dict(zip(self._network.outputs, self._images.run(arrays), strict=True))

    def _checked(self, batches: Iterator[Array]) -> Iterator[Array]:
        for frames in batches:
            self._network.shapes(*frames.shape[1:3])
            yield frames

    def _pictures(self, streams: int, height: int, width: int) -> Session:
        if self._latest is None or self._latest[0] != (streams, height, width):
            self._latest = None  # its memory goes before there is more of it
            model = picture_model(*self._parts, height, width)
            self._latest = (streams, height, width), Session(model, threads=cores(), streams=streams, precision=self._precision)
        return self._latest[1]

    @cached_property
    def _images(self) -> Session:
        return Session(image_model(*self._parts), threads=cores())

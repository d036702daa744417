"""Painting with OpenVINO: a picture by all threads together, the frames of a video side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, groupby, islice

import numpy as np

from engine import Array, DType, NativeLayers, Network, Shape
from engine_openvino.model import image_model, picture_model
from engine_openvino.ops import OpenVinoOps
from engine_openvino.session import MOST_STREAMS, Session, SharedMemory, cores

KEPT = 4
"""Graphs of :meth:`OpenVinoPainter.run`: a frame's first stripe, those in the middle and its last two are of different heights."""


class OpenVinoPainter:
    """See :class:`engine.Painter`.

    A graph is compiled for one size, when that is first used: it takes some 0.2 s, and a graph of free size would compute up to half
    as long again. :meth:`paint` keeps the latest, :meth:`run` as many as stripes have heights.

    Frames are computed one by one whatever batches they come in, so that a frame does not depend on those beside it: in bfloat16
    OpenVINO chooses another kernel for another size of batch, and the two may differ by 4 grey levels.
    """

    def __init__(
        self,
        ops: OpenVinoOps,
        network: Network,
        weights: Mapping[str, Array],
        precision: DType,
        native: NativeLayers,
        memory: SharedMemory,
    ) -> None:
        self._parts = (ops, network, weights, native)
        self._network, self._precision, self._memory = network, precision, memory
        self._latest: tuple[tuple[int, int, int], Session] | None = None
        self._kept: dict[tuple[Shape, ...], Session] = {}

    def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
        checked = self._checked(batches)
        first = list(islice(checked, 2))
        alone = len(first) == 1 and len(first[0]) == 1
        streams = 1 if alone else min(cores(), MOST_STREAMS)
        for (height, width), same in groupby(chain(first, checked), key=lambda frames: frames.shape[1:3]):
            yield from self._pictures(streams, height, width).stream(same)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        arrays = {name: np.ascontiguousarray(inputs[name], np.float32) for name in self._network.inputs}
        self._network.check_inputs({name: x.shape for name, x in arrays.items()})
        session = self._images({name: x.shape for name, x in arrays.items()})
        return dict(zip(self._network.outputs, self._memory.run(session, list(arrays.values())), strict=True))

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

    def _images(self, shapes: Mapping[str, Shape]) -> Session:
        key = tuple(shapes.values())
        if key not in self._kept:
            session = Session(image_model(*self._parts, shapes), threads=cores(), precision=self._precision)
            self._kept = dict([*self._kept.items(), (key, session)][-KEPT:])
        return self._kept[key]

"""Frames in, painted frames out, in order and of the same size."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing

import numpy as np

from engine.contracts.backend import Backend, Painter
from engine.errors import EngineError, RunError
from engine.network import Network
from engine.ops import Array
from engine.streams import read_ahead

SMALLEST = 5
"""Pixels on the shorter side; fewer cannot be mirrored by the margin of a 9x9 kernel."""
MOST_ELEMENTS = 1024
"""Of one activation, for each pixel of the picture (of 64x64 at least); the widest network of the paper has 48."""


def check_size(network: Network, height: int, width: int) -> None:
    """An :class:`EngineError` where the network cannot paint RGB pictures of that size to the same size."""
    if min(height, width) < SMALLEST:
        raise EngineError(f"a picture of {width}x{height} is too small to paint", allowed=f"sides of {SMALLEST} pixels and more")
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise EngineError("this network does not paint pictures", allowed="one input and one output")
    shapes = network.shapes(height, width)
    largest = max(shapes, key=lambda name: math.prod(shapes[name]))
    if math.prod(shapes[largest]) > MOST_ELEMENTS * max(height * width, 64 * 64):
        raise EngineError(
            f"the node {largest!r} needs too much memory for a picture of {width}x{height}", allowed=f"{MOST_ELEMENTS} numbers a pixel"
        )
    (source,), (output,) = network.inputs, network.outputs
    if not shapes[source] == shapes[output] == (3, height, width):
        raise EngineError(f"this network makes {shapes[output]} of {shapes[source]}", allowed=f"(3, {height}, {width}) of the same")


def paint_image(backend: Backend, network: Network, weights: Mapping[str, Array], image: Array) -> Array:
    """Paint one picture.

    Args:
        backend: What computes it.
        network: One input and one output, both RGB.
        weights: By full name, float32.
        image: uint8 RGB (h, w, 3), sides of 5 pixels and more.

    Returns:
        uint8 RGB (h, w, 3), a new array.

    Raises:
        EngineError: The array is no such picture, or it is too small.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise EngineError(f"the picture is {image.dtype} {image.shape}", allowed="uint8 (h, w, 3), RGB")
    check_size(network, *image.shape[:2])
    (painted,) = paint_stream(backend.painter(network, weights, batch=1), [image], 1)
    return painted


def paint_stream(painter: Painter, frames: Iterable[Array], batch: int) -> Generator[Array, None, None]:
    """Paint frames of one size as they come.

    Args:
        painter: A network ready to run.
        frames: uint8 RGB (h, w, 3), all of one size; read in a thread, at most three batches ahead.
        batch: Frames painted together; the last batch may be smaller.

    Yields:
        As many painted frames, uint8 (h, w, 3), in order. Memory does not grow with their number.

    Raises:
        RunError: The painter returned another number of frames or another size.
    """
    if batch < 1:
        raise EngineError(f"a batch of {batch} frames", allowed="1 and more")
    sizes: list[tuple[int, ...]] = []  # of the batches that the painter has taken and not given back

    def batches() -> Generator[Array, None, None]:
        # The painter may read this in a thread of its own; list.append and list.pop are atomic.
        waiting: list[Array] = []
        with closing(read_ahead(frames, 2 * batch)) as reader:
            for frame in reader:
                waiting.append(frame)
                if len(waiting) == batch:
                    yield take(waiting)
            if waiting:
                yield take(waiting)

    def take(waiting: list[Array]) -> Array:
        stacked = np.stack(waiting)  # (n, h, w, 3)
        waiting.clear()
        sizes.append(stacked.shape)
        return stacked

    with closing(batches()) as source:
        painted = painter.paint(source)
        try:
            for result in painted:
                expected = sizes.pop(0) if sizes else None
                if result.shape != expected or result.dtype != np.uint8:
                    raise RunError(f"the painter made {result.dtype} {result.shape} of a batch of {expected}")
                yield from result
        finally:
            if callable(close := getattr(painted, "close", None)):
                close()
    if sizes:
        raise RunError(f"the painter kept {sum(size[0] for size in sizes)} frames to itself")

"""Several styles at once: each paints every frame, and the paintings are mixed by their shares."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from threading import Lock

import numpy as np

from engine.contracts.backend import Painter
from engine.errors import EngineError
from engine.ops import Array
from engine.painting import paint_stream

FORM = "NAME:WEIGHT,NAME:WEIGHT such as candy:0.7,mosaic:0.3"


def parse_blend(text: str) -> list[tuple[str, float]]:
    """Styles with their shares, from ``a:0.7,b:0.3``. Weights need not add up to 1: what counts is how they compare.

    Raises:
        EngineError: A weight is missing or not positive, a style is named twice, or there are fewer than two.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = (word.strip() for word in part.rpartition(":"))
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not name or not (0 < weight < math.inf):
            raise EngineError(f"{part.strip()!r} is no style with a positive weight", where="--blend", allowed=FORM)
        if name in weights:
            raise EngineError(f"the style {name!r} is named twice", where="--blend", remedy="Name it once, with the sum of its weights.")
        weights[name] = weight
    if len(weights) < 2:
        raise EngineError("one style is no blend", where="--blend", allowed=FORM, remedy="For one style give --style.")
    if math.isinf(whole := sum(weights.values())):
        raise EngineError("the weights are too large", where="--blend", allowed=FORM)
    return [(name, weight / whole) for name, weight in weights.items()]


def paint_blend(painters: Sequence[Painter], shares: Sequence[float], frames: Iterable[Array], batch: int) -> Generator[Array, None, None]:
    """:func:`engine.painting.paint_stream` with several painters: ``round(sum of share * painting)`` in float32, half to even.

    Args:
        painters: Networks ready to run, at least one.
        shares: Of each, adding up to 1.
        frames: uint8 RGB (h, w, 3), all of one size; read in threads, at most a few batches ahead.
        batch: Frames painted together.

    Yields:
        As many painted frames, uint8 (h, w, 3), in order. Memory does not grow with their number.
    """
    copies = _Copies(frames, len(painters))
    with ExitStack() as stack:
        streams = [stack.enter_context(closing(paint_stream(painter, copies.of(k), batch))) for k, painter in enumerate(painters)]
        for paintings in zip(*streams, strict=True):
            total = np.zeros(paintings[0].shape, np.float32)
            for share, painting in zip(shares, paintings, strict=True):
                total += np.float32(share) * painting
            yield np.clip(np.rint(total), 0, 255).astype(np.uint8)


class _Copies:
    """The same frames for several readers, each in a thread of its own; a frame is kept until the slowest has it."""

    def __init__(self, frames: Iterable[Array], readers: int) -> None:
        self._frames = iter(frames)
        self._waiting: list[deque[Array]] = [deque() for _ in range(readers)]
        self._lock = Lock()
        self._end: BaseException | None = None

    def of(self, reader: int) -> Iterator[Array]:
        mine = self._waiting[reader]
        while True:
            with self._lock:
                if not mine:
                    self._fetch()
                if not mine:
                    return
                frame = mine.popleft()
            yield frame

    def _fetch(self) -> None:
        if self._end is None:
            try:
                frame = next(self._frames)
            except BaseException as end:  # StopIteration, or an error that every reader must see
                self._end = end
            else:
                for waiting in self._waiting:
                    waiting.append(frame)
        if self._end is not None and not isinstance(self._end, StopIteration):
            raise self._end

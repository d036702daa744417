"""Painting a frame in horizontal stripes that share the whole frame's statistics, so that no seam shows where they meet.

The network is cut at its instance norms. What lies between two of them is run stripe by stripe, with as many rows around a stripe
as its layers read; meanwhile mean and variance of what the next norm reads are gathered, and to the next part that norm is only a
scale and a shift. An activation between two parts is kept in pieces, which go as soon as the last stripe that reads them is done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from engine.contracts.backend import Backend, Painter
from engine.errors import EngineError
from engine.memory import free_memory
from engine.network import Network
from engine.ops import Array, Shape
from engine.stripes import Plan, Rows, Work, marks_of, moments_of, scale_of, shift_of

MakePainter: TypeAlias = Callable[[Network, Mapping[str, Array]], Painter]
Tile: TypeAlias = Literal["auto", "off"] | int
"""How many rows are computed at once: ``off`` is the whole frame, ``auto`` goes by the free memory."""
Put: TypeAlias = Callable[[str, int, Array], None]
"""Called with the name of an output, the number of its first row here, and rows (1, c, h, w), from the top down."""
SHARE = 0.5
"""Of the free memory that painting may take by what is counted: activations, not what a framework needs for its own."""
HEIGHTS = (1024, 512, 256, 128, 64)
"""What ``auto`` chooses among, the highest that fits, or else the lowest."""
COPIES = 2.0
"""Of a stripe's activations, for the margins around it and what a framework copies."""


class TiledPainter:
    """A painter that computes ``rows`` rows of a frame at a time where the network is widest, and more where it is narrower.

    ``make`` is the backend's :meth:`engine.Backend.painter`. In float32 the painting differs from that of the whole frame by
    rounding alone; in reduced precision norms are mapped in float32, so it comes no farther from it than the whole frame does.

    Raises:
        EngineError: A layer does not say which rows it reads.
    """

    def __init__(self, make: MakePainter, network: Network, weights: Mapping[str, Array], rows: int) -> None:
        self._plan = Plan.of(network)
        self._network, self._weights, self._rows = self._plan.network, weights, rows
        works = self._plan.works
        self._painters = [make(work.network, {name: weights[name] for name in work.network.weight_shapes()}) for work in works]
        self._last_use = {name: i for i, work in enumerate(works) for name in work.part.inputs}

    def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
        """See :class:`engine.Painter`: uint8 RGB (n, h, w, 3) to the same."""
        for frames in batches:
            painted = np.empty_like(frames)
            for frame, target in zip(frames, painted, strict=True):
                self._paint(frame, target)
            yield painted

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See :class:`engine.Painter`; the inputs are of one size."""
        (count,) = {len(x) for x in inputs.values()}
        ((height, width),) = {x.shape[2:] for x in inputs.values()}
        shapes = self._network.shapes(height, width)
        outputs = {name: np.empty((count, *shapes[name]), np.float32) for name in self._network.outputs}
        for k in range(count):

            def put(name: str, row: int, rows: Array, k: int = k) -> None:
                outputs[name][k, :, row : row + rows.shape[2]] = rows[0]

            self._compute({name: _Given(inputs[name][k : k + 1]) for name in self._network.inputs}, shapes, height, put)
        return outputs

    def _paint(self, frame: Array, target: Array) -> None:
        low, high = self._network.low, self._network.high

        def put(_: str, row: int, rows: Array) -> None:
            levels = (rows[0] - np.float32(low)) * np.float32(255 / (high - low))
            target[row : row + rows.shape[2]] = np.clip(np.rint(levels), 0, 255).transpose(1, 2, 0)

        height, width = frame.shape[:2]
        self._compute({next(iter(self._network.inputs)): _Frame(frame, low, high)}, self._network.shapes(height, width), height, put)

    def _compute(self, given: Mapping[str, _Source], shapes: Mapping[str, Shape], height: int, put: Put) -> None:
        sources: dict[str, _Source] = dict(given)
        sums: dict[str, _Sum] = {}
        for i, (work, painter) in enumerate(zip(self._plan.works, self._painters, strict=True)):
            scales = self._scales(work, sums)
            sums |= {name: _Sum() for name in work.measured}
            kept = {name: _Kept() for name in work.outputs if name in self._last_use}
            stripes = self._plan.stripes(work, shapes, height, self._rows)
            for k, stripe in enumerate(stripes):
                read = {name: sources[name].rows(*rows) for name, rows in stripe.inputs.items()}
                marks = {marks_of(name): _marks(stripe.heights[name], stripe.local(name)) for name in work.measured}
                made = painter.run(read | marks | scales)
                for name in work.measured:
                    first, last = stripe.outputs[name]
                    sums[name].add((last - first) * shapes[name][2], made[moments_of(name)])
                for name in work.outputs:
                    first, last = stripe.local(name)
                    rows = made[name][:, :, first:last]
                    if name in kept:
                        kept[name].add(rows)
                    if name in self._network.outputs:
                        put(name, stripe.outputs[name][0], rows)
                for name in stripe.inputs:
                    if self._last_use[name] == i and k + 1 < len(stripes):
                        sources[name].release(min(later.inputs[name][0] for later in stripes[k + 1 :]))
            sources = {name: x for name, x in sources.items() if self._last_use[name] > i} | kept

    def _scales(self, work: Work, sums: Mapping[str, _Sum]) -> dict[str, Array]:
        scales: dict[str, Array] = {}
        for name, (source, eps) in work.norms.items():
            found = sums[source]
            scale = self._weights[f"{name}.weight"] / np.sqrt(found.variance + eps)
            shift = self._weights[f"{name}.bias"] - found.mean * scale
            scales |= {scale_of(name): scale, shift_of(name): shift}
        return {name: np.asarray(x, np.float32).reshape(1, -1, 1, 1) for name, x in scales.items()}


def choose_rows(
    plan: Plan, height: int, width: int, memory: int, *, bytes_each: int = 4, frames: int = 1, keeps: bool = True
) -> int | None:
    """How many rows to compute at once so that painting fits into so much free memory; None where the whole frame does.

    Args:
        plan: Of the network.
        height: Of the frame.
        width: Of the frame.
        memory: What is free, in bytes.
        bytes_each: Of a number in the precision that is computed in.
        frames: Computed at once where frames are computed whole.
        keeps: Whether what is kept between two parts of the network lies in that memory too, and not in the host's beside a card.
    """
    room, kept = memory * SHARE, plan.kept_numbers * height if keeps else 0
    if plan.most_numbers * height * width * bytes_each * frames <= room:
        return None
    for rows in HEIGHTS:
        if (kept + plan.widest * min(rows, height) * COPIES) * width * 4 <= room:
            return rows
    return HEIGHTS[-1]


def parse_tile(text: str) -> Tile:
    """What ``--tile`` says; an :class:`EngineError` where that is nothing."""
    if text in ("auto", "off"):
        return "auto" if text == "auto" else "off"
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text):
        return int(text)
    raise EngineError(f"{text!r} is no height of stripes", where="--tile", allowed="auto, off, or a number of rows such as 256")


class Tiles:
    """The painters of one backend for some networks: of whole frames and, once they are needed, of stripes.

    Raises:
        EngineError: A height was given, and a network cannot be painted in stripes.
    """

    def __init__(
        self, backend: Backend, networks: Sequence[tuple[Network, Mapping[str, Array]]], painters: tuple[Painter, ...], tile: Tile
    ) -> None:
        self._backend, self._networks, self._tile = backend, networks, tile
        self._painters: dict[int | None, tuple[Painter, ...]] = {None: painters}
        self._plans: list[Plan] = []
        if tile != "off":
            try:
                self._plans = [Plan.of(network) for network, _ in networks]
            except EngineError:
                if tile != "auto":
                    raise

    def choose(
        self, height: int, width: int, frames: int = 1, before: Mapping[str, Any] | None = None
    ) -> tuple[tuple[Painter, ...], int | None]:
        """The painters for frames of that size, so many at once, and how many rows they compute at once; None for all.

        ``before`` is what a run depended on that is to be continued: ``auto`` chooses its ``tile`` again, whatever memory is free now.
        """
        rows = (before or {}).get("tile", 0) if self._tile == "auto" and self._plans else 0
        if not (rows is None or (isinstance(rows, int) and rows > 0)):
            rows = self._rows(height, width, frames)
        if rows not in self._painters:
            assert rows is not None
            self._painters[rows] = tuple(TiledPainter(self._backend.painter, *one, rows) for one in self._networks)
        return self._painters[rows], rows

    def _rows(self, height: int, width: int, frames: int) -> int | None:
        if isinstance(self._tile, int):
            return self._tile
        if not self._plans:
            return None
        on_card = self._backend.free_memory()
        memory = free_memory() if on_card is None else on_card
        if memory is None:
            return None
        number = 4 if self._backend.describe()["precision"] == "float32" else 2
        chosen = [choose_rows(plan, height, width, memory, bytes_each=number, frames=frames, keeps=on_card is None) for plan in self._plans]
        return min((rows for rows in chosen if rows is not None), default=None)


class _Sum:
    """Mean and variance of each channel over rows that come bit by bit, merged in float64.

    (Chan, Golub, LeVeque: Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979, equation 2.1.)
    """

    def __init__(self) -> None:
        self._count = 0
        self.mean: Array = np.zeros(())
        self._squares: Array = np.zeros(())

    def add(self, count: int, moments: Array) -> None:
        """Moments (1, 2c, 1, 1) of so many numbers a channel, as :class:`engine.Moments` gives them."""
        if count:
            mean, variance = np.split(moments.astype(np.float64).reshape(-1), 2)  # (c,), (c,)
            total, step = self._count + count, mean - self.mean
            self.mean = self.mean + step * (count / total)
            self._squares = self._squares + variance * count + step * step * (self._count * count / total)
            self._count = total

    @property
    def variance(self) -> Array:
        """Biased, (c,)."""
        return self._squares / max(self._count, 1)


class _Source(Protocol):
    def rows(self, start: int, stop: int) -> Array:
        """Those rows, float32 (1, c, stop - start, w)."""

    def release(self, row: int) -> None:
        """What is above this row is not read any more."""


class _Given:
    """An input (1, c, h, w)."""

    def __init__(self, values: Array) -> None:
        self._values = values

    def rows(self, start: int, stop: int) -> Array:
        return self._values[:, :, start:stop]

    def release(self, row: int) -> None:
        pass  # it is the caller's


class _Frame:
    """A picture uint8 (h, w, 3), of which a stripe at a time is put into the network's range."""

    def __init__(self, frame: Array, low: float, high: float) -> None:
        self._frame, self._low, self._high = frame, low, high

    def rows(self, start: int, stop: int) -> Array:
        rows = np.ascontiguousarray(self._frame[start:stop].transpose(2, 0, 1)[None], np.float32)
        return rows * np.float32((self._high - self._low) / 255) + np.float32(self._low)

    def release(self, row: int) -> None:
        pass  # it is the caller's


class _Kept:
    """An activation (1, c, h, w) in pieces."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, Array]] = deque()
        self._height = 0

    def add(self, rows: Array) -> None:
        """The rows that follow; copied, so that the rest of the stripe can go."""
        if rows.shape[2]:
            self._pieces.append((self._height, rows.copy()))
            self._height += rows.shape[2]

    def rows(self, start: int, stop: int) -> Array:
        found = [x[:, :, max(start - at, 0) : stop - at] for at, x in self._pieces if at < stop and at + x.shape[2] > start]
        return found[0] if len(found) == 1 else np.concatenate(found, axis=2)

    def release(self, row: int) -> None:
        while self._pieces and self._pieces[0][0] + self._pieces[0][1].shape[2] <= row:
            self._pieces.popleft()


def _marks(height: int, rows: Rows) -> Array:
    marks = np.zeros((1, 1, height, 1), np.float32)
    marks[:, :, rows[0] : rows[1]] = 1
    return marks

"""Which rows of its input a layer reads for a row of its output: what painting in stripes is planned by."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Window:
    """Row r of the output is made of the rows from floor(r / scale) - before to floor(r / scale) + after of every input.

    Rows outside the input are zeros or its mirror image. An input that begins ``n`` rows further down gives an output that begins
    ``n * scale`` rows further down, wherever ``n`` is divisible by ``multiple`` and ``n * scale`` is whole. Columns go likewise.
    """

    before: int = 0
    after: int = 0
    scale: Fraction = Fraction(1)
    """Rows of the output for one of the input."""
    multiple: int = 1

    def reads(self, start: int, stop: int, height: int) -> tuple[int, int]:
        """The rows [first, last) of an input of so many rows that the rows [start, stop) of the output need."""
        first = start // self.scale - self.before
        last = (stop - 1) // self.scale + self.after + 1
        # What is outside may be mirrored, so its mirror image is needed.
        below = max(last, 1 - first) if first < 0 else last
        above = min(first, 2 * height - 1 - last) if last > height else first
        return max(above, 0), min(below, height)

"""What every layer must do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from engine.layers import Layer
from engine.ops import Shape
from engine.testing.contract import Contract


class LayerContract(Contract):
    """The tests that every layer passes."""

    component: ClassVar[type[Layer]]
    kind = Layer
    inputs: ClassVar[Sequence[Shape]] = ((3, 8, 9),)
    """(channels, height, width) of each input."""

    def test_construction(self) -> None:
        """It can be built from ``settings``."""
        assert isinstance(self.build(), Layer)

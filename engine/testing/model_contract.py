"""What every model must do."""

from __future__ import annotations

from typing import ClassVar

from engine.contracts.model import Model
from engine.testing.contract import Contract


class ModelContract(Contract):
    """The tests that every model passes."""

    component: ClassVar[type[Model]]
    kind = Model

    def test_construction(self) -> None:
        """It can be built from ``settings``."""
        assert isinstance(self.build(), Model)

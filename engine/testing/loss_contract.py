"""What every loss must do."""

from __future__ import annotations

from typing import ClassVar

from engine.contracts.loss import Loss
from engine.testing.contract import Contract


class LossContract(Contract):
    """The tests that every loss passes."""

    component: ClassVar[type[Loss]]
    kind = Loss

    def test_construction(self) -> None:
        """It can be built from ``settings``."""
        assert isinstance(self.build(), Loss)

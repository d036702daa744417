"""What every backend must do."""

from __future__ import annotations

from typing import ClassVar

from engine.contracts.backend import Backend
from engine.testing.contract import Contract


class BackendContract(Contract):
    """The tests that every backend passes."""

    component: ClassVar[type[Backend]]
    kind = Backend

    def build(self) -> Backend:
        """The backend on the CPU."""
        return self.component.model_validate({"device": "cpu", **self.settings})

    def test_construction(self) -> None:
        """It can be built from ``settings``."""
        assert isinstance(self.build(), Backend)

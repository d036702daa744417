"""What every dataset must do."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from engine.contracts.dataset import Dataset
from engine.testing.contract import Contract


class DatasetContract(Contract):
    """The tests that every dataset passes."""

    component: ClassVar[type[Dataset]]
    kind = Dataset

    def test_construction(self, tmp_path: Path) -> None:
        """It can be built from ``settings``."""
        assert isinstance(self.dataset(tmp_path), Dataset)

    def dataset(self, tmp_path: Path) -> Dataset:
        """The dataset under test; override it where its settings name files, and write those into ``tmp_path``."""
        built: Dataset = self.build()
        return built

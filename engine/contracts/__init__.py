"""What a model, a loss, a dataset and a backend are, and what passes between them: a file for each kind."""

from __future__ import annotations

from collections.abc import Mapping

from engine.components import Component
from engine.contracts.backend import Backend
from engine.contracts.dataset import Dataset
from engine.contracts.loss import Loss
from engine.contracts.model import Model

KINDS: Mapping[str, type[Component]] = {cls.kind: cls for cls in (Model, Loss, Dataset, Backend)}

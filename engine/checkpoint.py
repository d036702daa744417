"""A training run's state in one file, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from engine.errors import EngineError
from engine.files import replacing
from engine.ops import Array

FORMAT = "1"


@dataclass(frozen=True)
class Checkpoint:
    """Everything that the next step depends on. The loader's position is the step: batch k feeds step k."""

    step: int
    weights: Mapping[str, Array]
    state: Mapping[str, Array]
    """See :meth:`engine.Trainer.state`."""
    losses: Mapping[str, float]
    """Raw, of the last step, and ``total``."""
    recipe: Mapping[str, Any]
    """What makes the run this run, as plain data."""

    def save(self, path: Path) -> None:
        """Write it; a crash in the middle leaves the old file."""
        tensors = {f"weights.{name}": x for name, x in self.weights.items()} | dict(self.state)
        metadata = {"checkpoint": FORMAT, "step": str(self.step), "recipe": json.dumps(self.recipe), "losses": json.dumps(self.losses)}
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata=metadata)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what :meth:`Checkpoint.save` wrote."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (OSError, SafetensorError) as error:
        raise EngineError(f"this is no whole checkpoint ({error})", where=str(path)) from None
    if metadata.get("checkpoint") != FORMAT:
        raise EngineError("this file is no checkpoint of this version", where=str(path))
    weights = {name.removeprefix("weights."): x for name, x in tensors.items() if name.startswith("weights.")}
    state = {name: x for name, x in tensors.items() if not name.startswith("weights.")}
    return Checkpoint(int(metadata["step"]), weights, state, json.loads(metadata["losses"]), json.loads(metadata["recipe"]))

"""Checkpoints every ``checkpoint.every`` steps, beside the ones that the engine writes at the end and on an error.

Hooks run in the order of the plugins' names: after ``engine_metrics``, so that no checkpoint is ahead of the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import hookimpl

if TYPE_CHECKING:
    from engine import Run


@hookimpl
def engine_after_step(run: Run, step: int) -> None:
    """Keep the state."""
    if step % run.recipe.recipe.checkpoint.every == 0 and step < run.steps:
        run.checkpoint()

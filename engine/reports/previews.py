"""``previews/step_000100.png``: the held-out pair, input above and painting below, every ``preview.every`` steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engine import Picture, hookimpl, write_picture

if TYPE_CHECKING:
    from engine import Run


@hookimpl
def engine_before_training(run: Run) -> None:
    """What the untrained network paints, to compare with."""
    if run.step == 0:
        for path in (run.folder / "previews").glob("step_*.png"):  # of a run that this one replaces
            path.unlink()
        _preview(run)


@hookimpl
def engine_after_step(run: Run, step: int) -> None:
    """Paint the held-out pair."""
    if step % run.recipe.recipe.preview.every == 0 or step == run.steps:
        _preview(run)


def _preview(run: Run) -> None:
    rows = [np.concatenate(list(frames), axis=1) for frames in (run.held_out.frames[0], run.paint_held_out())]
    folder = run.folder / "previews"
    folder.mkdir(exist_ok=True)
    write_picture(folder / f"step_{run.step:06d}.png", Picture(np.concatenate(rows)))

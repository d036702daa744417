"""A metric for styleengine: ``flicker.csv`` in the run folder, how much the painted held-out clip flickers as training goes on."""

import numpy as np

from engine import Array, Run, hookimpl, replacing, warp

ENGINE_API = "1"
HEAD = "step,warp_error"


def warp_error(painted: Array, flow: Array, mask: Array) -> float:
    """The mean squared difference of each painted frame and the one before it, brought along by the flow, over traceable pixels.

    Values in [0, 1]; 0 = nothing flickers. (Lai et al.: Learning Blind Video Temporal Consistency, ECCV 2018, section 4.)

    Args:
        painted: uint8 (t, h, w, 3).
        flow: float32 (t-1, 2, h, w), as in :class:`engine.Sample`.
        mask: float32 (t-1, 1, h, w).
    """
    frames = painted.astype(np.float32) / 255
    squares = [np.square(now - warp(before, lead)).mean(-1) for before, now, lead in zip(frames, frames[1:], flow, strict=False)]
    traceable = mask[:, 0]
    return float((np.stack(squares) * traceable).sum() / max(traceable.sum(), 1))


@hookimpl
def engine_before_training(run: Run) -> None:
    """A new run starts the file; a resumed one keeps the lines up to its checkpoint."""
    path = run.folder / "flicker.csv"
    lines = path.read_text().splitlines()[1:] if run.step and path.exists() else []
    run.memory["flicker"] = [line for line in lines if int(line.partition(",")[0]) <= run.step]
    if not run.step:
        _measure(run)


@hookimpl
def engine_after_step(run: Run, step: int) -> None:
    """As often as the recipe asks for previews, and at the end."""
    if step % run.recipe.recipe.preview.every == 0 or step == run.steps:
        _measure(run)


def _measure(run: Run) -> None:
    clip = run.held_out
    if clip.flow is None or clip.mask is None:
        return  # trained on single pictures: nothing can flicker
    error = warp_error(run.paint_held_out(), clip.flow[0], clip.mask[0])
    run.memory["flicker"].append(f"{run.step},{error:.6g}")
    with replacing(run.folder / "flicker.csv") as path:
        path.write_text("\n".join([HEAD, *run.memory["flicker"], ""]))

"""Progress of a training run on stderr: step, time a step, time left, each loss."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, SupportsFloat

from engine import hookimpl

if TYPE_CHECKING:
    from engine import Run

_EVERY = 10


@hookimpl
def engine_before_training(run: Run) -> None:
    """Say what runs where, and start the bar."""
    if run.quiet:
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    about = run.backend.describe()
    console.print(
        f"{about['backend']} {about['version']} on {about['device']}, {about['precision']}; run folder {run.folder}, from step {run.step}"
    )
    bar = None
    if sys.stderr.isatty():
        columns = (
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        bar = Progress(*columns, console=console)
        bar.start()
        bar.add_task("train", total=run.steps, completed=run.step, text="")
    run.memory["progress"] = {"console": console, "bar": bar, "start": time.perf_counter(), "first": run.step}


@hookimpl
def engine_after_step(run: Run, step: int, losses: Mapping[str, SupportsFloat]) -> None:
    """Move on; reading a loss waits for the device, so not at every step."""
    memory = run.memory.get("progress")
    if not memory or (step % _EVERY and step != run.steps):
        return
    seconds = (time.perf_counter() - memory["start"]) / (step - memory["first"])
    terms = "  ".join(f"{label} {float(losses[label]) * loss.weight:.3g}" for label, loss in run.plan.losses.items())
    text = f"{seconds * 1000:.0f} ms a step  total {float(losses['total']):.3g}  ({terms})"
    if memory["bar"]:
        memory["bar"].update(memory["bar"].task_ids[0], completed=step, text=text)
    elif step % (_EVERY * 5) == 0 or step == run.steps:
        left = int(seconds * (run.steps - step))
        memory["console"].print(f"step {step}/{run.steps}  {text}  {left // 60}:{left % 60:02d} left", soft_wrap=True)


@hookimpl
def engine_after_training(run: Run) -> None:
    """Leave the terminal as it was."""
    _close(run)


@hookimpl
def engine_on_error(run: Run) -> None:
    """Leave the terminal as it was."""
    _close(run)


def _close(run: Run) -> None:
    memory = run.memory.get("progress")
    if memory and memory["bar"]:
        memory["bar"].stop()

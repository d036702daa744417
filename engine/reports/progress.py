"""Progress of a training run on stderr: step, time a step, time left, each loss."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, SupportsFloat

from engine import hookimpl

if TYPE_CHECKING:
    from engine import Run

_EVERY = 10
_WARNINGS = 10
"""Bad files named on the terminal; ``run.json`` has them all."""


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
    run.memory["progress"] = {
        "console": console,
        "bar": bar,
        "since": time.perf_counter(),
        "last": run.step,
        "first": run.step,
        "warned": 0,
    }


@hookimpl
def engine_after_step(run: Run, step: int, losses: Mapping[str, SupportsFloat]) -> None:
    """Move on; reading a loss waits for the device, so not at every step."""
    memory = run.memory.get("progress")
    if memory:
        _warn(run, memory)
    if not memory or (step % _EVERY and step not in (memory["first"] + 1, run.steps)):
        return
    first, now = memory["last"] == memory["first"], time.perf_counter()
    seconds = (now - memory["since"]) / (step - memory["last"])  # since the last look, because machines are shared
    memory |= {"since": now, "last": step}
    terms = "  ".join(f"{label} {float(losses[label]) * loss.weight:.3g}" for label, loss in run.plan.losses.items())
    took = f"{seconds:.1f} s for the first step" if first else f"{seconds * 1000:.0f} ms a step"  # some backends compile in the first one
    text = f"{took}  total {float(losses['total']):.3g}  ({terms})"
    if memory["bar"]:
        memory["bar"].update(memory["bar"].task_ids[0], completed=step, text=text)
    elif first or step % (_EVERY * 5) == 0 or step in (_EVERY, run.steps):
        left = int(seconds * (run.steps - step))
        text += "" if first else f"  {left // 60}:{left % 60:02d} left"
        memory["console"].print(f"step {step}/{run.steps}  {text}", soft_wrap=True)


@hookimpl
def engine_before_timing(run: Run) -> None:
    """Say why it is not over yet."""
    if memory := run.memory.get("progress"):
        text = "the style is written; timing some more steps with and without the loader, for about ten seconds at most"
        memory["console"].print(text, soft_wrap=True)


@hookimpl
def engine_after_training(run: Run) -> None:
    """Leave the terminal as it was, and say how the data came."""
    _close(run)
    if memory := run.memory.get("progress"):
        text = f"data: waited {100 * run.waited_share:.1f} % of the time"
        if times := run.step_times:
            text += f"; a step with the live loader takes {times.ratio:.2f}x of one over a single batch ({times.count} of each)"
        elif run.untimed:
            text += f"; a step with the live loader could not be timed: {run.untimed}"
        if run.bad.files:
            text += f"; {run.bad.replaced} of {run.bad.asked} samples were bad and replaced by the next (bad files: {len(run.bad.files)}"
            text += f", listed in {run.folder / 'run.json'})"
        memory["console"].print(text, soft_wrap=True, markup=False)


@hookimpl
def engine_on_error(run: Run) -> None:
    """Leave the terminal as it was."""
    _close(run)


def _warn(run: Run, memory: dict[str, Any]) -> None:
    """A line for each file that turned out to be bad since the last one."""
    files, warned = list(run.bad.files.items()), memory["warned"]
    for file, problem in files[warned:_WARNINGS]:
        memory["console"].print(f"warning: bad sample: {file}: {problem}", soft_wrap=True, markup=False)
    if warned < _WARNINGS < len(files):
        memory["console"].print("warning: there are more bad files; run.json will list them", soft_wrap=True)
    memory["warned"] = max(warned, min(len(files), _WARNINGS + 1))


def _close(run: Run) -> None:
    memory = run.memory.get("progress")
    if memory and memory["bar"]:
        memory["bar"].stop()

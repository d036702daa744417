"""``metrics.jsonl``: a line a step with each loss, raw and weighted, now and then the held-out clip's, and each bad file."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat

from engine import hookimpl

if TYPE_CHECKING:
    from engine import Run


@hookimpl
def engine_before_training(run: Run) -> None:
    """A resumed run forgets the lines after its checkpoint: those steps are done again. A new one starts the file."""
    path = _path(run)
    kept = [line for line in path.read_text().splitlines() if _step(line) <= run.step] if run.step and path.exists() else []
    temporary = path.with_suffix(".part")
    temporary.write_text("".join(f"{line}\n" for line in kept))
    temporary.replace(path)
    if run.step == 0:
        _write(run, [_held_out(run)])
    run.memory["metrics"] = {"waiting": [], "bad": 0, "time": time.perf_counter()}


@hookimpl
def engine_after_step(run: Run, step: int, losses: Mapping[str, SupportsFloat]) -> None:
    """Collect; reading a loss waits for the device, so ten steps are read at once."""
    memory = run.memory["metrics"]
    now = time.perf_counter()
    memory["waiting"].append((step, now - memory["time"], losses))
    settings = run.recipe.recipe
    previewed = step % settings.preview.every == 0 or step == run.steps
    if step % 10 == 0 or step % settings.checkpoint.every == 0 or previewed:
        _flush(run)
    if previewed:
        _write(run, [_held_out(run)])
    memory["time"] = time.perf_counter()


@hookimpl
def engine_on_error(run: Run) -> None:
    """Keep the steps that were done."""
    if "metrics" in run.memory:
        _flush(run)


def _flush(run: Run) -> None:
    waiting = run.memory["metrics"]["waiting"]
    rows = [
        {"step": step, "seconds": round(seconds, 4), "total": _number(losses["total"]), "losses": _terms(run, losses)}
        for step, seconds, losses in waiting
    ]
    told, files = run.memory["metrics"]["bad"], list(run.bad.files.items())
    _write(run, rows + [{"step": run.step, "bad_file": file, "problem": problem} for file, problem in files[told:]])
    run.memory["metrics"]["bad"] = len(files)
    waiting.clear()


def _held_out(run: Run) -> dict[str, Any]:
    losses = run.evaluate_held_out()
    return {"step": run.step, "held_out": {"total": _number(losses["total"]), "losses": _terms(run, losses)}}


def _terms(run: Run, losses: Mapping[str, SupportsFloat]) -> dict[str, dict[str, float | None]]:
    values = {label: float(losses[label]) for label in run.plan.losses}
    return {label: {"raw": _number(value), "weighted": _number(value * run.plan.losses[label].weight)} for label, value in values.items()}


def _number(value: SupportsFloat) -> float | None:
    return float(value) if math.isfinite(float(value)) else None  # JSON knows no NaN


def _write(run: Run, rows: list[dict[str, Any]]) -> None:
    with _path(run).open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _path(run: Run) -> Path:
    return run.folder / "metrics.jsonl"


def _step(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 2**63  # half a line, left by a crash

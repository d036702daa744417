"""One training run: its state as lifecycle hooks see it, its folder, and whether an earlier one may go on."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np

from engine.checkpoint import Checkpoint, load_checkpoint
from engine.contracts.backend import Backend, Trainer, TrainingPlan
from engine.contracts.dataset import Batch
from engine.errors import EngineError, LossFailed
from engine.files import replacing
from engine.loader import BadSamples
from engine.objective import check_of
from engine.ops import Array
from engine.plugins import PluginHost
from engine.recipe import CheckedRecipe
from engine.step_times import StepTimes

CHECKPOINT, STYLE, RECIPE, FACTS = "checkpoint.safetensors", "style.safetensors", "recipe.yaml", "run.json"
_FREE = ("steps", "preview", "checkpoint", "backend", "loader", "licence", "notes")
"""What a resumed run may change; ``steps`` only where the learning rate does not depend on it."""


@dataclass
class Run:
    """One training run, as lifecycle hooks see it."""

    folder: Path
    recipe: CheckedRecipe
    backend: Backend
    host: PluginHost
    trainer: Trainer
    plan: TrainingPlan
    held_out: Batch
    """One clip that is never trained on (unless the dataset has a single one); newest frame last."""
    quiet: bool
    bad: BadSamples = field(default_factory=BadSamples)
    """Samples of this session that could not be read, and their files."""
    step: int = 0
    """Updates done."""
    seconds: float = 0.0
    """That this session has trained for."""
    waited: float = 0.0
    """Seconds of these that the loop had to wait for samples."""
    step_times: StepTimes | None = None
    """What a step takes with the live loader and without, found out when the run is over; None where this session was too short to tell."""
    untimed: str = ""
    """What kept it from being found out."""
    losses: Mapping[str, SupportsFloat] = field(default_factory=dict)
    """Of the last step, raw by label, and ``total``."""
    whole: bool = True
    """False while an update is under way: a state that an exception leaves in between must not be kept."""
    memory: dict[str, Any] = field(default_factory=dict)
    """For plugins: what one hook leaves for the next, each under its own key."""

    @property
    def waited_share(self) -> float:
        """The share of the time that went by waiting for samples."""
        return self.waited / self.seconds if self.seconds else 0.0

    @property
    def steps(self) -> int:
        """How many updates the recipe asks for."""
        return self.recipe.recipe.steps

    def paint_held_out(self) -> Array:
        """The held-out clip as the network paints it now, uint8 (t, h, w, 3)."""
        frames = self.held_out.frames[0]
        painter = self.backend.painter(self.plan.network, self.trainer.weights(), batch=len(frames))
        return next(iter(painter.paint(iter([frames]))))

    def evaluate_held_out(self) -> dict[str, float]:
        """Raw losses and ``total`` of the held-out clip."""
        return {label: float(value) for label, value in self.trainer.evaluate(self.held_out).items()}

    def check_losses(self) -> None:
        """A :class:`LossNotFinite` where the last step's total is not a number; waits for the device."""
        if self.losses and not math.isfinite(float(self.losses["total"])):
            bad = [label for label, value in self.losses.items() if label != "total" and not math.isfinite(float(value))]
            if len(bad) > 1 and len(bad) == len(self.losses) - 1:
                raise self._ruined("every loss")  # the painting, which all of them see, or the weights that paint it
            raise self._ruined(f"the loss {' and the loss '.join(bad) or 'total'}", bad)

    def checkpoint(self) -> Path:
        """Write the state after the last step, whole or not at all."""
        self.check_losses()
        weights, state = self.trainer.weights(), self.trainer.state()
        if bad := [name for name, x in {**weights, **state}.items() if not np.isfinite(x).all()]:
            raise self._ruined(f"the weight {bad[0]!r}")
        path = self.folder / CHECKPOINT
        losses = {label: float(value) for label, value in self.losses.items()}
        Checkpoint(self.step, weights, state, losses, identity(self.recipe)).save(path)
        return path

    def write_facts(self) -> None:
        """``run.json``: what ran, and how this session got its samples."""
        data = {
            "seconds": round(self.seconds, 3),
            "waited": round(self.waited, 3),
            "waited_share": round(self.waited_share, 4),
            "step": self.step_times
            and {
                "live": round(self.step_times.live, 5),
                "cached": round(self.step_times.cached, 5),
                "ratio": round(self.step_times.ratio, 3),
                "timed": self.step_times.count,
            },
            "samples": self.bad.asked,
            "bad_samples": self.bad.replaced,
            "bad_files": self.bad.files,
        }
        facts = {"seed": self.recipe.recipe.seed, "versions": self.versions, **self.backend.describe(), "data": data}
        with replacing(self.folder / FACTS) as path:
            path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    def _ruined(self, what: str, losses: Sequence[str] = ()) -> LossNotFinite:
        remedies = ["The last checkpoint is untouched."] if (self.folder / CHECKPOINT).is_file() else []
        if self.step == 1:  # of weights that no step has changed yet
            remedies += [check_of(self.plan.losses[label]) for label in losses]
        else:  # since the weights became so, of too large a step or of one gradient that was no number
            owned = [(loss, self.host.owner("loss", loss.name)) for loss in self.plan.losses.values()]
            remedies += [f"A gradient may have been no number: {check_of(loss)}" for loss, owner in owned if not owner.first_party]
            remedies.append("Lower optimiser.learning_rate.")
        if (precision := self.backend.describe()["precision"]) != "float32":
            remedies.append(f"Or use precision float32 in place of {precision}.")
        found = "not" if self.step == 1 else "no longer"
        return LossNotFinite(f"{what} is {found} a finite number at step {self.step}", where=str(self.folder), remedy=" ".join(remedies))

    @cached_property
    def versions(self) -> dict[str, str]:
        """Of what the result depends on: ours, and the packages whose plugins were loaded."""
        packages = {name: metadata.version(name) for name in ("styleengine", "numpy")}
        packages |= {
            plugin.distribution: plugin.version for plugin in self.host.plugins if plugin.third_party and plugin.status == "loaded"
        }
        return packages | {"python": platform.python_version(), "machine": platform.machine()}


class LossNotFinite(LossFailed):
    """Training has gone wrong for good; its state is not worth keeping."""


def earlier_state(folder: Path, recipe: CheckedRecipe, resume: bool, overwrite: bool) -> Checkpoint | None:
    """The checkpoint to go on from, if any; an :class:`EngineError` where the folder and what is asked do not fit."""
    if resume and overwrite:
        raise EngineError("--resume and --overwrite contradict each other")
    if folder.exists() and not folder.is_dir():
        raise EngineError("the run folder is a file", where=str(folder))
    there = folder.is_dir() and any(folder.iterdir())
    if there and not (folder / FACTS).is_file():
        raise EngineError("this folder holds other things than a run", where=str(folder), remedy="Name another one with --run-dir.")
    if resume and not (folder / FACTS).is_file():
        raise EngineError("there is no run to resume in this folder", where=str(folder), remedy="Name it with --run-dir.")
    if there and not resume and not overwrite:
        remedy = "Go on with --resume, replace it with --overwrite, or name another folder with --run-dir."
        raise EngineError("there is a run in this folder already", where=str(folder), remedy=remedy)
    if not resume or not (folder / CHECKPOINT).is_file():
        return None
    found = load_checkpoint(folder / CHECKPOINT)
    now = identity(recipe)
    fixed = [key for key in {**found.recipe, **now} if key not in {*_FREE, "clips"} or (key == "steps" and recipe.recipe.optimiser.decay)]
    if changed := [key for key in fixed if found.recipe.get(key) != now.get(key)]:
        remedy = f"Resume with the run's own recipe, {folder / RECIPE}, or start a new run."
        raise EngineError(f"the recipe has changed since this run began: {', '.join(changed)}", where=str(folder), remedy=remedy)
    if (then := found.recipe.get("clips")) != (clips := now["clips"]):
        remedy = "Its order would be another one. Put the dataset's files back as they were, or start a new run."
        raise EngineError(f"the dataset had {then} clips when this run began, and has {clips}", where=str(folder), remedy=remedy)
    if found.step > recipe.recipe.steps:
        raise EngineError(f"this run has done {found.step} steps, more than {recipe.recipe.steps}", where=str(folder))
    return found


def identity(recipe: CheckedRecipe) -> dict[str, Any]:
    """What makes a run the same run wherever its files lie: the recipe with files by name, and the style image by content."""
    data = recipe.portable()
    for dataset in data["dataset"] if isinstance(data["dataset"], list) else [data["dataset"]]:
        dataset.pop("bad_share", None)  # a run that has met too many bad samples may go on with more
    picture = hashlib.sha256(recipe.recipe.style.image.read_bytes()).hexdigest()
    return {**data, "clips": len(recipe.dataset), "style_sha256": picture}


def make_run_folder(folder: Path, overwrite: bool) -> None:
    """Make it, or empty it of what the core wrote there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if overwrite:  # what else is in there is not ours to remove; plugins start their own files anew at step 0
            for name in (CHECKPOINT, STYLE, RECIPE, FACTS):
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise EngineError(f"this cannot be a run folder: {error.strerror}", where=str(folder)) from None


def how_to_resume(run: Run) -> str:
    """The command that goes on with an interrupted run."""
    if not (run.folder / CHECKPOINT).is_file():
        return "It had no checkpoint yet."
    options = [word for file in run.host.files for word in ("--plugin", str(file))]
    words = [str(run.folder / RECIPE), "--run-dir", str(run.folder), "--resume", *options]
    return f"Go on with: engine train {shlex.join(words)}"

"""The training loop: from a checked recipe to a style, with checkpoints at every way out."""

from __future__ import annotations

import json
import math
import platform
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any, SupportsFloat

from engine import places
from engine.checkpoint import Checkpoint, load_checkpoint
from engine.contracts import Backend, Batch, Sample, Trainer, TrainingPlan
from engine.errors import EngineError, RunError
from engine.files import replacing
from engine.images import read_picture, resized
from engine.loader import Loader, read_sample, stack
from engine.objective import union
from engine.ops import Array
from engine.plugins import PluginHost, load_plugins
from engine.recipe import CheckedRecipe, load_recipe
from engine.style import Style, StyleInfo, load_style, thumbnail
from engine.weights import load_weights

CHECKPOINT, STYLE, RECIPE, FACTS = "checkpoint.safetensors", "style.safetensors", "recipe.yaml", "run.json"
_FREE = ("steps", "preview", "checkpoint", "backend", "licence", "notes")
"""What a resumed run may change."""


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
    step: int = 0
    """Updates done."""
    losses: Mapping[str, SupportsFloat] = field(default_factory=dict)
    """Of the last step, raw by label, and ``total``."""
    memory: dict[str, Any] = field(default_factory=dict)
    """For plugins: what one hook leaves for the next, each under its own key."""

    @property
    def steps(self) -> int:
        """How many updates the recipe asks for."""
        return self.recipe.recipe.steps

    def paint_held_out(self) -> Array:
        """The held-out clip as the network paints it now, uint8 (t, h, w, 3)."""
        frames = self.held_out.frames[0]
        painter = self.backend.painter(self.plan.network, self.trainer.weights(), batch=1)
        return next(iter(painter.paint(iter([frames]))))

    def evaluate_held_out(self) -> dict[str, float]:
        """Raw losses and ``total`` of the held-out clip."""
        return {label: float(value) for label, value in self.trainer.evaluate(self.held_out).items()}

    def check_losses(self) -> None:
        """A :class:`RunError` where the last step's total is not a number; waits for the device."""
        if self.losses and not math.isfinite(float(self.losses["total"])):
            bad = [label for label, value in self.losses.items() if label != "total" and not math.isfinite(float(value))]
            raise LossNotFinite(
                f"the loss {' and '.join(bad) or 'total'} is no longer a finite number at step {self.step}",
                where=str(self.folder),
                remedy="The last checkpoint is untouched. Lower optimiser.learning_rate, or use precision float32.",
            )

    def checkpoint(self) -> Path:
        """Write the state after the last step, whole or not at all."""
        self.check_losses()
        path = self.folder / CHECKPOINT
        Checkpoint(self.step, self.trainer.weights(), self.trainer.state(), self.recipe.data).save(path)
        return path

    @cached_property
    def versions(self) -> dict[str, str]:
        """Of what the result depends on."""
        packages = {name: metadata.version(name) for name in ("styleengine", "numpy")}
        return packages | {"python": platform.python_version(), "machine": platform.machine()}


class LossNotFinite(RunError):
    """Training has gone wrong for good; its state is not worth keeping."""


def train(
    recipe: str | Path,
    *,
    overrides: Sequence[str] = (),
    run_dir: str | Path | None = None,
    backend: str | None = None,
    device: str | None = None,
    precision: str | None = None,
    plugins: Sequence[Path] = (),
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = True,
) -> Style:
    """Train the style that a recipe describes, as ``engine train`` does.

    Args:
        recipe: The file, or the name of a shipped recipe.
        overrides: ``KEY=VALUE`` each, like ``--set``.
        run_dir: The run folder; ``runs/<recipe file's name>`` by default.
        backend: In place of the recipe's; so are ``device`` and ``precision``.
        plugins: Plugin files to load beside the installed plugins.
        resume: Go on from the run folder's checkpoint.
        overwrite: Replace an earlier run in that folder.
        quiet: Show no progress on stderr.

    Raises:
        EngineError: Something that was given does not fit.
        RunError: Training failed, or was interrupted; the checkpoint is written.
    """
    host = load_plugins(plugins)
    checked = load_recipe(recipe, overrides, host, backend=backend, device=device, precision=precision)
    folder = Path(run_dir) if run_dir else places.runs() / checked.path.stem
    return load_style(run_recipe(checked, host, folder=folder, resume=resume, overwrite=overwrite, quiet=quiet))


def run_recipe(
    recipe: CheckedRecipe, host: PluginHost, *, folder: Path, resume: bool = False, overwrite: bool = False, quiet: bool = False
) -> Path:
    """Train a style.

    Everything that the user gave is checked before the run folder is touched.

    Args:
        recipe: What to train.
        host: The plugins; their lifecycle hooks are called.
        folder: Where the run goes: the recipe as it ran, ``run.json``, checkpoint, style, and what plugins write.
        resume: Go on from the folder's checkpoint; a folder without one starts anew.
        overwrite: Replace an earlier run in ``folder``.
        quiet: Show no progress.

    Returns:
        The style's file.

    Raises:
        EngineError: Something in the recipe or the folder does not fit.
        RunError: Training failed, or was interrupted; the checkpoint is written.
    """
    before = _earlier(folder, recipe, resume, overwrite)
    backend = recipe.make_backend(host)
    description = backend.describe()
    plan, loader, held_out = _plan(recipe)
    run = Run(folder, recipe, backend, host, backend.trainer(plan), plan, held_out, quiet)
    if before:
        run.trainer.restore(before.weights, before.state)
        run.step = before.step
    if overwrite and folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / RECIPE) as path:
        path.write_text(recipe.to_yaml(), encoding="utf-8")
    with replacing(folder / FACTS) as path:
        path.write_text(json.dumps({"seed": recipe.recipe.seed, "versions": run.versions, **description}, indent=2) + "\n")
    with _sigterm_as_interrupt():
        _loop(run, loader)
    style = _save_style(run, description)
    host.call("engine_after_training", run=run)
    return style


def _loop(run: Run, loader: Loader) -> None:
    start = run.step
    batches = loader.batches(start)
    try:
        run.host.call("engine_before_training", run=run)
        while run.step < run.steps:
            batch = next(batches)
            run.losses = run.trainer.step(batch)
            run.step += 1
            if run.step % 10 == 0 or run.step % run.recipe.recipe.checkpoint.every == 0:  # every step would make a GPU wait
                run.check_losses()
            run.host.call("engine_after_step", run=run, step=run.step, losses=run.losses)
        run.checkpoint()
    except BaseException as error:
        _stop(run, start, error)
        if isinstance(error, KeyboardInterrupt):
            raise RunError(f"interrupted after step {run.step} of {run.steps}", where=str(run.folder), remedy=_how_to_resume(run)) from None
        raise
    finally:
        batches.close()  # type: ignore[attr-defined]  # a generator, typed as what its readers need


def _stop(run: Run, start: int, error: BaseException) -> None:
    """Keep what was reached and tell the plugins; the first error stays the one that is raised."""
    if run.step > start and not isinstance(error, LossNotFinite):
        try:
            run.checkpoint()
        except EngineError as second:
            error.add_note(f"The checkpoint could not be written either: {second}")
    try:
        run.host.call("engine_on_error", run=run, error=error)
    except RunError as second:
        error.add_note(str(second))


def _how_to_resume(run: Run) -> str:
    return f"Go on with: engine train {run.folder / RECIPE} --run-dir {run.folder} --resume"


def _earlier(folder: Path, recipe: CheckedRecipe, resume: bool, overwrite: bool) -> Checkpoint | None:
    if resume and overwrite:
        raise EngineError("--resume and --overwrite contradict each other")
    if folder.exists() and not folder.is_dir():
        raise EngineError("the run folder is a file", where=str(folder))
    there = folder.is_dir() and any(folder.iterdir())
    if overwrite and there and not (folder / RECIPE).is_file():
        raise EngineError("this folder holds no run, so it is not replaced", where=str(folder))
    if there and not resume and not overwrite:
        remedy = "Go on with --resume, replace it with --overwrite, or name another folder with --run-dir."
        raise EngineError("there is a run in this folder already", where=str(folder), remedy=remedy)
    if not resume or not (folder / CHECKPOINT).is_file():
        return None
    found = load_checkpoint(folder / CHECKPOINT)
    if changed := [key for key in {**found.recipe, **recipe.data} if key not in _FREE and found.recipe.get(key) != recipe.data.get(key)]:
        remedy = f"Resume with the run's own recipe, {folder / RECIPE}, or start a new run."
        raise EngineError(f"the recipe has changed since this run began: {', '.join(changed)}", where=str(folder), remedy=remedy)
    if found.step > recipe.recipe.steps:
        raise EngineError(f"this run has done {found.step} steps, more than {recipe.recipe.steps}", where=str(folder))
    return found


def _plan(recipe: CheckedRecipe) -> tuple[TrainingPlan, Loader, Batch]:
    settings, dataset, needs = recipe.recipe, recipe.dataset, union(recipe.losses)
    if not len(dataset):
        raise EngineError("the dataset is empty", where=f"dataset {dataset.name!r}")
    held_out = read_sample(dataset, len(dataset) - 1, needs.frames)
    _check_flow(recipe, held_out)
    network = recipe.model.network()
    network.shapes(*held_out.frames.shape[1:3])
    encoder = recipe.encoder.network().prune(dict.fromkeys((*needs.encoder, *needs.frame_encoder))) if recipe.encoder else None
    style = resized(read_picture(settings.style.image).rgb, settings.style.size)
    if encoder:
        encoder.shapes(*held_out.frames.shape[1:3])
        encoder.shapes(*style.shape[:2])
    weights = load_weights(recipe.encoder, file=recipe.encoder_weights) if recipe.encoder else {}
    plan = TrainingPlan(
        network=network,
        weights=network.initial_weights(settings.seed),
        losses=recipe.losses,
        encoder=encoder,
        encoder_weights={name: weights[name] for name in encoder.weight_shapes()} if encoder else {},
        style=style,
        learning_rate=settings.optimiser.learning_rate,
        betas=settings.optimiser.betas,
        eps=settings.optimiser.eps,
        steps=settings.steps,
        decay=settings.optimiser.decay,
    )
    indices = range(max(len(dataset) - 1, 1))  # the last one is held out
    loader = Loader(dataset, indices, settings.batch, needs.frames, settings.seed)
    return plan, loader, stack([held_out], dataset.name)


def _check_flow(recipe: CheckedRecipe, sample: Sample) -> None:
    if sample.flow is None and (labels := [label for label, loss in recipe.losses.items() if loss.needs().flow]):
        raise EngineError(f"the loss {labels[0]!r} needs optical flow", where=f"dataset {recipe.dataset.name!r}, which has none")


def _save_style(run: Run, description: Mapping[str, str]) -> Path:
    settings = run.recipe.recipe
    info = StyleInfo(
        name=settings.name,
        recipe=run.recipe.portable(),
        steps=run.step,
        seed=settings.seed,
        backend=dict(description),
        versions=run.versions,
        losses={label: float(value) for label, value in run.losses.items()},
        licence=settings.licence,
        notes=settings.notes,
        thumbnail=thumbnail(run.plan.style),
    )
    path = run.folder / STYLE
    Style(info, run.plan.network, run.trainer.weights()).save(path)
    return path


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM, as a scheduler sends it, becomes Ctrl-C, so that both leave a checkpoint."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

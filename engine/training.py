"""The training loop: from a checked recipe to a style, with checkpoints at every way out."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from engine import places
from engine.augmentation import Augmented
from engine.contracts.backend import TrainingPlan
from engine.contracts.dataset import Batch, Sample
from engine.errors import EngineError, RunError
from engine.files import replacing
from engine.images import read_picture, resized
from engine.interrupts import stop_between_steps
from engine.layers import PadToMultiple
from engine.loader import BadSamples, Batches, Loader, hold_out, stack
from engine.mixture import Mixture
from engine.network import Network
from engine.objective import union
from engine.plugins import PluginHost, load_plugins
from engine.recipe import CheckedRecipe, load_recipe
from engine.registration import describe
from engine.run import RECIPE, STYLE, LossNotFinite, Run, earlier_state, how_to_resume, make_run_folder
from engine.step_times import rounds_for, time_steps
from engine.style import Style, StyleInfo, load_style, thumbnail
from engine.weights import load_weights


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
    folder = Path(run_dir) if run_dir else default_folder(checked)
    return load_style(run_recipe(checked, host, folder=folder, resume=resume, overwrite=overwrite, quiet=quiet))


def default_folder(recipe: CheckedRecipe) -> Path:
    """``runs/<recipe file's name>``."""
    return places.runs() / recipe.path.stem


def run_recipe(
    recipe: CheckedRecipe, host: PluginHost, *, folder: Path, resume: bool = False, overwrite: bool = False, quiet: bool = False
) -> Path:
    """Train a style.

    Everything that the user gave is checked before the run folder is touched.

    Args:
        recipe: What to train.
        host: The plugins; their lifecycle hooks are called.
        folder: Where the run goes: the recipe as it ran, ``run.json``, checkpoint, style, and what plugins write.
        resume: Go on from the folder's checkpoint; a run that was stopped before its first one starts anew.
        overwrite: Replace the earlier run that is in ``folder``.
        quiet: Show no progress.

    Returns:
        The style's file.

    Raises:
        EngineError: Something in the recipe or the folder does not fit.
        RunError: Training failed, or was interrupted; the checkpoint is written.
    """
    before = earlier_state(folder, recipe, resume, overwrite)
    backend = recipe.make_backend(host)
    description = backend.describe()
    plan, loader, held_out = _plan(recipe, host)
    run = Run(folder, recipe, backend, host, backend.trainer(plan), plan, held_out, quiet, loader.bad)
    if before:
        run.trainer.restore(before.weights, before.state)
        run.step, run.losses = before.step, before.losses
    make_run_folder(folder, overwrite)
    with replacing(folder / RECIPE) as path:
        path.write_text(recipe.to_yaml(), encoding="utf-8")
    run.write_facts()
    with stop_between_steps() as stop:
        return _loop(run, loader, description, stop)


def _loop(run: Run, loader: Loader, description: Mapping[str, str], stop: threading.Event) -> Path:
    start = run.step
    batches = loader.batches(start)
    try:
        run.host.call("engine_before_training", run=run)
        while run.step < run.steps:
            if stop.is_set():
                raise KeyboardInterrupt
            begin = time.perf_counter()
            batch = next(batches)
            run.waited += time.perf_counter() - begin
            run.whole = False
            run.losses = MappingProxyType(run.trainer.step(batch))  # every plugin reads it, and none may write for the next
            run.step += 1
            run.whole = True
            if run.step == 1 or run.step % 10 == 0 or run.step % run.recipe.recipe.checkpoint.every == 0:  # each would make a GPU wait
                run.check_losses()
            run.host.call("engine_after_step", run=run, step=run.step, losses=run.losses)
            run.seconds += time.perf_counter() - begin
        run.checkpoint()
        style = _save_style(run, description)
        run.write_facts()
        if rounds := rounds_for(run.step - start):
            run.host.call("engine_before_timing", run=run)
            _time_steps(run, batches, rounds, run.waited / (run.step - start), stop)
            run.write_facts()
        run.host.call("engine_after_training", run=run)
    except BaseException as error:
        _stop(run, start, error)
        if isinstance(error, KeyboardInterrupt):
            raise RunError(f"interrupted after step {run.step} of {run.steps}", where=str(run.folder), remedy=how_to_resume(run)) from None
        if isinstance(error, EngineError):
            error.add_note(how_to_resume(run))
        raise
    finally:
        batches.close()
    return style


def _time_steps(run: Run, batches: Batches, rounds: int, waited: float, stop: threading.Event) -> None:
    """Find out what the loader costs; the run is over and kept, so nothing that comes up here, Ctrl-C neither, makes it fail."""
    run.bad = copy.deepcopy(run.bad)  # what is read from here on is no part of the run
    weights, state = run.trainer.weights(), run.trainer.state()
    run.whole = False
    try:
        run.step_times = time_steps(run.trainer, batches, rounds=rounds, waited=waited, stopped=stop.is_set)
    except KeyboardInterrupt:
        pass
    except Exception as error:
        run.untimed = " ".join(describe(error).split())
    run.trainer.restore(weights, state)
    run.whole = True


def _stop(run: Run, start: int, error: BaseException) -> None:
    """Keep what was reached and tell the plugins; the first error stays the one that is raised."""
    if run.step > start and run.whole and not isinstance(error, LossNotFinite):
        try:
            run.checkpoint()
        except Exception as second:
            error.add_note(f"The checkpoint could not be written either: {second}")
    try:
        run.write_facts()
    except EngineError as second:
        error.add_note(str(second))
    try:
        run.host.call("engine_on_error", run=run, error=error)
    except Exception as second:
        error.add_note(str(second))


def _plan(recipe: CheckedRecipe, host: PluginHost) -> tuple[TrainingPlan, Loader, Batch]:
    settings, needs = recipe.recipe, union(recipe.losses)
    dataset = recipe.dataset.with_frames(needs.frames)
    mix = dataset.dataset if isinstance(dataset, Augmented) else dataset
    if isinstance(mix, Mixture):
        mix.check()
    held_out, indices, bad = hold_out(dataset, needs.frames)
    _check_flow(recipe, held_out)
    network = recipe.model.network()
    _check_size(dataset.name, network, *held_out.frames.shape[1:3])
    encoder = recipe.encoder.network().prune(dict.fromkeys((*needs.encoder, *needs.frame_encoder))) if recipe.encoder else None
    style = resized(read_picture(settings.style.image).rgb, settings.style.size)
    if encoder:
        encoder.shapes(*held_out.frames.shape[1:3])
        encoder.shapes(*style.shape[:2])
    weights = load_weights(recipe.encoder, network=encoder, file=recipe.encoder_weights) if recipe.encoder else {}
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
    loader = Loader(
        dataset,
        indices,
        settings.batch,
        needs.frames,
        settings.seed,
        workers=settings.loader.workers,
        processes=settings.loader.processes,
        plugins=host.files,
        bad=BadSamples(files=bad.files),
    )
    return plan, loader, stack([held_out], dataset.name)


def _check_size(name: str, network: Network, height: int, width: int) -> None:
    shapes = network.shapes(height, width)
    for node in network.nodes:
        if isinstance(node.layer, PadToMultiple) and shapes[node.name] != shapes[node.inputs[0]]:
            # Features would show the padded frame, and the flow, scaled to their size, the frame without.
            allowed = f"sides divisible by {node.layer.multiple}"
            raise EngineError(f"clips of {width}x{height} would be padded in training", where=f"dataset {name!r}", allowed=allowed)


def _check_flow(recipe: CheckedRecipe, sample: Sample) -> None:
    if sample.flow is None and (labels := [label for label, loss in recipe.losses.items() if loss.needs().flow]):
        raise EngineError(f"the loss {labels[0]!r} needs optical flow, and the samples have none", where=f"dataset {recipe.dataset.name!r}")


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

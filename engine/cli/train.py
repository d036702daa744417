"""``engine train``: from a recipe to a style."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.options import PluginFiles, host_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(train)


def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="The recipe's file, or the name of a shipped one: `engine recipes` lists them.")],
    backend: Annotated[str | None, typer.Option(help="In place of the recipe's.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, gpu[:n] or ascend[:n].")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting, any number of times: --set steps=2000. Another component: --set 'dataset={name: mine}'.",
        ),
    ] = None,
    run_dir: Annotated[Path | None, typer.Option(help="The run folder; runs/<recipe> by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run folder's checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in the run folder.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    plugin: PluginFiles = None,
) -> None:
    """Train the style that a recipe describes.

    The run folder holds the recipe as it ran, versions and seed (run.json), metrics.jsonl, previews, the last
    checkpoint and the style. Ctrl-C leaves a checkpoint; --resume goes on from it.
    """
    from engine.recipe import load_recipe
    from engine.training import default_folder, run_recipe

    host = host_of(context, plugin)
    checked = load_recipe(recipe, set_ or (), host, backend=backend, device=device, precision=precision)
    style = run_recipe(checked, host, folder=run_dir or default_folder(checked), resume=resume, overwrite=overwrite, quiet=quiet)
    if not quiet:
        typer.echo(f"Paint with it: engine infer VIDEO --style {style}", err=True)
    typer.echo(style)

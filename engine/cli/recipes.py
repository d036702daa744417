"""``engine recipes``: the recipes that ship, and a recipe's faults before it costs training time."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.options import Json, PluginFiles, host_of

if TYPE_CHECKING:
    from engine.plugins import PluginHost


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(invoke_without_command=True, help="List recipes and check them.")
    group.callback()(_list)
    group.command("check")(_check)
    group.command("schema")(_schema)
    app.add_typer(group, name="recipes")


def _list(context: typer.Context, as_json: Json = False) -> None:
    """List the recipes that `engine train NAME` finds by name."""
    if context.invoked_subcommand:
        return
    from engine.recipe_source import list_recipes

    host, found = host_of(context), list_recipes()
    faults = {summary.name: _faults(summary.path, host) for summary in found}
    if as_json:
        records = [{**dataclasses.asdict(summary), "path": str(summary.path), "faults": faults[summary.name]} for summary in found]
        print(json.dumps({"recipes": records}, indent=2))
        return
    for summary in found:
        print(f"{summary.name}  {summary.path}")
        if summary.error:
            print(f"    cannot be read: {summary.error}")
            continue
        print(f"    {summary.model} on {summary.dataset}, {summary.steps} steps, backend {summary.backend}: {', '.join(summary.losses)}")
        if summary.notes:
            print(f"    {summary.notes.splitlines()[0]}")
        for fault in faults[summary.name]:
            print(f"    cannot run as it stands: {fault}")
    if not found:
        print("no recipe ships with this installation")


def _faults(path: Path, host: PluginHost) -> list[str]:
    from engine.errors import EngineError, RecipeError
    from engine.recipe import load_recipe

    try:
        load_recipe(path, (), host)
    except RecipeError as error:
        return list(error.faults)
    except EngineError as error:
        return [str(error)]
    return []


def _check(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="A recipe's file, or the name of a shipped one.")],
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated.")] = None,
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Check a recipe against the plugins that it names; every fault is listed with its line."""
    from engine.errors import RecipeError
    from engine.recipe import load_recipe

    try:
        checked = load_recipe(recipe, overrides or (), host_of(context, plugin))
    except RecipeError as error:
        if not as_json:
            raise
        print(json.dumps({"recipe": None, "faults": error.faults}, indent=2))
        raise typer.Exit(error.exit_code) from None
    if as_json:
        print(json.dumps({"recipe": checked.data, "faults": []}, indent=2))
        return
    settings = checked.recipe
    print(f"{checked.path} has no fault")
    print(f"    style {settings.name}, {settings.steps} steps of {settings.batch} clips, backend {settings.backend.name}")
    stated = settings.dataset if isinstance(settings.dataset, tuple) else (settings.dataset,)
    datasets = " + ".join(block.name for block in stated)
    print(f"    model {checked.model.name}, dataset {datasets}, losses {', '.join(checked.losses)}")


def _schema(
    context: typer.Context,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write it there, over an older one.")] = None,
    plugin: PluginFiles = None,
) -> None:
    """Print the JSON schema of a recipe with the installed plugins, for editors that complete and check YAML.

    An editor with yaml-language-server finds it by a line in the recipe: # yaml-language-server: $schema=recipe.schema.json
    """
    from engine.errors import EngineError
    from engine.files import replacing
    from engine.recipe_schema import recipe_schema

    text = json.dumps(recipe_schema(host_of(context, plugin)), indent=1) + "\n"
    if output is None:
        print(text, end="")
        return
    if output.suffix != ".json":
        raise EngineError("a schema is written to a .json file", where=str(output))
    with replacing(output) as temporary:
        temporary.write_text(text, "utf-8")
    print(f"{output} is written; in a recipe beside it: # yaml-language-server: $schema={output.name}")

"""``engine weights``: published encoder weights, fetched once and kept in the cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from engine.cli.options import Json, PluginFiles, host_of


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(invoke_without_command=True, help="Fetch encoder weights (vgg16, vgg16_bn), and list what the cache holds.")
    group.callback()(_list)
    group.command("fetch")(_fetch)
    app.add_typer(group, name="weights")


def _list(context: typer.Context, as_json: Json = False) -> None:
    """List the weights in the cache, and the models whose weights can be fetched."""
    if context.invoked_subcommand:
        return
    from engine.weights import cache_file, list_cached

    cached = list_cached()
    host = host_of(context)
    models = {name: host.make_model(name) for name in host.names("model")}
    absent = [name for name, model in models.items() if model.sources() and not cache_file(model).exists()]
    if as_json:
        records = [{"model": c.model, "path": str(c.path), "origin": c.origin, "bytes": c.size, "fault": c.fault or None} for c in cached]
        print(json.dumps({"cached": records, "not_fetched": absent}, indent=2))
        return
    for c in cached:
        print(f"{c.model}  {c.path}  {c.size / 1e6:.0f} MB")
        print(f"    from {c.origin}" if not c.fault else f"    cannot be used: {c.fault}")
    for name in absent:
        print(f"{name}  not fetched yet: engine weights fetch {name}")


def _fetch(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The model: vgg16 or vgg16_bn, the encoders that losses look through.")],
    file: Annotated[Path | None, typer.Option(help="Take them from this file; its sum must be a published one.")] = None,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Take the file of another sum too, if its names and shapes are those of published weights.")
    ] = False,
    plugin: PluginFiles = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but where the weights are.")] = False,
    as_json: Json = False,
) -> None:
    """Have a model's published weights in the cache: from a file, torch's hub cache, or the network; sums are checked."""
    from engine.weights import fetch_weights, list_cached, tell

    model = host_of(context, plugin).make_model(name)
    path = fetch_weights(model, file=file, unchecked=unchecked, report=(lambda line: None) if quiet else tell)
    (kept,) = [c for c in list_cached() if c.path == path]
    print(json.dumps({"model": kept.model, "path": str(path), "origin": kept.origin, "bytes": kept.size}, indent=2) if as_json else path)

"""``engine styles``: which styles there are, what one says about itself, and those of other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.cli import styles_exchange, styles_sheet
from engine.cli.options import Json, printable
from engine.errors import EngineError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    styles = typer.Typer(help="List and describe trained styles, show them side by side, import and export them.")
    styles.callback(invoke_without_command=True)(list_styles)
    styles.command("info")(describe_style)
    styles_exchange.register(styles)
    styles_sheet.register(styles)
    app.add_typer(styles, name="styles")


def list_styles(context: typer.Context, as_json: Json = False) -> None:
    """List the styles that --style finds: shipped ones, the cache, ./runs."""
    if context.invoked_subcommand is not None:
        return
    from engine.style import all_style_files, style_files

    first = style_files()
    rows = [_summary(name, path) | ({} if path == first[name] else {"hidden_by": str(first[name])}) for name, path in all_style_files()]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    if not rows:
        print("There are no styles yet. Train one: engine train reconet_candy")
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        said = row.get("error") or f"{row['parameters']:>9,} parameters  {row['steps']:>6} steps  {row['path']}"
        hidden = f"  (hidden by {row['hidden_by']}; use its path)" if "hidden_by" in row else ""
        print(printable(f"{row['name']:<{width}}  {said}{hidden}"))


def describe_style(style: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A style.")], as_json: Json = False) -> None:
    """Say how a style was made."""
    from engine.style import find_style, read_style

    path = find_style(style)
    info, network = read_style(path)
    about: dict[str, Any] = {"path": str(path), **info.model_dump(exclude={"thumbnail"})}
    about |= {"parameters": network.parameters(), "gmac_640x360": round(network.gmac(360, 640), 3), "bytes": path.stat().st_size}
    if as_json:
        print(json.dumps(about | {"thumbnail": info.thumbnail}, indent=2))
        return
    for key, value in about.items():
        if isinstance(value, dict) and value:
            print(f"{key}:")
            for name, part in value.items():
                print(printable(f"  {name}: {json.dumps(part) if isinstance(part, dict | list) else part}"))
        elif value not in ("", {}):
            print(printable(f"{key}: {value}"))


def _summary(name: str, path: Path) -> dict[str, Any]:
    from engine.style import read_style

    try:
        info, network = read_style(path)
    except EngineError as error:
        return {"name": name, "path": str(path), "error": str(error)}
    return {"name": name, "path": str(path), "steps": info.steps, "parameters": network.parameters(), "licence": info.licence}

"""``engine styles sheet``: one picture with every style."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from engine.cli.options import Json, PluginFiles, host_of, printable
from engine.errors import EngineError


def register(styles: typer.Typer) -> None:
    """Add the command to ``engine styles``."""
    styles.command("sheet")(sheet)


def sheet(
    context: typer.Context,
    photo: Annotated[Path, typer.Argument(help="A picture.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A picture; PHOTO.styles.png beside the photo by default.")
    ] = None,
    side: Annotated[int, typer.Option("--max-size", min=64, help="The longer side of each picture at most.")] = 480,
    backend: Annotated[str, typer.Option(help="What computes; auto is the fastest that is installed.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, gpu[:n] or ascend[:n].")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    plugin: PluginFiles = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    as_json: Json = False,
) -> None:
    """Paint a photo with every style that `engine styles` lists, onto one sheet; a damaged style is named and left out."""
    from engine.images import SUFFIXES, Picture, read_picture, write_picture
    from engine.sizes import Size, resize
    from engine.style import style_files
    from engine.style_sheet import draw_style_sheet, paint_with_each

    target = output or photo.with_name(f"{photo.stem}.styles.png")
    if target.suffix.lower() not in SUFFIXES:
        raise EngineError(f"a picture is not written as {target.suffix!r}", where=str(target), allowed=", ".join(SUFFIXES))
    if target.exists() and (target.samefile(photo) if photo.exists() else False):
        raise EngineError("this output is the input", where=str(target), remedy="Give another -o.")
    if target.exists() and not overwrite:
        raise EngineError("this file exists already", where=str(target), remedy="Give --overwrite to replace it, or another -o.")
    host = host_of(context, plugin)  # first: a style may be made of a plugin's layers
    rgb = read_picture(photo).rgb
    rgb = resize(rgb, *Size(side, at_most=True).of(rgb.shape[1], rgb.shape[0]))
    if not (files := style_files()):
        raise EngineError("there are no styles yet", remedy="Train one: engine train reconet_candy")
    used = host.make_backend(backend, device=device, precision=precision)
    cells, failed = [(photo.name, rgb)], list[dict[str, str]]()
    for name, made in paint_with_each(rgb, files, used):
        if isinstance(made, EngineError):
            failed.append({"name": name, "error": str(made)})
            typer.echo(printable(f"{name} is left out: {made}"), err=True)
        else:
            cells.append((name, made))
    if len(cells) == 1:
        raise EngineError(f"none of the {len(files)} styles can paint this", where=str(photo))
    write_picture(target, Picture(draw_style_sheet(cells)))
    about = {"output": str(target), "styles": [name for name, _ in cells[1:]], "failed": failed, "backend": used.name}
    if as_json:
        print(json.dumps(about, indent=2))
    elif not quiet:
        print(printable(target))

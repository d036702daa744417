"""A command for styleengine: ``engine clip-info FILE`` prints frames, size and rate of a clip."""

import json
from pathlib import Path
from typing import Annotated

import typer

from engine import VideoReader, hookimpl

ENGINE_API = "1"


def clip_info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A video.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Print how many frames a clip has, how large they are, and how many there are a second."""
    with VideoReader(file) as clip:
        frames = sum(1 for _ in clip.frames())  # counted, because what a file announces is a guess
        info = clip.info
    if as_json:
        typer.echo(json.dumps({"frames": frames, "width": info.width, "height": info.height, "fps": float(info.rate)}))
    else:
        typer.echo(f"{file}: {frames} frames of {info.width}x{info.height}, {float(info.rate):g} fps")


@hookimpl
def engine_register_commands(app: typer.Typer) -> None:
    """Add the command."""
    app.command("clip-info")(clip_info)

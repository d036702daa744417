"""``engine data``: commands about training data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine_datasets.check_command import check
from engine_datasets.flow_command import flow
from engine_datasets.sceneflow_sample import write_sample

data = typer.Typer(help="Training data.", no_args_is_help=True)


data.command()(check)
data.command()(flow)


@data.command()
def sample(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write Monkaa/ and Flyingthings3d/.")],
    scenes: Annotated[int, typer.Option(min=1, help="Scenes of each of the two.")] = 2,
    frames: Annotated[int, typer.Option(min=2, help="Frames a scene.")] = 10,
    width: Annotated[int, typer.Option(min=5, help="Pixels; SceneFlow's own frames have 960.")] = 480,
    height: Annotated[int, typer.Option(min=5, help="Pixels; SceneFlow's own frames have 540.")] = 270,
    seed: Annotated[int, typer.Option(min=0, help="Other seeds give other scenes.")] = 0,
) -> None:
    """Write generated scenes in the layout of SceneFlow: frames, flow both ways, motion boundaries; the left camera."""
    written = write_sample(folder, scenes=scenes, frames=frames, size=(height, width), seed=seed)
    word = "scene" if scenes == 1 else "scenes"
    for name, scenes_of_it in written.items():
        typer.echo(f"{folder / name}: {len(scenes_of_it)} {word} of {frames} frames, {width}x{height}")

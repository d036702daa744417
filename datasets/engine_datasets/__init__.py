"""The datasets that ship with the engine, and the ``engine data`` commands."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from engine import Dataset, hookimpl
from engine_datasets.images import Images
from engine_datasets.moving_layers import MovingLayers
from engine_datasets.sceneflow import SceneFlow
from engine_datasets.video import Video

if TYPE_CHECKING:
    import typer

    from engine import Run


@hookimpl
def engine_register_datasets() -> list[type[Dataset]]:
    """Generated clips, clips made of photos, SceneFlow, and any clips."""
    return [Images, MovingLayers, SceneFlow, Video]


@hookimpl
def engine_register_commands(app: typer.Typer) -> None:
    """``engine data``."""
    from engine_datasets.commands import data

    app.add_typer(data, name="data")


@hookimpl
def engine_before_training(run: Run) -> None:
    """Say where another flow would fit better: training with a wrong one ends well and makes a style that flickers."""
    if run.quiet:
        return
    from engine_datasets.flow_doubts import doubt_of

    if doubt := doubt_of(run):
        print(f"warning: {doubt}", file=sys.stderr)

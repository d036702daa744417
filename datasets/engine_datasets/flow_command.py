"""``engine data flow``: the flow of clips, computed before training."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from engine import EngineError
from engine_datasets.video import Video


def _default(setting: str) -> Any:
    return Video.model_fields[setting].default


def _help(setting: str) -> str:
    return Video.model_fields[setting].description or ""


def flow(
    clips: Annotated[Path, typer.Argument(metavar="CLIPS", help=_help("path"))],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="CACHE", help="The folder to keep it in; what is there is used.")],
    width: Annotated[int, typer.Option(min=16, max=8192, help=_help("width"))] = _default("width"),
    height: Annotated[int, typer.Option(min=16, max=8192, help=_help("height"))] = _default("height"),
    stride: Annotated[int, typer.Option(min=1, max=64, help=_help("stride"))] = _default("stride"),
    start: Annotated[float, typer.Option(min=0, max=1, help=_help("start"))] = _default("start"),
    stop: Annotated[float, typer.Option(min=0, max=1, help=_help("stop"))] = _default("stop"),
    clip_share: Annotated[float, typer.Option(min=0, max=1, help=_help("clip_share"))] = _default("clip_share"),
    cut: Annotated[float, typer.Option(min=0, max=1, help=_help("cut"))] = _default("cut"),
    motion: Annotated[float, typer.Option(min=0, help=_help("motion"))] = _default("motion"),
    traceable: Annotated[float, typer.Option(min=0, max=1, help=_help("traceable"))] = _default("traceable"),
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that estimate flow; by default one for each core.")] = None,
) -> None:
    """Find the pairs of frames of clips that are fit for training, and keep their flow for the dataset `video`.

    Ended in the middle, it goes on where it was when it is run again.
    """
    chosen = {
        "width": width,
        "height": height,
        "stride": stride,
        "start": start,
        "stop": stop,
        "clip_share": clip_share,
        "cut": cut,
        "motion": motion,
        "traceable": traceable,
    }
    try:
        dataset = Video.model_validate({"path": clips, "cache": output, **chosen})
    except ValidationError as error:
        fault = error.errors()[0]
        where = " ".join(f"--{part}".replace("_", "-") for part in fault["loc"])
        raise EngineError(fault["msg"].removeprefix("Value error, "), where=where) from None
    begun = time.monotonic()
    entries = dataset.entries(workers, every_clip=True)
    seconds = time.monotonic() - begun
    pairs = sum(len(entry.journal.pairs) for entry in entries)
    stored = sum(file.stat().st_size for entry in entries for file in entry.folder.rglob("*") if file.is_file())
    clip_word = "clip" if len(entries) == 1 else "clips"
    typer.echo(f"{output}: {pairs} pairs of {len(entries)} {clip_word}, {stored / 1e6:.1f} MB, {seconds:.1f} s")
    other = "".join(f", {name}: {value:g}" for name, value in chosen.items() if value != _default(name))
    typer.echo(f"dataset: {{name: video, path: {_quoted(clips)}, cache: {_quoted(output)}{other}}}")


def _quoted(path: object) -> str:
    """For a recipe's line; JSON's string is one of YAML, too."""
    return str(path) if re.fullmatch(r"[\w./*-]*[\w./-]", str(path)) and not str(path).startswith(("*", "-")) else json.dumps(str(path))

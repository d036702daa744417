"""``engine data check``: what a dataset holds, what of it is bad, and a sheet of it to look at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from engine import BadSample, Dataset, EngineError, Picture, Sample, load_plugins, load_recipe, write_picture
from engine_datasets.contact_sheet import difference, draw_sheet
from engine_datasets.flow_doubts import DOUBTS, SHARE, altered
from engine_datasets.opening import open_folder

RECIPES = (".yaml", ".yml")
LISTED = 50
"""Bad files that are printed; of more their number."""


def check(
    what: Annotated[
        str,
        typer.Argument(
            metavar="DIR|RECIPE|CLIPS", help="SceneFlow's folder, photos, clips; or a recipe, as a file or a shipped one's name."
        ),
    ],
    samples: Annotated[int, typer.Option(min=1, help="How many to read, spread evenly; all where there are fewer.")] = 200,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Draw a contact sheet here (.png, .jpg).")] = None,
    rows: Annotated[int, typer.Option(min=1, max=40, help="Clips on the sheet.")] = 6,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe.")] = None,
    plugin: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Load this plugin file too; may be repeated.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the sheet that is there.")] = False,
) -> None:
    """Read samples of a dataset, say what is there and what is bad, and draw some of them.

    The sheet shows two frames, the flow between them in the usual colour wheel, the mask, and what warping the one
    frame to the other leaves over: dark where the flow is right. Exit code: 0, 1 where samples are bad, 2 where nothing can be opened.
    """
    if output and output.exists() and not overwrite:
        raise EngineError("this file is here already", where=str(output), remedy="Replace it with --overwrite.")
    dataset, note = open_dataset(what, set_ or (), plugin or ())
    found = read_evenly(dataset, samples, rows)
    for line in describe(dataset, found):
        typer.echo(line)
    if note:
        typer.echo(note)
    if output and found.shown:
        write_picture(output, Picture(draw_sheet(f"{dataset.name}: {what}", found.shown)))
        typer.echo(f"contact sheet: {output}")
    if found.bad:
        raise typer.Exit(1)


def open_dataset(
    what: str, overrides: list[str] | tuple[str, ...] = (), plugins: list[Path] | tuple[Path, ...] = ()
) -> tuple[Dataset, str]:
    """The dataset of a recipe, or one that fits what lies in a folder, and what is to be said of its settings.

    Raises:
        EngineError: There is nothing of the kind, or it is not laid out as it should be.
    """
    if _is_recipe(what):
        return load_recipe(what, overrides, load_plugins(plugins)).dataset, ""
    if overrides:
        raise EngineError("--set changes a recipe, and this is none", where=what)
    return open_folder(what)


def _is_recipe(what: str) -> bool:
    path = Path(what)
    return path.suffix.lower() in RECIPES or not (path.exists() or any(c in what for c in "*?[/\\."))


@dataclass
class Findings:
    """What reading samples told."""

    asked: int = 0
    seconds: float = 0.0
    bad: dict[str, str] = field(default_factory=dict)
    """What is wrong, by file or sample."""
    sizes: dict[tuple[int, ...], int] = field(default_factory=dict)
    """(frames, height, width), and how many samples have it."""
    lengths: list[float] = field(default_factory=list)
    """Of flow, in pixels: the mean of each sample."""
    largest: float = 0.0
    traceable: list[float] = field(default_factory=list)
    left_over: list[float] = field(default_factory=list)
    """Grey levels between a frame and the one before it, read where the flow leads: the mean of each sample."""
    otherwise: dict[str, list[float]] = field(default_factory=lambda: {doubt: [] for doubt in DOUBTS})
    """The same of flows that are easily taken for the right one."""
    shown: list[tuple[int, Sample]] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Count a good one."""
        shape = sample.frames.shape[:3]
        self.sizes[shape] = self.sizes.get(shape, 0) + 1
        if sample.flow is None or sample.mask is None or not len(sample.flow):
            return
        seen = sample.mask[:, 0] > 0
        length = np.hypot(sample.flow[:, 0], sample.flow[:, 1])
        self.traceable.append(float(seen.mean()))
        if seen.any():
            self.lengths.append(float(length[seen].mean()))
            self.largest = max(self.largest, float(length[seen].max()))
        if seen[-1].any():
            self.left_over.append(float(difference(sample)[seen[-1]].mean()))
            for doubt, other in altered(sample):
                self.otherwise[doubt].append(float(difference(other)[seen[-1]].mean()))


def read_evenly(dataset: Dataset, samples: int, rows: int) -> Findings:
    """Read so many samples, and keep ``rows`` of the good ones."""
    length, found = len(dataset), Findings()
    if not length:
        raise EngineError("the dataset is empty", where=f"dataset {dataset.name!r}")
    indices = np.unique(np.linspace(0, length - 1, min(samples, length)).round().astype(int)).tolist()
    wanted = {len(indices) * k // rows for k in range(rows)}
    due = 0
    for number, index in enumerate(_shown(indices)):
        due += number in wanted
        found.asked += 1
        begin = time.perf_counter()
        try:
            sample = dataset[index]
            found.seconds += time.perf_counter() - begin
            found.add(sample.check(f"sample {index}"))
        except BadSample as error:
            found.bad.setdefault(error.where or f"sample {index}", error.problem)
        except EngineError as error:
            found.bad.setdefault(f"sample {index}", " ".join(str(error).split()))
        except Exception as error:  # of a plugin's own code
            found.bad.setdefault(f"sample {index}", f"{type(error).__name__}: {error}")
        else:
            if due:  # the next good one stands in for one that was bad
                found.shown.append((index, sample))
                due -= 1
    return found


def _shown(indices: list[int]) -> Iterator[int]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(indices, "reading", console=console, transient=True, disable=not console.is_terminal)


def describe(dataset: Dataset, found: Findings) -> Iterator[str]:
    """The report, line by line."""
    good = sum(found.sizes.values())
    yield f"{dataset.name}: {len(dataset)} samples, {found.asked} read, {found.asked - good} bad"
    for (frames, height, width), count in sorted(found.sizes.items()):
        yield f"size: {width}x{height}, {frames} frames" + (f" ({count} samples)" if len(found.sizes) > 1 else "")
    yield from dataset.about(found.bad)
    if found.traceable:
        lengths = np.array(found.lengths or [0.0])
        typical = f"{np.median(lengths):.1f} px in the middle sample, {lengths.max():.1f} in the fastest"
        yield f"flow: {typical}; the longest {found.largest:.1f} px"
        yield f"traceable: {100 * np.mean(found.traceable):.1f} % of pixels on average, {100 * min(found.traceable):.1f} % at least"
        if found.left_over:
            left = np.mean(found.left_over)
            yield f"left over by warping: {left:.1f} grey levels on average, {max(found.left_over):.1f} at most"
            doubt, instead = min(((doubt, np.mean(levels)) for doubt, levels in found.otherwise.items()), key=lambda pair: pair[1])
            if instead < SHARE * left:
                yield f"doubt: {instead:.1f} grey levels would be left {doubt}; is the flow right?"
    elif good:
        yield "flow: none"
    if good:
        yield f"speed: {found.seconds / good:.3f} s a sample in one thread"
    if found.asked < len(dataset):
        yield f"not looked at: {len(dataset) - found.asked} samples; --samples {len(dataset)} reads all"
    for place, problem in list(found.bad.items())[:LISTED]:
        yield f"bad: {place}: {problem}"
    if len(found.bad) > LISTED:
        yield f"bad: and {len(found.bad) - LISTED} more"

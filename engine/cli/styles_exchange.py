"""``engine styles import | export | pull``: styles from and for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.options import Json, PluginFiles, host_of, printable
from engine.errors import EngineError

if TYPE_CHECKING:
    from engine.style import Style

Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write; else among the styles of the cache.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there.")]
TakeOver = Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there, and take a name that another style has.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but what was asked for.")]

INPUT_HELP = "What an ONNX graph takes and gives: uint8 pictures (n, h, w, 3), or float32 images (n, c, h, w) in the network's range."


def register(styles: typer.Typer) -> None:
    """Add the commands to ``engine styles``."""
    styles.command("import")(import_)
    styles.command("export")(export)
    styles.command("pull")(pull)


def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A .ckpt of MindSpore, a .pth of torch, a .safetensors.")],
    output: Output = None,
    name: Annotated[str, typer.Option(help="The style's name; else its own, or the file's.")] = "",
    overwrite: TakeOver = False,
    plugin: PluginFiles = None,
    as_json: Json = False,
) -> None:
    """Make a style of the weights that another program trained; --style then finds it by name."""
    from engine.foreign import import_style

    style = import_style(file, host_of(context, plugin), name=name)
    target = _target(style.info.name, output, overwrite)
    style.save(target)
    _say(style, target, as_json)


def export(
    context: typer.Context,
    style: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A style.")],
    format: Annotated[str, typer.Option("--format", metavar="ckpt|pth|onnx", help="onnx where the backend that writes it is installed.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="<style>.<format> by default.")] = None,
    input: Annotated[str, typer.Option("--input", metavar="uint8|float32", help=INPUT_HELP, show_default="uint8 for onnx")] = "",
    overwrite: Overwrite = False,
    plugin: PluginFiles = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a style for other programs: a .ckpt for MindSpore, a .pth for torch, a graph for ONNX runtimes."""
    from engine.foreign import export_style
    from engine.jobs import file_word
    from engine.style import load_style
    from engine.weights import tell

    host, loaded = host_of(context, plugin), load_style(style)
    target = _free(output or Path(f"{file_word(loaded.info.name)}.{format}"), overwrite)
    export_style(loaded, target, format, host, input=input, report=(lambda line: None) if quiet else tell)
    about = {"name": loaded.info.name, "path": str(target), "format": format, "bytes": target.stat().st_size}
    print(json.dumps(about, indent=2) if as_json else target)


def pull(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="One of the published styles, such as candy.")],
    output: Output = None,
    overwrite: TakeOver = False,
    plugin: PluginFiles = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Download a published style, check and import it; --style then finds it by name."""
    from engine.foreign import find_published, pull_style
    from engine.style import load_style
    from engine.weights import tell

    host, report = host_of(context, plugin), (lambda line: None) if quiet else tell
    published, there = find_published(name, host), _in_cache(name)
    if not (overwrite or output) and there.exists() and published.address in (style := load_style(there)).info.notes:
        report(f"the style {name!r} is already there")
        _say(style, there, as_json)
        return
    target = _target(name, output, overwrite)
    style = pull_style(published, host, report=report)
    style.save(target)
    _say(style, target, as_json)


def _in_cache(name: str) -> Path:
    from engine import places
    from engine.jobs import file_word

    return places.cache_folder() / "styles" / f"{file_word(name)}.safetensors"


def _target(name: str, output: Path | None, overwrite: bool) -> Path:
    """The file to write a style to; an error where one is there, or where --style would find another one by its name."""
    from engine import places
    from engine.style import styles_called

    if output:
        return _free(output, overwrite)
    target = _in_cache(name)
    if (shipped := places.shipped() / "weights" / target.name).exists():
        remedy = "Give this one another name with --name, or a file with -o."
        raise EngineError(f"a style that ships is called {target.stem!r}, and --style would find that", where=str(shipped), remedy=remedy)
    _free(target, overwrite)
    if (others := [path for path in styles_called(name) if path != target]) and not overwrite:
        problem = f"the style of this file is called {name!r} too, and --style {name} would find the new one instead, {target}"
        raise EngineError(problem, where=str(others[0]), remedy="Give --overwrite to let the new one have the name, or a file with -o.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remedy = "Set ENGINE_CACHE to a folder that can be written."
        raise EngineError(f"cannot be made: {error.strerror}", where=str(target.parent), remedy=remedy) from None
    return target


def _free(target: Path, overwrite: bool) -> Path:
    if target.exists() and not overwrite:
        raise EngineError("this file exists already", where=str(target), remedy="Give --overwrite to replace it, or another -o.")
    return target


def _say(style: Style, path: Path, as_json: bool) -> None:
    info = style.info
    about: dict[str, Any] = {"name": info.name, "path": str(path), "parameters": style.network.parameters()}
    about |= {"licence": info.licence, "notes": info.notes}
    print(json.dumps(about, indent=2) if as_json else printable(path))

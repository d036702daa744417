"""``engine infer``: paint pictures and videos."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine import places
from engine.cli.options import Json, PluginFiles, host_of
from engine.errors import EngineError

if TYPE_CHECKING:
    from engine.infer import Result
    from engine.sizes import Size

DEFAULT_STYLE = "reconet_candy"
LOOK = "Look"
"""The panel of options that change what is painted."""
VIDEO = "Video"
"""That of options of video files."""
INPUTS = "Pictures, folders of pictures, videos, numbered pictures (frames/%04d.png), - for a picture or y4m video on stdin."
OUTPUT = "A file, a folder for several inputs, numbered pictures (out/%05d.png), - for PNG or y4m on stdout, -.jpg or -.mp4 for others."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("infer")(infer)


def infer(
    context: typer.Context,
    inputs: Annotated[list[Path] | None, typer.Argument(metavar="[INPUT]...", help=INPUTS)] = None,
    output: Annotated[str | None, typer.Option("-o", "--output", help=OUTPUT)] = None,
    style: Annotated[str | None, typer.Option(help="A style's name or file.", show_default=DEFAULT_STYLE)] = None,
    blend: Annotated[
        str | None, typer.Option(metavar="A:0.7,B:0.3", help="Several styles, mixed by their weights.", rich_help_panel=LOOK)
    ] = None,
    backend: Annotated[str, typer.Option(help="What computes; auto is the fastest that is installed.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, gpu[:n] or ascend[:n].")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    batch: Annotated[int | None, typer.Option(min=1, help="Frames painted together.", show_default="1 on a CPU, else 4")] = None,
    tile: Annotated[
        str, typer.Option(metavar="auto|off|HEIGHT", help="Rows painted at once; auto goes by the free memory, off is the whole frame.")
    ] = "auto",
    strength: Annotated[
        float, typer.Option(metavar="0..1", help="Mix with the input: 0 is the input, 1 the painting.", rich_help_panel=LOOK)
    ] = 1.0,
    preserve_color: Annotated[bool, typer.Option("--preserve-color", help="Keep the input's colours.", rich_help_panel=LOOK)] = False,
    size: Annotated[
        str | None, typer.Option(metavar="WxH|N", help="Paint and write at this size; N is the longer side.", rich_help_panel=LOOK)
    ] = None,
    max_size: Annotated[
        str | None, typer.Option(metavar="N", help="Make the longer side at most N; nothing is enlarged.", rich_help_panel=LOOK)
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A picture or a video: paint where it is white, keep black.", rich_help_panel=LOOK),
    ] = None,
    smooth: Annotated[
        float,
        typer.Option(
            metavar="0..1", help="Steady a video's strokes along its motion, without ghosts; 1 is steadiest.", rich_help_panel=LOOK
        ),
    ] = 0.0,
    codec: Annotated[
        str | None,
        typer.Option(
            metavar="h264|h265|vp9|av1", help="How videos are encoded.", show_default="vp9 in .webm, else h264", rich_help_panel=VIDEO
        ),
    ] = None,
    crf: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Quality: 0 is the best; the scale is the codec's.", show_default="18 for h264", rich_help_panel=VIDEO
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a video that was not finished, with the same options.", rich_help_panel=VIDEO)
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop where a video is damaged, and write nothing.", rich_help_panel=VIDEO)
    ] = False,
    fps: Annotated[str | None, typer.Option(metavar="N", help="Frames a second of numbered pictures.", show_default="25")] = None,
    camera: Annotated[str | None, typer.Option(metavar="N|URL", help="Paint a camera live, in a window; 0 is the first one.")] = None,
    plugin: PluginFiles = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    as_json: Json = False,
) -> None:
    """Paint pictures and videos; without INPUT, the built-in clip.

    The output is INPUT.STYLE.EXT beside the input unless -o says otherwise; a video keeps its size, frames, timestamps and sound.
    """
    from engine.cli.painting_progress import PaintingProgress
    from engine.controls import Controls
    from engine.encoding import Encoding
    from engine.infer import Studio, VideoOptions
    from engine.jobs import file_word, plan
    from engine.pipes import CHUNK, standard_output
    from engine.style import load_style
    from engine.tiling import parse_tile

    piped = output is not None and (output == "-" or re.fullmatch(r"-\.[A-Za-z0-9]+", output) is not None)
    if piped and as_json:
        raise EngineError("-o - and --json both want standard output", where="-o", remedy="Give a file to -o.")
    if piped and sys.stdout is None:
        raise EngineError("standard output is closed", where="-o", remedy="Give a file to -o.")
    if piped and sys.stdout.isatty():
        raise EngineError("a terminal shows no picture or video", where="-o", remedy="Send it on (`-o - > out.png`), or give a file to -o.")
    if piped and resume:
        raise EngineError("what goes to a pipe cannot be resumed", where="--resume", remedy="Give a file to -o.")
    options = VideoOptions(Encoding(codec, crf), resume, strict)
    rows = parse_tile(tile)
    controls = Controls(strength, preserve_color, _size(size, max_size), mask, smooth)
    host = host_of(context, plugin)  # first: a style may be made of a plugin's layers
    if camera is not None:
        from engine.cli.infer_camera import check_options, paint_camera

        check_options(context)
        used, into = host.make_backend(backend, device=device, precision=precision), Path(output) if output is not None else None
        first, encoding = style or DEFAULT_STYLE, options.encoding
        paint_camera(camera, first, used, controls, into, encoding, overwrite=overwrite, quiet=quiet, as_json=as_json)
        return
    shares = _shares(style, blend)
    chosen = [(load_style(name), share) for name, share in shares.items()]
    word = "+".join(one.info.name for one, _ in chosen)
    # What is no stream, such as mp4, is a file first.
    with tempfile.TemporaryDirectory() if piped and output != "-" else nullcontext() as folder:
        target = f"{folder}/out{str(output)[1:]}" if folder else output
        if not inputs:
            inputs, target = [places.shipped() / "sample.mp4"], target or f"sample.{file_word(word)}.mp4"
        work = plan(inputs, target, word, overwrite=overwrite, resume=resume, rate=_rate(fps))
        if mask is not None and mask.resolve() in [job.target.resolve() for job in work.jobs]:
            raise EngineError("this output is the mask", where=str(mask), remedy="Give another -o.")
        options.check(work.jobs)
        used = host.make_backend(backend, device=device, precision=precision)
        about = {key: used.describe()[key] for key in ("device", "precision")}
        about = {"backend": used.name, **about, "style": word}
        said = ["blend " + " + ".join(f"{share:.3g} {name}" for name, share in shares.items())] if blend is not None else []
        with PaintingProgress(quiet) as progress:
            progress.say(", ".join([*(f"{key} {value}" for key, value in about.items()), *controls.said(), *said]))
            for path in work.skipped:
                progress.say(f"{path}: skipped, no picture")
            for job in work.finished:
                progress.say(f"{job.target}: skipped, an earlier run has finished it")
            results: list[Result] = []
            for result in Studio.open(chosen, used, batch, controls, options, rows).paint(work.jobs, progress.watch):
                results.append(result)
                progress.finished(result, "standard output" if folder else "")
        if folder and results[0].error is None:
            with results[0].job.target.open("rb") as file:
                shutil.copyfileobj(file, standard_output(), CHUNK)
    if as_json:
        applied = controls.to_json() | {"blend": shares if blend is not None else None}
        done = [result.to_json() | about | {"controls": applied} for result in results if result.error is None]
        failed = [result.to_json() for result in results if result.error is not None]
        print(
            json.dumps(
                {
                    "outputs": done,
                    "failed": failed,
                    "skipped": [str(path) for path in work.skipped],
                    "finished": [str(job.target) for job in work.finished],
                },
                indent=2,
            )
        )
    if codes := [result.error.exit_code for result in results if result.error is not None]:
        raise typer.Exit(max(codes))


def _shares(style: str | None, blend: str | None) -> dict[str, float]:
    """The styles to paint with, as they were called, and the share of each."""
    from engine.blending import parse_blend
    from engine.style import find_style

    if blend is None:
        return {style or DEFAULT_STYLE: 1.0}
    if style is not None:
        raise EngineError("--blend and --style exclude each other", where="--blend", remedy="Give one of them.")
    shares = dict(parse_blend(blend))
    files: dict[Path, str] = {}
    for name in shares:
        if (other := files.setdefault(find_style(name).resolve(), name)) != name:
            raise EngineError(f"{other!r} and {name!r} are the same style", where="--blend", remedy="Name it once.")
    return shares


def _rate(fps: str | None) -> Fraction | None:
    if fps is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)(?:[/:]([0-9]{1,6}))?", fps)
    rate = Fraction(found[1]) / int(found[2] or 1) if found is not None and int(found[2] or 1) else Fraction(0)
    if not Fraction(1, 1000) <= rate <= 1000:
        raise EngineError(f"{fps!r} is no frame rate", where="--fps", allowed="a number such as 24, 29.97 or 30000/1001, up to 1000")
    return rate


def _size(size: str | None, max_size: str | None) -> Size | None:
    from engine.sizes import Size, parse_size

    if size is not None and max_size is not None:
        raise EngineError("--size and --max-size exclude each other", where="--max-size", remedy="Give one of them.")
    if size is not None:
        return parse_size(size, "--size")
    if max_size is None:
        return None
    asked = parse_size(max_size, "--max-size")
    if asked.height is not None:
        raise EngineError(f"{max_size!r} is no longest side", where="--max-size", allowed="a number of pixels such as 1280")
    return Size(asked.width, at_most=True)

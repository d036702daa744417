"""``engine infer --camera``: a camera, painted live in a window."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from engine.errors import EngineError

if TYPE_CHECKING:
    from engine.camera import Camera
    from engine.contracts.backend import Backend
    from engine.controls import Controls
    from engine.encoding import Encoding
    from engine.screen import Window

PICTURE = ("codec", "crf", "style", "strength", "preserve_color", "size", "max_size", "mask")
TAKEN = frozenset({"camera", "output", "backend", "device", "precision", "plugin", "overwrite", "quiet", "as_json", *PICTURE})
"""The options of ``engine infer`` that a camera takes."""
SUFFIX = ".mp4"
"""Of recordings without a name."""


def check_options(context: typer.Context) -> None:
    """An :class:`EngineError` for the first option that was given and that a camera does not take."""
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name not in TAKEN and source is not None and source.name == "COMMANDLINE":
            given = "INPUT" if parameter.param_type_name == "argument" else parameter.opts[0]
            raise EngineError(f"{given} and --camera exclude each other", where="--camera", remedy="Leave one of them out.")


def paint_camera(
    camera: str,
    style: str,
    backend: Backend,
    controls: Controls,
    output: Path | None,
    encoding: Encoding | None = None,
    *,
    overwrite: bool = False,
    quiet: bool = False,
    as_json: bool = False,
    window: Callable[[], AbstractContextManager[Window]] | None = None,
) -> None:
    """Paint until it is ended, and say what was recorded.

    Args:
        camera: A number, or what OpenCV opens: a file, an address.
        style: The first one; keys go through all that ``engine styles`` lists.
        backend: What paints.
        controls: What is done to the painting.
        output: The recording, or a folder for recordings; their names are made of the style and the time where none is given.
        encoding: Of recordings.
        overwrite: Replace recordings that are there.
        quiet: Say nothing but errors.
        as_json: Print one document at the end.
        window: What opens the window; by default one on the screen.
    """
    from engine.camera import Camera, Gallery
    from engine.capture import Capture
    from engine.cli.painting_progress import PaintingProgress
    from engine.infer import make_folder
    from engine.jobs import file_word
    from engine.recording import Recorder, numbered, recording_names
    from engine.screen import ScreenWindow
    from engine.style import find_style, style_files

    folder = output if output is not None and output.is_dir() else Path()
    names = recording_names(output, overwrite=overwrite) if output is not None and not output.is_dir() else None
    if encoding is not None:
        encoding.encoder(output.suffix if names is not None and output is not None else SUFFIX)
    if output is not None:
        make_folder(output.parent)

    def name() -> Path:
        stem = f"camera.{file_word(gallery.name)}.{datetime.now():%Y-%m-%d-%H%M%S}"
        return next(names or numbered(folder / f"{stem}{SUFFIX}"))

    first = find_style(style)
    others = [(word, path) for word, path in style_files().items() if path.resolve() != first.resolve()]
    word = next((word for word, path in style_files().items() if path.resolve() == first.resolve()), first.stem)
    gallery = Gallery([(word, first), *others], backend)
    progress = PaintingProgress(quiet)
    with (window or (lambda: ScreenWindow(f"engine: camera {camera}")))() as shown, Capture(camera) as source:
        recorder = Recorder(name, source.rate, time.monotonic, encoding)
        live = Camera(source, gallery, shown, recorder, controls, mirror=camera.isdecimal(), say=progress.say)
        about = {key: backend.describe()[key] for key in ("device", "precision")}
        progress.say(", ".join([f"backend {backend.name}", *(f"{key} {value}" for key, value in about.items()), *controls.said()]))
        progress.say(f"{len(gallery)} styles; keys in the window: n and p change the style, r records, q ends")
        begun = time.monotonic()
        live.run()
        seconds = time.monotonic() - begun
    _tell(live, camera, seconds, progress.say)
    if as_json:
        said = {"camera": camera, "frames": live.frames, "dropped": live.seen - live.frames, "seconds": round(seconds, 3)}
        rate = {"frames_per_second": round(live.frames / seconds, 3) if seconds else 0.0, "backend": backend.name, **about}
        recordings = [recording.to_json() for recording in recorder.done]
        print(json.dumps(said | rate | {"controls": controls.to_json(), "recordings": recordings}, indent=2))


def _tell(live: Camera, camera: str, seconds: float, say: Callable[[str], None]) -> None:
    rate = live.frames / seconds if seconds else 0.0
    say(f"camera {camera}: {live.frames} of {live.seen} frames painted, {seconds:.1f} s, {rate:.1f} frames/s")

"""A camera painted live: its newest picture in a window, in the style that a key chose, recorded when a key says so."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from engine.capture import Newest, Shot, Source
from engine.contracts.backend import Backend, Painter
from engine.controls import Controls, retouch
from engine.errors import EngineError
from engine.interrupts import stop_between_steps
from engine.masks import Mask
from engine.ops import Array
from engine.painting import SMALLEST, check_size, paint_stream
from engine.recording import Recorder, Recording
from engine.screen import Window, caption
from engine.sizes import resize
from engine.style import Style, load_style

KEYS = "n/p style   r record   m mirror   h hide   q quit"
"""As they are written on the picture."""
READY = 4
"""Styles that are kept ready to paint with."""
PATIENCE = 0.05
"""Seconds between two looks at the keys where no picture comes."""
COUNTED = 20
"""Frames over which their rate is told."""


class Gallery:
    """The styles that keys go through, each made ready when it is first shown.

    Args:
        files: Of each style, by the name that is shown; the first is shown first.
        backend: What paints.
    """

    def __init__(self, files: Sequence[tuple[str, Path]], backend: Backend) -> None:
        self._files, self._backend = list(files), backend
        self._place = 0
        self._ready = lru_cache(READY)(self._make)

    @property
    def name(self) -> str:
        """Of the style that is shown."""
        return self._files[self._place][0]

    def __len__(self) -> int:
        return len(self._files)

    def step(self, by: int) -> None:
        """To another style, round and round."""
        self._place = (self._place + by) % len(self._files)

    def drop(self) -> None:
        """Take the one that is shown out; the next takes its place."""
        del self._files[self._place]
        self._place %= max(len(self._files), 1)

    def painter(self, height: int, width: int) -> Painter:
        """What paints pictures of that size in the style that is shown; an :class:`EngineError` where the style does not."""
        style, painter = self._ready(self._files[self._place][1])
        check_size(style.network, height, width)
        return painter

    def _make(self, path: Path) -> tuple[Style, Painter]:
        style = load_style(path)
        return style, self._backend.painter(style.network, style.weights, batch=1)


@dataclass
class Camera:
    """What is at work while a camera is painted.

    What is painted and recorded is what the camera sees; the window alone shows it mirrored.
    """

    source: Source
    gallery: Gallery
    window: Window
    recorder: Recorder
    controls: Controls = field(default_factory=Controls)
    """Its mask is a picture."""
    mirror: bool = True
    say: Callable[[str], None] = lambda _: None
    """Told when a file is written or a style cannot be used."""
    clock: Callable[[], float] = time.monotonic
    """Seconds; that of the recorder too."""
    frames: int = 0
    """Painted so far."""
    seen: int = 0
    """That the camera gave; those that came while another was painted were dropped."""
    _words: bool = field(default=True, init=False)
    _over: bool = field(default=False, init=False)
    _style: str = field(default="", init=False)
    _painted_at: deque[float] = field(default_factory=lambda: deque(maxlen=COUNTED), init=False)

    def run(self) -> None:
        """Paint until the window is closed, q or Escape is pressed, Ctrl-C or SIGTERM comes, or the source ends.

        A recording that is under way is finished, whatever ends the rest.

        Raises:
            EngineError: No style can paint what the camera gives, the mask is no picture, or a recording cannot be made.
            RunError: The camera stopped giving pictures, or a recording cannot be written on.
        """
        mask = self._mask()
        with stop_between_steps() as stop, Newest(self.source, self.clock) as newest:
            try:
                while not self._over and not stop.is_set():
                    if (shot := newest.take(PATIENCE)) is not None:
                        self._paint(shot, mask)
                    elif newest.ended:
                        break
                    self._press(self.window.key())
            finally:
                self._stop_recording()
        self.seen = newest.seen
        if newest.hangs:
            self.say("the camera does not answer any more; it was left to itself")

    def _mask(self) -> Array | None:
        if self.controls.mask is None:
            return None
        mask = Mask.open(self.controls.mask)
        if mask.still is None:
            raise EngineError("this mask is a video, which a camera cannot follow", where=str(mask.path), allowed="a picture")
        return mask.still

    def _paint(self, shot: Shot, mask: Array | None) -> None:
        height, width = shot.image.shape[:2]
        if self.controls.size is not None:
            width, height = self.controls.size.of(width, height)
        source = resize(shot.image, width, height)
        if self._style != self.gallery.name:  # some backends take seconds to make a style ready
            self._show(source, f"{self.gallery.name}: getting ready")
        painting = self._painting(source)
        stencil = None if mask is None else resize(mask, width, height, smooth=False)
        painted = retouch(source, painting, strength=self.controls.strength, preserve_color=self.controls.preserve_color, mask=stencil)
        self.frames += 1
        self._painted_at.append(self.clock())
        if self.recorder.on:
            there = len(self.recorder.done)
            self.recorder.add(painted, shot.seconds)
            for done in self.recorder.done[there:]:
                self._tell(done)
                self.say(f"the picture is {width}x{height} now, so the recording goes on in another file")
        self._show(painted, f"{self.gallery.name}   {self._rate():.1f} frames/s")

    def _painting(self, source: Array) -> Array:
        height, width = source.shape[:2]
        while True:
            try:
                painter = self.gallery.painter(height, width)
            except EngineError as error:
                # What no style can paint is no reason to drop one.
                if len(self.gallery) == 1 or min(height, width) < SMALLEST:
                    raise
                self.say(f"{self.gallery.name} cannot be used: {error}")
                self.gallery.drop()
            else:
                (painting,) = paint_stream(painter, [source], 1)
                if self._style != self.gallery.name:
                    self._painted_at.clear()  # what the change took says nothing of the rate
                    self._style = self.gallery.name
                return painting

    def _show(self, image: Array, text: str) -> None:
        shown = image[:, ::-1] if self.mirror else image
        seconds = int(self.recorder.seconds)
        lamp = f"{seconds // 60}:{seconds % 60:02d}" if self.recorder.on else ""
        self.window.show(caption(shown, [text, KEYS] if self._words else [], lamp))

    def _rate(self) -> float:
        times = self._painted_at
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0

    def _press(self, key: str) -> None:
        match key.lower():
            case "q" | "\x1b":
                self._over = True
            case "n" | " ":
                self.gallery.step(1)
            case "p":
                self.gallery.step(-1)
            case "m":
                self.mirror = not self.mirror
            case "h":
                self._words = not self._words
            case "r" if self.recorder.on:
                self._stop_recording()
            case "r":
                self.recorder.start()

    def _stop_recording(self) -> None:
        if (done := self.recorder.stop()) is not None:
            self._tell(done)

    def _tell(self, done: Recording) -> None:
        self.say(f"{done.path}: {done.frames} frames, {done.width}x{done.height}, {done.seconds:.1f} s")

"""Pictures as they come from a camera: the newest one only, so that what is shown is never late."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Lock, Thread
from typing import Protocol

from engine.errors import EngineError, RunError
from engine.ops import Array

USUAL_RATE = 30.0
"""Frames a second, where a source does not say."""
GRACE = 5.0
"""Seconds after which a camera that does not answer is left alone."""


class Source(Protocol):
    """What gives pictures, each read once."""

    rate: float
    """Frames a second, as announced."""

    def read(self) -> Array | None:
        """The next picture, uint8 RGB (h, w, 3), waited for; None where there will be no other."""


@dataclass(frozen=True)
class Shot:
    """A picture and when it was read."""

    image: Array
    """uint8 RGB (h, w, 3)."""
    seconds: float
    """By the clock of whoever reads."""


class Capture:
    """A camera by its number, or a file or address that OpenCV opens; a file plays at its own rate. Use it as a context.

    Raises:
        EngineError: There is none, or it gives no picture.
        RunError: A camera stops giving pictures.
    """

    def __init__(self, name: str) -> None:
        import cv2

        self._where = f"camera {name}" if name.isdecimal() else name
        self._file = Path(name).is_file()
        with _quiet():
            self._device = cv2.VideoCapture(int(name)) if name.isdecimal() else cv2.VideoCapture(name)
            opened = self._device.isOpened()
            there, first = self._device.read() if opened else (False, None)
        if first is None or not there:
            self._device.release()
            raise self._fault(name, opened)
        rate = float(self._device.get(cv2.CAP_PROP_FPS))
        self.rate = rate if 1 <= rate <= 1000 else USUAL_RATE
        self._first: Array | None = first
        self._given, self._begun = 0, 0.0
        self._reading = Lock()

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        # What hangs in a read is not closed under its hands: that may hang or crash too, and the process ends soon.
        if self._reading.acquire(blocking=False):
            self._device.release()

    def read(self) -> Array | None:
        """See :class:`Source`."""
        import cv2

        picture, self._first = self._first, None
        if picture is None:
            with self._reading:
                there, picture = self._device.read()
            if not there or picture is None:
                if self._file:
                    return None
                raise RunError("this camera gives no more pictures", where=self._where)
        if self._file:
            self._begun = self._begun or time.monotonic()
            time.sleep(max(0.0, self._begun + self._given / self.rate - time.monotonic()))
        self._given += 1
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)

    def _fault(self, name: str, opened: bool) -> EngineError:
        if opened:
            return EngineError("it gives no picture", where=self._where, remedy="Another program may be using it; close that one.")
        if not name.isdecimal():
            return EngineError("this is no camera that OpenCV opens", where=self._where, allowed="a number, a file, an address")
        remedy = "Cameras count from 0: try another number, see that it is plugged in, and that you may use it."
        return EngineError("there is no such camera", where=self._where, remedy=remedy)


class Newest:
    """Reads a source in a thread and keeps only the picture that came last; use it as a context, inside the source's own.

    Args:
        source: Where pictures come from.
        clock: Now, in seconds.
        grace: Seconds that leaving waits for a read that is under way; after that the thread is left to itself.
    """

    def __init__(self, source: Source, clock: Callable[[], float] = time.monotonic, grace: float = GRACE) -> None:
        self.seen = 0
        """Pictures so far."""
        self.ended = False
        """There will be no other picture."""
        self.hangs = False
        """The source did not come back from its last read."""
        self._source, self._clock, self._grace = source, clock, grace
        self._shot: Shot | None = None
        self._error: BaseException | None = None
        self._news, self._stopped = Condition(), False
        self._thread = Thread(target=self._work, name="engine-camera", daemon=True)

    def __enter__(self) -> Newest:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._thread.join(self._grace)  # what it reads from may go after that
        self.hangs = self._thread.is_alive()

    def take(self, seconds: float) -> Shot | None:
        """A picture that was not taken before, waited for so long; an error of the source is raised here."""
        with self._news:
            self._news.wait_for(lambda: self._shot is not None or self.ended, seconds)
            shot, self._shot = self._shot, None
            if shot is None and self._error is not None:
                raise self._error
            return shot

    def _work(self) -> None:
        try:
            while not self._stopped and (image := self._source.read()) is not None:
                with self._news:
                    self._shot = Shot(image, self._clock())
                    self.seen += 1
                    self._news.notify()
        except BaseException as caught:  # whatever it is, it belongs to the thread that takes
            self._error = caught
        with self._news:
            self.ended = True
            self._news.notify()


@contextmanager
def _quiet() -> Iterator[None]:
    # OpenCV tells on stderr of every way in which it could not open a camera; the error says it once.
    import cv2

    before = cv2.setLogLevel(0)
    try:
        yield
    finally:
        cv2.setLogLevel(before)

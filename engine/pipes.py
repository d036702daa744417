"""Standard input and output as bytes, with waits that Ctrl-C ends."""

from __future__ import annotations

import os
import select
import sys
from threading import Event

from engine.errors import EngineError, RunError

WAIT = 0.1
"""Seconds until a wait asks again whether it should give up."""
CHUNK = 2**16


class PipeReader:
    """Bytes of an open file descriptor, in their order.

    With ``stop``, a wait for data ends with a ``KeyboardInterrupt`` once it is set: :func:`engine.interrupts.stop_between_steps` keeps
    the first Ctrl-C for the next frame, and a pipe in which nothing comes would never get there. Windows cannot wait for a pipe with a
    time limit; a read there ends with its data.
    """

    def __init__(self, handle: int, name: str = "standard input") -> None:
        self.name = name
        self._handle = handle
        self._waiting = bytearray()
        self._ended = False

    def peek(self, count: int, stop: Event | None = None) -> bytes:
        """The next ``count`` bytes, which stay; fewer at the end."""
        while len(self._waiting) < count and self._fill(stop):
            pass
        return bytes(self._waiting[:count])

    def read(self, count: int, stop: Event | None = None) -> bytearray:
        """The next ``count`` bytes; fewer at the end. Memory is taken as they arrive."""
        data, self._waiting = self._waiting, bytearray()
        while len(data) < count and self._fill(stop):
            data += self._waiting
            self._waiting.clear()
        self._waiting = data[count:]
        del data[count:]
        return data

    def read_line(self, most: int, stop: Event | None = None) -> bytes | None:
        """The next line without its end; None where ``most`` bytes hold no line."""
        while (end := self._waiting.find(b"\n", 0, most)) < 0 and len(self._waiting) < most and self._fill(stop):
            pass
        if end < 0:
            return None
        return bytes(self.read(end + 1, stop)[:-1])

    def _fill(self, stop: Event | None) -> bool:
        if self._ended:
            return False
        if stop is not None and sys.platform != "win32":
            while not select.select([self._handle], [], [], WAIT)[0]:
                _give_up_if(stop)
            _give_up_if(stop)
        try:
            chunk = os.read(self._handle, CHUNK)
        except OSError as error:
            raise EngineError(f"cannot read this: {error.strerror}", where=self.name) from None
        self._ended = not chunk
        self._waiting += chunk
        return bool(chunk)


class PipeWriter:
    """Bytes to an open file descriptor; ``stop`` as for :class:`PipeReader`."""

    def __init__(self, handle: int, stop: Event | None = None, name: str = "standard output") -> None:
        self._handle, self._stop, self._name = handle, stop, name

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """All of it; a :class:`RunError` where it cannot be written."""
        left = memoryview(data).cast("B")
        try:
            while left:
                left = left[os.write(self._handle, left[: self._room()]) :]
        except BrokenPipeError:
            raise RunError("whoever was reading has stopped", where=self._name) from None
        except OSError as error:
            raise RunError(f"cannot write on: {error.strerror}", where=self._name) from None

    def _room(self) -> int:
        if self._stop is None or sys.platform == "win32":
            return CHUNK
        while not select.select([], [self._handle], [], WAIT)[1]:
            _give_up_if(self._stop)
        _give_up_if(self._stop)
        return select.PIPE_BUF  # so many bytes never block once there is room


def standard_input() -> PipeReader:
    """What is piped in; an :class:`EngineError` where nothing is."""
    try:
        handle = sys.__stdin__.fileno() if sys.__stdin__ is not None else None
    except (OSError, ValueError):
        handle = None
    if handle is None:
        raise EngineError("standard input is closed", where="-")
    if os.isatty(handle):
        raise EngineError("a terminal sends no picture or video", where="-", remedy="Send one in (`engine infer - < photo.png`).")
    return PipeReader(handle)


def standard_output(stop: Event | None = None) -> PipeWriter:
    """Where a picture or a video is sent; an :class:`EngineError` where there is no such place."""
    try:
        handle = sys.__stdout__.fileno() if sys.__stdout__ is not None else None
    except (OSError, ValueError):
        handle = None
    if handle is None:
        raise EngineError("standard output is closed", where="-o -")
    return PipeWriter(handle, stop)


def _give_up_if(stop: Event) -> None:
    if stop.is_set():
        raise KeyboardInterrupt

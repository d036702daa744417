"""Ctrl-C where it does no harm: asked for at any moment, answered between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_between_steps() -> Iterator[threading.Event]:
    """Inside, Ctrl-C, and SIGTERM as a scheduler sends it, set the event; a second one raises at once.

    Whoever loops inside asks the event after each step. A ``KeyboardInterrupt`` between two instructions may leave a thread that was
    started and is not known yet, or a lock that nobody opens, and what such a thread decodes from is freed under its hands.
    Signals that are ignored stay so, and outside the main thread, where none arrives, the event is never set.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""How far the flow of clips is, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine_datasets.clip_flow import Watch
from engine_datasets.flow_cache import Journal, left_out_words

EVERY = 10.0
"""Seconds between two lines where stderr is no terminal."""


class Progress:
    """A line that changes on a terminal, else a line every ten seconds; and one for each clip that is done."""

    def __init__(self, clips: int) -> None:
        self.clips = clips
        self.number = 0
        self._shown = False

    @contextmanager
    def clip(self, clip: Path) -> Iterator[Watch]:
        """Of one clip, which is looked at next."""
        self.number += 1
        begun = said = time.monotonic()

        def frame(number: int, expected: int | None) -> None:
            nonlocal said
            terminal, now = sys.stderr.isatty(), time.monotonic()
            if now - said < (0.2 if terminal else EVERY):
                return
            said = now
            of = f" of {expected}" if expected else ""
            text = f"flow of {clip.name} ({self.number} of {self.clips} clips): frame {number}{of}, {number / (now - begun):.1f} a second"
            if terminal:
                sys.stderr.write(f"\r\x1b[K{text}")
                sys.stderr.flush()
                self._shown = True
            else:
                sys.stderr.write(f"{text}\n")

        try:
            yield frame
        finally:
            self._clear()

    def finish(self, clip: Path, journal: Journal, notes: tuple[str, ...]) -> None:
        """Say what came of a clip, and what is wrong with it."""
        lost = left_out_words(journal.left_out)
        self.say(f"{clip.name}: {len(journal.pairs)} of {journal.examined} pairs" + (f"; left out: {lost}" if lost else ""))
        for note in notes:
            self.say(f"{clip.name}: {note}")

    def say(self, text: str) -> None:
        """A line that stays."""
        self._clear()
        sys.stderr.write(f"{text}\n")

    def _clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            self._shown = False

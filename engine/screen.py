"""A window for live pictures, and the words that are written on them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from engine.errors import EngineError
from engine.ops import Array

ESCAPE = "\x1b"
SMALLEST_LETTERS = 0.35
"""OpenCV's scale below which its letters cannot be read."""
TRIED = "engine"
"""Title of the window that is opened to see whether one can be."""
RED, WHITE = (230, 40, 40), (255, 255, 255)


class Window(Protocol):
    """Shows pictures and takes keys."""

    def show(self, image: Array) -> None:
        """Show this, uint8 RGB (h, w, 3), in place of what was there."""

    def key(self) -> str:
        """The key that was pressed since the last call, or nothing; Escape too where the window was closed. Draws what is shown."""


class ScreenWindow:
    """OpenCV's window; use it as a context.

    Raises:
        EngineError: There is no screen, or OpenCV came without windows.
    """

    def __init__(self, title: str) -> None:
        check_screen()
        self._title, self._size = title, (0, 0)

    def __enter__(self) -> ScreenWindow:
        import cv2

        cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        return self

    def __exit__(self, *_: object) -> None:
        import cv2

        cv2.destroyAllWindows()

    def show(self, image: Array) -> None:
        """See :class:`Window`."""
        import cv2

        size = image.shape[1], image.shape[0]
        if size != self._size:
            cv2.resizeWindow(self._title, *size)
            self._size = size
        cv2.imshow(self._title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def key(self) -> str:
        """See :class:`Window`."""
        import cv2

        code = cv2.waitKey(1)
        if self._size != (0, 0) and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            return ESCAPE
        return chr(code & 0xFF) if code >= 0 else ""


def check_screen() -> None:
    """An :class:`EngineError` where no window can be opened.

    On Linux a window is tried out in another process, because Qt ends the process where it finds no screen.
    """
    remedy = "Run this at a computer with a screen; over ssh, ssh -X lends one."
    if sys.platform == "linux" and not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
        raise EngineError("there is no screen for a window: neither DISPLAY nor WAYLAND_DISPLAY is set", remedy=remedy)
    if said := _why_no_window():
        if "not implemented" in said:
            remedy = "pip uninstall opencv-python-headless && pip install --force-reinstall opencv-python"
            raise EngineError("this OpenCV came without windows", remedy=remedy)
        raise EngineError(f"the screen takes no window ({' '.join(said.split())[:200]})", remedy=remedy)


def _why_no_window() -> str:
    import cv2

    if sys.platform == "linux":
        code = f"import cv2; cv2.namedWindow({TRIED!r}); cv2.destroyAllWindows()"
        try:
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20)
        except subprocess.TimeoutExpired:
            return "it does not answer"
        return (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode else ""
    try:
        cv2.namedWindow(TRIED)
        cv2.destroyWindow(TRIED)
    except cv2.error as error:
        return str(error)
    return ""


def caption(image: Array, lines: Sequence[str], lamp: str = "") -> Array:
    """A copy with words on it: lines at the bottom on a dark strip, and at the top right a red lamp with its text.

    Letters go with the height and shrink until the longest line fits; a line that would be too small to read is left out.

    Args:
        image: uint8 RGB (h, w, 3).
        lines: From top to bottom; ASCII, other letters become question marks.
        lamp: Nothing, no lamp.
    """
    import cv2

    shown = np.array(image)
    height, width = shown.shape[:2]
    letters = max(0.45, height / 900)
    margin = round(16 * letters)
    fitting = [(line, scale) for line in lines if (scale := _scale(line, letters, width - 2 * margin)) >= SMALLEST_LETTERS]
    step = round(34 * letters)
    top = max(height - step * len(fitting) - margin // 2, 0)
    if fitting:
        shown[top:] = shown[top:] // 3
    for number, (line, scale) in enumerate(fitting, 1):
        _write(shown, line, (margin, top + step * number - margin // 2), scale)
    if lamp:
        scale = _scale(lamp, letters, width // 2)
        wide = cv2.getTextSize(lamp, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]
        left = max(width - wide - 4 * margin, 0)
        shown[: step + margin // 2, left:] = shown[: step + margin // 2, left:] // 3
        cv2.circle(shown, (left + round(1.5 * margin), round(0.6 * step)), max(round(0.6 * margin), 2), RED, -1, cv2.LINE_AA)
        _write(shown, lamp, (left + 3 * margin, step - margin // 2), scale)
    return shown


def _scale(line: str, most: float, room: int) -> float:
    import cv2

    wide = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, most, 1)[0][0]
    return most * min(1.0, room / max(wide, 1))


def _write(shown: Array, line: str, place: tuple[int, int], scale: float) -> None:
    import cv2

    cv2.putText(shown, line, place, cv2.FONT_HERSHEY_SIMPLEX, scale, WHITE, max(1, round(1.4 * scale)), cv2.LINE_AA)

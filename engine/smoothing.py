"""Smooth paintings in time along the motion of what was painted, without ghosts and without blur."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass

import numpy as np

from engine.errors import EngineError
from engine.flow import SMALLEST, estimate_flow, visible
from engine.ops import Array
from engine.scene_cuts import is_cut

FLOW_SIDES = 320, 640
"""Pixels: flow is estimated at half the size, but with a longer side between these; frames are never enlarged for it."""
CHANGE = 10.0
"""Grey levels between an input frame and its warped predecessor at which trust has fallen to 1/e."""
KEPT = 0.85
"""Of the frame before, at strength 1 where it is trusted wholly: what flickers is averaged over about a dozen frames."""
BANDS = ((1.0, 0.3), (2.0, 0.7))
"""From fine to coarse: the deviation in pixels of the Gaussian that ends a band, and the share of ``KEPT`` that is kept in it.

What is coarser than the last is kept wholly. Fine detail is taken mostly from the painting of the moment: flow is not exact to a
fraction of a pixel."""
WINDOW = 9
"""Pixels, times the band's deviation: where the detail of a band is held to the painting's."""
GAIN = 2.0
"""By which a band is amplified or damped at most."""
ROWS = 128
"""Smoothed at a time, so that a large frame needs little memory beside the paintings themselves."""


@dataclass(frozen=True)
class Motion:
    """Where the pixels of a frame were in the one before."""

    flow: Array
    """float32 (2, h, w), pixels (dx, dy) of a frame of ``h`` x ``w``, perhaps smaller than the video's."""
    trust: Array
    """float32 (h, w): 0 = not to be traced, 1 = traced for certain."""


class MotionTracker:
    """Finds the motion in a video frame by frame; it keeps the frame before and nothing else."""

    def __init__(self) -> None:
        self._before: Array | None = None

    def step(self, frame: Array) -> Motion | None:
        """How the frame follows from the one before; None for the first and where a new shot begins.

        A pixel is trusted as far as its forward and backward flow agree (:func:`engine.visible`) and as the frame before, warped,
        looks like this one: exp(-(d / 10)²), d their mean difference over channels and 5x5 pixels in grey levels.

        Args:
            frame: uint8 RGB (h, w, 3), sides of at least 12 pixels.
        """
        before, self._before = self._before, frame
        if before is not None and min(frame.shape[:2]) < SMALLEST:
            width, height = frame.shape[1::-1]
            allowed = f"sides of at least {SMALLEST} pixels"
            raise EngineError(f"a video of {width}x{height} is too small to follow its motion", where="smooth", allowed=allowed)
        return None if before is None or is_cut(before, frame) else find_motion(frame, before)


def find_motion(frame: Array, before: Array) -> Motion:
    """See :meth:`MotionTracker.step`."""
    import cv2

    height, width = frame.shape[:2]
    longest = max(height, width)
    least, most = FLOW_SIDES
    share = min(1.0, max(min(max(longest / 2, least), most) / longest, SMALLEST / min(height, width)))
    size = round(width * share), round(height * share)
    now, then = (cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in (frame, before))
    flow = estimate_flow(now, then)
    traceable = visible(flow, estimate_flow(then, now))[0]
    x, y = _places(flow, 0)
    change = cv2.absdiff(now, cv2.remap(then, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    change = cv2.blur(cv2.transform(change.astype(np.float32), np.full((1, 3), 1 / 3, np.float32)), (5, 5))
    # Away from what cannot be traced by two pixels, and without a hard border, which would show.
    soft = cv2.blur(cv2.erode(traceable, np.ones((3, 3), np.uint8)), (5, 5))
    return Motion(flow, soft * np.exp(-np.square(change / np.float32(CHANGE))))


class Smoother:
    """Smooths paintings one by one; it keeps the smoothed painting before and nothing else.

    Args:
        strength: 0 = the paintings as they are, 1 = as smooth as it gets.
    """

    def __init__(self, strength: float) -> None:
        self._kept = np.float32(KEPT * check_smoothing(strength))
        self._before: Array | None = None  # float32: in whole grey levels a slow change would never arrive

    def step(self, painted: Array, motion: Motion | None) -> Array:
        """The painting with what is trusted of the one before.

        Recursive averaging along the flow, as in Lai et al. (ECCV 2018) and Bonneel et al. (SIGGRAPH Asia 2015) by bands of detail:
        coarse ones, where flicker shows, take more from before. The mean of two pictures that differ is duller than both, so each band
        but the coarsest gets back the local energy that it has in the painting of the moment (compare the variance-preserving blending
        of Heitz and Neyret, 2018). The warp is Lanczos', which loses less from frame to frame than bilinear.

        Args:
            painted: uint8 RGB (h, w, 3).
            motion: Of the frames that were painted; None begins anew.

        Returns:
            uint8 RGB (h, w, 3); where nothing is trusted, ``painted``.
        """
        before = self._before
        if motion is None or before is None or self._kept == 0:
            self._before = painted.astype(np.float32)
            return painted
        height = len(painted)
        halo = _halo()
        smoothed = np.empty_like(before)
        for top in range(0, height, ROWS):
            bottom = min(top + ROWS, height)
            first, last = max(0, top - halo), min(height, bottom + halo)
            smoothed[top:bottom] = self._blend(before, painted, motion, first, last)[top - first : bottom - first]
        self._before = smoothed
        return np.rint(smoothed).astype(np.uint8)

    def _blend(self, before: Array, painted: Array, motion: Motion, first: int, last: int) -> Array:
        """Rows ``first`` to ``last``; those within the halo of a cut edge are not right."""
        import cv2

        height, width = painted.shape[:2]
        flow, trust = _enlarged(motion, height, width, first, last)
        x, y = _places(flow, first)
        now = painted[first:last].astype(np.float32)
        change: Array = cv2.remap(before, x, y, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE) - now
        kept = (self._kept * trust)[..., None]
        made = np.zeros_like(now)
        coarse: Array = now
        for deviation, share in BANDS:
            blurred, blurred_change = (cv2.GaussianBlur(part, (_side(deviation),) * 2, deviation) for part in (coarse, change))
            band = coarse - blurred
            mixed = band + np.float32(share) * kept * (change - blurred_change)
            made += mixed * _gain(band, mixed, round(WINDOW * deviation))
            coarse, change = blurred, blurred_change
        made += coarse + kept * change
        return np.clip(made, 0, 255, out=made)


def smooth(frames: Iterable[Array], paintings: Iterable[Array], strength: float = 0.7) -> Generator[Array, None, None]:
    """Smooth the paintings of a video in time: what flickers is averaged along the motion of the input frames, a new shot begins anew.

    Args:
        frames: What was painted: uint8 RGB (h, w, 3), sides of at least 12 pixels, in order.
        paintings: As many, of the same size.
        strength: 0 = the paintings as they are, 1 = as smooth as it gets.

    Yields:
        As many, uint8 RGB (h, w, 3). Memory does not grow with their number.

    Raises:
        EngineError: ``strength`` is out of range, or the frames are too small to find motion in them.
        ValueError: There are more frames than paintings, or fewer.
    """
    tracker, smoother = MotionTracker(), Smoother(strength)
    for frame, painted in zip(frames, paintings, strict=True):
        yield smoother.step(painted, tracker.step(frame))


def check_smoothing(strength: float) -> float:
    """The strength; an :class:`EngineError` where it is no number from 0 to 1."""
    if not 0 <= strength <= 1:
        raise EngineError(f"smoothing of {strength:g}", where="smooth", allowed="0 (off) to 1 (as smooth as it gets)")
    return strength


def _enlarged(motion: Motion, height: int, width: int, first: int, last: int) -> tuple[Array, Array]:
    # The rows of a bilinear resize to height x width; OpenCV has none that makes a part of the picture.
    import cv2

    rows, columns = motion.trust.shape
    x = (np.arange(width, dtype=np.float32) + 0.5) * np.float32(columns / width) - 0.5
    y = (np.arange(first, last, dtype=np.float32) + 0.5) * np.float32(rows / height) - 0.5
    at = [np.ascontiguousarray(part) for part in np.meshgrid(x, y)]
    stacked = cv2.merge([motion.flow[0] * np.float32(width / columns), motion.flow[1] * np.float32(height / rows), motion.trust])
    dx, dy, trust = cv2.split(cv2.remap(stacked, at[0], at[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    return np.stack([dx, dy]), trust


def _places(flow: Array, first: int) -> tuple[Array, Array]:
    rows, columns = flow.shape[1:]
    return flow[0] + np.arange(columns, dtype=np.float32), flow[1] + np.arange(first, first + rows, dtype=np.float32)[:, None]


def _gain(band: Array, mixed: Array, side: int) -> Array:
    import cv2

    side |= 1
    wanted, there = (cv2.blur(np.einsum("hwc,hwc->hw", part, part), (side, side)) for part in (band, mixed))
    gain: Array = np.clip(np.sqrt((wanted + np.float32(0.3)) / (there + np.float32(0.3))), 1 / GAIN, GAIN)[..., None]
    return gain


def _side(deviation: float) -> int:
    return 2 * round(3 * deviation) + 1


def _halo() -> int:
    # A band is as far from the painting as all blurs until its own, and its energy half a window further.
    reach = 0
    halo = 0
    for deviation, _ in BANDS:
        reach += _side(deviation) // 2
        halo = max(halo, reach + (round(WINDOW * deviation) | 1) // 2)
    return halo

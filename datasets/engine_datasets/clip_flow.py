"""From a clip to pairs of frames that are fit for training, with flow."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import numpy as np

from engine import Array, EngineError, RunError, VideoReader, estimate_flow, visible, warp
from engine_datasets.flow_cache import FARTHEST, Entry, PairSettings, Reason

SAVED_EVERY = 32
"""Pairs between two writings of the journal."""
AHEAD = 4
"""Pairs that wait for each thread."""
RESIDUAL = 30.0
"""Grey levels that a warped frame differs by on average, above which the two show different scenes, alike as their colours may be."""

Watch: TypeAlias = Callable[[int, int | None], None]


def fill(entry: Entry, clip: Path, watch: Watch, workers: int | None = None) -> tuple[str, ...]:
    """Examine what the entry lacks: decode in this thread, flow in others; the journal is saved as it goes on.

    Ended in the middle, it goes on after the last pair that is done; killed, where the journal was written last.

    Args:
        entry: The clip's, from :func:`open_entry`.
        clip: The file.
        watch: Called with the number of frames that were decoded, and how many are expected.
        workers: Threads that estimate flow; by default one for each core.

    Returns:
        What is not as it should be in the file.

    Raises:
        EngineError: The clip is no video, is damaged, or is too short for a single pair.
        RunError: The cache cannot be written, on a full disk for one.
    """
    journal, settings = entry.journal, entry.journal.settings
    workers = workers or _cores()
    left_out = Counter(journal.left_out)
    waiting: deque[tuple[int, Future[Reason | None]]] = deque()

    def settle() -> None:
        newer, verdict = waiting.popleft()
        if (reason := verdict.result()) is None:
            journal.pairs.append(newer)
        else:
            left_out[reason] += 1
        journal.examined += 1
        journal.left_out = dict(left_out)
        if journal.examined % SAVED_EVERY == 0:
            entry.save()

    pool = ThreadPoolExecutor(workers, thread_name_prefix="engine-flow")
    try:
        asked = 0
        with VideoReader(clip) as reader:
            entry.make_room()
            for newer, older_picture, picture in _pairs(reader, settings, watch):
                asked += 1
                if asked > journal.examined + len(waiting):
                    waiting.append((newer, pool.submit(_examine, entry, newer, older_picture, picture)))
                if len(waiting) > AHEAD * workers:
                    settle()
            notes = reader.notes() if settings.stop == 1 else ()  # complete only after the last frame
        while waiting:
            settle()
        journal.complete = True
        entry.save()
    except RunError as error:
        kept = "What is done is kept" if _save_what_is_done(entry) else "What is done is kept, but for the last pairs"
        raise RunError(error.problem, where=error.where, remedy=f"{kept}: make room, and run this again.") from error
    except BaseException:
        _save_what_is_done(entry)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return notes


def _save_what_is_done(entry: Entry) -> bool:
    if not entry.journal.examined:
        return True
    try:
        entry.save()
    except EngineError:  # the disk is full for the journal too; the one of 32 pairs ago stays
        return False
    return True


def _pairs(reader: VideoReader, settings: PairSettings, watch: Watch) -> Iterator[tuple[int, Array, Array]]:
    """Number of the newer frame, the older one, the newer one; fitted to the size."""
    count = reader.info.frames
    if count is None and (settings.start > 0 or settings.stop < 1):
        count = _count(reader.path)
    first = round(settings.start * (count or 0))
    end = round(settings.stop * (count or 0)) if settings.stop < 1 else None
    before: deque[Array] = deque(maxlen=settings.stride)
    number, candidates = -1, 0
    for number, frame in enumerate(reader.frames()):
        watch(number + 1, end or count)
        if end is not None and number >= end:
            break
        if number < first:
            continue
        picture = fit_frame(frame.image, settings.width, settings.height)
        if len(before) == settings.stride:
            if int((candidates + 1) * settings.clip_share) > int(candidates * settings.clip_share):  # evenly spread
                yield number, before[0], picture
            candidates += 1
        before.append(picture)
    if not candidates:
        problem = "this clip is too short"
        if settings.start > 0 or settings.stop < 1:
            problem += f" from {settings.start:g} to {settings.stop:g}"
        raise EngineError(
            problem, where=str(reader.path), allowed=f"at least {settings.stride + 1} frames, as stride {settings.stride} needs"
        )


def _count(clip: Path) -> int:
    with VideoReader(clip) as reader:
        return sum(1 for _ in reader.frames())


def fit_frame(image: Array, width: int, height: int) -> Array:
    """The middle of a picture (h, w, 3), as wide by high as asked for, resized; averaged where it shrinks."""
    import cv2

    h, w = image.shape[:2]
    scale = max(width / w, height / h)
    wide, high = min(w, max(1, round(width / scale))), min(h, max(1, round(height / scale)))
    left, top = (w - wide) // 2, (h - high) // 2
    part = np.ascontiguousarray(image[top : top + high, left : left + wide])
    if part.shape[:2] == (height, width):
        return part
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))


def _examine(entry: Entry, newer: int, older_picture: Array, picture: Array) -> Reason | None:
    """Keep a pair's files, or say why it is left out."""
    settings = entry.journal.settings
    if colour_distance(older_picture, picture) > settings.cut:
        return "cut"
    flow, back = estimate_flow(picture, older_picture), estimate_flow(older_picture, picture)
    if np.abs(warp(older_picture, flow) - picture).mean() > RESIDUAL:
        return "cut"
    if np.percentile(np.hypot(*flow), 99) < settings.motion:
        return "still"
    mask = (visible(flow, back)[0] > 0) & (np.abs(flow) < FARTHEST).all(0)
    if mask.mean() < settings.traceable:
        return "untraceable"
    entry.write(newer, (older_picture, picture), flow, mask)
    return None


def colour_distance(a: Array, b: Array) -> float:
    """Hellinger distance of the colours' histograms (8 bins a channel): 0 = alike, 1 = none in common."""
    import cv2

    counts = [cv2.calcHist([np.ascontiguousarray(picture)], [0, 1, 2], None, [8] * 3, [0, 256] * 3) for picture in (a, b)]
    return float(cv2.compareHist(counts[0], counts[1], cv2.HISTCMP_HELLINGER))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""A picture that shows clips, their flow and their mask side by side, to be judged by eye."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine import Array, Sample, flow_colours, warp

WIDTH, GAP, LINE = 256, 12, 22
"""Pixels of a picture, between pictures, and of a line of text."""
SMALLEST = 48
"""Pixels of a picture's height, of a very wide clip."""
PAPER, INK = 245, 30
GAIN = 4
"""Of the difference, which is small where the flow is right."""
UNTRACED = (40, 60, 120)
"""What is drawn where the mask is 0 and nothing is compared."""
TITLES = ("frame", "next frame", "flow, next to frame", "mask: white = traceable", f"|next - warped frame| x {GAIN}")


def draw_sheet(title: str, clips: Sequence[tuple[int, Sample]]) -> Array:
    """A row for each clip: its last two frames, and with flow that, the mask, and what warping leaves over.

    Args:
        title: A line above all.
        clips: (index, sample) each, at least one.

    Returns:
        uint8 (h, w, 3) RGB.
    """
    deep = max(len(cells(sample)) for _, sample in clips)
    width = GAP + deep * (WIDTH + GAP)
    rows = [_line(width, [(GAP, title)])]
    rows.append(_line(width, [(GAP + k * (WIDTH + GAP), TITLES[k]) for k in range(deep)]))
    if deep > 2:
        rows[0][:, -GAP - LINE : -GAP] = _wheel(LINE)
        rows[0] = _write(rows[0], GAP + 4 * (WIDTH + GAP), "direction of flow:")
    for index, sample in clips:
        pictures = [_fit(picture) for picture in cells(sample)]
        strip = np.full((len(pictures[0]), width, 3), PAPER, np.uint8)
        for k, picture in enumerate(pictures):
            strip[:, GAP + k * (WIDTH + GAP) :][:, :WIDTH] = picture
        rows += [strip, _line(width, [(GAP, caption(index, sample))]), np.full((GAP // 2, width, 3), PAPER, np.uint8)]
    return np.concatenate(rows)


def cells(sample: Sample) -> list[Array]:
    """The pictures of a row, each uint8 (h, w, 3) at the clip's own size."""
    frames = list(sample.frames[-2:])
    if sample.flow is None or sample.mask is None or not len(sample.flow):
        return frames
    flow, seen = sample.flow[-1], sample.mask[-1, 0] > 0
    mask = np.repeat(np.where(seen, 255, 0).astype(np.uint8)[..., None], 3, -1)
    over = np.clip(GAIN * difference(sample), 0, 255).astype(np.uint8)
    compared = np.where(seen[..., None], over[..., None], np.array(UNTRACED, np.uint8))
    return [*frames, flow_colours(flow), mask, compared]


def difference(sample: Sample) -> Array:
    """float32 (h, w): grey levels by which the last frame differs from the one before it, warped by the flow."""
    assert sample.flow is not None
    older, newer = sample.frames[-2:]
    off: Array = np.abs(newer - warp(older, sample.flow[-1])).mean(-1)
    return off


def caption(index: int, sample: Sample) -> str:
    """What the row's pictures do not tell."""
    height, width = sample.frames.shape[1:3]
    text = f"sample {index}: {width}x{height}"
    if sample.flow is None or sample.mask is None or not len(sample.flow):
        return f"{text}, no flow"
    length = np.hypot(*sample.flow[-1])
    seen = sample.mask[-1, 0] > 0
    text += f", flow {length.mean():.1f} px on average, full colour = {length.max():.1f} px, traceable {100 * seen.mean():.1f} %"
    return f"{text}, left over {difference(sample)[seen].mean():.1f} grey levels" if seen.any() else text


def _fit(picture: Array) -> Array:
    import cv2

    height, width = picture.shape[:2]
    size = (WIDTH, max(SMALLEST, round(height * WIDTH / width)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if width > WIDTH else cv2.INTER_NEAREST))


def _wheel(size: int) -> Array:
    """The colours of all directions, from the middle of a disc to where the flow leads."""
    at = np.linspace(-1, 1, size, dtype=np.float32)
    flow = np.stack([np.broadcast_to(at, (size, size)), np.broadcast_to(at[:, None], (size, size))])
    inside = np.hypot(*flow) <= 1
    return np.where(inside[..., None], flow_colours(flow * inside), np.uint8(PAPER))


def _line(width: int, texts: Sequence[tuple[int, str]]) -> Array:
    line: Array = np.full((LINE, width, 3), PAPER, np.uint8)
    for x, text in texts:
        line = _write(line, x, text)
    return line


def _write(line: Array, x: int, text: str) -> Array:
    import cv2

    plain = text.encode("ascii", "replace").decode()  # OpenCV's letters
    return np.asarray(cv2.putText(line, plain, (x, LINE - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (INK, INK, INK), 1, cv2.LINE_AA))

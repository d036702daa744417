"""SceneFlow's Monkaa and FlyingThings3D (Mayer et al., CVPR 2016): rendered clips with true flow, read as they lie on disk."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, WithJsonSchema

from engine import Array, BadSample, Dataset, EngineError, Field, RecipePath, Sample, visible
from engine_datasets.flow_files import read_pfm, read_pgm
from engine_datasets.sceneflow_index import LAYOUT, PairFiles, Sequence, check_flow, find_roots, read_index

WILD = 1000.0
"""Pixels; no flow of SceneFlow that means something is longer."""

Roots = Annotated[
    tuple[RecipePath, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, (str, Path)) else value),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "path"}, {"type": "array", "items": {"type": "string", "format": "path"}}]}),
]


class SceneFlow(Dataset):
    """Consecutive frames of Monkaa, FlyingThings3D or both, with stored flow: pairs, or more of them.

    Flow is the file from the newer frame into the past. The mask is the check of both directions (Sundaram et al.,
    ECCV 2010) at the files' own size, and 0 at a motion boundary of the newer frame and where the older one is sampled
    at a boundary of its own, which would mix two things; the paper leaves out the latter. Without files of motion
    boundaries it is 0 where the flow is steep. Flow longer than 1000 pixels is masked. Then all is resized: frames
    averaged, flow bilinear and scaled with the sides; the mask stays 1 where every pixel that its flow was mixed from
    has 1, and the place it leads to is still in the frame.

    A pair is a :class:`engine.BadSample` where a frame or a flow file is missing, cannot be decoded, is truncated or
    not finite, or is not of the frame's size; and where its scene has motion boundaries and its own are so. WebP has no
    checksum: a frame in it whose bytes were changed is read as it is where it can still be decoded.

    The whole of the left camera is 28,791 pairs (8,640 of Monkaa, 20,151 of FlyingThings3D) in TRAIN, 32,724 with TEST.
    """

    name: ClassVar[str] = "sceneflow"

    roots: Roots = Field(
        description="Monkaa, FlyingThings3D, a list of both or the folder that holds them: whatever has the folder of frames in it."
    )
    render_pass: Literal["finalpass", "cleanpass"] = Field(
        default="finalpass", description="Frames with motion blur, depth of field and atmosphere, or without."
    )
    sides: Literal["left", "right", "both"] = Field(default="left", description="Cameras.")
    split: Literal["TRAIN", "TEST", "both"] = Field(default="TRAIN", description="Of FlyingThings3D; Monkaa has none and is always used.")
    width: int = Field(default=640, ge=1, description="Width of a frame in pixels; SceneFlow's own have 960.")
    height: int = Field(default=360, ge=1, description="Height of a frame in pixels; SceneFlow's own have 540.")
    frames: int = Field(default=2, ge=2, le=64, description="Consecutive frames of a sample.")

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        pairs = [self._pair(self.files(index, back)) for back in reversed(range(self.frames - 1))]
        frames = np.concatenate([pairs[0].frames[:1], *(pair.frames[1:] for pair in pairs)])
        flows, masks = [pair.flow for pair in pairs if pair.flow is not None], [pair.mask for pair in pairs if pair.mask is not None]
        return Sample(frames, np.concatenate(flows), np.concatenate(masks))

    def _pair(self, files: PairFiles) -> Sample:
        try:
            frames, flow, mask = read_pair(files)
        except EngineError as error:
            raise BadSample(error.problem, where=error.where, allowed=error.allowed) from None
        return fit_pair(frames, flow, mask, (self.height, self.width))

    def files(self, index: int, back: int = 0) -> PairFiles:
        """Where the files of a sample's newest pair are, or of the one so many frames before; IndexError outside the data set."""
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} samples, not one at {index}")
        at = bisect_right(self._ends, index)
        root, sequence = self._sequences[at]
        newest = sequence.newer[index - (self._ends[at - 1] if at else 0)]
        return sequence.files(root, self._folder, newest - back)

    def counts(self) -> dict[Path, int]:
        """Samples of each root."""
        found: Counter[Path] = Counter()
        for root, sequence in self._sequences:
            found[root] += len(sequence.newer)
        return dict(found)

    def about(self, bad: Collection[str] = ()) -> Iterator[str]:
        """Its roots, where there are several."""
        counts = self.counts()
        for root, count in counts.items() if len(counts) > 1 else ():
            faulty = sum(Path(place).is_relative_to(root) for place in bad)
            yield f"root: {root}: {count} samples" + (f"; bad files: {faulty}" if faulty else "")

    @property
    def _folder(self) -> str:
        return f"frames_{self.render_pass}"

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(len(sequence.newer) for _, sequence in self._sequences))

    @cached_property
    def _sequences(self) -> list[tuple[Path, Sequence]]:
        roots = {root.resolve(): root for folder in self.roots for root in find_roots(folder, self._folder)}
        if not roots:
            raise EngineError("no root is named", where="sceneflow: roots", allowed=LAYOUT.format(frames=self._folder))
        return [(root, sequence) for root in roots.values() for sequence in self._chosen(root)]

    def _chosen(self, root: Path) -> list[Sequence]:
        """The sequences of a root that the settings ask for, at least one."""
        there = read_index(root, self._folder)
        where, layout = str(root / self._folder), LAYOUT.format(frames=self._folder)
        if not there:
            raise EngineError("no scene here has two frames that follow each other", where=where, allowed=layout)
        seen = [each for each in there if self.sides in (each.side, "both")]
        if not seen:
            raise EngineError(f"no scene here has frames of the {self.sides} camera", where=where, allowed=layout)
        chosen = [each for each in seen if each.split() is None or self.split in (each.split(), "both")]
        if not chosen:
            has = " and ".join(sorted({str(each.split()) for each in seen}))
            raise EngineError(f"there is no {self.split} here", where=where, allowed=layout, remedy=f"It has {has}: set split to it.")
        check_flow(root, chosen)
        if not (long := [each for each in (each.of_runs(self.frames) for each in chosen) if each.newer]):
            raise EngineError(f"no scene here has {self.frames} frames that follow each other", where=where, allowed=layout)
        return long


def read_pair(files: PairFiles) -> tuple[Array, Array, Array]:
    """A pair as it is stored: uint8 (2, h, w, 3) RGB, the older first; float32 (2, h, w) pixels into the past; bool (h, w).

    Raises:
        EngineError: A file is missing, damaged or not of the others' size; ``where`` is its path.
    """
    newer = _read_frame(files.newer)
    size = newer.shape[:2]
    older = _of_size(_read_frame(files.older), size, files.older)
    flow, back = (_read_flow(path, size) for path in (files.past, files.future))
    wild = np.abs(flow).max(0) > WILD
    mask = visible(flow, back, _read_boundaries(files.boundaries, size))[0] > 0
    if (before := _read_boundaries(files.boundaries_before, size)) is not None:
        mask &= ~_touches(before, flow)
    return np.stack([older, newer]), np.where(wild, np.float32(0), flow), mask & ~wild


def fit_pair(frames: Array, flow: Array, mask: Array, size: tuple[int, int]) -> Sample:
    """A pair of :func:`read_pair` resized to (height, width)."""
    import cv2

    (height, width), (h, w) = size, mask.shape
    if (height, width) != (h, w):
        smooth = cv2.INTER_AREA if height <= h and width <= w else cv2.INTER_LINEAR
        frames = np.stack([cv2.resize(frame, (width, height), interpolation=smooth) for frame in frames])
        scales = (width / w, height / h)
        flow = np.stack([cv2.resize(part, (width, height)) * np.float32(scale) for part, scale in zip(flow, scales, strict=True)])
        x, y = flow[0] + np.arange(width, dtype=np.float32), flow[1] + np.arange(height, dtype=np.float32)[:, None]
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        mask = inside & (cv2.resize(mask.astype(np.float32), (width, height)) > 0.999)
    return Sample(frames, flow[None], mask.astype(np.float32)[None, None])


def _read_frame(path: Path) -> Array:
    import cv2

    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise EngineError(f"cannot read this file: {error.strerror}", where=str(path)) from None
    try:
        frame = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:  # an empty file, or more pixels than OpenCV takes
        frame = None
    if frame is None:
        raise EngineError("this frame cannot be decoded: it is damaged or truncated", where=str(path))
    rgb: Array = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    return rgb


def _read_flow(path: Path, size: tuple[int, ...]) -> Array:
    stored = _of_size(read_pfm(path), size, path)
    if stored.ndim != 3:
        raise EngineError("this PFM file has one channel, flow has two of three", where=str(path))
    flow = np.ascontiguousarray(stored[..., :2].transpose(2, 0, 1))
    if not np.isfinite(flow).all():
        raise EngineError("this flow holds NaN or infinity", where=str(path))
    return flow


def _read_boundaries(path: Path, size: tuple[int, ...]) -> Array | None:
    """bool (h, w); None where the scene has none."""
    return _of_size(read_pgm(path), size, path) != 0 if path.parent.is_dir() else None


def _touches(marked: Array, flow: Array) -> Array:
    """bool (h, w): bilinear sampling at p + flow(p) reads a marked pixel, by a weight of at least 1/32 on either axis."""
    import cv2  # whose weights are multiples of that, so that it is ten times as fast as the exact warp

    h, w = marked.shape
    x, y = flow[0] + np.arange(w, dtype=np.float32), flow[1] + np.arange(h, dtype=np.float32)[:, None]
    read: Array = cv2.remap(marked.astype(np.float32), x, y, cv2.INTER_LINEAR)
    return read > 0


def _of_size(picture: Array, size: tuple[int, ...], path: Path) -> Array:
    if picture.shape[:2] != size:
        (h, w), (height, width) = picture.shape[:2], size
        raise EngineError(f"this file is {w}x{h}, the frame {width}x{height}", where=str(path))
    return picture

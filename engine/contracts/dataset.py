"""What a dataset is, its samples, and a batch of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from pydantic import Field, ValidationError

from engine.components import Component
from engine.errors import EngineError
from engine.ops import Array


@dataclass(frozen=True)
class Sample:
    """One clip of a dataset, oldest frame first.

    frames: uint8 (t, h, w, 3) RGB.
    flow: float32 (t-1, 2, h, w), pixels (dx, dy): ``flow[k-1]`` leads from a pixel of frame k to where it was in frame
        k-1, so something that moves right by 3 has dx = -3. Temporal losses need it.
    mask: float32 (t-1, 1, h, w), with ``flow``: 1 where a pixel of frame k can be traced to k-1.
    """

    frames: Array
    flow: Array | None = None
    mask: Array | None = None

    def check(self, where: str) -> Sample:
        """Itself, or an :class:`EngineError` that says what does not fit the contract."""
        for key, array in vars(self).items():
            if not isinstance(array, np.ndarray) and (array is not None or key == "frames"):
                raise EngineError(f"{key} is a {type(array).__name__}", where=where, allowed="a NumPy array")
        t, h, w = self.frames.shape[:3] if self.frames.ndim == 4 else (0, 0, 0)
        want = {"frames": ((t, h, w, 3), np.uint8), "flow": ((t - 1, 2, h, w), np.float32), "mask": ((t - 1, 1, h, w), np.float32)}
        if t < 1:
            raise EngineError(f"frames have shape {self.frames.shape}", where=where, allowed="(t, h, w, 3)")
        if (self.flow is None) != (self.mask is None):
            raise EngineError("flow and mask come together or not at all", where=where)
        for key, (shape, dtype) in want.items():
            array = getattr(self, key)
            if array is not None and (array.shape != shape or array.dtype != dtype):
                raise EngineError(f"{key} is {array.dtype} {array.shape}", where=where, allowed=f"{np.dtype(dtype)} {shape}")
            if array is not None and not np.isfinite(array).all():
                raise EngineError(f"{key} holds NaN or infinity", where=where)
        return self


class Dataset(Component):
    """Clips by index: deterministic, picklable, an :class:`IndexError` at the end.

    All clips have one size; ReCoNet wants sides divisible by 4. The last clip is held out of training, for previews.
    A setting called ``frames`` is how many frames its clips have: before training it is raised to what the losses need.

    The loader reads samples in several threads at once, so ``__getitem__`` must bear that: what it shares between calls
    (a cache, an open file) wants a lock, or one for each thread. A sample whose files are missing, truncated or not
    finite is a :class:`engine.BadSample` with the file's path: the loader takes the next index in its place.
    """

    kind: ClassVar[str] = "dataset"

    bad_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Samples that cannot be read are replaced by the next one; training stops above this share of those asked for, "
        "judged from the 20th on. 0 = stop at the first.",
    )

    @abstractmethod
    def __len__(self) -> int:
        """How many samples."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """The same sample for the same index, always; called from several threads at once."""

    def clip(self, index: int) -> Hashable:
        """Which clip stands at an index: equal where one stands at several, as in a mix."""
        return index

    def with_frames(self, frames: int) -> Self:
        """The dataset whose clips have at least so many frames; itself where they do, or where it has no setting ``frames``.

        Raises:
            EngineError: Its setting ``frames`` may not be that many.
        """
        if "frames" not in type(self).model_fields or getattr(self, "frames") >= frames:  # noqa: B009  # a setting that some have
            return self
        settings = {name: getattr(self, name) for name in type(self).model_fields}
        try:
            return type(self).model_validate({**settings, "frames": frames})
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise EngineError(
                f"the losses need clips of {frames} frames, and the dataset {self.name!r} does not give them: {said}"
            ) from None

    def about(self, bad: Collection[str] = ()) -> Iterable[str]:
        """What ``engine data check`` says of this dataset beside what it finds out itself: a line for its cache, for each of its parts.

        Args:
            bad: The files at fault, by their paths, and other samples that could not be read, as ``sample 3``.
        """
        return ()

    def __iter__(self) -> Iterator[Sample]:  # type: ignore[override]  # pydantic's own goes through the settings
        """Every sample, in order."""
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class Batch:
    """Samples stacked: frames (n, t, h, w, 3) uint8, flow (n, t-1, 2, h, w), mask (n, t-1, 1, h, w) float32."""

    frames: Array
    flow: Array | None = None
    mask: Array | None = None

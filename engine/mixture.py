"""Several datasets as one, each with a share of the clips."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from functools import cached_property
from math import gcd
from typing import ClassVar, Self

import numpy as np
from pydantic import Field, SerializeAsAny, model_validator

from engine.contracts.dataset import Dataset, Sample
from engine.errors import BadSample, EngineError, RunError
from engine.registration import describe

MOST = 2**24
"""Clips of an epoch; the order of more takes a loader seconds and gigabytes."""
_REMEDY = "Give {!r} a larger share."


class Mixture(Dataset):
    """Clips of several datasets of one size.

    An epoch shows every clip of every dataset at least once: the one that its share makes the longest sets the length, the
    others repeat. Clips of different datasets alternate as evenly as their shares allow. The last clip, which is held out, is the
    last one of the first dataset; it is shown nowhere else.
    """

    name: ClassVar[str] = "mixture"

    parts: tuple[SerializeAsAny[Dataset], ...] = Field(min_length=1, description="The datasets.")
    shares: tuple[float, ...] = Field(description="How much of the clips each gives, relative to the others.")

    @classmethod
    def of(cls, parts: tuple[Dataset, ...], shares: tuple[float, ...]) -> Mixture:
        """The mix; of its samples as many may be bad as of each dataset's, by its share."""
        whole = sum(shares)
        return cls(parts=parts, shares=shares, bad_share=min(1.0, sum(p.bad_share * s / whole for p, s in zip(parts, shares, strict=True))))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.shares) != len(self.parts) or min(self.shares, default=1) <= 0:
            raise ValueError("each dataset has a share above 0")
        return self

    def __len__(self) -> int:
        return sum(self._sizes) + 1

    def __getitem__(self, index: int) -> Sample:
        return self._read(*self.locate(index))

    def clip(self, index: int) -> Hashable:
        number, place = self.locate(index)
        return number, self.parts[number].clip(place)

    def with_frames(self, frames: int) -> Self:
        return self.model_copy(update={"parts": tuple(part.with_frames(frames) for part in self.parts)})

    def about(self, bad: Collection[str] = ()) -> Iterator[str]:
        for part in self.parts:
            yield from (f"{part.name}: {line}" for line in part.about(bad))

    def check(self) -> None:
        """Read a clip of each dataset; an :class:`EngineError` where one has none, or they do not fit each other."""
        for number, (part, count) in enumerate(zip(self.parts, self._counts, strict=True)):
            for place in range(count):
                try:
                    self._read(number, place)
                    break
                except BadSample:
                    continue
            else:
                raise EngineError(f"none of the {count} samples can be read", where=f"dataset {part.name!r}")

    def _read(self, number: int, place: int) -> Sample:
        part = self.parts[number]
        try:
            sample = part[place]
        except EngineError:
            raise
        except Exception as error:
            raise RunError(describe(error), where=f"dataset {part.name!r}, sample {place}") from error
        if isinstance(sample, Sample):  # if not, the loader says so
            self._compare(number, sample)
        return sample

    def locate(self, index: int) -> tuple[int, int]:
        """Which of the datasets, and which of its clips; IndexError at the end."""
        whole = sum(self._sizes)
        if not 0 <= index <= whole:
            raise IndexError(f"there are {whole + 1} clips, not one at {index}")
        if index == whole:
            return 0, len(self.parts[0]) - 1
        place = index * self._step % whole
        for number, (size, count) in enumerate(zip(self._sizes, self._counts, strict=True)):
            if place < size:
                return number, place % count
            place -= size
        raise AssertionError(index)  # the sizes add up to the whole

    @cached_property
    def _counts(self) -> tuple[int, ...]:
        """The clips of each dataset that are trained on."""
        counts = [len(part) for part in self.parts]
        if 0 in counts:
            raise EngineError("the dataset is empty", where=f"dataset {self.parts[counts.index(0)].name!r}")
        return (max(counts[0] - 1, 1), *counts[1:])

    @cached_property
    def _sizes(self) -> tuple[int, ...]:
        """How many clips of an epoch each dataset gives."""
        longest = max(count / share for count, share in zip(self._counts, self.shares, strict=True))
        sizes = tuple(max(count, round(longest * share)) for count, share in zip(self._counts, self.shares, strict=True))
        if sum(sizes) > MOST:
            part = self.parts[int(np.argmin(sizes))].name
            raise EngineError(
                f"an epoch would have {sum(sizes):,} clips", where="dataset", allowed=f"{MOST:,}", remedy=_REMEDY.format(part)
            )
        return sizes

    @cached_property
    def _step(self) -> int:
        """How far apart indices in a row are; prime to the whole, so that each place is met once, near the golden section of it."""
        whole = sum(self._sizes)
        step = max(1, round(whole * 0.618034))
        while gcd(step, whole) > 1:
            step += 1
        return step

    @cached_property
    def _first(self) -> dict[str, tuple[int, tuple[int, ...], bool]]:
        return {}

    def _compare(self, number: int, sample: Sample) -> None:
        """An :class:`EngineError` where a clip has another size than the first one met, or one of them has no flow."""
        shape, has_flow = sample.frames.shape[1:3], sample.flow is not None
        other, its_shape, its_flow = self._first.setdefault("met", (number, shape, has_flow))
        mine, its = f"dataset.{number} ({self.parts[number].name})", f"dataset.{other} ({self.parts[other].name})"
        if shape != its_shape:
            sizes = [f"{name} gives clips of {s[1]}x{s[0]}" for name, s in ((its, its_shape), (mine, shape))]
            raise EngineError(f"{', and '.join(sizes)}", where="dataset", allowed="one size for all of a mix")
        if has_flow != its_flow:
            with_flow, without = (mine, its) if has_flow else (its, mine)
            raise EngineError(
                f"{with_flow} gives flow, and {without} does not", where="dataset", allowed="flow from all of a mix, or from none"
            )

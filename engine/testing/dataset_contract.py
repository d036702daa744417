"""What every dataset must do."""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from engine.contracts.dataset import Dataset, Sample
from engine.flow import estimate_flow, warp
from engine.ops import Array
from engine.testing.contract import Contract, run_python

SAMPLES = 4
"""So many of a dataset's samples are looked at: the first ones and the last."""
APART = 0.5
"""Pixels by which two flows must differ at a place to be told apart there."""
ELSEWHERE = """
import pickle
from engine.testing.dataset_contract import digest
with open({path!r}, "rb") as file:
    dataset = pickle.load(file)
print(*(digest(dataset[index]) for index in {indices}))
"""
BLANK = 0.5
"""Grey levels: a picture in which no flow errs by more shows nothing to judge a flow by."""


class DatasetContract(Contract):
    """The tests that every dataset passes, on its first three samples and its last."""

    component: ClassVar[type[Dataset]]
    kind = Dataset
    how_to_build = "Give the class of the test settings = {...}, or, where files are needed, dataset(self, tmp_path) that writes them."

    def dataset(self, tmp_path: Path) -> Dataset:
        """The dataset under test; override it where its settings name files, and write those into ``tmp_path``."""
        built: Dataset = self.build()
        return built

    def made(self, folder: Path) -> Dataset:
        return self.dataset(folder)

    def test_construction(self, tmp_path: Path) -> None:
        """It can be built, and holds at least one sample."""
        dataset = self.dataset(tmp_path)
        assert isinstance(dataset, self.component), f"dataset() makes {dataset!r}, not a {self.component.__name__}"
        assert len(dataset) >= 1, "it is empty; where nothing is found, raise an EngineError that says where it looked"

    def test_samples_fit_the_contract(self, tmp_path: Path) -> None:
        """Types, shapes and ranges are those of :class:`engine.Sample`, and all samples have one size."""
        sizes, brightest = set(), 0
        for index, sample in _some(self.dataset(tmp_path)):
            sample.check(f"sample {index}")
            brightest = max(brightest, int(sample.frames.max()))
            sizes.add(sample.frames.shape)
            if sample.mask is not None and sample.flow is not None:
                low, high = float(sample.mask.min(initial=0)), float(sample.mask.max(initial=0))
                assert low >= 0, f"the mask of sample {index} ranges from {low} to {high}; it is 1 where a pixel can be traced, else 0"
                assert high <= 1, f"the mask of sample {index} ranges from {low} to {high}; it is 1 where a pixel can be traced, else 0"
                leaving = _leaves(sample)
                assert not leaving, f"sample {index}: the mask is 1 at {leaving} pixels whose flow leads out of the picture, untraceably"
        assert brightest > 1, f"no number of its frames is over {brightest}; they are uint8 from 0 to 255, not from 0 to 1"
        assert len(sizes) == 1, f"samples of several sizes, (t, h, w, 3): {sorted(sizes)}; crop or resize them, because a batch has one"

    def test_same_sample_by_index(self, tmp_path: Path) -> None:
        """An index gives the same sample again, and after pickling, because runs are resumed and samples read by other processes."""
        dataset = self.dataset(tmp_path)
        again: Dataset = pickle.loads(_pickled(dataset))
        for index, sample in _some(dataset):
            assert _equal(sample, dataset[index]), f"dataset[{index}] differs from one call to the next; seed what is random by the index"
            assert _equal(sample, again[index]), (
                f"dataset[{index}] differs after the dataset was pickled; what it depends on must be settings"
            )

    def test_same_sample_in_another_python(self, tmp_path: Path) -> None:
        """The order of sets and the hashes of texts are others in each interpreter, and a resumed run is another one."""
        dataset = self.dataset(tmp_path)
        (pickled := tmp_path / "dataset.pickle").write_bytes(_pickled(dataset))
        indices = [index for index, _ in _some(dataset)]
        elsewhere = run_python(type(dataset).__module__, ELSEWHERE.format(path=str(pickled), indices=indices)).split()[-len(indices) :]
        for index, found in zip(indices, elsewhere, strict=True):
            assert found == digest(dataset[index]), (
                f"dataset[{index}] differs in another Python; sort what comes from a set or a folder, and seed by numbers, not by hash()"
            )

    def test_same_sample_in_threads(self, tmp_path: Path) -> None:
        """Several threads read at once, as the loader does."""
        dataset = self.dataset(tmp_path)
        alone = dict(_some(dataset))
        with _switching_often(), ThreadPoolExecutor(4) as pool:
            for index, sample in zip([*alone] * 4, pool.map(dataset.__getitem__, [*alone] * 4), strict=True):
                assert _equal(sample, alone[index]), (
                    f"dataset[{index}] differs when four threads read; what calls share (an open file, a cache) wants a lock"
                )

    def test_ends_with_an_index_error(self, tmp_path: Path) -> None:
        """``dataset[len(dataset)]`` and what lies beyond raise IndexError; the sample before is there."""
        dataset = self.dataset(tmp_path)
        for beyond in (0, 1, 1000):
            index = len(dataset) + beyond
            try:
                dataset[index]
            except IndexError:
                continue
            except Exception as error:
                pytest.fail(f"dataset[{index}] of {len(dataset)} samples raises {error!r}; let it raise IndexError")
            pytest.fail(f"dataset[{index}] is there though len() says {len(dataset)}; let it raise IndexError")

    def test_gives_as_many_frames_as_losses_need(self, tmp_path: Path) -> None:
        """``with_frames(n)`` is the dataset with clips of at least n frames, where it has a setting ``frames``."""
        dataset = self.dataset(tmp_path)
        if "frames" not in type(dataset).model_fields:
            pytest.skip("it has no setting called frames")
        more = len(dataset[0].frames) + 1
        found = len(dataset.with_frames(more)[0].frames)
        assert found >= more, f"with_frames({more}) gives clips of {found} frames; the setting frames says how many a clip has"

    def test_flow_leads_back(self, tmp_path: Path) -> None:
        """Read where the flow leads, the frame before looks like this one: more than with no flow, a negated or a transposed one.

        Two flows are compared where the mask is 1 and they differ by half a pixel, over all samples together. Where nothing
        moves, or the pictures are blank, none can be told from the other: then that comparison is left out, and the test is
        skipped when none remains.
        """
        samples = [sample for _, sample in _some(self.dataset(tmp_path)) if sample.flow is not None and len(sample.flow)]
        if not samples:
            pytest.skip("its samples have no flow")
        assert any((_given(sample.mask) > 0.5).any() for sample in samples), (
            "the mask is 0 at every pixel of every sample, so that no loss would compare anything; it is 1 where a pixel can be traced"
        )
        compared = {wrong: _errors(samples, wrong) for wrong in WRONG}
        told = {wrong: errors for wrong, errors in compared.items() if max(errors) > BLANK}
        if not told:
            large = [sample for sample in samples if min(sample.frames.shape[1:3]) >= 12]  # what flow can be estimated of
            own, other = _errors(large, "estimated")
            assert other > own / 2 or own <= BLANK, (
                f"there is no motion in the flow, but in the pictures: read where the flow leads, the frame before is {own:.1f} grey "
                f"levels away from this one; {other:.1f} where an estimate leads"
            )
            pytest.skip("nothing moves in its samples, or they are blank, so a right flow cannot be told from a wrong one")
        if better := {wrong: (own, other) for wrong, (own, other) in told.items() if own >= other}:
            wrong = min(better, key=lambda name: better[name][1])
            own, other = better[wrong]
            pytest.fail(
                f"read where the flow leads, the frame before is {own:.1f} grey levels away from this one; {other:.1f} with {WRONG[wrong]}"
            )


WRONG = {
    "zero": "no flow at all; flow is in pixels, (dx, dy), from a pixel of frame k to where it was in frame k - 1",
    "negated": "the flow negated; it leads from frame k back to frame k - 1: what moves right by 3 has dx = -3",
    "transposed": "dx and dy exchanged; flow[k - 1, 0] is dx, along the width, flow[k - 1, 1] is dy, along the height",
    "scaled": "the flow times half the picture's sides; it is in pixels, not in shares of the picture",
}
"""Flows that are easily taken for the right one, and what is wrong when they fit better."""


def _altered(flow: Array, wrong: str) -> Array:
    h, w = flow.shape[1:]
    sides = np.array([w / 2, h / 2], np.float32).reshape(2, 1, 1)
    altered: dict[str, Array] = {"zero": 0 * flow, "negated": -flow, "transposed": flow[::-1], "scaled": flow * sides}
    return altered[wrong]


def _errors(samples: list[Sample], wrong: str) -> tuple[float, float]:
    """Mean grey levels between a frame and the one before it read by its flow, and by a wrong one, where the two differ."""
    own = other = count = 0.0
    for sample in samples:
        for k, flow in enumerate(_given(sample.flow)):
            before, now = sample.frames[k], sample.frames[k + 1]
            altered = estimate_flow(now, before) if wrong == "estimated" else _altered(flow, wrong)
            apart = (np.abs(altered - flow).max(0) >= APART) & (_given(sample.mask)[k, 0] > 0.5)
            apart &= ~_outside(altered, 0)  # where nothing is read, black is: nearer to a dark picture than any flow is right
            errors = [np.abs(warp(before, lead) - now.astype(np.float32)).mean(-1)[apart].sum() for lead in (flow, altered)]
            own, other, count = own + errors[0], other + errors[1], count + apart.sum()
    return (own / count, other / count) if count else (0.0, 0.0)


def _leaves(sample: Sample) -> int:
    """Pixels that the mask calls traceable and that the flow leads more than a pixel out of the picture."""
    return int((_outside(_given(sample.flow)) & (_given(sample.mask)[:, 0] > 0.5)).sum())


def _outside(flow: Array, more: float = 1) -> Array:
    """Where flow (..., 2, h, w) leads out of the picture by more than so many pixels, (..., h, w)."""
    dx, dy = np.moveaxis(flow, -3, 0)
    h, w = flow.shape[-2:]
    x, y = np.arange(w) + dx, np.arange(h)[:, None] + dy
    outside: Array = (x < -more) | (x > w - 1 + more) | (y < -more) | (y > h - 1 + more)
    return outside


def _pickled(dataset: Dataset) -> bytes:
    try:
        return pickle.dumps(dataset)
    except Exception as error:
        pytest.fail(
            f"it cannot be pickled, as it is where samples are read in other processes: {error}; "
            "keep open files and locks in a functools.cached_property, which stays behind",
            pytrace=False,
        )


def digest(sample: Sample) -> str:
    """A text that two samples share where all their numbers are the same."""
    parts = [x.tobytes() for x in (sample.frames, sample.flow, sample.mask) if x is not None]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@contextmanager
def _switching_often() -> Iterator[None]:
    """Python's threads take turns after each few instructions, so that what they share shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _some(dataset: Dataset) -> Iterator[tuple[int, Sample]]:
    count = len(dataset)
    for index in sorted({*range(min(SAMPLES - 1, count)), count - 1}):
        sample = dataset[index]
        if not isinstance(sample, Sample):
            pytest.fail(f"sample {index} is a {type(sample).__name__}; let __getitem__ return engine.Sample(frames, ...)", pytrace=False)
        yield index, sample


def _equal(one: Sample, other: Sample) -> bool:
    pairs = [(one.frames, other.frames), (one.flow, other.flow), (one.mask, other.mask)]
    return all(x is y if x is None or y is None else np.array_equal(x, y) for x, y in pairs)


def _given(x: Array | None) -> Array:
    assert x is not None
    return x

"""What the loader costs a step is found out after a long enough run, told, and changes nothing of the run."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import SupportsFloat

import numpy as np
import pytest
from installed import HOST, TRAINING, backend
from safetensors import safe_open
from tiny import write_tiny

from engine import Array, Batch, Dataset, Sample, TrainingPlan, step_times, train
from engine.checkpoint import load_checkpoint
from engine.loader import Loader
from engine.step_times import BLOCK, rounds_for, time_steps

ENGINE = Path(sys.executable).with_name("engine")
ENVIRONMENT = dict(os.environ)
"""As Python knows it: MindSpore writes OMP_NUM_THREADS=1 into that of the C library, which children inherit."""

FEWEST = 2 * BLOCK * step_times.SHARE
"""Steps of the shortest run that bears a round."""
SHARE = 4
STEPS = 2 * BLOCK * SHARE
"""The same where one step is timed for only four of the run, so that the runs here are short."""
SOONER = f"""
from engine import step_times
step_times.SHARE = {SHARE}
"""
STOPS = """
import os, signal
import numpy as np
from engine import hookimpl
from engine.checkpoint import load_checkpoint

@hookimpl
def engine_before_training(run):
    step, done = run.trainer.step, []

    def counted(batch):
        done.append(1)
        found = step(batch)
        if len(done) == run.steps + 3:
            for _ in range(SIGNALS):
                os.kill(os.getpid(), signal.SIGINT)
        return found

    run.trainer.step = counted

@hookimpl
def engine_before_timing(run):
    (run.folder / "timing.txt").write_text(str((run.folder / "style.safetensors").is_file()))

@hookimpl
def engine_after_training(run):
    kept = load_checkpoint(run.folder / "checkpoint.safetensors")
    now = {**run.trainer.weights(), **run.trainer.state()}
    assert all(np.array_equal(now[name], x) for name, x in {**kept.weights, **kept.state}.items())
    (run.folder / "seen.txt").write_text("as in the checkpoint")
"""
RUNS_DRY = """
from typing import ClassVar
import numpy as np
from engine import Dataset, Sample, hookimpl

class Dry(Dataset):
    name = "dry"
    asked: ClassVar[list[int]] = []

    def __len__(self):
        return 50

    def __getitem__(self, index):
        self.asked.append(index)
        if len(self.asked) > 2 * LAST + 1:  # the first is the one held out
            raise OSError("the disk is gone")
        frames = np.random.default_rng(index).integers(0, 256, (2, 20, 24, 3), np.uint8)
        return Sample(frames, np.zeros((1, 2, 20, 24), np.float32), np.ones((1, 1, 20, 24), np.float32))

@hookimpl
def engine_register_datasets():
    return [Dry]
"""


def facts(folder: Path) -> dict[str, object]:
    data: dict[str, object] = json.loads((folder / "run.json").read_text())["data"]
    return data


UNTIMED = """
from engine import hookimpl, step_times
@hookimpl
def engine_before_training() -> None:
    step_times.MOST = 0
"""


def content(path: Path) -> dict[str, object]:
    """All of a safetensors file, whatever the order that its header has it in."""
    with safe_open(path, framework="numpy") as file:
        return dict(file.metadata()) | {name: (x.dtype, x.shape, x.tobytes()) for name in file.keys() for x in [file.get_tensor(name)]}  # noqa: SIM118 - it is no dict


def test_a_run_calls_engine_before_timing_says_what_its_loader_cost_and_is_no_other_run(tmp_path: Path) -> None:
    recipe = write_tiny(tmp_path, preview="{every: 1000}", checkpoint="{every: 1000}", steps=str(STEPS))
    (tmp_path / "stops.py").write_text(SOONER + STOPS.replace("SIGNALS", "0"))
    words = [ENGINE, "train", recipe, "--run-dir", tmp_path / "timed", "--plugin", tmp_path / "stops.py"]
    done = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    data = facts(tmp_path / "timed")
    step = data["step"]
    assert isinstance(step, dict)
    assert step["timed"] == BLOCK
    assert 0 < step["cached"] < 10
    assert 0 < step["live"] < 10
    assert step["ratio"] == pytest.approx(step["live"] / step["cached"], rel=0.02)
    assert data["samples"] == 2 * STEPS  # what is read afterwards is no part of the run
    assert re.search(rf"^step 1/{STEPS}  \d+\.\d s for the first step  total [^\n]*\)$", done.stderr, re.M)
    assert re.search(rf"^step 10/{STEPS}  \d+ ms a step  total .* left$", done.stderr, re.M)
    assert " left\nthe style is written; timing some more steps with and without the loader, " in done.stderr
    said = re.search(rf"; a step with the live loader takes (\d+\.\d\d)x of one over a single batch \({BLOCK} of each\)", done.stderr)
    assert said is not None, done.stderr
    assert float(said[1]) == pytest.approx(step["ratio"], abs=0.0056)  # both are rounded, to two digits and to three
    assert (tmp_path / "timed" / "seen.txt").is_file()
    assert (tmp_path / "timed" / "timing.txt").read_text() == "True"
    (tmp_path / "untimed.py").write_text(UNTIMED)
    words = [ENGINE, "train", recipe, "--run-dir", tmp_path / "untimed", "--plugin", tmp_path / "untimed.py"]
    done = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT)  # a process too: threads decide how sums are rounded
    assert done.returncode == 0, done.stderr
    assert "timing" not in done.stderr
    assert facts(tmp_path / "untimed")["step"] is None
    for name in ("style.safetensors", "checkpoint.safetensors"):
        assert content(tmp_path / "timed" / name) == content(tmp_path / "untimed" / name)


@pytest.fixture
def default_sigint() -> Iterator[None]:
    """Python's own handler, also where the tests were started in the background of a shell, which ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("default_sigint")
@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c_then_ends_the_timing_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: int) -> None:
    monkeypatch.setattr(step_times, "SHARE", SHARE)
    recipe = write_tiny(tmp_path, preview="{every: 1000}", steps=str(STEPS))
    (tmp_path / "stops.py").write_text(STOPS.replace("SIGNALS", str(signals)))
    style = train(recipe, run_dir=tmp_path / "run", plugins=[tmp_path / "stops.py"])
    assert facts(tmp_path / "run")["step"] is None
    assert (tmp_path / "run" / "seen.txt").is_file()
    kept = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    assert style.info.steps == kept.step == STEPS
    for name, x in kept.weights.items():
        np.testing.assert_array_equal(style.weights[name], x)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    train(recipe, run_dir=tmp_path / "run", resume=True)  # at its end: nothing to time
    assert facts(tmp_path / "run")["step"] is None


def test_data_that_fail_after_the_end_fail_no_run(tmp_path: Path) -> None:
    recipe = write_tiny(tmp_path, preview="{every: 1000}", dataset="{name: dry}", steps=str(STEPS))
    (tmp_path / "dry.py").write_text(SOONER + RUNS_DRY.replace("LAST", str(STEPS + 2)))
    words = [ENGINE, "train", recipe, "--run-dir", tmp_path / "run", "--plugin", tmp_path / "dry.py"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "a step with the live loader could not be timed: dataset 'dry', sample " in done.stderr
    assert "the disk is gone" in done.stderr
    assert facts(tmp_path / "run")["step"] is None
    assert facts(tmp_path / "run")["bad_files"] == {}


@pytest.mark.parametrize(("steps", "rounds"), [(0, 0), (FEWEST - 1, 0), (FEWEST, 1), (500, 3), (10**6, 12)])
def test_a_twentieth_of_the_steps_and_no_more_than_a_hundred(steps: int, rounds: int) -> None:
    assert rounds_for(steps) == rounds


class Watched(Dataset):
    """Knows how many samples are being read."""

    name = "watched"
    reading: set[int] = set()

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> Sample:
        self.reading.add(index)
        time.sleep(0.02)
        self.reading.discard(index)
        return Sample(np.full((1, 2, 2, 3), index % 256, np.uint8))


class Witness:
    """A trainer that keeps what was there at each step."""

    def __init__(self, dataset: Watched) -> None:
        self.dataset = dataset
        self.seen: list[tuple[int, int]] = []

    def step(self, batch: Batch) -> Mapping[str, SupportsFloat]:
        time.sleep(0.005)  # what is asked for has begun
        self.seen.append((int(batch.frames[0, 0, 0, 0, 0]), len(self.dataset.reading)))
        return {"total": 1.0}

    def evaluate(self, batch: Batch) -> Mapping[str, SupportsFloat]:
        raise NotImplementedError

    def weights(self) -> dict[str, Array]:
        raise NotImplementedError

    def state(self) -> dict[str, Array]:
        raise NotImplementedError

    def restore(self, weights: Mapping[str, Array], state: Mapping[str, Array]) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("waited", [0.0, 3.0])
def test_the_loader_works_beside_one_kind_and_rests_beside_the_other(waited: float) -> None:
    dataset = Watched.model_validate({})
    witness, batches = Witness(dataset), Loader(dataset, range(200), 1, 1).batches()
    first = next(batches)
    found = time_steps(witness, batches, rounds=2, waited=waited, stopped=threading.Event().is_set)
    batches.close()
    assert found is not None
    assert (found.count, len(witness.seen)) == (2 * BLOCK, 4 * BLOCK)
    for block in (witness.seen[: 2 * BLOCK], witness.seen[2 * BLOCK :]):
        shown = [clip for clip, _ in block]
        assert len(set(shown[:BLOCK])) == BLOCK
        assert shown[BLOCK:] == [shown[BLOCK - 1]] * BLOCK
        assert any(reading for _, reading in block[:BLOCK])
        assert not any(reading for _, reading in block[BLOCK:])
    assert int(first.frames[0, 0, 0, 0, 0]) not in [clip for clip, _ in witness.seen]  # it goes on where the run was
    assert found.live >= waited + 0.005


@pytest.mark.parametrize("name", TRAINING)
def test_every_backend_is_timed(name: str) -> None:
    plan = TrainingPlan(
        network=(network := HOST.make_model("reconet", {"width": 4, "residual_blocks": 1}).network()),
        weights=network.initial_weights(0),
        losses={"total_variation": HOST.make_loss("total_variation", {"weight": 1.0})},
        encoder=None,
        encoder_weights={},
        style=np.zeros((16, 16, 3), np.uint8),
        learning_rate=1e-3,
    )
    dataset = HOST.make_dataset("moving_layers", {"width": 24, "height": 20, "length": 7, "layers": 2})
    trainer, batches = backend(name).trainer(plan), Loader(dataset, range(6), 1, 1).batches()
    kept = trainer.weights(), trainer.state()
    found = time_steps(trainer, batches, rounds=1, waited=0.0, stopped=lambda: False)
    batches.close()
    assert found is not None
    assert found.count == BLOCK
    assert math.isfinite(found.ratio)
    assert found.ratio > 0
    trainer.restore(*kept)
    for name_of, x in kept[0].items():
        np.testing.assert_array_equal(trainer.weights()[name_of], x)

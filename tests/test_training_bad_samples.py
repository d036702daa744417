"""Training with files that cannot be read: it goes on with others, says which, resumes bit for bit, and stops at too many."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_training import rows, same
from tiny import write_tiny

from engine import EngineError, train

ENGINE = Path(sys.executable).with_name("engine")
STORED = """
import numpy as np
from engine import BadSample, Dataset, Field, RecipePath, Sample, hookimpl

class Stored(Dataset):
    name = "stored"
    folder: RecipePath = Field(description="Of arrays.")

    def __len__(self):
        return 24

    def __getitem__(self, index):
        path = self.folder / f"{index:02d}.npy"
        try:
            frames = np.load(path)
        except (OSError, ValueError) as error:
            raise BadSample(f"this cannot be read: {type(error).__name__}", where=str(path)) from None
        return Sample(frames, np.zeros((1, 2, 20, 24), np.float32), np.ones((1, 1, 20, 24), np.float32))

@hookimpl
def engine_register_datasets():
    return [Stored]
"""


def store(folder: Path, bad: tuple[int, ...]) -> dict[str, Path]:
    """A folder of clips, a plugin that reads it and a recipe that names it."""
    import numpy as np

    (folder / "clips").mkdir()
    for index in range(24):
        frames = np.random.default_rng(index).integers(0, 256, (2, 20, 24, 3), np.uint8)
        np.save(folder / "clips" / f"{index:02d}.npy", frames)
    for index in bad:
        path = folder / "clips" / f"{index:02d}.npy"
        path.write_bytes(path.read_bytes()[:900])
    (folder / "stored.py").write_text(STORED)
    recipe = write_tiny(folder, dataset="{name: stored, folder: clips, bad_share: 0.5}", steps="16")
    return {"recipe": recipe, "plugin": folder / "stored.py", "clips": folder / "clips"}


def test_a_run_goes_on_past_bad_files_and_names_each_once(tmp_path: Path) -> None:
    made = store(tmp_path, (3, 4, 11, 23))
    words = [ENGINE, "train", made["recipe"], "--plugin", made["plugin"], "--run-dir", tmp_path / "run"]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"COLUMNS": "60"})
    assert done.returncode == 0, done.stderr
    bad = {str(made["clips"] / f"{index:02d}.npy") for index in (3, 4, 11, 23)}
    data = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    assert set(data["bad_files"]) == bad
    assert data["samples"] == 32
    assert 3 <= data["bad_samples"] <= 6
    assert 0 <= data["waited"] <= data["seconds"]
    assert {row["bad_file"] for row in rows(tmp_path / "run") if "bad_file" in row} == bad
    warned = [line for line in done.stderr.splitlines() if line.startswith("warning: bad sample: ")]
    assert sorted(line.split(": ")[2] for line in warned) == sorted(bad)
    assert "data: waited " in done.stderr
    assert f"{data['bad_samples']} of 32 samples were bad" in done.stderr


@pytest.mark.parametrize("processes", [False, True])
def test_a_run_with_bad_files_resumes_bit_for_bit(tmp_path: Path, processes: bool) -> None:
    made = store(tmp_path, (3, 4, 11))
    straight, halved = tmp_path / "straight", tmp_path / "halved"
    constant = "optimiser.decay=0"
    train(made["recipe"], plugins=[made["plugin"]], run_dir=straight, overrides=[constant])
    train(made["recipe"], plugins=[made["plugin"]], run_dir=halved, overrides=[constant, "steps=7"])
    further = [constant, f"loader.processes={str(processes).lower()}", "loader.workers=1", "dataset.bad_share=0.6"]
    train(made["recipe"], plugins=[made["plugin"]], run_dir=halved, overrides=further, resume=True)
    same(straight, halved)


def test_a_run_does_not_resume_on_other_clips(tmp_path: Path) -> None:
    made = store(tmp_path, ())
    options = {"plugins": [made["plugin"]], "run_dir": tmp_path / "run"}
    train(made["recipe"], overrides=["optimiser.decay=0", "steps=2"], **options)
    made["plugin"].write_text(STORED.replace("return 24", "return 23"))
    with pytest.raises(EngineError, match="the dataset had 24 clips when this run began, and has 23"):
        train(made["recipe"], overrides=["optimiser.decay=0"], resume=True, **options)


def test_too_many_bad_files_stop_the_run_and_keep_what_was_reached(tmp_path: Path) -> None:
    made = store(tmp_path, tuple(range(0, 22, 2)))
    with pytest.raises(EngineError, match=r"samples could not be read; allowed: a share of 0\.05") as caught:
        train(made["recipe"], plugins=[made["plugin"]], run_dir=tmp_path / "run", overrides=["dataset.bad_share=0.05"])
    assert "--resume" in str(caught.value.__notes__)
    data = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    assert data["bad_samples"] >= 2
    assert rows(tmp_path / "run")[-1]["problem"] == "this cannot be read: ValueError"

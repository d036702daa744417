"""``engine data check``: the report, the exit code and the sheet, through the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from media import real_clip
from tiny import write_tiny

ENGINE = Path(sys.executable).with_name("engine")
CELL = 256 + 12
"""Pixels from a picture of the sheet to the next one."""


def check(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ENGINE, "data", "check", *map(str, words)], cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated scenes in SceneFlow's layout."""
    folder = tmp_path_factory.mktemp("scenes")
    words = [ENGINE, "data", "sample", "sf", "--scenes", "1", "--frames", "4", "--width", "96", "--height", "64"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "sf"


def test_what_is_there_is_told_and_drawn(scenes: Path, tmp_path: Path) -> None:
    done = check(scenes, "-o", "sheet.png", "--rows", "2", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "sceneflow: 6 samples, 6 read, 0 bad"
    assert lines[1] == "size: 640x360, 2 frames"
    assert lines[2:4] == [f"root: {scenes / name}: 3 samples" for name in ("Monkaa", "Flyingthings3d")]
    assert [line.partition(":")[0] for line in lines[4:]] == ["flow", "traceable", "left over by warping", "speed", "contact sheet"]
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[1] == 12 + 5 * CELL
    mask = sheet[60:180, 12 + 3 * CELL :][:, :256]
    assert (mask > 240).mean() > 0.5  # most can be traced
    left_over = sheet[60:180, 12 + 4 * CELL :][:, :256]
    assert np.median(left_over) < 16  # and is dark where it is warped


def test_a_bad_file_is_named_and_the_exit_code_says_so(scenes: Path, tmp_path: Path) -> None:
    (flow,) = scenes.glob("Monkaa/optical_flow/*/into_past/left/*_0002_L.pfm")
    whole = flow.read_bytes()
    flow.write_bytes(whole[:-5])
    try:
        done = check(scenes, folder=tmp_path)
    finally:
        flow.write_bytes(whole)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("sceneflow: 6 samples, 6 read, ")
    assert ", 0 bad" not in done.stdout
    (bad,) = (line for line in done.stdout.splitlines() if line.startswith("bad: "))
    assert str(flow) in bad
    assert f"root: {scenes / 'Monkaa'}: 3 samples; bad files: 1" in done.stdout.splitlines()


def test_the_samples_of_a_recipe_are_spread_evenly(tmp_path: Path) -> None:
    done = check("reconet_candy", "--samples", "3", "--set", "dataset.width=64", "--set", "dataset.height=48", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("moving_layers: 16384 samples, 3 read, 0 bad\nsize: 64x48, 2 frames\n")
    assert "not looked at: 16381 samples; --samples 16384 reads all" in done.stdout.splitlines()


TURNED = """
from engine import Dataset, Field, Sample, hookimpl
from engine.testing import moving_sample

class Turned(Dataset):
    name = "turned"
    how: str = Field(description="What is wrong with its flow.")

    def __len__(self):
        return 3

    def __getitem__(self, index):
        sample = moving_sample(motion=(4, -1), name=f"texture {range(3)[index]}")
        wrong = {"nothing": sample.flow, "negated": -sample.flow, "exchanged": sample.flow[:, ::-1]}[self.how]
        return Sample(sample.frames, wrong.copy(), sample.mask)

@hookimpl
def engine_register_datasets():
    return [Turned]
"""


@pytest.mark.parametrize("how", ["nothing", "negated", "exchanged"])
def test_a_flow_that_would_fit_better_turned_is_doubted(how: str, tmp_path: Path) -> None:
    (tmp_path / "turned.py").write_text(TURNED)
    text = write_tiny(tmp_path).read_text()
    (old,) = (line for line in text.splitlines() if line.startswith("dataset:"))
    (tmp_path / "mine.yaml").write_text(text.replace(old, f"dataset: {{name: turned, how: {how}}}"))
    done = check("mine.yaml", "--plugin", "turned.py", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    doubts = [line for line in done.stdout.splitlines() if line.startswith("doubt: ")]
    assert [how in doubt for doubt in doubts] == ([] if how == "nothing" else [True])
    train = [ENGINE, "train", "mine.yaml", "--plugin", "turned.py", "--set", "steps=1", "--run-dir"]
    said = subprocess.run([*train, "said"], cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    doubts = [line for line in said.stderr.splitlines() if line.startswith("warning: turned: ")]
    assert [how in doubt for doubt in doubts] == ([] if how == "nothing" else [True])
    if doubts:
        quiet = subprocess.run([*train, "quiet", "--quiet"], cwd=tmp_path, capture_output=True, text=True)
        assert (quiet.returncode, quiet.stderr) == (0, "")


STRANGER = """
from pathlib import Path
from typing import ClassVar
import numpy as np
from engine import BadSample, Dataset, Sample, hookimpl

class Tapes(Dataset):
    name: ClassVar[str] = "tapes"

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 2:
            raise BadSample("torn", where="shelf/2")
        return Sample(np.full((2, 64, 64, 3), index, np.uint8))

    def about(self, bad=()):
        yield f"shelf: 4 tapes, torn: {', '.join(bad)}"

@hookimpl
def engine_register_datasets():
    return [Tapes]
"""


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("{name: tapes}", "shelf: 4 tapes, torn: shelf/2"),
        ("[{name: tapes, share: 1}, {name: tapes, share: 1}]", "tapes: shelf: 4 tapes, torn: shelf/2"),
    ],
)
def test_a_stranger_s_dataset_speaks_for_itself(dataset: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "tapes.py").write_text(STRANGER)
    text = write_tiny(tmp_path).read_text()
    (old,) = (line for line in text.splitlines() if line.startswith("dataset:"))
    (tmp_path / "mine.yaml").write_text(text.replace(old, f"dataset: {dataset}"))
    done = check("mine.yaml", "--plugin", "tapes.py", folder=tmp_path)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1] == "size: 64x64, 2 frames"
    assert lines[2] == said
    assert "bad: shelf/2: torn" in lines


def test_photos_and_clips_are_recognised(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), cv2.GaussianBlur(noise, (0, 0), 3))
    done = check("photos", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("images: 1 samples, 1 read, 0 bad")
    done = check(real_clip("carphone_pristine.mp4"), "--samples", "2", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("video: ")
    assert ", 2 read, 0 bad\nsize: 256x256, 2 frames\ncache: " in done.stdout
    assert "these are the usual settings of `video`" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["empty"], "error: empty: nothing here is training data; allowed: SceneFlow"),
        (["gone/"], "error: gone/: there is no such file or folder"),
        (["no_such_recipe"], "no_such_recipe"),
        (["empty", "--set", "steps=3"], "error: empty: --set changes a recipe, and this is none"),
        (["empty", "-o", "there.png"], "error: there.png: this file is here already"),
    ],
)
def test_what_cannot_be_opened(words: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.png").write_bytes(b"kept")
    done = check(*words, folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert (tmp_path / "there.png").read_bytes() == b"kept"

"""SceneFlow with faults: files that are bad, and what is said of a wrong folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from engine_datasets.flow_files import read_pfm, write_pfm, write_pgm
from engine_datasets.sceneflow import SceneFlow
from engine_datasets.sceneflow_sample import write_sample

from engine import BadSample, EngineError


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    write_sample(tmp_path / "tree", scenes=2, frames=3, size=(24, 32), seed=1)
    return tmp_path / "tree"


def load(folder: Path, **settings: object) -> SceneFlow:
    return SceneFlow.model_validate({"roots": folder, "width": 32, "height": 24} | settings)


def bad(data: SceneFlow, index: int) -> BadSample:
    with pytest.raises(BadSample) as caught:
        data[index]
    return caught.value


@pytest.mark.parametrize("part", ["older", "newer", "past", "future", "boundaries", "boundaries_before"])
def test_missing_and_truncated_files_are_named(tree: Path, part: str) -> None:
    data = load(tree)
    path: Path = getattr(data.files(1), part)
    content = path.read_bytes()
    for keep in (len(content) - 1, len(content) // 2, 0):
        path.write_bytes(content[:keep])
        assert bad(data, 1).where == str(path)
    path.unlink()
    error = bad(data, 1)
    assert error.where == str(path)
    assert "No such file" in error.problem
    assert load(tree)[2].flow is not None


def test_a_gap_in_a_sequence_is_two_bad_pairs(tree: Path) -> None:
    gap = tree / "Monkaa/frames_finalpass/generated_x0/left/0001.png"
    gap.unlink()
    data = load(tree)
    assert len(data) == 6
    assert [bad(data, index).where for index in (0, 1)] == [str(gap), str(gap)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["past", "future"])
def test_flow_that_is_not_finite_is_bad(tree: Path, part: str, value: float) -> None:
    data = load(tree)
    path: Path = getattr(data.files(0), part)
    flow = read_pfm(path)
    flow[3, 4, 2] = value  # the third channel is no flow
    write_pfm(path, flow)
    assert data[0].flow is not None
    flow[3, 4, 1] = value
    write_pfm(path, flow)
    error = bad(data, 0)
    assert error.where == str(path)
    assert "NaN or infinity" in error.problem


def test_files_of_another_size_or_kind_are_bad(tree: Path) -> None:
    data = load(tree)
    files = data.files(0)
    write_pgm(files.boundaries, np.zeros((24, 31), np.uint8))
    assert "31x24, the frame 32x24" in bad(data, 0).problem
    flow = read_pfm(files.past)
    write_pfm(files.past, flow[..., 0].copy())
    assert "one channel" in bad(data, 0).problem
    write_pfm(files.past, flow[1:])
    assert bad(data, 0).where == str(files.past)
    files.newer.write_bytes(b"nothing like a picture")
    assert "decoded" in bad(data, 0).problem


def test_flow_of_thousands_of_pixels_is_masked(tree: Path) -> None:
    data = load(tree)
    files = data.files(0)
    there, back = read_pfm(files.past), read_pfm(files.future)
    there[5, 6, 0], back[:] = 3e7, 0
    write_pfm(files.past, there)
    sample = load(tree, width=16, height=12)[0]
    assert sample.flow is not None
    assert sample.mask is not None
    assert np.abs(sample.flow).max() < 100
    assert not sample.mask[0, 0, 2, 3]
    assert not data[0].mask[0, 0, 5, 6]  # type: ignore[index]  # SceneFlow always has a mask


def complaint(folder: Path | list[Path], **settings: object) -> str:
    with pytest.raises(EngineError) as caught:
        len(SceneFlow.model_validate({"roots": folder} | settings))
    assert not isinstance(caught.value, BadSample)
    return str(caught.value)


def test_wrong_folders_say_what_was_expected_where(tree: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    assert "No such file" in complaint(empty)
    empty.mkdir()
    text = complaint(empty)
    assert text.startswith(f"{empty}: this folder is empty")
    assert "Monkaa/frames_finalpass/<scene>/left/0000.png" in text
    assert "FlyingThings3D/frames_finalpass/TRAIN/A/0000/left/0006.png" in text
    assert "no root is named" in complaint([])
    (empty / "notes.txt").touch()
    assert "there is no frames_finalpass here, nor in a folder called Monkaa or FlyingThings3D in it" in complaint(empty)
    assert "Not a directory" in complaint(empty / "notes.txt")
    text = complaint(tree, render_pass="cleanpass")
    assert "set render_pass to finalpass" in text
    text = complaint(tree, sides="right")
    assert "no scene here has frames of the right camera" in text
    flying = tree / "Flyingthings3d"
    shutil.rmtree(flying / "frames_finalpass/TRAIN")
    assert "there is no TRAIN here" in complaint(flying)
    assert "It has TEST: set split to it." in complaint(tree)


def test_frames_alone_and_wrong_layouts_are_refused(tree: Path) -> None:
    root = tree / "Monkaa"
    shutil.rmtree(root / "optical_flow/generated_x0/into_future")
    assert len(load(root)) == 4  # the other scene has both: these pairs are bad ones
    shutil.rmtree(root / "optical_flow/generated_x1/into_future")
    text = complaint(root)
    assert "no scene has optical flow both ways" in text
    assert "optical_flow/<scene>/into_past/left/OpticalFlowIntoPast_0001_L.pfm" in text
    shutil.rmtree(root / "optical_flow")
    assert "there are frames and no optical flow" in complaint(root)
    assert "there are frames and no optical flow" in complaint(tree)
    for scene in (root / "frames_finalpass").iterdir():
        for path in (scene / "left").iterdir():
            path.rename(scene / path.name)
        (scene / "left").rmdir()
    text = complaint(root)
    assert f"{root / 'frames_finalpass'}: no scene here has two frames that follow each other" in text
    assert "<scene>/left/0000.png" in text


def test_one_name_twice_is_ambiguous(tree: Path) -> None:
    shutil.copytree(tree / "Monkaa", tree / "monkaa")
    if (tree / "Monkaa").samefile(tree / "monkaa"):
        pytest.skip("this disk takes both names for one")
    assert "Monkaa and monkaa" in complaint(tree)

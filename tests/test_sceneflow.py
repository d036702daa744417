"""SceneFlow as it lies on disk: what is found, and what is read back of a generated tree."""

from __future__ import annotations

import os
import pickle
import shutil
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from engine_datasets.moving_layers import MovingLayers
from engine_datasets.sceneflow import SceneFlow, fit_pair
from engine_datasets.sceneflow_sample import write_sample
from engine_datasets.scenes import Scene
from hypothesis import given
from hypothesis import strategies as st

from engine import Array
from engine.loader import read_sample
from engine.testing import DatasetContract

SIZE = HEIGHT, WIDTH = 270, 480
FRAMES, SEED = 4, 5
DEEP = 2
"""Pixels from the nearest pixel that is not occluded: deep inside an occluded region."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sceneflow")
    write_sample(folder, scenes=2, frames=FRAMES, size=SIZE, seed=SEED)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    write_sample(folder, scenes=2, frames=3, size=(24, 32), seed=1)
    return folder


@pytest.fixture
def tree(small: Path, tmp_path: Path) -> Path:
    """A small tree to change."""
    return shutil.copytree(small, tmp_path / "tree")


def load(folder: Path, **settings: object) -> SceneFlow:
    return SceneFlow.model_validate({"roots": folder, "width": 32, "height": 24} | settings)


class TestContract(DatasetContract):
    component = SceneFlow

    @pytest.fixture(autouse=True)
    def _with(self, large: Path) -> None:
        self.large = large

    def dataset(self, tmp_path: Path) -> SceneFlow:
        return load(self.large, width=SIZE[1], height=SIZE[0])


def places(data: SceneFlow, below: Path) -> list[str]:
    return [str(data.files(index).newer.relative_to(below)) for index in range(len(data))]


def scenes(frames: int, size: tuple[int, int]) -> list[tuple[Scene, int]]:
    """The scenes of a sample tree in the order of the pairs, each with the frame of the scene that a pair's newer one is."""
    made = MovingLayers(seed=SEED, length=4, width=size[1], height=size[0], motion=max(2.0, size[1] / 60))
    return [(made.scene(number, frames + 2), k) for number in (0, 1, 3, 2) for k in range(2, frames + 1)]  # TEST before TRAIN


def test_frames_flow_and_mask_read_back(large: Path) -> None:
    data = load(large, split="both", width=WIDTH, height=HEIGHT)
    made = scenes(FRAMES, SIZE)
    assert len(data) == len(made) == 12
    occluded = 0
    for index, (scene, k) in enumerate(made):
        sample = read_sample(data, index, 2)
        assert sample.flow is not None
        assert sample.mask is not None
        flow, mask = scene.flow(k, k - 1), sample.mask[0, 0] > 0
        assert np.array_equal(sample.frames, [scene.view(k - 1).frame, scene.view(k).frame])
        assert np.array_equal(sample.flow, flow[None])
        exact = scene.traceable(k, k - 1, flow)
        assert 0.5 < exact.mean() < 0.995
        assert (mask == exact).mean() >= 0.99
        deep = occlusion_depth(scene, k, flow) >= DEEP
        assert not mask[deep].any()
        occluded += int(deep.sum())
    assert occluded > 5000


def occlusion_depth(scene: Scene, k: int, flow: Array) -> Array:
    """Pixels from each pixel of frame k whose layer was hidden or outside in frame k-1 to the nearest that was not; 0 there."""
    x, y = np.rint(flow[0] + np.arange(WIDTH)).astype(int), np.rint(flow[1] + np.arange(HEIGHT)[:, None]).astype(int)
    inside = (x >= 0) & (y >= 0) & (x < WIDTH) & (y < HEIGHT)
    before = scene.view(k - 1).top[np.clip(y, 0, HEIGHT - 1), np.clip(x, 0, WIDTH - 1)]
    hidden = ~inside | (before != scene.view(k).top)
    depth: Array = cv2.distanceTransform(hidden.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return depth


def test_mask_without_files_of_boundaries_is_stricter_about_steep_flow(large: Path, tmp_path: Path) -> None:
    for part in ("frames_finalpass", "optical_flow"):
        shutil.copytree(large / "Monkaa" / part, tmp_path / "Monkaa" / part)
    data = load(tmp_path, width=WIDTH, height=HEIGHT)
    for index, (scene, k) in enumerate(scenes(FRAMES, SIZE)[: len(data)]):
        mask = data[index].mask
        assert mask is not None
        deep = occlusion_depth(scene, k, scene.flow(k, k - 1)) >= DEEP
        assert not mask[0, 0][deep].any()
        assert mask.mean() > 0.5


def test_resized_pairs_still_warp_onto_each_other(large: Path) -> None:
    native, resized = (load(large, width=w, height=h)[3] for w, h in ((WIDTH, HEIGHT), (240, 180)))
    assert resized.frames.shape == (2, 180, 240, 3)
    assert resized.flow is not None
    assert resized.mask is not None
    assert native.flow is not None
    assert np.allclose(resized.flow[0, 0].mean() / native.flow[0, 0].mean(), 0.5, atol=0.02)
    assert np.allclose(resized.flow[0, 1].mean() / native.flow[0, 1].mean(), 2 / 3, atol=0.02)
    grid = np.stack(np.meshgrid(np.arange(240), np.arange(180)), -1).astype(np.float32) + resized.flow[0].transpose(1, 2, 0)
    older, newer = resized.frames.astype(np.float32)
    error = np.abs(cv2.remap(older, grid, None, cv2.INTER_LINEAR) - newer).mean(-1)
    mask = resized.mask[0, 0] > 0
    assert mask.mean() > 0.5
    assert error[mask].mean() < 3 < error[~mask].mean()


@given(st.integers(5, 30), st.integers(5, 30), st.integers(1, 40), st.integers(1, 40), st.floats(-3, 3), st.floats(-3, 3))
def test_resizing_scales_flow_and_keeps_the_mask_honest(h: int, w: int, height: int, width: int, dx: float, dy: float) -> None:
    frames = np.full((2, h, w, 3), 77, np.uint8)
    flow = np.empty((2, h, w), np.float32)
    flow[:] = np.array([dx, dy], np.float32)[:, None, None]
    flow[0, :, w - 2 :] -= 1  # so little that it leads to a place in the frame, too
    mask = np.ones((h, w), bool)
    mask[:, w - 2 :] = False
    sample = fit_pair(frames, flow, mask, (height, width)).check("resized")
    assert sample.flow is not None
    assert sample.mask is not None
    assert (sample.frames == 77).all()
    good = sample.mask[0, 0] > 0
    if (height, width) == (h, w):
        assert np.array_equal(good, mask)
        return
    assert np.allclose(sample.flow[0, 0][good], dx * width / w, atol=0.002 * max(1, width / w))
    y, x = np.nonzero(good)
    assert (x + sample.flow[0, 0][good] <= width - 1).all()
    assert (y + sample.flow[0, 1][good] >= 0).all()


def test_counts_of_the_whole(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "all"
    for number in range(24):
        skeleton(root / "monkaa", f"scene_{number}_x2", range(361))
    for split, count in (("TRAIN", 2239), ("TEST", 437)):
        for number in range(count):
            skeleton(root / "FlyingThings3D", f"{split}/{'ABC'[number % 3]}/{number // 3:04d}", range(6, 16))
    train, both = SceneFlow(roots=root), SceneFlow(roots=root, split="both")
    assert len(train) == 28_791
    assert len(both) == 32_724
    assert len(SceneFlow(roots=root, split="TEST")) == 8_640 + 3_933
    used = [both.files(index) for index in range(0, len(both), 7)]
    assert all(path.exists() for files in used for path in (files.older, files.newer, files.past, files.future))


def skeleton(root: Path, place: str, numbers: Iterable[int]) -> None:
    """The empty files of one scene: frames of its own; the folders of flow are one for all scenes of that length, by a link."""
    numbers = list(numbers)
    touch(root / "frames_finalpass" / place / "left", [f"{n:04d}.png" for n in numbers])
    flows = root.parent / f"flow of {len(numbers)}"
    if not flows.exists():
        # without those at the ends, which point outside: that they are never used shows in that all are there
        touch(flows / "into_past/left", [f"OpticalFlowIntoPast_{n:04d}_L.pfm" for n in numbers[1:]])
        touch(flows / "into_future/left", [f"OpticalFlowIntoFuture_{n:04d}_L.pfm" for n in numbers[:-1]])
    link = root / "optical_flow" / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(flows)


def touch(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    inside = os.open(folder, os.O_RDONLY)
    for name in names:
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=inside))
    os.close(inside)


def test_flow_that_points_outside_is_never_used(small: Path) -> None:
    data = load(small, split="both")
    for newer, older in ((data.files(i).newer, data.files(i).older) for i in range(len(data))):
        assert int(newer.stem) == int(older.stem) + 1
        assert newer.parent == older.parent
    used = {path for i in range(len(data)) for path in (data.files(i).past, data.files(i).future)}
    unused = {path.name for path in small.rglob("*.pfm")} - {path.name for path in used}
    assert unused == {f"OpticalFlowInto{word}_L.pfm" for word in ("Past_0000", "Future_0002", "Past_0006", "Future_0008")}


@pytest.mark.parametrize("names", [("monkaa", "flyingthings3d"), ("MONKAA", "FlyingThings3D"), ("Monkaa", "flying_things_3D")])
def test_any_spelling_of_the_folders_and_any_of_them(tree: Path, names: tuple[str, str]) -> None:
    for before, name in zip(("Monkaa", "Flyingthings3d"), names, strict=True):
        (tree / before).rename(tree / name)
    monkaa, flying = (tree / name for name in names)
    want = [f"{names[0]}/frames_finalpass/generated_x{n}/left/000{k}.png" for n in (0, 1) for k in (1, 2)]
    of_flying = [f"{names[1]}/frames_finalpass/TRAIN/A/0000/left/000{k}.png" for k in (7, 8)]
    assert places(load(tree), tree) == want + of_flying
    assert places(load(monkaa), tree) == want
    assert places(load(flying), tree) == of_flying
    assert places(load(tree, roots=[flying, tree]), tree) == of_flying + want  # nothing twice
    assert places(load(flying, split="TEST"), tree) == [f"{names[1]}/frames_finalpass/TEST/B/0000/left/000{k}.png" for k in (7, 8)]
    assert len(load(tree, split="both")) == 8
    (tree / "elsewhere").mkdir()
    monkaa.rename(tree / "elsewhere/m")
    assert len(load(tree / "elsewhere/m")) == 4  # named itself, it may be called anything


def test_passes_sides_and_webp(tree: Path) -> None:
    root = tree / "Monkaa"
    want = load(root)[1]
    for path in root.rglob("left"):
        shutil.copytree(path, path.with_name("right"))
    for path in root.rglob("right/*_L.pfm"):
        path.rename(path.with_name(path.name.replace("_L.", "_R.")))
    clean = shutil.copytree(root / "frames_finalpass", root / "frames_cleanpass")
    for path in clean.rglob("*.png"):
        cv2.imwrite(str(path.with_suffix(".webp")), cv2.imread(str(path)), [cv2.IMWRITE_WEBP_QUALITY, 101])  # lossless
        path.unlink()
    right = load(root, sides="right", render_pass="cleanpass")
    files = right.files(1)
    assert files.newer == clean / "generated_x0/right/0002.webp"
    assert files.past.name == "OpticalFlowIntoPast_0002_R.pfm"
    assert "into_past/right" in files.boundaries.as_posix()
    sample = right[1]
    assert want.flow is not None
    assert sample.flow is not None
    assert np.array_equal(sample.frames, want.frames)
    assert np.array_equal(sample.flow, want.flow)
    assert (len(load(root)), len(right), len(load(root, sides="both"))) == (4, 4, 8)


def test_index_is_kept_until_a_folder_changes(tree: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    age(tree, 3600)
    data = load(tree, split="both")
    assert len(data) == 8
    kept = sorted((cache / "sceneflow").iterdir())
    assert [path.suffix for path in kept] == [".json", ".json"]
    with monkeypatch.context() as patch:  # what the second run reads is the cache: the tree's own files are not listed again
        patch.setattr(os, "scandir", only_listing(os.scandir, tree))
        assert places(load(tree, split="both"), tree) == places(data, tree)
        assert len(load(tree)) == 6
    left = tree / "Monkaa/frames_finalpass/generated_x1/left"
    shutil.copy(left / "0002.png", left / "0003.png")
    assert len(load(tree, split="both")) == 9
    age(tree, 1800)
    for damaged in (b"", b"{}", b'{"format": 1}', b"\xff\x00"):
        kept[0].write_bytes(damaged)
        kept[1].write_bytes(damaged)
        assert len(load(tree, split="both")) == 9
    assert len(pickle.loads(pickle.dumps(data))) == 9  # a copy looks again


def age(tree: Path, seconds: int) -> None:
    """As if the folders had rested for so long."""
    then = time.time() - seconds
    for path in (tree, *(path for path in tree.rglob("*") if path.is_dir())):
        os.utime(path, (then, then))


def only_listing(scandir, allowed: Path):  # type: ignore[no-untyped-def]  # as os.scandir, whose overloads are many
    def listing(path):  # type: ignore[no-untyped-def]
        assert Path(path) == allowed
        return scandir(path)

    return listing


def test_a_tree_that_has_just_changed_is_not_kept(tree: Path, cache: Path) -> None:
    age(tree, -3600)  # changed this very moment, however long the machine takes from here
    assert len(load(tree)) == 6
    assert not (cache / "sceneflow").exists()


def test_an_index_that_cannot_be_kept_is_told_once_and_stops_nothing(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "file"))
    age(tree, 3600)
    for _ in range(2):
        assert len(load(tree)) > 0
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"built anew each time: {tmp_path / 'file' / 'sceneflow'}: cannot make this folder: Not a directory" in said


def test_index_ends_and_indices_are_refused(small: Path) -> None:
    data = load(small)
    for index in (-1, len(data)):
        with pytest.raises(IndexError):
            data[index]
    assert len(list(data)) == len(data)
    assert all(a.frames.shape == b.frames.shape for a, b in pairwise(data))

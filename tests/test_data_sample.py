from __future__ import annotations

from pathlib import Path

import cv2
import engine_datasets
import numpy as np
import pytest
import typer
from engine_datasets.flow_files import write_pfm, write_pgm
from engine_datasets.moving_layers import MovingLayers
from engine_datasets.sceneflow_sample import write_sample
from typer.testing import CliRunner

from engine import Array, EngineError

SIZE = (60, 80)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sceneflow")
    write_sample(folder, scenes=2, frames=3, size=SIZE, seed=1)
    return folder


def read_pfm(path: Path) -> Array:
    magic, size, scale, rest = path.read_bytes().split(b"\n", 3)
    w, h = map(int, size.split())
    assert float(scale) < 0  # little-endian
    return np.frombuffer(rest, "<f4").reshape(h, w, 3 if magic == b"PF" else 1)[::-1]


def test_layout_is_sceneflows(root: Path) -> None:
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    want = set()
    for top, place, numbers in [
        ("Monkaa", "generated_x0", range(3)),
        ("Monkaa", "generated_x1", range(3)),
        ("Flyingthings3d", "TRAIN/A/0000", range(6, 9)),
        ("Flyingthings3d", "TEST/B/0000", range(6, 9)),
    ]:
        for n in numbers:
            want.add(f"{top}/frames_finalpass/{place}/left/{n:04d}.png")
            for folder, word in (("into_past", "IntoPast"), ("into_future", "IntoFuture")):
                want.add(f"{top}/optical_flow/{place}/{folder}/left/OpticalFlow{word}_{n:04d}_L.pfm")
                want.add(f"{top}/motion_boundaries/{place}/{folder}/left/{n:04d}.pgm")
    assert found == want


def test_flow_of_both_directions_agrees_where_a_pixel_can_be_traced(root: Path) -> None:
    data = MovingLayers(seed=1, length=4, width=SIZE[1], height=SIZE[0], motion=2.0)
    scene = data.scene(0, 5)
    flows = root / "Monkaa/optical_flow/generated_x0"
    past = read_pfm(flows / "into_past/left/OpticalFlowIntoPast_0001_L.pfm")
    future = read_pfm(flows / "into_future/left/OpticalFlowIntoFuture_0000_L.pfm")
    assert np.array_equal(past[..., :2].transpose(2, 0, 1), scene.flow(2, 1))
    assert not past[..., 2].any()
    mask = scene.traceable(2, 1, scene.flow(2, 1))
    assert 0.3 < mask.mean() < 1
    grid = np.stack(np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0])), -1).astype(np.float32)
    x, y = cv2.split(grid + past[..., :2])
    back = cv2.remap(np.ascontiguousarray(future[..., :2]), x, y, cv2.INTER_LINEAR)
    assert np.abs(back + past[..., :2])[mask].max() < 0.05


def test_frames_and_boundaries_are_those_of_the_scene(root: Path) -> None:
    scene = MovingLayers(seed=1, length=4, width=SIZE[1], height=SIZE[0], motion=2.0).scene(0, 5)
    frame = cv2.imread(str(root / "Monkaa/frames_finalpass/generated_x0/left/0001.png"))
    assert np.array_equal(frame[..., ::-1], scene.view(2).frame)
    edges = cv2.imread(str(root / "Monkaa/motion_boundaries/generated_x0/into_past/left/0001.pgm"), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(edges)) == {0, 255}
    assert np.array_equal(edges > 0, scene.boundaries(2, 1))
    still = cv2.erode((edges == 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0  # away from boundaries the flow is smooth
    assert max(np.abs(np.gradient(scene.flow(2, 1)[0], axis=axis))[still].max() for axis in (0, 1)) < 0.2


@pytest.mark.parametrize("shape", [(7, 5, 3), (4, 9)])
def test_pfm_reads_back_in_opencv(tmp_path: Path, shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    write_pfm(tmp_path / "a.pfm", picture)
    read = cv2.imread(str(tmp_path / "a.pfm"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(read[..., ::-1] if picture.ndim == 3 else read, picture)


def test_writers_refuse_what_the_format_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="shape"):
        write_pfm(tmp_path / "a.pfm", np.zeros((4, 4, 2), np.float32))
    with pytest.raises(EngineError, match="float64"):
        write_pgm(tmp_path / "a.pgm", np.zeros((4, 4)))


def test_command_writes_says_what_and_refuses_to_write_over(tmp_path: Path) -> None:
    app = typer.Typer()
    engine_datasets.engine_register_commands(app)
    call = ["data", "sample", str(tmp_path), "--scenes", "1", "--frames", "2", "--width", "32", "--height", "24"]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    assert "1 scene of 2 frames, 32x24" in done.output.replace("\n", " ")
    again = CliRunner().invoke(app, call)
    assert isinstance(again.exception, EngineError)
    assert "here already" in str(again.exception)

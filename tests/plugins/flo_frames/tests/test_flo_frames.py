"""The dataset keeps the contract of datasets, with and without forward flow; and names the file that is bad."""

from pathlib import Path

import numpy as np
import pytest
from flo_frames import FloFrames

from engine import Array, BadSample, Dataset, EngineError, Picture, write_picture
from engine.testing import DatasetContract

SIZE, MOTION = (24, 32), (3, -2)
"""Height and width; and by how much the texture moves from a frame to the next, (right, down)."""


def write_flo(path: Path, flow: Array) -> None:
    """(2, h, w), as Middlebury writes it."""
    sides = np.array([flow.shape[2], flow.shape[1]], "<i4")
    path.write_bytes(b"PIEH" + sides.tobytes() + flow.transpose(1, 2, 0).astype("<f4").tobytes())


def write_clip(folder: Path, *, forward: bool, frames: int = 4) -> Path:
    """A texture that moves as a whole, with its flow."""
    coarse = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    texture = np.kron(coarse, np.ones((4, 4, 1), np.uint8))
    flow = np.broadcast_to(np.array(MOTION, np.float32).reshape(2, 1, 1), (2, *SIZE))
    for k in range(1, frames + 1):
        x, y = 60 - MOTION[0] * k, 60 - MOTION[1] * k  # a window that goes left shows what goes right
        write_picture(folder / f"frame_{k:04d}.png", Picture(np.ascontiguousarray(texture[y : y + SIZE[0], x : x + SIZE[1]])))
        if k > 1:
            write_flo(folder / f"flow_{k:04d}_to_{k - 1:04d}.flo", -flow)
            if forward:
                write_flo(folder / f"flow_{k - 1:04d}_to_{k:04d}.flo", flow)
    return folder


class TestBothDirections(DatasetContract):
    """Traceable is where both agree."""

    component = FloFrames

    def dataset(self, tmp_path: Path) -> Dataset:
        return FloFrames(path=write_clip(tmp_path, forward=True))


class TestBackwardAlone(DatasetContract):
    """Traceable is what stays in the picture; clips of three frames."""

    component = FloFrames

    def dataset(self, tmp_path: Path) -> Dataset:
        return FloFrames(path=write_clip(tmp_path, forward=False), frames=3)


def test_a_missing_number_ends_a_clip(tmp_path: Path) -> None:
    write_clip(tmp_path, forward=False, frames=5)
    (tmp_path / "frame_0003.png").unlink()
    assert len(FloFrames(path=tmp_path)) == 2


def test_unknown_flow_is_not_traceable(tmp_path: Path) -> None:
    flow = np.zeros((2, *SIZE), np.float32)
    flow[:, 5, 7] = 2e9
    write_flo(write_clip(tmp_path, forward=False) / "flow_0002_to_0001.flo", flow)
    sample = FloFrames(path=tmp_path)[0]
    assert sample.mask is not None
    assert sample.mask[0, 0, 5, 7] == 0
    assert sample.mask.sum() == sample.mask.size - 1


def test_what_leads_to_unknown_forward_flow_is_not_traceable(tmp_path: Path) -> None:
    write_clip(tmp_path, forward=True)
    still, unknown = np.full((2, *SIZE), 0.25, np.float32), np.full((2, *SIZE), 2e9, np.float32)
    write_flo(tmp_path / "flow_0002_to_0001.flo", still)  # so short that no flow forward would agree with it as well
    write_flo(tmp_path / "flow_0001_to_0002.flo", unknown)
    sample = FloFrames(path=tmp_path)[0]
    assert sample.mask is not None
    assert not sample.mask.any()


@pytest.mark.parametrize(
    ("file", "data", "said"),
    [
        ("frame_0002.png", b"\x89PNG", "frame_0002.png"),
        ("flow_0002_to_0001.flo", b"PIEH", "no .flo file"),
        ("flow_0002_to_0001.flo", b"PIEH" + bytes([2, 0, 0, 0, 2, 0, 0, 0, 1]), "has 13 bytes; allowed: 44"),
        ("flow_0002_to_0001.flo", b"PIEH" + bytes([1, 0, 0, 0, 1, 0, 0, 0]) + bytes(8), "1x1 pixels; allowed: 32x24"),
        ("flow_0002_to_0001.flo", None, "No such file"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, file: str, data: bytes | None, said: str) -> None:
    dataset = FloFrames(path=write_clip(tmp_path, forward=False))
    (tmp_path / file).unlink()
    if data is not None:
        (tmp_path / file).write_bytes(data)
    with pytest.raises(BadSample, match=said) as caught:
        dataset[0]
    assert caught.value.where == str(tmp_path / file)


def test_forward_flow_alone_is_refused(tmp_path: Path) -> None:
    write_clip(tmp_path, forward=True)
    for k in range(2, 5):
        (tmp_path / f"flow_{k:04d}_to_{k - 1:04d}.flo").unlink()
    with pytest.raises(EngineError, match=r"allowed: flow_0002_to_0001\.flo\n  Flow from a frame to the next one is the wrong direction"):
        len(FloFrames(path=tmp_path))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no clip in this folder"):
        len(FloFrames(path=tmp_path))

from __future__ import annotations

import gc
import hashlib
import pickle
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from engine_datasets.moving_layers import MovingLayers
from engine_datasets.scenes import MIXED, Layer, Scene
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine import Array, EngineError, Sample

SMALL = MovingLayers(width=72, height=56, frames=3, layers=3, illumination=0, noise=0, motion=5)
WHOLE = SMALL.model_copy(update={"integer": True})
QUIET = {"illumination": 0, "noise": 0}


def sampled(image: Array, flow: Array) -> Array:
    """image (h, w, 3) at p + flow(p), bilinear, zero outside, in float64."""
    h, w = image.shape[:2]
    x = flow[0].astype(np.float64) + np.arange(w)
    y = flow[1].astype(np.float64) + np.arange(h)[:, None]
    out = np.zeros(image.shape)
    for dy in (0, 1):
        for dx in (0, 1):
            column, row = np.floor(x).astype(int) + dx, np.floor(y).astype(int) + dy
            share = (1 - np.abs(x - column)) * (1 - np.abs(y - row))
            inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
            out += np.where(inside, share, 0)[..., None] * image[np.clip(row, 0, h - 1), np.clip(column, 0, w - 1)]
    return out


def digest(sample: Sample) -> str:
    assert sample.flow is not None
    assert sample.mask is not None
    return hashlib.sha256(sample.frames.tobytes() + sample.flow.tobytes() + sample.mask.tobytes()).hexdigest()


def parts(sample: Sample) -> tuple[Array, Array, Array]:
    assert sample.flow is not None
    assert sample.mask is not None
    return sample.frames, sample.flow, sample.mask[:, 0] > 0


@given(index=st.integers(0, 10_000), motion=st.sampled_from([0.0, 1.0, 4.5, 12.0, 60.0]))
@settings(max_examples=40)
def test_whole_pixel_motion_warps_bit_exactly(index: int, motion: float) -> None:
    frames, flow, mask = parts(WHOLE.model_copy(update={"motion": motion})[index])
    assert np.array_equal(flow, np.rint(flow))
    for k in range(2):
        assert np.array_equal(sampled(frames[k], flow[k])[mask[k]], frames[k + 1][mask[k]].astype(float))


def test_any_motion_warps_within_the_stated_error() -> None:
    errors = []
    for index in range(40):
        frames, flow, mask = parts(SMALL[index])
        errors += [np.abs(sampled(frames[k], flow[k]) - frames[k + 1])[mask[k]].mean() for k in range(2)]
    assert np.mean(errors) < 1
    assert np.max(errors) < 3


def test_most_of_a_picture_is_traceable_and_moves() -> None:
    share = [parts(SMALL[i])[2].mean() for i in range(30)]
    speed = [np.hypot(*parts(SMALL[i])[1][0]).mean() for i in range(30)]
    assert 0.5 < np.mean(share) < 0.97
    assert 1 < np.mean(speed) < 8


@given(index=st.integers(0, 10_000), integer=st.booleans())
@settings(max_examples=30)
def test_mask_is_one_layer_before_and_after(index: int, integer: bool) -> None:
    data = (WHOLE if integer else SMALL).model_copy(update={"width": 36, "height": 28})
    _, flow, mask = parts(data[index])
    scene = data.scene(index, data.frames)
    for k in (1, 2):
        now, then = scene.view(k).owner, scene.view(k - 1).owner
        for y, x in np.ndindex(now.shape):
            to_x, to_y = np.float32(x) + flow[k - 1, 0, y, x], np.float32(y) + flow[k - 1, 1, y, x]
            inside = 0 <= to_x <= data.width - 1 and 0 <= to_y <= data.height - 1
            read = {(int(b), int(a)) for a in (np.floor(to_x), np.ceil(to_x)) for b in (np.floor(to_y), np.ceil(to_y))}
            good = inside and now[y, x] != MIXED and all(then[place] == now[y, x] for place in read)
            assert mask[k - 1, y, x] == good


@given(
    angle=st.floats(-0.4, 0.4),
    scale=st.floats(0.7, 1.4),
    x=st.floats(-9, 9),
    y=st.floats(-9, 9),
    point=st.tuples(st.integers(0, 39), st.integers(0, 29)),
)
def test_flow_is_the_affine_motion(angle: float, scale: float, x: float, y: float, point: tuple[int, int]) -> None:
    first = np.array([[1.0, 0.0, -4.0], [0.0, 1.0, -3.0]])
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    second = np.array([[cos, -sin, x], [sin, cos, y]])
    scene = Scene((30, 40), (Layer(np.zeros((60, 70, 3), np.uint8), None, np.array([first, second])),))
    px, py = point
    place = np.linalg.solve(second[:, :2], np.array(point) - second[:, 2])  # in the picture
    want = first[:, :2] @ place + first[:, 2] - point
    assert np.allclose(scene.flow(1, 0)[:, py, px], want, atol=1e-4)


@given(index=st.integers(0, 10_000))
@settings(max_examples=20)
def test_layers_are_drawn_from_their_texture_not_from_the_frame_before(index: int) -> None:
    frames, _, _ = parts(SMALL[index])
    scene = SMALL.scene(index, SMALL.frames)
    assert np.array_equal(scene.view(2).frame, frames[2])  # the last frame alone


@pytest.mark.parametrize(
    ("width", "height", "frames", "layers"), [(1, 1, 1, 0), (5, 7, 2, 2), (33, 200, 5, 1), (640, 360, 2, 8), (64, 64, 24, 5)]
)
def test_any_size_and_length(width: int, height: int, frames: int, layers: int) -> None:
    sample = MovingLayers(width=width, height=height, frames=frames, layers=layers)[3].check("here")
    assert sample.frames.shape == (frames, height, width, 3)
    assert set(np.unique(parts(sample)[2])) <= {False, True}


def test_indexes_end() -> None:
    data = MovingLayers(length=3, width=16, height=16)
    assert len(data) == 3
    assert data[2].frames.shape == (2, 16, 16, 3)
    for index in (3, -1):
        with pytest.raises(IndexError):
            data[index]


def test_same_clip_in_another_process_and_after_pickling() -> None:
    data = MovingLayers(seed=5, width=40, height=30, frames=2)
    first = digest(data[7])
    assert digest(pickle.loads(pickle.dumps(data))[7]) == first
    assert digest(data[7]) == first
    script = "import sys, pickle, test_moving_layers as t; print(t.digest(pickle.loads(sys.stdin.buffer.read())[7]))"
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(data), capture_output=True, check=True, cwd=here)
    assert done.stdout.decode().strip() == first


def test_seed_and_index_change_the_clip() -> None:
    data = MovingLayers(width=24, height=24)
    assert len({digest(data[0]), digest(data[1]), digest(data.model_copy(update={"seed": 1})[0])}) == 3


def test_illumination_changes_brightness_and_nothing_else() -> None:
    gaps = []
    for index in range(12):
        plain, lit = SMALL[index], SMALL.model_copy(update={"illumination": 0.4})[index]
        for mine, other in zip(parts(plain)[1:], parts(lit)[1:], strict=True):
            assert np.array_equal(mine, other)
        frames, flow, mask = parts(lit)
        gaps.append(np.abs((sampled(frames[0], flow[0]) - frames[1])[mask[0]].mean()))
    assert np.mean(gaps) > 3
    frames, flow, mask = parts(SMALL[0])
    assert np.abs((sampled(frames[0], flow[0]) - frames[1])[mask[0]].mean()) < 0.5


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    residue = []
    for index in range(8):
        clean, noisy = SMALL[index].frames.astype(float), SMALL.model_copy(update={"noise": 6.0})[index].frames.astype(float)
        residue.append((noisy - clean)[(clean > 30) & (clean < 225)])
    assert np.concatenate(residue).std() == pytest.approx(6, rel=0.05)
    assert np.concatenate(residue).mean() == pytest.approx(0, abs=0.1)


def test_a_scene_goes_when_nobody_holds_it() -> None:
    gc.disable()
    try:
        scene = SMALL.scene(0, 2)
        scene.view(1)
        gone = weakref.ref(scene)
        del scene
        assert gone() is None
    finally:
        gc.enable()


def test_no_shapes_is_only_the_background() -> None:
    scene = WHOLE.model_copy(update={"layers": 0}).scene(0, 2)
    assert not scene.view(1).owner.any()


def test_photos_are_found_in_subfolders_and_shown(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    red = np.zeros((30, 40, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    for place in ("a.PNG", "deep/er/b.jpg"):
        cv2.imwrite(str(tmp_path / place), red)
    (tmp_path / "notes.txt").write_text("no photo")
    options: dict[str, Any] = {"width": 48, "height": 40, **QUIET}
    for photos in (tmp_path, tmp_path / "a.PNG"):
        data = MovingLayers(photos=photos, photo_share=1, **options)
        means = np.array([data[i].frames.mean((0, 1, 2)) for i in range(5)])
        assert (means[:, 0] > means[:, 1] + 100).all()  # red, tinted a little
    none = MovingLayers(photos=tmp_path, photo_share=0, **options)
    means = np.array([none[i].frames.mean((0, 1, 2)) for i in range(5)])
    assert not (means[:, 0] > means[:, 1] + 100).all()


def test_folders_without_usable_photos_are_refused(tmp_path: Path) -> None:
    def message(place: Path) -> str:
        with pytest.raises(EngineError) as caught:
            MovingLayers(photos=place, photo_share=1, width=16, height=16)[0]
        return str(caught.value)

    assert "no such photo" in message(tmp_path / "nowhere")
    assert "no photo in this folder" in message(tmp_path)
    good = cv2.imencode(".png", np.zeros((20, 20, 3), np.uint8))[1].tobytes()
    for name, content, problem in [
        ("text.jpg", b"not a photo", "decoded"),
        ("empty.png", b"", "decoded"),
        ("cut.png", good[:20], "damaged"),
    ]:
        bad = tmp_path / name
        bad.write_bytes(content)
        said = message(tmp_path)
        assert problem in said
        assert str(bad) in said
        bad.unlink()


def test_a_relative_folder_of_photos_stands_beside_the_recipe(tmp_path: Path) -> None:
    data = MovingLayers.model_validate({"photos": "pictures"}, context={"base": tmp_path})
    assert data.photos == tmp_path / "pictures"


@pytest.mark.parametrize(
    "wrong", [{"frames": 0}, {"width": 0}, {"photo_share": 1.5}, {"colour": "red"}, {"noise": -1}, {"motion": float("nan")}]
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MovingLayers(**wrong)


def test_importing_the_plugin_is_cheap() -> None:
    script = "import sys, engine_datasets; print(sorted({'cv2', 'av', 'torch', 'mindspore', 'typer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"

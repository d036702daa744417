"""Clips made of single photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from engine_datasets.images import Images, draw_sway, traceable
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from test_moving_layers import digest, parts, sampled

from engine import Array, BadSample, EngineError
from engine.loader import Loader, hold_out, read_sample
from engine.testing import DatasetContract

QUIET = {"illumination": 0, "noise": 0}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "deep").mkdir()
    rng = np.random.default_rng(3)
    for name, size in (("a.png", (300, 400)), ("deep/b.JPG", (90, 60)), ("deep/c.webp", (200, 200))):
        noise = cv2.resize(rng.integers(0, 256, (size[0] // 12, size[1] // 12, 3), np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
        assert cv2.imwrite(str(folder / name), noise)
    (folder / "notes.txt").write_text("no photo")
    return folder


def small(photos: Path, **changed: Any) -> Images:
    return Images(path=photos, **({"width": 72, "height": 56, "frames": 3, "motion": 5, **QUIET} | changed))


class TestContract(DatasetContract):
    component = Images

    @pytest.fixture(autouse=True)
    def _with(self, photos: Path) -> None:
        self.photos = photos

    def dataset(self, tmp_path: Path) -> Images:
        return small(self.photos)


def test_warping_the_older_frame_gives_the_newer_one(photos: Path) -> None:
    errors, shares, speeds = [], [], []
    for index in range(18):
        frames, flow, mask = parts(small(photos)[index].check("here"))
        for k in range(2):
            errors.append(np.abs(sampled(frames[k], flow[k]) - frames[k + 1])[mask[k]].mean())
            shares.append(mask[k].mean())
            speeds.append(np.hypot(*flow[k]).mean())
    assert np.mean(errors) < 1
    assert np.max(errors) < 3
    assert 0.75 < np.mean(shares) < 1
    assert 1 < np.mean(speeds) < 8


def test_without_motion_frames_are_equal_and_all_is_traceable(photos: Path) -> None:
    frames, flow, mask = parts(small(photos, motion=0, rotation=0, zoom=0, bend=0)[1])
    assert np.array_equal(frames[0], frames[2])
    assert not flow.any()
    assert mask.all()


@given(seed=st.integers(0, 10_000), bend=st.sampled_from([0.0, 2.0, 60.0]), motion=st.sampled_from([0.0, 9.0]))
@settings(max_examples=40)
def test_mask_is_zero_where_the_flow_leaves_or_folds(seed: int, bend: float, motion: float) -> None:
    sway = draw_sway(np.random.default_rng(seed), (40, 30), motion, 0.05, 0.05, bend)
    x, y = np.meshgrid(np.arange(40.0), np.arange(30.0))

    def goes(x: Array, y: Array) -> tuple[Array, Array]:
        u, v = sway.flow(1, x, y)
        return x + u, y + v

    to_x, to_y = goes(x, y)
    h = 1e-4
    right, down = [(a - b) / h for a, b in zip(goes(x + h, y), (to_x, to_y), strict=True)], goes(x, y + h)
    turned = (
        right[0] * (down[1] - to_y) / h - right[1] * (down[0] - to_x) / h
    )  # the area that a pixel becomes, negative where it is turned over
    flow = np.stack(sway.flow(1, x, y)).astype(np.float32)
    mask = traceable(flow)
    margin = 1e-3
    outside = (to_x < -margin) | (to_x > 39 + margin) | (to_y < -margin) | (to_y > 29 + margin)
    assert not mask[outside].any()
    inside = (to_x > margin) & (to_x < 39 - margin) & (to_y > margin) & (to_y < 29 - margin)
    if bend < 60:
        assert (turned > 0).all()
        assert mask[inside].all()
    else:  # a pixel's neighbours stand for its edges, so only near the fold may they differ from the formula
        near = cv2.dilate((np.abs(turned) < 12).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        assert not mask[~near & (turned < 0)].any()


def test_folds_are_masked() -> None:
    x = np.arange(40, dtype=np.float32)
    flow = np.zeros((2, 30, 40), np.float32)
    flow[0] = np.where((x > 15) & (x < 25), 2 * (20 - x), 0)  # mirrored in between
    mask = traceable(flow)
    assert not mask[:, 17:24].any()
    assert mask[:, :14].all()
    assert mask[:, 27:].all()


def test_light_and_noise_change_frames_and_nothing_else(photos: Path) -> None:
    plain, lit = small(photos)[4], small(photos, illumination=0.4, noise=3.0)[4]
    for mine, other in zip(parts(plain)[1:], parts(lit)[1:], strict=True):
        assert np.array_equal(mine, other)
    assert 1 < np.abs(plain.frames.astype(float) - lit.frames).mean() < 80


def test_another_clip_for_another_seed_or_index(photos: Path) -> None:
    data = small(photos)
    assert len({digest(data[7]), digest(data[8]), digest(data[10]), digest(small(photos, seed=1)[7])}) == 4


@pytest.mark.parametrize(("width", "height", "frames"), [(16, 16, 1), (100, 20, 2), (640, 360, 2), (32, 32, 12)])
def test_any_size_and_length(photos: Path, width: int, height: int, frames: int) -> None:
    sample = small(photos, width=width, height=height, frames=frames, length=4)[3].check("here")
    assert sample.frames.shape == (frames, height, width, 3)


def test_indexes_end(photos: Path) -> None:
    data = small(photos, length=3)
    assert len(data) == 3
    for index in (3, -1):
        with pytest.raises(IndexError):
            data[index]


def test_decoded_photos_are_kept_and_not_more_than_fit(photos: Path) -> None:
    data = small(photos)
    for index in range(9):
        data[index]
    kept = data._photo.cache_info()  # type: ignore[attr-defined]  # of functools.lru_cache
    assert (kept.hits, kept.misses) == (6, 3)
    assert kept.maxsize * 768 * 768 * 3 <= 256 * 2**20


def test_bad_folders_and_photos_are_named(tmp_path: Path) -> None:
    def caught(path: Path) -> EngineError:
        with pytest.raises(EngineError) as caught:
            read_sample(Images(path=path), 0, 2)
        return caught.value

    assert "no such photo or folder" in str(caught(tmp_path / "nowhere"))
    empty = caught(tmp_path)
    assert not isinstance(empty, BadSample)
    assert f"{tmp_path}: there is no photo in this folder; allowed: .bmp, .jpeg, .jpg," in str(empty)
    good = cv2.imencode(".png", np.zeros((40, 40, 3), np.uint8))[1].tobytes()
    tiny = cv2.imencode(".png", np.zeros((2, 3, 3), np.uint8))[1].tobytes()
    for name, content, said in [
        ("text.jpg", b"not a photo", "damaged"),
        ("cut.png", good[:20], "damaged"),
        ("tiny.png", tiny, "this photo has 3x2 pixels, and the smallest that shows something has 32x32"),
    ]:
        (tmp_path / name).write_bytes(content)
        error = caught(tmp_path / name)
        assert isinstance(error, BadSample)
        assert error.where == str(tmp_path / name)
        assert said in error.problem
        (tmp_path / name).unlink()


def test_the_loader_passes_a_bad_photo_over_and_stops_where_all_are(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(cv2.imencode(".png", np.zeros((2, 3, 3), np.uint8))[1].tobytes())
    data = Images(path=tmp_path, width=16, height=16, length=30)
    with pytest.raises(EngineError, match="3x2 pixels, and the smallest that shows something has 32x32"):
        hold_out(data, 2)
    for name in "cdefghijk":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((40, 40, 3), 99, np.uint8))
    data = Images(path=tmp_path, width=16, height=16, length=30, bad_share=0.2)
    loader = Loader(data, range(29), 1, 2)
    batches = loader.batches()
    for _ in range(29):
        next(batches)
    batches.close()
    assert list(loader.bad.files) == [str(tmp_path / "bad.png")]
    assert loader.bad.replaced == 3


@pytest.mark.parametrize("wrong", [{}, {"path": "a", "width": 8}, {"path": "a", "bend": -1}, {"path": "a", "photos": "b"}])
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Images(**wrong)

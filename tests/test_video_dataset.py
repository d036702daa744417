from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_datasets.clip_flow import SAVED_EVERY, colour_distance, fit_frame
from engine_datasets.flow_cache import PairSettings, open_entry
from engine_datasets.moving_layers import MovingLayers
from engine_datasets.video import Video, find_clips
from hypothesis import given
from hypothesis import strategies as st
from media import real_clip, write_clip
from pydantic import ValidationError
from typer.testing import CliRunner

from engine import Array, BadSample, EngineError, RunError, warp
from engine.cli import make_app
from engine.plugins import PluginHost, load_plugins
from engine.recipe import load_recipe
from engine.testing import DatasetContract

SIZE = {"width": 64, "height": 48}
DEFAULTS = {name: Video.model_fields[name].default for name in PairSettings.model_fields}
MOVING = MovingLayers(width=64, height=48, frames=8, layers=2, motion=3, illumination=0, noise=0)


def moving_clip(path: Path, count: int = 8, index: int = 0) -> Path:
    scene = MOVING.scene(index, count)
    return write_clip(path, [scene.view(k).frame for k in range(count)], options={"crf": "4"})


def pattern(seed: int) -> Array:
    """A picture that DIS can follow."""
    small = np.random.default_rng(seed).integers(0, 256, (18, 24, 3), dtype=np.uint8)
    return fit_frame(small, 96, 72)


def cut_out(picture: Array, x: int) -> Array:
    return np.ascontiguousarray(picture[12:60, x : x + 64])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return moving_clip(tmp_path_factory.mktemp("clips") / "moving.mp4")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


class TestContract(DatasetContract):
    component = Video

    @pytest.fixture(autouse=True)
    def _with(self, clip: Path) -> None:
        self.clip = clip

    def dataset(self, tmp_path: Path) -> Video:
        return Video(path=self.clip, cache=tmp_path, **SIZE)


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_pairs_are_samples_whose_flow_leads_to_the_frame_before(clip: Path, cache: Path) -> None:
    data = Video(path=clip, cache=cache, **SIZE)
    assert len(data) == 7
    scene = MOVING.scene(0, 8)
    for index in range(7):
        sample = data[index].check("here")
        assert sample.flow is not None
        assert sample.mask is not None
        assert sample.frames.shape == (2, 48, 64, 3)
        seen = sample.mask[0, 0] > 0
        assert seen.mean() > 0.4
        error = np.hypot(*(sample.flow[0] - scene.flow(index + 1, index)))
        assert error[seen].mean() < 0.5
        assert np.abs(warp(sample.frames[0], sample.flow[0]) - sample.frames[1])[seen].mean() < 8


def test_a_ready_cache_is_read_and_nothing_is_written(clip: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = Video(path=clip, cache=cache, **SIZE)
    sample = first[2]
    assert "moving.mp4: 7 of 7 pairs" in capsys.readouterr().err
    before = files(cache)
    again = pickle.loads(pickle.dumps(first))
    assert np.array_equal(again[2].frames, sample.frames)
    assert np.array_equal(again[2].flow, sample.flow)
    assert files(cache) == before
    assert capsys.readouterr().err == ""


def test_a_changed_clip_or_setting_is_computed_anew(tmp_path: Path, cache: Path) -> None:
    path = moving_clip(tmp_path / "a.mp4")
    first = Video(path=path, cache=cache, **SIZE)[0].frames
    os.utime(path, (1, 1))  # the same content, copied
    assert np.array_equal(Video(path=path, cache=cache, **SIZE)[0].frames, first)
    assert len(list(cache.iterdir())) == 1
    moving_clip(path, index=1)
    assert not np.array_equal(Video(path=path, cache=cache, **SIZE)[0].frames, first)
    assert len(list(cache.iterdir())) == 2
    assert len(Video(path=path, cache=cache, stride=3, **SIZE)) == 5
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize(
    ("settings", "newer"),
    [
        ({"stride": 2}, [2, 3, 4, 5, 6, 7]),
        ({"clip_share": 0.5}, [2, 4, 6]),
        ({"start": 0.5}, [5, 6, 7]),
        ({"stop": 0.5}, [1, 2, 3]),
        ({"start": 0.25, "stop": 0.75, "stride": 2}, [4, 5]),
    ],
)
def test_stride_and_shares(clip: Path, cache: Path, settings: dict[str, Any], newer: list[int]) -> None:
    entry = Video(path=clip, cache=cache, **SIZE, **settings).entries()[0]
    assert entry.journal.pairs == newer


def test_pairs_across_cuts_without_motion_and_without_trace_are_left_out(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = pattern(1), pattern(2) // 2
    noise = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
    moves = [cut_out(a, 0), cut_out(a, 2), cut_out(a, 4)]
    still = [cut_out(a, 4), cut_out(a, 4)]
    frames = [*moves, *still, cut_out(b, 0), cut_out(b, 2)]
    write_clip(tmp_path / "edited.mkv", frames, codec="ffv1", options={})
    entry = Video(path=tmp_path / "edited.mkv", cache=cache, **SIZE).entries()[0]
    assert entry.journal.pairs == [1, 2, 6]
    assert entry.journal.left_out == {"still": 2, "cut": 1}
    assert "edited.mkv: 3 of 6 pairs; left out: 1 across scene cuts, 2 without motion" in capsys.readouterr().err
    write_clip(tmp_path / "noise.mkv", list(noise // 4), codec="ffv1", options={})  # dark enough to be one scene by its light
    with pytest.raises(EngineError, match="no pair of frames is fit for training: 1 with too little to trace"):
        len(Video(path=tmp_path / "noise.mkv", cache=cache, cut=1, **SIZE))
    assert not list(cache.glob("noise*/f*/*.png"))


def test_a_cut_between_like_colours_shows_by_what_the_flow_leaves_over(tmp_path: Path, cache: Path) -> None:
    a = pattern(1)
    frames = [cut_out(a, 0), np.ascontiguousarray(cut_out(a, 0)[::-1, ::-1])]
    assert colour_distance(*frames) == 0
    write_clip(tmp_path / "turned.mkv", frames, codec="ffv1", options={})
    with pytest.raises(EngineError, match="1 across scene cuts"):
        len(Video(path=tmp_path / "turned.mkv", cache=cache, **SIZE))


def test_real_clips_lose_their_cuts(tmp_path: Path, cache: Path) -> None:
    part = {"start": 0.1, "stop": 0.14, "width": 96, "height": 48}
    entry = Video(path=real_clip("bikes.mp4"), cache=cache, **part).entries()[0]  # its first cut is before frame 30
    assert entry.journal.pairs == [26, 27, 28, 29, 31, 32, 33, 34]
    assert entry.journal.left_out == {"cut": 1}


@given(w=st.integers(1, 90), h=st.integers(1, 90), width=st.integers(16, 80), height=st.integers(16, 80))
def test_frames_are_cropped_in_the_middle_to_any_shape(w: int, h: int, width: int, height: int) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, w, dtype=np.float32)[None, :, None], (h, w, 3)).astype(np.uint8)
    fitted = fit_frame(ramp, width, height)
    assert fitted.shape == (height, width, 3)
    if w > 20 and h > 20:
        middle = fitted[:, (width - 1) // 2 : width // 2 + 1].astype(float).mean()
        assert abs(middle - ramp.mean()) < 16


def test_a_kill_in_the_middle_leaves_a_cache_that_goes_on(tmp_path: Path, cache: Path) -> None:
    path = write_clip(tmp_path / "long.mp4", [cut_out(pattern(3), x % 24) for x in range(SAVED_EVERY + 40)])
    script = f"""if True:
        import os, signal
        from pathlib import Path
        from engine_datasets import clip_flow, flow_cache

        def watch(number, expected):
            if number == {SAVED_EVERY + 28}:
                os.kill(os.getpid(), signal.SIGKILL)

        path, settings = Path({str(path)!r}), flow_cache.PairSettings(**{dict(DEFAULTS, **SIZE)!r})
        clip_flow.fill(flow_cache.open_entry(Path({str(cache)!r}), path, settings), path, watch, workers=1)
    """
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    (journal,) = (json.loads(found.read_text()) for found in cache.glob("*/clip.json"))
    assert journal["examined"] == SAVED_EVERY
    assert not journal["complete"]
    kept = {name: at for name, at in files(cache).items() if name.split("/")[1] == "flow"}
    done = {f"{number:06d}.png" for number in journal["pairs"]}
    data = Video(path=path, cache=cache, **SIZE)
    assert len(data) + sum(data.entries()[0].journal.left_out.values()) == SAVED_EVERY + 39
    after = files(cache)
    assert all(after[name] == at for name, at in kept.items() if Path(name).name in done)  # not computed twice
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    whole = Video(path=path, cache=fresh, **SIZE)
    assert whole.entries()[0].journal == data.entries()[0].journal
    assert np.array_equal(whole[len(whole) - 1].flow, data[len(data) - 1].flow)


def test_a_full_disk_is_told_and_leaves_nothing_half_written(clip: Path, cache: Path) -> None:
    script = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); from engine.cli import main; main()"
    command = ["data", "flow", str(clip), "-o", str(cache), "--width", "64", "--height", "48"]
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True)
    assert done.returncode == RunError.exit_code
    assert "cannot write this file: File too large" in done.stderr
    assert "What is done is kept: make room, and run this again." in done.stderr
    assert "Traceback" not in done.stderr
    assert files(cache) == {}
    assert len(Video(path=clip, cache=cache, **SIZE)) == 7


def test_what_was_done_before_the_disk_was_full_is_not_done_again(tmp_path: Path, cache: Path) -> None:
    path = write_clip(tmp_path / "still.mp4", [np.full((48, 64, 3), 90, np.uint8)] * 6 + [cut_out(pattern(3), x) for x in range(4)])
    script = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); from engine.cli import main; main()"
    command = ["data", "flow", str(path), "-o", str(cache), "--width", "64", "--height", "48"]
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True)
    assert done.returncode == RunError.exit_code, done.stderr
    (journal,) = (json.loads(found.read_text()) for found in cache.glob("*/clip.json"))
    assert journal["examined"] == 6  # five without motion and a cut; the first that has files is the one that failed
    assert not journal["complete"]
    assert list(files(cache)) == [name for name in files(cache) if name.endswith("clip.json")]
    data = Video(path=path, cache=cache, **SIZE)
    assert data.entries()[0].journal.examined == 9
    assert data.entries()[0].journal.pairs == [7, 8, 9]


def test_a_cache_that_cannot_be_written_is_no_fault_of_a_clip(clip: Path, tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(clip, folder / name)
    assert len(Video(path=folder / "a.mp4", cache=cache, **SIZE)) == 7
    place = open_entry(cache, folder / "b.mp4", PairSettings(**dict(DEFAULTS, **SIZE))).folder
    place.write_bytes(b"in the way")
    with pytest.raises(RunError, match="cannot write here"):
        len(Video(path=folder, cache=cache, **SIZE))


def test_a_damaged_cache_is_a_bad_sample_or_computed_anew(clip: Path, cache: Path) -> None:
    data = Video(path=clip, cache=cache, **SIZE)
    entry = data.entries()[0]
    flow, frame = entry.flow(3), entry.frame(6)
    flow.write_bytes(flow.read_bytes()[:500])
    frame.unlink()
    with pytest.raises(BadSample, match="this file of the flow cache is damaged") as caught:
        data[2]
    assert caught.value.where == str(flow)
    with pytest.raises(BadSample, match="cannot read this file of the flow cache: No such file") as caught:
        data[6]
    assert caught.value.where == str(frame)
    assert data[0].frames.shape == (2, 48, 64, 3)
    (entry.folder / "clip.json").write_text('{"pairs": [1e9')
    assert Video(path=clip, cache=cache, **SIZE)[2].frames.shape == (2, 48, 64, 3)


def test_folders_patterns_and_files(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    for name in ("in/b.MP4", "in/deep/a.webm", "in/c.txt"):
        shutil.copy(clip, tmp_path / name)
    assert find_clips(tmp_path / "in") == [tmp_path / "in/b.MP4", tmp_path / "in/deep/a.webm"]
    assert find_clips(tmp_path / "in/*") == [tmp_path / "in/b.MP4"]
    assert find_clips(tmp_path / "in/**/*") == [tmp_path / "in/b.MP4", tmp_path / "in/deep/a.webm"]
    assert find_clips(tmp_path / "in/c.txt") == [tmp_path / "in/c.txt"]  # named, so it is tried


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("empty", "there is no clip in this folder; allowed: .avi, .m4v, .mkv, .mov, .mp4"),
        ("nowhere", "there is no such clip or folder"),
        ("*.none", "no file that fits it as a pattern"),
        ("*.txt", "none of the files that fit this pattern is a clip"),
        ("broken.mp4", "this is no video that can be read"),
        ("text.txt", "this is a text file, no video"),
        ("one.mp4", "this clip is too short; allowed: at least 2 frames"),
        ("all", r"none of 2 clips can be used; the first: .*broken.mp4: this is no video that can be read"),
    ],
)
def test_what_is_no_training_data_is_refused(tmp_path: Path, cache: Path, clip: Path, place: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "all").mkdir()
    (tmp_path / "broken.mp4").write_bytes(clip.read_bytes()[:600] + bytes(2000))
    (tmp_path / "text.txt").write_text("this is no clip\n" * 50)
    write_clip(tmp_path / "one.mp4", [pattern(1)])
    for name in ("broken.mp4", "one.mp4"):
        shutil.copy(tmp_path / name, tmp_path / "all")
    with pytest.raises(EngineError, match=said) as caught:
        len(Video(path=tmp_path / place, cache=cache, **SIZE))
    assert caught.value.where == str(tmp_path / place)
    assert files(cache) == {}


def test_a_bad_clip_among_good_ones_is_left_out_and_named(
    tmp_path: Path, cache: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(clip, tmp_path / "good.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    assert len(Video(path=tmp_path / "*.mp4", cache=cache, **SIZE)) == 7
    assert f"left out: {tmp_path / 'bad.mp4'}: this is no video" in capsys.readouterr().err


def test_start_lies_before_stop(clip: Path) -> None:
    with pytest.raises(ValidationError, match=r"start 0.6 must be below stop 0.5"):
        Video(path=clip, start=0.6, stop=0.5)


def test_the_command_fills_the_cache_that_training_reads(clip: Path, cache: Path) -> None:
    command = ["data", "flow", str(clip), "-o", str(cache / "new"), "--width", "64", "--height", "48", "--stride", "2"]
    app = make_app()
    first, second = CliRunner().invoke(app, command), CliRunner().invoke(app, command)
    assert first.exit_code == second.exit_code == 0
    assert first.stdout.splitlines()[1] == second.stdout.splitlines()[1]
    block = f"{{name: video, path: {clip}, cache: {cache / 'new'}, width: 64, height: 48, stride: 2}}"
    assert first.stdout.splitlines()[1] == f"dataset: {block}"
    assert f"{cache / 'new'}: 6 pairs of 1 clip" in first.stdout
    before = files(cache)
    assert len(Video(path=clip, cache=cache / "new", stride=2, **SIZE)) == 6
    assert files(cache) == before
    wrong = CliRunner().invoke(app, [*command, "--start", "0.9", "--stop", "0.5"])
    assert isinstance(wrong.exception, EngineError)
    assert wrong.exception.problem == "start 0.9 must be below stop 0.5"


def test_without_a_cache_of_its_own_it_is_the_user_s(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "mine"))
    assert len(Video(path=clip, **SIZE)) == 7
    assert [path.name.split("-")[0] for path in (tmp_path / "mine/video").iterdir()] == ["moving"]


def test_a_recipe_s_pattern_starts_at_the_recipe(tmp_path: Path, clip: Path, cache: Path) -> None:
    (tmp_path / "clips").mkdir()
    shutil.copy(clip, tmp_path / "clips/a.mp4")
    text = "extends: reconet_candy\ndataset: {name: video, path: clips/*.%s, cache: cache, width: 64, height: 48}\n"
    (tmp_path / "good.yaml").write_text(text % "mp4")
    (tmp_path / "bad.yaml").write_text(text % "mov")
    host: PluginHost = load_plugins()
    assert len(load_recipe(tmp_path / "good.yaml", (), host).dataset) == 7
    with pytest.raises(EngineError, match=r"bad.yaml:2: dataset.path: there is no file or folder .*clips/\*\.mov"):
        load_recipe(tmp_path / "bad.yaml", (), host)


def test_clips_mix_with_other_datasets(tmp_path: Path, clip: Path, cache: Path) -> None:
    listed = [f"{{name: video, path: {clip}, cache: {cache}, width: 64, height: 48, share: 0.5}}"]
    listed += ["{name: moving_layers, width: 64, height: 48, length: 7, share: 0.5}"]
    (tmp_path / "mix.yaml").write_text(f"extends: reconet_candy\ndataset: [{', '.join(listed)}]\n")
    data = load_recipe(tmp_path / "mix.yaml", (), load_plugins()).dataset
    of_the_clip = {sample.frames.tobytes() for sample in Video(path=clip, cache=cache, **SIZE)}
    assert {sample.frames.tobytes() in of_the_clip for sample in data} == {True, False}

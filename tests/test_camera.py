"""A camera painted live: the newest picture only, the keys, recordings by the clock, and what there must be."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Condition, Event

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from installed import TRAINING, backend
from media import IDENTITY_WEIGHTS, drawn, identity_network, identity_style, real_clip, shown, write_clip

from engine import Array, EngineError, Picture, RunError, VideoReader, write_picture
from engine.camera import Camera, Gallery
from engine.capture import Capture, Newest
from engine.cli import main
from engine.cli.infer_camera import paint_camera
from engine.controls import Controls
from engine.encoding import Encoding
from engine.recording import Recorder, numbered, recording_names
from engine.screen import Window, caption
from engine.sizes import Size
from engine.style import Style, StyleInfo

BACKEND = backend(TRAINING[0])
SIZE = 96, 160


class Roll:
    """Frames that are given when they are let go; a camera whose pace the test sets."""

    rate = 25.0

    def __init__(self, frames: Sequence[Array], error: Exception | None = None) -> None:
        self.frames, self.error = frames, error
        self.asked, self.free = 0, 1
        self.change = Condition()

    def read(self) -> Array | None:
        with self.change:
            self.asked += 1
            self.change.notify_all()
            self.change.wait_for(lambda: self.free >= self.asked, 60)
            if self.asked <= len(self.frames):
                return self.frames[self.asked - 1]
        if self.error is not None:
            raise self.error
        return None

    def let_go(self, frames: int) -> None:
        """So many more, until the reader asks for the one after them."""
        with self.change:
            self.free += frames
            self.change.notify_all()
            self.change.wait_for(lambda: self.asked > min(self.free, len(self.frames)), 60)


class Wall:
    """A window that keeps what it was shown; after each painting it presses a key and lets the next frames go."""

    def __init__(self, roll: Roll | None, keys: str = "", step: Callable[[int], int] = lambda _: 1) -> None:
        self.shown: list[Array] = []
        self.painted: list[Array] = []
        self.roll, self.keys, self.step = roll, iter(keys), step
        self.looked = 0

    def show(self, image: Array) -> None:
        self.shown.append(image)

    def key(self) -> str:
        if len(self.shown) == self.looked:
            return ""
        self.looked = len(self.shown)
        self.painted.append(self.shown[-1])
        key = next(self.keys, "")
        if self.roll is not None:
            self.roll.let_go(len(self.roll.frames) + 1 if key in ("q", "Q", "\x1b") else self.step(len(self.painted)))
        return key


def on(wall: Wall) -> Callable[[], AbstractContextManager[Window]]:
    return lambda: nullcontext(wall)


@pytest.fixture
def same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A style that changes nothing, in the current folder."""
    monkeypatch.chdir(tmp_path)
    return identity_style(tmp_path / "same.safetensors")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def camera(roll: Roll, wall: Wall, *styles: Path, name: Callable[[], Path] | None = None, **settings: object) -> Camera:
    clock = Clock()
    gallery = Gallery([(path.stem, path) for path in styles], BACKEND)
    names = numbered(Path("out.mp4"))
    recorder = Recorder(name or (lambda: next(names)), roll.rate, clock)
    return Camera(roll, gallery, wall, recorder, clock=clock, **{"mirror": False, **settings})  # type: ignore[arg-type]  # of several kinds


def grey(count: int) -> list[Array]:
    return [np.full((*SIZE, 3), 10 * k, np.uint8) for k in range(count)]


def corners(images: Sequence[Array]) -> list[int]:
    """The value of each picture where no words are."""
    return [int(image[SIZE[0] // 2, 0, 0]) for image in images]


def test_frames_that_came_while_one_was_painted_are_dropped(same: Path) -> None:
    roll = Roll(grey(14))
    live = camera(roll, wall := Wall(roll, step=lambda _: 3), same)
    live.run()
    assert corners(wall.painted) == [0, 30, 60, 90, 120, 130]
    assert corners(wall.shown) == [0, *corners(wall.painted)]  # the first as it is while the style is made ready
    assert (live.frames, live.seen) == (6, 14)


def test_a_recording_keeps_the_time_of_the_camera_and_shows_what_it_sees(same: Path) -> None:
    frames = drawn(9, *SIZE)
    roll = Roll(frames)
    live = camera(roll, Wall(None), same, mirror=True)
    clock = live.clock
    assert isinstance(clock, Clock)

    def tick(number: int) -> int:
        clock.now += 0.01 * number**2
        return 1

    said: list[str] = []
    live.say = said.append
    live.window = wall = Wall(roll, keys="r...r.r", step=tick)
    live.run()
    for path, numbers, count in ((Path("out.mp4"), range(2, 5), 4), (Path("out-2.mp4"), range(8, 9), 2)):
        with VideoReader(path) as reader:
            kept = list(reader.frames())
            starts = [float(frame.pts * reader.info.time_base) for frame in kept]
        assert len(kept) == count
        assert starts[0] == 0
        assert np.diff(starts) == pytest.approx([0.01 * number**2 for number in numbers], abs=1e-4)
        first = 1 if count == 4 else 7
        for frame, source in zip(kept, frames[first:], strict=False):
            assert np.abs(frame.image.astype(int) - source).mean() < 3
    assert said == [f"{done.path}: {done.frames} frames, {SIZE[1]}x{SIZE[0]}, {done.seconds:.1f} s" for done in live.recorder.done]
    assert np.array_equal(wall.shown[1][: SIZE[0] // 3, : SIZE[1] // 3], frames[0][:, ::-1][: SIZE[0] // 3, : SIZE[1] // 3])
    lamp = wall.shown[2][:20, SIZE[1] // 2 :].astype(int)
    assert (lamp[..., 0] - lamp[..., 1]).max() > 150  # red


def test_keys_change_the_style_and_one_that_is_damaged_is_passed_over(same: Path, tmp_path: Path) -> None:
    weights = {name: -x for name, x in IDENTITY_WEIGHTS.items()}
    Style(StyleInfo(name="negative"), identity_network(), weights).save(negative := tmp_path / "negative.safetensors")
    (broken := tmp_path / "broken.safetensors").write_bytes(b"no style")
    roll, said = Roll(grey(8)), list[str]()
    live = camera(roll, wall := Wall(roll, keys="np.nn"), same, negative, broken, say=said.append)
    live.run()
    assert corners(wall.painted) == [0, 255 - 10, 20, 30, 255 - 40, 50, 60, 70]
    (told,) = said
    assert told.startswith("broken cannot be used: ")
    assert "no whole safetensors file" in told
    assert len(live.gallery) == 2
    roll = Roll(grey(2))
    roll.free = 9
    with pytest.raises(EngineError, match="no whole safetensors file"):
        camera(roll, Wall(roll), broken).run()


def test_the_picture_can_be_turned_and_its_words_hidden(same: Path) -> None:
    frames = drawn(4, *SIZE)
    roll = Roll(frames)
    camera(roll, wall := Wall(roll, keys="hm"), same).run()
    words, bare, mirrored, _ = wall.painted
    assert not np.array_equal(words, frames[0])
    assert np.array_equal(bare, frames[1])
    assert np.array_equal(mirrored, frames[2][:, ::-1])


@pytest.mark.parametrize("key", ["q", "\x1b", "Q"])
def test_a_key_ends_it_and_finishes_the_recording(same: Path, key: str) -> None:
    roll = Roll(grey(50))
    live = camera(roll, Wall(roll, keys=f"r..{key}"), same)
    live.run()
    assert live.frames == 4
    assert [done.frames for done in live.recorder.done] == [3]
    assert len(shown(Path("out.mp4"))) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_ctrl_c_ends_it_and_finishes_the_recording(same: Path) -> None:
    def step(number: int) -> int:
        if number == 4:
            signal.raise_signal(signal.SIGINT)
        return 1 if number < 4 else 60

    roll = Roll(grey(50))
    live = camera(roll, Wall(roll, keys="r", step=step), same)
    live.run()
    assert [done.frames for done in live.recorder.done] == [3]


def test_a_camera_that_is_unplugged_is_an_error_and_what_was_recorded_is_kept(same: Path) -> None:
    roll = Roll(grey(5), RunError("this camera gives no more pictures", where="camera 0"))
    live = camera(roll, Wall(roll, keys="r"), same)
    with pytest.raises(RunError, match="no more pictures"):
        live.run()
    assert len(shown(Path("out.mp4"))) == 5


def test_a_camera_that_hangs_does_not_hold_the_program() -> None:
    stuck = Event()

    class Stuck:
        rate = 25.0

        def read(self) -> Array | None:
            stuck.wait(60)
            return None

    with Newest(Stuck(), grace=0.01) as newest:
        assert newest.take(0.01) is None
    assert newest.hangs
    stuck.set()


def test_an_error_while_painting_drops_no_style(same: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
            for _ in batches:
                raise RunError("the graphics card has gone")
            yield from ()

        def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
            return dict(inputs)

    identity_style(other := Path("other.safetensors"), "other")
    said: list[str] = []
    for roll, painter, message in (
        (Roll(grey(3)), Failing(), "the graphics card has gone"),
        (Roll([np.zeros((4, 90, 3), np.uint8)] * 3), None, "too small to paint"),
    ):
        roll.free = 9
        live = camera(roll, Wall(roll), same, other, say=said.append)
        if painter is not None:
            monkeypatch.setattr(live.gallery, "painter", lambda *_, made=painter: made)
        with pytest.raises(EngineError, match=message):
            live.run()
        assert len(live.gallery) == 2
    assert said == []


def test_a_picture_of_another_size_begins_another_file_and_it_is_said(same: Path) -> None:
    roll, said = Roll([*drawn(3, *SIZE), *drawn(2, 64, 64)]), list[str]()
    camera(roll, Wall(roll, keys="r"), same, say=said.append).run()
    assert [text.split(":")[0] for text in said] == [
        "out.mp4",
        "the picture is 64x64 now, so the recording goes on in another file",
        "out-2.mp4",
    ]


def test_a_recording_that_cannot_be_written_ends_it_and_leaves_nothing(same: Path, tmp_path: Path) -> None:
    roll = Roll(grey(5))

    def name() -> Path:
        roll.let_go(9)
        return tmp_path / "gone/out.mp4"

    live = camera(roll, Wall(roll, keys="r"), same, name=name)
    with pytest.raises(EngineError, match=r"out\.mp4"):
        live.run()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["same.safetensors"]


def test_the_controls_hold(same: Path, tmp_path: Path) -> None:
    weights = {name: -x for name, x in IDENTITY_WEIGHTS.items()}
    Style(StyleInfo(name="negative"), identity_network(), weights).save(negative := tmp_path / "negative.safetensors")
    stencil = np.zeros((*SIZE, 3), np.uint8)
    stencil[:, SIZE[1] // 2 :] = 255
    write_picture(tmp_path / "mask.png", Picture(stencil))
    roll = Roll([np.full((*SIZE, 3), 55, np.uint8)] * 2)
    controls = Controls(strength=0.5, size=Size(80), mask=tmp_path / "mask.png")
    camera(roll, wall := Wall(roll, keys="h"), negative, controls=controls).run()
    assert wall.shown[-1].shape == (48, 80, 3)
    assert wall.shown[-1][24, 10].tolist() == [55] * 3
    assert np.abs(wall.shown[-1][24, 70].astype(int) - (55 + 200) / 2).max() <= 1
    clip = write_clip(tmp_path / "mask.mp4", drawn(2, *SIZE))
    with pytest.raises(EngineError, match="this mask is a video"):
        camera(roll := Roll(grey(1)), Wall(roll), same, controls=Controls(mask=clip)).run()


def test_a_real_clip_as_camera_from_end_to_end(same: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = real_clip("carphone_pristine.mp4")
    wall = Wall(None, keys="r.....q")
    paint_camera(
        str(clip), str(same), BACKEND, Controls(), tmp_path / "new/out.mp4", encoding=Encoding(crf=3), as_json=True, window=on(wall)
    )
    said = json.loads(capsys.readouterr().out)
    assert (said["camera"], said["frames"] + said["dropped"] >= said["frames"] >= 2) == (str(clip), True)
    (recording,) = said["recordings"]
    assert recording["output"] == str(tmp_path / "new/out.mp4")
    with VideoReader(clip) as reader:
        width, height = reader.info.width, reader.info.height
        sources = [frame.image for frame in reader.frames()]
    assert (recording["width"], recording["height"]) == (width, height)
    with VideoReader(tmp_path / "new/out.mp4") as reader:
        kept = [frame.image.astype(int) for frame in reader.frames()]
    assert len(kept) == recording["frames"] >= 1
    places = [int(np.argmin([np.abs(image - source).mean() for source in sources])) for image in kept]
    assert places == sorted(set(places))  # each another frame of the clip, in order
    assert np.abs(kept[0] - sources[places[0]]).mean() < 3
    top = wall.shown[0][:60].astype(int)
    assert np.abs(top - sources[0][:60]).mean() < 5 < np.abs(top[:, ::-1] - sources[0][:60]).mean()  # a file is not mirrored


def test_without_a_name_recordings_are_dated(same: Path, tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    for _ in range(2):
        wall = Wall(None, keys="r.q")
        clip = str(real_clip("carphone_pristine.mp4"))
        paint_camera(clip, str(same), BACKEND, Controls(), tmp_path / "films", quiet=True, window=on(wall))
    films = sorted(path.name for path in (tmp_path / "films").iterdir())
    assert len(films) == 2
    assert all(film.startswith("camera.same.2") and film.endswith(".mp4") for film in films)


@pytest.mark.parametrize(
    ("name", "said"),
    [("917", "camera 917: there is no such camera"), ("gone.mp4", "gone.mp4: this is no camera that OpenCV opens")],
)
def test_what_is_no_camera_is_told(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngineError) as caught:
        Capture(name)
    assert str(caught.value).startswith(said)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["clip.mp4"], "INPUT and --camera exclude each other"),
        (["--blend", "a:1,b:1"], "--blend and --camera exclude each other"),
        (["--batch", "2"], "--batch and --camera exclude each other"),
        (["--smooth", "0.5"], "--smooth and --camera exclude each other"),
        (["--crf", "99"], "99"),
        (["-o", "new/out.webm", "--codec", "h264"], ".webm files do not take h264"),
        (["-o", "out.gif"], "out.gif: a recording is not written as '.gif'"),
        (["-o", "same.mp4"], "same.mp4: this output exists already"),
        (["--style", "nowhere"], "no style is called 'nowhere'"),
        ([], "there is no screen for a window"),
    ],
)
def test_the_command_says_what_it_cannot_do(
    words: list[str], said: str, same: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("same.mp4").write_bytes(b"kept")
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    before = sorted(Path().iterdir())
    with pytest.raises(SystemExit) as caught:
        main(["infer", "--camera", "0", *(["--style", str(same)] if "--style" not in words else []), *words])
    assert caught.value.code == 2
    assert said in capsys.readouterr().err
    assert (sorted(Path().iterdir()), Path("same.mp4").read_bytes()) == (before, b"kept")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a screen is no address")
def test_a_screen_that_cannot_be_reached_is_an_error_and_no_crash(
    same: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":917")
    with pytest.raises(SystemExit) as caught:
        main(["infer", "--camera", "0", "--style", str(same)])
    assert caught.value.code == 2
    assert "the screen takes no window" in capsys.readouterr().err


def test_recordings_take_the_next_free_name(tmp_path: Path) -> None:
    first = tmp_path / "a.mp4"
    (tmp_path / "a-2.mp4").write_bytes(b"")
    assert [path.name for path, _ in zip(numbered(first), range(3), strict=False)] == ["a.mp4", "a-3.mp4", "a-4.mp4"]
    again: Iterator[Path] = recording_names(first, overwrite=True)
    assert [path.name for path, _ in zip(again, range(2), strict=False)] == ["a.mp4", "a-2.mp4"]


def test_a_recorder_begins_anew_where_the_size_changes(tmp_path: Path) -> None:
    clock, names = Clock(), numbered(tmp_path / "a.mp4")
    recorder = Recorder(lambda: next(names), 29.97, clock)
    assert recorder.stop() is None
    recorder.start()
    for size in (32, 32, 64):
        recorder.add(np.zeros((size, 64, 3), np.uint8), clock.now)
        clock.now += 0.5
    recorder.stop()
    assert [(done.path.name, done.frames, done.height, done.seconds) for done in recorder.done] == [
        ("a.mp4", 2, 32, 1.0),
        ("a-2.mp4", 1, 64, 0.5),
    ]
    assert float(shown(tmp_path / "a-2.mp4")[-1]) == 0.5


@given(st.integers(1, 400), st.integers(1, 400), st.lists(st.text(max_size=30), max_size=3), st.text(max_size=8))
def test_words_fit_pictures_of_any_size(height: int, width: int, lines: list[str], lamp: str) -> None:
    image = np.full((height, width, 3), 200, np.uint8)
    told = caption(image, lines, lamp)
    assert told.shape == image.shape
    assert told.dtype == np.uint8
    assert image.min() == 200


def test_words_are_where_they_do_not_cover_the_picture() -> None:
    image = cv2.resize(drawn(1, 90, 120)[0], (640, 480))
    told = caption(image, ["candy   25.0 frames/s", "q quit"], "0:07")
    changed = (told != image).any(2)
    assert not changed[40:430].any()
    assert not changed[:40, :500].any()
    assert changed[440:].mean() > 0.9
    assert np.array_equal(caption(image, []), image)

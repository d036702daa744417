"""A video that was not finished goes on where it ended, and is the same file as one that was never stopped."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media import drawn, identity_style, shown, write_clip

from engine import EngineError
from engine.cli import main
from engine.encoding import CODECS, Encoding, available
from engine.errors import RunError
from engine.segments import Continuation, fingerprint, folder_of, frames_kept
from engine.video import VideoFrame, VideoInfo, colour_of
from engine.video_reading import VideoReader
from engine.video_writing import writing_video

ENGINE = [sys.executable, "-c", "from engine.cli import main; main()"]
FRAMES = drawn(12, 64, 96)
INFO = VideoInfo(96, 64, Fraction(1, 25), Fraction(25), colour_of(2, False, 2, 2, 64))
MADE_WITH = {"style": "a", "backend": {"name": "torch", "version": "1"}}


def write(target: Path, *, ends: int | None = None, ticks: list[int] | None = None, codec: str = "h264", **continuation: object) -> int:
    """Write the frames, an interrupt after ``ends`` of them; returns how many were taken over."""
    plan = Continuation(**{"made_with": MADE_WITH, "length": 5, **continuation})  # type: ignore[arg-type]  # each test knows its fields
    clock = ticks or list(range(len(FRAMES)))
    durations = [after - tick for tick, after in zip(clock, [*clock[1:], clock[-1] + 1], strict=True)]
    with writing_video(target, INFO, None, Encoding(codec), plan) as writer:
        for count, (image, *times) in enumerate(zip(FRAMES, clock, durations, strict=True)):
            if count == ends:
                raise KeyboardInterrupt
            if count >= writer.done:
                writer.write(VideoFrame(image, *times))
        return writer.done


def interrupt(target: Path, after: int, **how: object) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(target, ends=after, **how)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("codec", [codec for codec in available() if CODECS[codec].repeats])
def test_a_continued_file_has_the_same_bytes(tmp_path: Path, codec: str) -> None:
    target = tmp_path / "out.mp4"
    assert write(tmp_path / "whole.mp4", codec=codec) == 0
    interrupt(target, 11, codec=codec)
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == [".out.mp4.resume"]
    assert frames_kept(target) == 10
    assert write(target, codec=codec, resume=True) == 10
    assert target.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert not folder_of(target).exists()


def test_a_short_video_leaves_nothing_behind(tmp_path: Path) -> None:
    interrupt(tmp_path / "out.mp4", 5)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "out.mp4", length=12)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_what_cannot_go_on_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    interrupt(tmp_path / "out.mp4", 11, made_with=None)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(EngineError, match="this cannot go on where an earlier run ended: it keeps nothing"):
        write(tmp_path / "out.mp4", made_with=None, resume=True)
    interrupt(tmp_path / "out.mp4", 11, codec="h265")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(EngineError, match="ended: h265 is not encoded to the same bytes each time"):
        write(tmp_path / "out.mp4", codec="h265", resume=True)


def test_a_run_from_the_start_replaces_what_was_kept_only_when_it_has_something_itself(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    interrupt(target, 11)
    interrupt(target, 4)
    assert frames_kept(target) == 10
    interrupt(target, 7)
    assert frames_kept(target) == 5
    write(target)
    assert not folder_of(target).exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"style": "b"}, 'begun with style "a", and now it is "b"'),
        ({"backend": {"name": "torch", "version": "2"}}, 'begun with backend version "1", and now it is "2"'),
        ({"style": "b", "strength": 1}, "strength changed too"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    target = tmp_path / "out.mp4"
    interrupt(target, 11)
    with pytest.raises(EngineError, match=message) as caught:
        write(target, made_with={**MADE_WITH, **changed}, resume=True)
    assert (caught.value.exit_code, frames_kept(target)) == (2, 10)
    with pytest.raises(EngineError, match='begun with codec "h264", and now it is "vp9"'):
        write(target, codec="vp9", resume=True)


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "manifest"])
def test_what_is_damaged_is_painted_again(tmp_path: Path, damage: str) -> None:
    target = tmp_path / "out.mp4"
    write(tmp_path / "whole.mp4")
    interrupt(target, 11)
    second = folder_of(target) / "000001.segment"
    if damage == "manifest":
        (folder_of(target) / "manifest.json").write_text('{"format": 1')
    elif damage == "gone":
        second.unlink()
    else:
        data = second.read_bytes()
        second.write_bytes(data[:-3] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    assert write(target, resume=True) == (0 if damage == "manifest" else 5)
    assert target.read_bytes() == (tmp_path / "whole.mp4").read_bytes()


@given(gaps=st.lists(st.integers(1, 400), min_size=12, max_size=12))
@settings(max_examples=15)
def test_any_clock_survives_segments(tmp_path_factory: pytest.TempPathFactory, gaps: list[int]) -> None:
    import av

    ticks = [sum(gaps[:k]) for k in range(12)]
    path = tmp_path_factory.mktemp("clock") / "out.mp4"
    write(path, ticks=ticks, length=4)
    assert shown(path)[:12] == [Fraction(tick, 25) for tick in ticks]
    with av.open(str(path)) as container:
        packets = [(packet.dts, packet.pts) for packet in container.demux(video=0) if packet.dts is not None and packet.pts is not None]
    assert [dts for dts, _ in packets] == sorted({dts for dts, _ in packets})
    assert all(dts <= pts for dts, pts in packets)


def test_every_segment_is_decoded_on_its_own(tmp_path: Path) -> None:
    import av

    write(tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        keys = [packet.pts for packet in container.demux(video=0) if packet.is_keyframe and packet.size]
        stream = container.streams.video[0]
        assert [round(pts * stream.time_base * 25) for pts in keys] == [0, 5, 10]  # type: ignore[operator]  # a stream of a file has one
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert sum(1 for _ in reader.frames()) == 12


def test_a_fingerprint_tells_files_apart(tmp_path: Path) -> None:
    data = bytearray(os.urandom(300_000))
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(data)
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")
    data[150_000] ^= 1
    (tmp_path / "b").write_bytes(data)
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")
    (tmp_path / "b").write_bytes(b"")
    fingerprint(tmp_path / "b")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a style and a clip of two segments and a bit."""
    monkeypatch.chdir(tmp_path)
    identity_style(tmp_path / "same.safetensors")
    write_clip(tmp_path / "clip.mp4", drawn(25, 48, 64) * 22, ticks=range(550), options={"preset": "ultrafast", "crf": "30"}, seconds=2)
    return tmp_path


INFER = ["infer", "clip.mp4", "-o", "out.mp4", "--style", "same.safetensors"]


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main([*INFER, *arguments])
    return int(caught.value.code or 0)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals for children")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_run_that_was_ended_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    larger = ("--size", "192x144")  # so that it is not done before it is ended
    process = subprocess.Popen(
        [*ENGINE, *INFER, *larger],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs, and so ours, ignore it
        text=True,
    )
    deadline = time.monotonic() + 60
    while not frames_kept(folder / "out.mp4") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    kept = frames_kept(folder / "out.mp4")
    assert kept in (250, 500)
    assert [path.name for path in folder.iterdir() if "out" in path.name] == [".out.mp4.resume"]
    assert (f"out.mp4: {kept} frames are kept; the same command with --resume goes on" in said) is (number == signal.SIGINT)

    assert command("--resume", "--strength", "0.5", *larger) == 2
    assert "begun with strength 1.0, and now it is 0.5" in capsys.readouterr().err
    with monkeypatch.context() as patch:  # as if other programs had taken the memory, in which --tile auto would choose stripes
        patch.setattr("engine.tiling.free_memory", lambda: 10_000)
        assert command("--resume", *larger) == 0
    said = capsys.readouterr().err
    assert "550 frames" in said
    assert "stripes" not in said
    assert f"{kept} frames are of an earlier run" in said
    continued = (folder / "out.mp4").read_bytes()
    assert command("--resume", *larger) == 0
    assert "out.mp4: skipped, an earlier run has finished it" in capsys.readouterr().err
    assert command("--overwrite", "--resume", *larger) == 0
    assert "there was nothing to go on with" in capsys.readouterr().err
    assert (folder / "out.mp4").read_bytes() == continued


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
@pytest.mark.parametrize(("room", "kept"), [(0.2, 0), (0.8, 500)])
def test_a_full_disk_is_said_and_nothing_is_half_written(folder: Path, room: float, kept: int) -> None:
    """There is room for not even a segment, or for each of them but not for the file."""
    assert command() == 0
    most = round((folder / "out.mp4").stat().st_size * room)
    (folder / "out.mp4").unlink()
    done = subprocess.run(
        [*ENGINE, *INFER],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 1, done.stderr
    assert "error: out.mp4: " in done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert frames_kept(folder / "out.mp4") == kept
    assert [path.name for path in folder.iterdir() if "out" in path.name] == ([".out.mp4.resume"] if kept else [])
    assert (f"{kept} frames are kept; the same command with --resume goes on" in done.stderr) is (kept > 0)


def test_a_target_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    target = locked / "out.mp4" if os.access(locked, os.W_OK) is False else Path("/sys/kernel/out.mp4")  # root may write anywhere but there
    with pytest.raises(EngineError, match=f"{target}: cannot write here: Permission denied") as caught:
        write(target)
    assert type(caught.value) is not RunError
    assert list(locked.iterdir()) == []

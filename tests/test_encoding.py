"""Codecs: what each container takes, how good the picture is, odd sizes, and what ``--json`` says of the work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from media import drawn, identity_style, shown, write_clip

from engine import Array, EngineError
from engine.cli import main
from engine.encoding import CODECS, Encoding, available, taken_by
from engine.stages import Stages
from engine.video import CONTAINERS, VideoFrame, VideoInfo, colour_of
from engine.video_reading import VideoReader
from engine.video_writing import writing_video


def info(width: int, height: int) -> VideoInfo:
    return VideoInfo(width, height, Fraction(1, 25), Fraction(25), colour_of(1, False, 1, 1, height))


def write(path: Path, encoding: Encoding, width: int = 96, height: int = 64, count: int = 6) -> tuple[str, ...]:
    with writing_video(path, info(width, height), None, encoding) as writer:
        for k, image in enumerate(drawn(count, height, width)):
            writer.write(VideoFrame(image, k, 1))
    return writer.notes


def error_of(path: Path) -> float:
    """Grey levels that the frames are off, on average."""
    with VideoReader(path) as reader:
        read = [frame.image for frame in reader.frames()]
    wanted = drawn(len(read), *read[0].shape[:2])
    return float(np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(read, wanted, strict=True)]))


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_each_container_holds_what_it_is_said_to_take(tmp_path: Path, suffix: str) -> None:
    import av

    for codec in taken_by(CONTAINERS[suffix]):
        path = tmp_path / f"{codec}{suffix}"
        write(path, Encoding(codec))
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.codec.canonical_name == CODECS[codec].stream
            assert (stream.codec_context.pix_fmt, stream.codec_context.colorspace) == ("yuv420p", 1)
            if codec == "h265" and suffix in (".mp4", ".m4v", ".mov"):
                assert stream.codec_context.codec_tag == "hvc1"
        assert len(shown(path)) >= 6
        assert error_of(path) < 3


def test_the_default_is_what_the_container_is_used_with() -> None:
    chosen = {suffix: Encoding().encoder(suffix).codec.name for suffix in CONTAINERS}
    assert chosen == {suffix: "vp9" if suffix == ".webm" else "h264" for suffix in CONTAINERS}
    assert Encoding().encoder(".mp4").crf == 18


@pytest.mark.parametrize(
    ("codec", "crf", "suffix", "message"),
    [
        ("h266", None, ".mp4", "--codec: videos are not encoded as 'h266'; allowed: .*h264"),
        ("h264", None, ".webm", r"--codec: \.webm files do not take h264 here; allowed: vp9"),
        ("h264", 52, ".mp4", r"--crf: a crf of 52; allowed: 0 \(the best\) to 51 for h264"),
        (None, 64, ".webm", "a crf of 64; allowed: .* to 63 for vp9"),
        (None, 63, ".mp4", "a crf of 63; allowed: .* to 51 for h264"),
        ("vp9", -1, ".mkv", "a crf of -1"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(codec: str | None, crf: int | None, suffix: str, message: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        Encoding(codec, crf).encoder(suffix)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("codec", available())
def test_a_lower_crf_is_nearer_and_larger(tmp_path: Path, codec: str) -> None:
    good, bad = tmp_path / "good.mkv", tmp_path / "bad.mkv"
    write(good, Encoding(codec, 5))
    write(bad, Encoding(codec, 50))
    assert error_of(good) < error_of(bad)
    assert good.stat().st_size > bad.stat().st_size


@pytest.mark.parametrize(("width", "height"), [(97, 64), (96, 65), (97, 65)])
def test_odd_sides_are_exact_or_refused_with_a_remedy(tmp_path: Path, width: int, height: int) -> None:
    import av

    even = f"--size {width // 2 * 2}x{height // 2 * 2}"
    for codec, pixels in (("h264", "yuv444p"), ("h265", "yuv444p"), ("vp9", "yuv420p")):
        path = tmp_path / f"{codec}.mp4"
        notes = write(path, Encoding(codec), width, height)
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            assert (context.width, context.height, context.pix_fmt) == (width, height, pixels)
        assert error_of(path) < 3
        assert [even in note for note in notes] == ([True] if pixels == "yuv444p" else [])
    with pytest.raises(EngineError, match=f"av1 takes no odd sides, and this is {width}x{height}\n  Give {even}"):
        write(tmp_path / "x.mp4", Encoding("av1"), width, height)


def test_a_picture_too_small_for_its_codec_is_refused_before_it_is_painted(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="h265 takes no side under 16 pixels, and this is 12x20\n  Give --size 16x20, or --codec h264"):
        write(tmp_path / "x.mp4", Encoding("h265"), 12, 20)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "x.mp4", Encoding("h265"), 16, 16)
    write(tmp_path / "y.mp4", Encoding("h264"), 2, 2)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a style and an odd clip."""
    monkeypatch.chdir(tmp_path)
    identity_style(tmp_path / "same.safetensors")
    write_clip(tmp_path / "odd.mp4", drawn(6, 49, 65))
    return tmp_path


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["infer", "odd.mp4", "--style", "same.safetensors", *arguments])
    return int(caught.value.code or 0)


def test_the_remedy_for_odd_sides_works(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import av

    assert command("-o", "a.mp4") == 0
    (remedy,) = [line for line in capsys.readouterr().err.splitlines() if "plays everywhere" in line]
    assert command("-o", "b.mp4", *remedy.split("; ")[1].split()[:2]) == 0
    with av.open(str(folder / "b.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.width, context.height, context.pix_fmt) == (64, 48, "yuv420p")
    assert "plays everywhere" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.webm", "--codec", "h264"], "--codec: .webm files do not take h264 here; allowed: vp9"),
        (["-o", "x.y4m", "--codec", "h264"], "--codec: x.y4m holds no encoded video"),
        (["-o", "x.y4m", "--crf", "3"], "--crf: x.y4m holds no encoded video"),
        (["-o", "x.y4m", "--resume"], "--resume: x.y4m holds no encoded video"),
        (["-o", "-", "--resume"], "--resume: what goes to a pipe cannot be resumed"),
    ],
)
def test_an_option_that_cannot_be_followed_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    before = sorted(folder.rglob("*"))
    assert command(*arguments) == 2
    assert message in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


def test_json_tells_what_each_stage_can_do(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("-o", "x.webm", "--crf", "40", "--json") == 0
    (said,) = json.loads(capsys.readouterr().out)["outputs"]
    assert list(said["stages"]) == ["decode", "paint", "encode"]
    for stage in said["stages"].values():
        assert 0 < stage["seconds"] < said["seconds"]
        assert stage["frames_per_second"] == pytest.approx(6 / stage["seconds"], rel=0.1, abs=10)
    assert said["peak_memory_mib"] > 20
    assert {"backend", "device", "precision"} <= set(said)


def test_damage_is_fatal_where_it_is_asked_to_be(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(folder / "odd.mp4", drawn(30, 120, 160), options={"crf": "10", "bf": "0"}, container={"movflags": "+faststart"})
    assert command("-o", "whole.mp4", "--strict") == 0
    data = (folder / "odd.mp4").read_bytes()
    (folder / "odd.mp4").write_bytes(data[: len(data) * 2 // 3])
    before = sorted(folder.rglob("*"))
    assert command("-o", "x.mp4", "--strict") == 2
    said = capsys.readouterr().err
    assert "error: odd.mp4: " in said
    assert "Leave --strict out" in said
    assert sorted(folder.rglob("*")) == before
    assert command("-o", "x.mp4") == 0
    assert "the input ends early" in capsys.readouterr().err


def test_waiting_for_frames_is_no_work_of_the_painter(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("engine.stages.time", SimpleNamespace(perf_counter=lambda: now[0]))

    class Slow:
        def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
            for batch in batches:
                now[0] += 2
                yield batch

    def frames() -> Iterator[Array]:
        for _ in range(4):
            now[0] += 10
            yield np.zeros((1, 8, 8, 3), np.uint8)

    stages = Stages()
    painter = stages.watched(Slow())  # type: ignore[arg-type]  # it paints, and nothing else is asked of it
    assert len(list(stages.each("paint", painter.paint(stages.each("decode", frames()))))) == 4
    assert stages.seconds() == {"decode": 40, "paint": 8, "encode": 0}


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell the peak")
def test_memory_does_not_grow_with_the_clip(folder: Path) -> None:
    peaks = []
    for count in (60, 600):
        write_clip(folder / "clip.mp4", drawn(20, 72, 96) * (count // 20), ticks=range(count), options={"preset": "ultrafast"})
        arguments = ["infer", "clip.mp4", "-o", "out.mp4", "--style", "same.safetensors", "--overwrite", "--json", "--quiet"]
        program = [sys.executable, "-c", "from engine.cli import main; main()", *arguments]
        done = subprocess.run(program, capture_output=True, check=True, timeout=100)
        (said,) = json.loads(done.stdout)["outputs"]
        assert said["frames"] == count
        peaks.append(said["peak_memory_mib"])
    assert peaks[1] < 1.05 * peaks[0]


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="this system has no scheduling policies")
@pytest.mark.parametrize("codec", available())
def test_an_encoder_leaves_the_threads_of_others_as_they_are(codec: str, tmp_path: Path) -> None:
    """SVT-AV1 makes the thread that opens it a real-time one where root runs it: MindSpore then waited for ever for its own threads."""
    before = os.sched_getscheduler(0), os.sched_getaffinity(0)
    info = VideoInfo(64, 48, Fraction(1, 25), Fraction(25), colour_of(2, False, 2, 2, 48))
    with writing_video(tmp_path / "x.mkv", info, encoding=Encoding(codec)) as writer:
        for k, image in enumerate(drawn(3, 48, 64)):
            writer.write(VideoFrame(image, k, 1))
            assert (os.sched_getscheduler(0), os.sched_getaffinity(0)) == before
    assert (os.sched_getscheduler(0), os.sched_getaffinity(0)) == before


@pytest.mark.skipif("av1" not in available(), reason="this FFmpeg has no SVT-AV1")
def test_a_rate_that_an_encoder_does_not_take_changes_no_time(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mkv", drawn(5, 48, 64), rate=Fraction(500))
    with VideoReader(source) as reader, writing_video(tmp_path / "out.mkv", reader.info, encoding=Encoding("av1")) as writer:
        for frame in reader.frames():
            writer.write(frame)
    assert shown(tmp_path / "out.mkv")[:5] == shown(source)[:5]


@pytest.mark.parametrize(("codec", "suffix"), [("h264", ".mkv"), ("vp9", ".mp4"), ("vp9", ".webm"), ("vp9", ".mkv")])
def test_the_shape_of_pixels_is_kept_or_said_to_be_lost(codec: str, suffix: str, tmp_path: Path) -> None:
    info = VideoInfo(64, 48, Fraction(1, 25), Fraction(25), colour_of(2, False, 2, 2, 48), Fraction(16, 15))
    with writing_video(tmp_path / f"x{suffix}", info, encoding=Encoding(codec)) as writer:
        writer.write(VideoFrame(drawn(1, 48, 64)[0], 0, 1))
    with VideoReader(tmp_path / f"x{suffix}") as reader:
        kept = reader.info.aspect == Fraction(16, 15)
    assert kept != any("has square pixels, so it is shown in other proportions" in note for note in writer.notes)
    assert kept == (codec == "h264" or suffix == ".mp4")

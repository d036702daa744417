"""Pictures and y4m through standard input and output: streams, hostile headers, and waits that end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from functools import partial
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from media import drawn, identity_style, write_clip

from engine import Array, EngineError, RunError, VideoReader
from engine.images import Picture, decode_picture, read_picture, write_picture
from engine.jobs import plan
from engine.pipes import PipeReader, PipeWriter
from engine.video import VideoFrame, VideoInfo, colour_of
from engine.y4m import FORMATS, Header, Y4MReader, Y4MWriter, parse_header

ENGINE = [sys.executable, "-c", "from engine.cli import main; main()", "infer", "--style", "same.safetensors", "--precision", "float32"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    identity_style(tmp_path / "same.safetensors")
    return tmp_path


def piped(data: bytes) -> PipeReader:
    """A pipe that holds ``data`` and has ended."""
    read, write = os.pipe()

    def send() -> None:
        PipeWriter(write).write(data)
        os.close(write)

    Thread(target=send).start()
    return PipeReader(read, "test")


def clip_of(frames: list[Array], *, full: bool = False, rate: Fraction = Fraction(30000, 1001), ticks: list[int] | None = None) -> bytes:
    """What the writer makes of frames."""
    height, width = frames[0].shape[:2]
    info = VideoInfo(width, height, 1 / rate, rate, colour_of(2, full, 2, 2, height), Fraction(4, 3))
    with Path("clip.bin").open("wb", buffering=0) as file:
        writer = Y4MWriter(PipeWriter(file.fileno()), info)
        for k, image in enumerate(frames):
            writer.write(VideoFrame(image, ticks[k] if ticks else k, 1))
    assert writer.written == len(frames)
    assert bool(writer.notes) == (ticks is not None)
    return Path("clip.bin").read_bytes()


@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
@pytest.mark.parametrize("full", [False, True])
def test_frames_round_trip(folder: Path, size: tuple[int, int], full: bool) -> None:
    frames = drawn(3, *size)
    with Y4MReader(piped(clip_of(frames, full=full)), Event()) as reader:
        back = list(reader.frames())
        assert reader.notes() == ()
    assert reader.header == Header(size[1], size[0], Fraction(30000, 1001), "444" if size[0] % 2 else "420jpeg", Fraction(4, 3), "p")
    assert [(frame.pts, frame.duration) for frame in back] == [(0, 1), (1, 1), (2, 1)]
    assert (reader.info.rate, reader.info.aspect) == (Fraction(30000, 1001), Fraction(4, 3))
    for frame, image in zip(back, frames, strict=True):
        difference = frame.image.astype(int) - image
        assert np.abs(difference).mean() < 0.8
        assert abs(difference.mean()) < 0.1


def test_other_readers_see_the_same_pixels(folder: Path) -> None:
    data = clip_of(drawn(3, 48, 64))
    Path("clip.y4m").write_bytes(data)
    with VideoReader(Path("clip.y4m")) as theirs, Y4MReader(piped(data), Event()) as ours:
        for expected, frame in zip(theirs.frames(), ours.frames(), strict=True):
            np.testing.assert_array_equal(frame.image, expected.image)
        assert theirs.info.rate == ours.info.rate


@pytest.mark.parametrize("chroma", FORMATS)
@pytest.mark.parametrize("full", [False, True])
def test_every_kind_of_samples_becomes_rgb(chroma: str, full: bool) -> None:
    header = Header(30, 20, Fraction(25), chroma, full=full)
    luma = np.repeat(np.arange(20, dtype=np.uint8) * 11 + 16, 30)
    rest = sum(height * width for height, width in header.planes[1:])
    reader = Y4MReader(piped(header.to_line() + b"\nFRAME Ip\n" + luma.tobytes() + b"\x80" * rest), Event())
    (frame,) = reader.frames()
    grey = np.arange(20) * 11 + 16 if full else np.rint(np.arange(20) * 11 * 255 / 219)
    np.testing.assert_allclose(frame.image[:, 7], np.repeat(grey[:, None], 3, 1), atol=1)


def test_frames_that_move_in_time_are_said(folder: Path) -> None:
    clip_of(drawn(3, 48, 64), ticks=[0, 1, 5])


def test_what_is_odd_in_a_stream_is_said() -> None:
    frame = b"FRAME\n" + bytes(8 * 8 * 3 // 2)
    stream = piped(b"YUV4MPEG2 W8 H8 F0:0 It\n" + frame * 2 + frame[:-1])
    reader = Y4MReader(stream, Event())
    assert len(list(reader.frames())) == 2
    assert reader.notes() == (
        "the input ends in the middle of a frame, which was left out",
        "the input names no frame rate; 25 a second were taken",
        "the input is interlaced; its frames are painted as they are",
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"YUV4MPEG2 W8 H8 F25:1 C420p10\n", r"'420p10'; allowed: 420jpeg.*\n.*-pix_fmt yuv420p"),
        (b"YUV4MPEG2 W8 H8 F25:1 C444alpha\n", "'444alpha'"),
        (b"YUV4MPEG2 W99999 H8 F25:1\n", "the width '99999'; allowed: 1 to 16384"),
        (b"YUV4MPEG2 W8 H0 F25:1\n", "the height '0'"),
        (b"YUV4MPEG2 W8 H8 F25:0\n", "the frame rate '25:0'"),
        (b"YUV4MPEG2 W8 H8 F25:1 Ix\n", "the interlacing 'x'"),
        (b"YUV4MPEG2 H8\n", "the width ''"),
        (b"YUV4MPEG3 W8 H8\n", "does not begin with YUV4MPEG2"),
        (b"YUV4MPEG2 W8 H8 F25:1", "no header that ends"),
        (b"YUV4MPEG2 " + b"X" * 5000, "no header that ends"),
        (b"YUV4MPEG2 W8 H8 F25:1\n", "no frame"),
        (b"YUV4MPEG2 W8 H8 F25:1\nFRANE\n" + bytes(96), "no frame begins where one should"),
        (b"YUV4MPEG2 W16384 H16384 F25:1\nFRAME\nshort", "holds no frame"),
    ],
)
def test_a_hostile_header_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        Y4MReader(piped(data), Event())
    assert caught.value.exit_code == 2


TAGS = ["W8", "H8", "W", "H-1", "F25:1", "F1:0", "A1:1", "A0:0", "Ip", "I", "C444", "Cmono", "XCOLORRANGE=FULL", "X", "", "W²", "Z9"]


@given(st.lists(st.sampled_from(TAGS) | st.text(max_size=6), max_size=8))
@example(["W8", "H8", "F000000000:1"])
def test_any_header_is_understood_or_refused(tags: list[str]) -> None:
    with suppress(EngineError):
        header = parse_header(" ".join(["YUV4MPEG2", *tags]).encode(), "x")
        assert parse_header(header.to_line(), "x") == header


@given(
    st.builds(
        Header,
        st.integers(1, 16384),
        st.integers(1, 16384),
        st.none() | st.fractions(Fraction(1, 1000), 1000, max_denominator=10**6),
        st.sampled_from(list(FORMATS)),
        st.none() | st.fractions(Fraction(1, 99), 99, max_denominator=99).filter(lambda x: x != 1),
        st.sampled_from("ptbm?"),
        st.booleans(),
    )
)
def test_a_header_round_trips(header: Header) -> None:
    assert parse_header(header.to_line(), "x") == header


@given(st.lists(st.binary(max_size=9) | st.just(b"FRAME\n") | st.just(bytes(24)), max_size=9))
def test_no_bytes_after_the_header_do_more_than_end_it(parts: list[bytes]) -> None:
    with suppress(EngineError):
        reader = Y4MReader(piped(b"YUV4MPEG2 W4 H4 F25:1\n" + b"".join(parts)), Event())
        assert all(frame.image.shape == (4, 4, 3) for frame in reader.frames())


@given(st.lists(st.binary(max_size=300), max_size=5), st.lists(st.integers(0, 200), max_size=9))
def test_a_pipe_gives_its_bytes_in_order(parts: list[bytes], sizes: list[int]) -> None:
    data = b"".join(parts)
    pipe, got = piped(data), b""
    for k, size in enumerate(sizes):
        if k % 3 == 0:
            assert pipe.peek(size) == data[len(got) : len(got) + size]
        line = pipe.read_line(size) if k % 3 == 1 and size else None
        got += bytes(pipe.read(size)) if line is None else line + b"\n"
    assert got + pipe.read(10**6) == data


def test_a_writer_says_when_nobody_reads_any_more() -> None:
    read, write = os.pipe()
    os.close(read)
    with pytest.raises(RunError, match="whoever was reading has stopped"):
        PipeWriter(write, Event()).write(b"x")
    os.close(write)


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot wait for a pipe with a time limit")
@pytest.mark.parametrize("wait", ["read", "write"])
def test_a_wait_ends_when_it_is_told_to(wait: str) -> None:
    read, write = os.pipe()
    stop = Event()
    work: Callable[[], object] = (
        (lambda: PipeReader(read).read(9, stop)) if wait == "read" else (lambda: PipeWriter(write, stop).write(bytes(2**22)))
    )
    ended: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except KeyboardInterrupt as error:
            ended.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    stop.set()
    thread.join(30)
    assert ended
    os.close(read)
    os.close(write)


def test_a_piped_input_is_told_by_its_content(folder: Path) -> None:
    picture, video = b"\x89PNG\r\n\x1a\n....", b"YUV4MPEG2 W8 H8"
    for data, kind in ((picture, "picture"), (video, "video")):
        assert plan([Path("-")], "-", "same", stdin=partial(piped, data)).jobs[0].kind == kind
    for output, target in (("new/", "new/stdin.mp4"), ("x.mkv", "x.mkv"), ("p/%03d.png", "p/%03d.png")):
        assert plan([Path("-")], output, "same", stdin=lambda: piped(video)).jobs[0].target == Path(target)


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["-"], None, "no name for what is made of standard input"),
        (["-", "-"], "new", "standard input can be read once"),
        (["-", "a.png"], "-", "-o - takes one picture or video, not 2"),
        (["-"], "x.mp4", r"no y4m, and x\.mp4 takes y4m video only\n  Send videos as y4m"),
    ],
)
def test_a_pipe_that_cannot_be_used_is_refused(folder: Path, inputs: list[str], output: str | None, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        plan([Path(name) for name in inputs], output, "same", stdin=lambda: piped(b"\x89PNG"))
    with pytest.raises(EngineError, match="standard input is empty"):
        plan([Path("-")], "-", "same", stdin=lambda: piped(b""))


def test_pictures_and_videos_go_through_pipes(folder: Path) -> None:
    write_clip(folder / "clip.mp4", drawn(4, 48, 64), seconds=0.2)
    write_picture(folder / "photo.png", Picture(drawn(1, 33, 42)[0]))
    photo = subprocess.run([*ENGINE, "-", "-o", "-", "-q"], input=Path("photo.png").read_bytes(), capture_output=True, check=True)
    np.testing.assert_array_equal(decode_picture(photo.stdout, "x").rgb, read_picture(Path("photo.png")).rgb)
    first = subprocess.Popen([*ENGINE, "clip.mp4", "-o", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    second = subprocess.run([*ENGINE, "-", "-o", "-.mkv", "-q"], stdin=first.stdout, capture_output=True, check=True)
    assert "y4m holds no audio, which the input has" in first.communicate()[1].decode()
    Path("back.mkv").write_bytes(second.stdout)
    with VideoReader(Path("back.mkv")) as reader, VideoReader(Path("clip.mp4")) as original:
        pairs = list(zip(reader.frames(), original.frames(), strict=True))
        assert reader.info.rate == original.info.rate
    assert max(np.abs(a.image.astype(int) - b.image).mean() for a, b in pairs) < 1.5


def test_a_reader_that_stops_or_was_never_there_is_said(folder: Path) -> None:
    write_clip(folder / "clip.mp4", drawn(4, 48, 64))
    writing = subprocess.Popen([*ENGINE, "clip.mp4", "-o", "-.mkv"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writing.stdout is not None
    writing.stdout.close()
    said = writing.communicate()[1].decode()
    assert writing.returncode == 1
    assert "standard output: 4 frames, 64x48" in said
    assert "error: standard output: whoever was reading has stopped" in said  # was nothing
    closed = [sys.executable, "-c", f"import os; os.close(1); os.execv({sys.executable!r}, {[*ENGINE, 'clip.mp4', '-o', '-']!r})"]
    done = subprocess.run(closed, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr.decode().splitlines()[0]) == (2, "error: -o: standard output is closed")  # was a traceback


@pytest.fixture
def waiting(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*ENGINE, "-", "-o", "out.mp4"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs, and so ours, ignore it
    )
    yield process
    process.kill()
    process.communicate()


def bytes_in(handle: int) -> int:
    """How much a pipe holds that nobody has read."""
    import fcntl
    import termios

    return int.from_bytes(fcntl.ioctl(handle, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for children")
def test_an_interrupt_ends_a_wait_for_the_next_frame(folder: Path, waiting: subprocess.Popen[bytes]) -> None:
    assert waiting.stdin is not None
    data = clip_of(drawn(3, 48, 64))
    frames = data[data.index(b"FRAME") :]
    waiting.stdin.write(data + frames * 12)  # more than a pipe holds, so its start is read before this returns
    waiting.stdin.flush()  # and nothing more comes
    deadline = time.monotonic() + 60
    while bytes_in(waiting.stdin.fileno()) and waiting.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(60) == 130
    assert not [path for path in folder.iterdir() if "out" in path.name]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GIF89a nothing that is read here", "standard input holds no picture that can be read and no y4m video"),
        (b"YUV4MPEG2 W64 H48 F25:1 C420p10\n", "the y4m header gives the samples '420p10'"),
        (b"YUV4MPEG2 W64 H48 F25:1\nFRAME\n" + bytes(64 * 48 * 3 // 2) + b"FRAMES\n", "no frame begins where one should"),
    ],
)
def test_bad_input_from_a_pipe_leaves_nothing(folder: Path, data: bytes, message: str) -> None:
    output = "x.png" if data.startswith(b"GIF") else "x.mp4"
    done = subprocess.run([*ENGINE, "-", "-o", output], input=data, capture_output=True, check=False)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert [path.name for path in folder.iterdir()] == ["same.safetensors"]

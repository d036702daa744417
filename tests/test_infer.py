"""``engine infer``: which file becomes which, what is refused before any work, and what comes out."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from installed import BACKENDS, backend
from media import audio_packets, drawn, identity_style, real_clip, shown, write_clip

from engine import EngineError
from engine.cli import main
from engine.images import Picture, read_picture, write_picture
from engine.infer import Studio
from engine.jobs import plan
from engine.segments import frames_kept
from engine.style import load_style

ENGINE = [sys.executable, "-c", "from engine.cli import main; main()"]


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command line in this process."""

    def command(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        said = capsys.readouterr()
        return Done(int(caught.value.code or 0), said.out, said.err)

    return command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A style ``same.safetensors``, a clip ``clip.mp4``, a picture ``photo.png`` and a folder ``album``, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    identity_style(tmp_path / "same.safetensors")
    write_clip(tmp_path / "clip.mp4", drawn(4, 48, 64), seconds=0.1)
    write_picture(tmp_path / "photo.png", Picture(drawn(1, 33, 42)[0]))
    (tmp_path / "album").mkdir()
    for name in ("10.png", "9.jpg", "x2.PNG"):
        write_picture(tmp_path / "album" / name, Picture(drawn(1, 20, 24)[0]))
    (tmp_path / "album" / "notes.txt").write_text("no picture")
    return tmp_path


def targets(folder: Path, inputs: list[str], output: str | None = None, style: str = "candy", overwrite: bool = False) -> list[str]:
    work = plan([folder / name for name in inputs], output, style, overwrite=overwrite)
    return [os.path.relpath(job.target, folder) for job in work.jobs]


def test_outputs_stand_beside_their_inputs(folder: Path) -> None:
    assert targets(folder, ["clip.mp4", "photo.png"]) == ["clip.candy.mp4", "photo.candy.png"]
    assert targets(folder, ["album"]) == ["album.candy/9.jpg", "album.candy/10.png", "album.candy/x2.PNG"]
    (folder / "old.avi").write_bytes(b"")
    assert targets(folder, ["old.avi"]) == ["old.candy.mp4"]
    (folder / "bare").write_bytes(b"")
    assert targets(folder, ["bare"]) == ["bare.candy.mp4"]


def test_outputs_go_where_they_are_sent(folder: Path) -> None:
    assert targets(folder, ["photo.png"], f"{folder}/a.jpg") == ["a.jpg"]
    assert targets(folder, ["photo.png"], f"{folder}/new/") == ["new/photo.png"]
    assert targets(folder, ["photo.png", "clip.mp4"], f"{folder}/new") == ["new/photo.png", "new/clip.mp4"]
    assert targets(folder, ["album"], f"{folder}/new") == ["new/9.jpg", "new/10.png", "new/x2.PNG"]
    assert targets(folder, ["photo.png", "clip.mp4"], f"{folder}/new.jpg/")[0] == "new.jpg/photo.png"
    assert targets(folder, ["photo.png", "album"], f"{folder}/new")[1] == "new/album/9.jpg"


def test_a_style_name_cannot_lead_out_of_the_folder(folder: Path) -> None:
    assert targets(folder, ["photo.png"], style="../../etc/x y") == ["photo._.._etc_x_y.png"]


def test_the_name_inside_a_style_file_cannot_lead_out_of_the_folder(folder: Path, run: Callable[..., Done]) -> None:
    home = folder / "a" / "b"
    home.mkdir(parents=True)
    identity_style(home / "evil.safetensors", "/../../escaped\x1b[31m")
    before = set(folder.rglob("*"))
    with contextlib.chdir(home):
        done = run("infer", "--style", "evil.safetensors", "--precision", "float32")
    assert done.returncode == 0, done.stderr
    assert set(folder.rglob("*")) - before == {home / "sample._.._.._escaped_31m.mp4"}
    assert "\x1b" not in done.stderr


def test_other_files_of_a_folder_are_named(folder: Path) -> None:
    assert [path.name for path in plan([folder / "album"], None, "candy").skipped] == ["notes.txt"]


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["photo.png"], "photo.png", "this output is an input"),
        (["photo.png", "clip.mp4"], "", "this output is an input"),
        (["photo.png"], "there.png", "exists already"),
        (["photo.png"], "photo.mp4", r"a picture is not written as '\.mp4'.*\.png"),
        (["clip.mp4"], "clip.avi", r"a video is not written as '\.avi'.*\.mp4"),
        (["clip.mp4"], "clip", "without suffix"),
        (["photo.png", "clip.mp4"], "there.png", "need a folder"),
        (["photo.png", "clip.mp4"], "one.JPG", "several inputs are not written to one file"),
        (["album"], "one.mp4", "several inputs are not written to one file"),
        (["gone.png"], None, r"gone\.png: there is no such file"),
        (["gone.mp4"], "new/", r"gone\.mp4: there is no such file"),
        (["photo.png", "album/../photo.png"], "new", "several inputs would be written here"),
        (["empty"], None, "this folder holds no pictures"),
    ],
)
def test_what_cannot_be_written_is_refused_first(folder: Path, inputs: list[str], output: str | None, message: str) -> None:
    (folder / "there.png").write_bytes(b"")
    (folder / "empty").mkdir()
    with pytest.raises(EngineError, match=message) as caught:
        targets(folder, inputs, None if output is None else str(folder / output), overwrite=message != "exists already")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", BACKENDS)
def test_a_studio_paints_what_it_can(folder: Path, name: str) -> None:
    (folder / "broken.mp4").write_text("words")
    work = plan([folder / n for n in ("broken.mp4", "clip.mp4", "gone.jpg", "photo.png")], str(folder / "new"), "same")
    watched: list[tuple[str, int, int | None]] = []
    studio = Studio.open(load_style(folder / "same.safetensors"), backend(name), 3)
    results = list(studio.paint(work.jobs, lambda job, done, total: watched.append((job.source.name, done, total))))
    assert [result.error is None for result in results] == [False, True, False, True]
    assert str(results[2].error) == f"{folder / 'gone.jpg'}: there is no such file"
    assert [(result.frames, result.width, result.height) for result in results if result.error is None] == [(4, 64, 48), (1, 42, 33)]
    assert watched == [*(("clip.mp4", i, 4) for i in (1, 2, 3, 4)), ("photo.png", 1, 1)]
    assert sorted(path.name for path in (folder / "new").iterdir()) == ["clip.mp4", "photo.png"]
    assert shown(folder / "new/clip.mp4") == shown(folder / "clip.mp4")
    assert audio_packets(folder / "new/clip.mp4") == audio_packets(folder / "clip.mp4")
    np.testing.assert_array_equal(read_picture(folder / "new/photo.png").rgb, read_picture(folder / "photo.png").rgb)


def test_a_picture_that_is_too_small_says_which(folder: Path) -> None:
    write_picture(folder / "dot.png", Picture(np.zeros((4, 9, 3), np.uint8)))
    studio = Studio.open(load_style(folder / "same.safetensors"), backend(BACKENDS[0]))
    (result,) = studio.paint(plan([folder / "dot.png"], None, "same").jobs)
    assert "dot.png: a picture of 9x4 is too small" in str(result.error)


def test_many_inputs_as_json_and_one_bad_one(folder: Path, run: Callable[..., Done]) -> None:
    (folder / "broken.mp4").write_text("words")
    done = run("infer", "clip.mp4", "broken.mp4", "album", "-o", "new", "--style", "same.safetensors", "--precision", "float32", "--json")
    assert done.returncode == 2
    said = json.loads(done.stdout)
    assert [Path(item["output"]).as_posix() for item in said["outputs"]] == [
        "new/clip.mp4",
        "new/album/9.jpg",
        "new/album/10.png",
        "new/album/x2.PNG",
    ]
    clip = said["outputs"][0]
    assert {key: clip[key] for key in ("input", "frames", "width", "height", "precision", "style")} == {
        "input": "clip.mp4",
        "frames": 4,
        "width": 64,
        "height": 48,
        "precision": "float32",
        "style": "same",
    }
    assert clip["frames_per_second"] == pytest.approx(4 / clip["seconds"], rel=0.05)
    assert clip["backend"] in BACKENDS
    assert [item["input"] for item in said["failed"]] == ["broken.mp4"]
    assert said["skipped"] == [str(Path("album/notes.txt"))]
    assert "error: broken.mp4: this is no video that can be read" in done.stderr
    assert f"backend {clip['backend']}, device" in done.stderr
    assert "Traceback" not in done.stderr


def test_quiet_standard_output_and_overwrite(folder: Path, run: Callable[..., Done]) -> None:
    first = subprocess.run(
        [*ENGINE, "infer", "photo.png", "-o", "-", "--style", "same.safetensors", "--quiet"], cwd=folder, capture_output=True, check=True
    )
    (folder / "back.png").write_bytes(first.stdout)
    assert first.stderr == b""
    np.testing.assert_array_equal(read_picture(folder / "back.png").rgb, read_picture(folder / "photo.png").rgb)
    (folder / "back.png").write_bytes(b"old")
    done = run("infer", "photo.png", "-o", "back.png", "--style", "same.safetensors", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert (folder / "back.png").read_bytes() != b"old"


def test_a_terminal_is_sent_no_picture(folder: Path, run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    done = run("infer", "photo.png", "-o", "-", "--style", "same.safetensors")
    assert (done.returncode, done.stdout) == (2, "")
    assert "-o: a terminal shows no picture or video" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photo.png", "--style", "nothere"], "no style is called 'nothere'"),
        (["photo.png", "--style", "gone.safetensors"], "gone.safetensors: there is no such file"),
        (["photo.png", "--style", "cut.safetensors"], "cut.safetensors: this is no whole safetensors file"),
        (["photo.png", "--style", "text.safetensors"], "text.safetensors: this is no whole safetensors file"),
        (["photo.png", "--style", "same.safetensors", "--backend", "tourch"], "tourch"),
        (["photo.png", "--style", "same.safetensors", "--device", "toaster"], "device"),
        (["text.mp4", "--style", "same.safetensors"], "text.mp4: this is no video that can be read"),
        (["photo.png", "--style", "same.safetensors", "-o", "there.png"], "there.png: this output exists already"),
        (["photo.png", "--style", "same.safetensors", "-o", "-", "--json"], "-o - and --json both want standard output"),
        (["album", "--style", "same.safetensors", "-o", "-"], "-o - takes one picture or video, not a folder"),
    ],
)
def test_bad_input_ends_with_a_clear_message(folder: Path, run: Callable[..., Done], arguments: list[str], message: str) -> None:
    (folder / "cut.safetensors").write_bytes((folder / "same.safetensors").read_bytes()[:-20])
    (folder / "text.safetensors").write_text("a text file\n" * 9)
    (folder / "text.mp4").write_text("a text file\n" * 9)
    (folder / "there.png").write_bytes(b"untouched")
    before = sorted(folder.rglob("*"))
    done = run("infer", *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert sorted(folder.rglob("*")) == before
    assert (folder / "there.png").read_bytes() == b"untouched"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for children")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_half_written_file(folder: Path, number: signal.Signals) -> None:
    write_clip(folder / "long.mp4", drawn(12, 180, 240) * 40, ticks=range(480), options={"preset": "ultrafast"})
    process = subprocess.Popen(
        [*ENGINE, "infer", "long.mp4", "--style", "same.safetensors"],
        cwd=folder,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs, and so ours, ignore it
    )
    deadline = time.monotonic() + 60
    while not frames_kept(folder / "long.same.mp4") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(60) == 130
    assert [path.name for path in folder.iterdir() if "long.same" in path.name] == [".long.same.mp4.resume"]


def test_a_real_clip_through_the_command(folder: Path, run: Callable[..., Done]) -> None:
    done = run("infer", str(real_clip("carphone_pristine.mp4")), "-o", "out.mp4", "--style", "same.safetensors", "--json")
    assert done.returncode == 0, done.stderr
    (said,) = json.loads(done.stdout)["outputs"]
    assert (said["frames"], said["width"], said["height"]) == (120, 176, 144)
    assert shown(folder / "out.mp4") == shown(real_clip("carphone_pristine.mp4"))
    assert shown(folder / "out.mp4")[-1] == 120 * Fraction(1001, 30000)

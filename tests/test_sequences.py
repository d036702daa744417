"""Numbered pictures in and out: their order, their gaps, and what is refused before any work."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from installed import BACKENDS, backend
from media import drawn, identity_style, shown, write_clip

from engine import Array, EngineError, VideoReader
from engine.cli import main
from engine.images import Picture, read_picture, write_picture
from engine.infer import Result, Studio
from engine.jobs import plan
from engine.sequences import Pattern, SequenceReader
from engine.style import load_style


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six pictures ``f/shot_0098.png`` to ``f/shot_0103.png`` and other files, below the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    identity_style(tmp_path / "same.safetensors")
    (tmp_path / "f").mkdir()
    for number, image in enumerate(frames(), 98):
        write_picture(Path(f"f/shot_{number:04d}.png"), Picture(image))
    for name in ("shot_99.png", "shot_00100.png", "shot_0099.jpg", "shot_0104.png.txt", "x_0104.png", "shot_.png"):
        Path(f"f/{name}").write_text("another file")
    return tmp_path


def frames() -> list[Array]:
    return drawn(6, 48, 64)


def painted(source: str, target: str | None, *, overwrite: bool = False, rate: Fraction | None = None) -> Result:
    studio = Studio.open(load_style(Path("same.safetensors")), backend(BACKENDS[0]))
    (result,) = studio.paint(plan([Path(source)], target, "same", overwrite=overwrite, rate=rate).jobs)
    return result


def test_a_sequence_becomes_a_video(folder: Path) -> None:
    result = painted("f/shot_%04d.png", "out.mp4")
    assert (result.error, result.frames, result.notes) == (None, 6, ("25 frames a second were taken; --fps gives others",))
    assert shown(Path("out.mp4")) == [Fraction(k, 25) for k in range(7)]
    with VideoReader(Path("out.mp4")) as reader:
        for frame, image in zip(reader.frames(), frames(), strict=True):
            assert np.abs(frame.image.astype(int) - image).mean() < 1.5
    result = painted("f/shot_%04d.png", "other.mp4", rate=Fraction(30000, 1001))
    assert result.notes == ()
    assert shown(Path("other.mp4"))[-1] == 6 * Fraction(1001, 30000)


def test_a_sequence_becomes_a_sequence_with_its_numbers(folder: Path) -> None:
    for target, names in (("out/%05d.png", "out/{:05d}.png"), (None, "f/shot_{:04d}.same.png")):
        result = painted("f/shot_%04d.png", target)
        assert (result.error, result.frames, result.notes) == (None, 6, ())
        for number, image in enumerate(frames(), 98):
            np.testing.assert_array_equal(read_picture(Path(names.format(number))).rgb, image)
    assert len(list(Path("out").iterdir())) == 6


def test_a_video_becomes_a_sequence_from_one(folder: Path) -> None:
    write_clip(Path("clip.mp4"), frames(), seconds=0.2)
    result = painted("clip.mp4", "out/a%d.jpg")
    assert result.error is None
    assert result.notes == (
        "pictures hold no times; the input has 25 frames a second",
        "a sequence of pictures holds no audio, which the input has",
    )
    assert sorted(path.name for path in Path("out").iterdir()) == [f"a{k}.jpg" for k in range(1, 7)]
    with VideoReader(Path("clip.mp4")) as reader:
        for k, frame in enumerate(reader.frames(), 1):
            assert np.abs(read_picture(Path(f"out/a{k}.jpg")).rgb.astype(int) - frame.image).mean() < 1.5


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("f/shot_%04d.png", "f/../f/shot_%04d.png", r"shot_%04d\.png: this output is an input"),
        ("f/shot_%04d.png", "f/shot_%04d.png", "this output is an input"),
        ("f/shot_%04d.png", "old/%03d.png", r"old.007\.png: this output exists already \(and 1 more\)"),
        ("f/shot_%04d.png", "out/%04d.txt", r"a video is not written as '\.txt'"),
        ("f/shot_%04d.png", "out/still.png", r"a video is not written as '\.png'.*numbered pictures \(%05d\.png\)"),
        ("f/shot_0098.png", "old/7.mp4", r"a picture is not written as '\.mp4'"),
    ],
)
def test_what_cannot_be_written_is_refused_first(folder: Path, source: str, target: str, message: str) -> None:
    Path("old").mkdir()
    for name in ("007.png", "008.png"):
        Path(f"old/{name}").write_bytes(b"old")
    with pytest.raises(EngineError, match=message):
        painted(source, target)
    if "exists" in message:
        result = painted(source, target, overwrite=True)
        assert result.notes == ("2 older pictures with other numbers were left there",)
        assert Path("old/007.png").read_bytes() == b"old"


def test_bad_sequences_are_refused_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(source: str, *more: str) -> str:
        with pytest.raises(SystemExit) as caught:
            main(["infer", source, "-o", "out.mp4", "--style", "same.safetensors", "--precision", "float32", *more])
        assert caught.value.code == 2
        assert not [path for path in folder.iterdir() if "out" in path.name]
        return capsys.readouterr().err

    assert "error: gone_%04d.png: no file is called like this" in said("gone_%04d.png")
    assert "'fast' is no frame rate; allowed: a number such as 24, 29.97 or 30000/1001" in said("f/shot_%04d.png", "--fps", "fast")
    assert "--fps: no input is a sequence of numbered pictures" in said("f/shot_0098.png", "--fps", "9")
    write_picture(Path("f/shot_0103.png"), Picture(drawn(1, 48, 62)[0]))
    assert "shot_0103.png: this picture is 62x48, and the first of the sequence 64x48" in said("f/shot_%04d.png")
    Path("f/shot_0103.png").write_text("words")
    assert "shot_0103.png: this is no picture that can be read" in said("f/shot_%04d.png")
    Path("f/shot_0101.png").unlink()
    Path("f/shot_0100.png").unlink()
    text = said("f/shot_%04d.png")
    assert "shot_0100.png: this picture is missing in the sequence" in text
    assert "Numbers run from 98 to 103, of which 2 have no picture." in text


def test_a_failure_on_the_way_leaves_whole_pictures(folder: Path) -> None:
    Path("f/shot_0101.png").write_text("words")
    result = painted("f/shot_%04d.png", "out/%d.png")
    assert result.error is not None
    for path in Path("out").iterdir():
        np.testing.assert_array_equal(read_picture(path).rgb, frames()[int(path.stem) - 98])


def test_what_is_lost_of_the_pictures_is_counted(folder: Path) -> None:
    for k in range(3):
        write_picture(Path(f"a{k}.png"), Picture(frames()[k], np.full((48, 64), 9, np.uint8) if k < 2 else None))
    with SequenceReader(Path("a%d.png"), Fraction(9)) as reader:
        assert len(list(reader.frames())) == 3
        assert reader.notes() == ("2 of 3 pictures: their transparency was dropped",)


def test_a_file_that_is_there_is_no_pattern(folder: Path) -> None:
    write_picture(Path("100%d.png"), Picture(frames()[0]))
    (job,) = plan([Path("100%d.png")], None, "same").jobs
    assert (job.kind, job.is_sequence, job.is_written_as_pictures) == ("picture", False, False)


WORDS = st.text(st.sampled_from("ab.-_%+[("), max_size=4)


@given(WORDS, st.integers(0, 9), WORDS, st.integers(0, 10**6))
def test_a_pattern_names_its_files(before: str, digits: int, after: str, number: int) -> None:
    text = f"{before}%{f'0{digits}' if digits else ''}d{after}"
    pattern = Pattern.of(Path("x") / text)
    if pattern is not None:
        assert pattern.path(number).name == f"{before}{number:0{digits or 1}d}{after}"
    else:
        assert len([k for k in range(len(text)) if text[k] == "%"]) > 1


def test_what_is_no_pattern() -> None:
    for name in ("a.png", "%s.png", "%4d.png", "%00d.png", "%d_%d.png", "%", "d"):
        assert Pattern.of(Path(name)) is None

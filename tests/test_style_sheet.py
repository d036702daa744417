"""``engine styles sheet``: the photo and every style, in a grid with labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from installed import BACKENDS
from media import drawn, identity_network, identity_style

from engine import Picture, places, read_picture, write_picture
from engine.cli import main
from engine.sizes import resize
from engine.style import Style, StyleInfo
from engine.style_sheet import GAP, LINE, PAPER, draw_style_sheet

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in a folder with ``photo.png`` and the styles ``kept``, ``neg`` and one that is broken; no other style."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(places, "shipped", lambda: tmp_path / "shipped")
    (tmp_path / "cache/styles").mkdir(parents=True)
    identity_style(tmp_path / "cache/styles/kept.safetensors")
    weights = {"conv.weight": -np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "conv.bias": np.zeros(3, np.float32)}
    Style(StyleInfo(name="negative"), identity_network(), weights).save(tmp_path / "cache/styles/neg.safetensors")
    (tmp_path / "cache/styles/broken.safetensors").write_text("no style")
    write_picture(tmp_path / "photo.png", Picture(drawn(1, 60, 200)[0]))

    def command(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(("styles", "sheet", *words, "--backend", BACKENDS[0], "--precision", "float32"))
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    return command


def test_every_style_is_on_the_sheet_and_a_damaged_one_is_named(tmp_path: Path, run: Run) -> None:
    code, out, err = run("photo.png", "-o", "sheet.png", "--max-size", "100", "--json")
    assert code == 0, err
    said = json.loads(out)
    assert said["styles"] == ["kept", "neg"]
    assert [row["name"] for row in said["failed"]] == ["broken"]
    assert "broken is left out: " in err
    sheet = read_picture(tmp_path / "sheet.png").rgb
    photo = resize(read_picture(tmp_path / "photo.png").rgb, 100, 30)
    assert sheet.shape == (GAP + 2 * (30 + LINE + GAP), GAP + 2 * (100 + GAP), 3)
    places_of = [(GAP, GAP), (GAP, 2 * GAP + 100), (2 * GAP + 30 + LINE, GAP)]
    for (top, left), expected in zip(places_of, (photo, photo, 255 - photo), strict=True):
        np.testing.assert_array_equal(sheet[top : top + 30, left : left + 100], expected)
        label = sheet[top + 30 : top + 30 + LINE, left : left + 100]
        assert label.min() < 100, "a label is written below"
    assert (sheet[2 * GAP + 30 + LINE :, 2 * GAP + 100 :] == PAPER).all()


def test_by_default_it_lies_beside_the_photo_and_replaces_nothing(tmp_path: Path, run: Run) -> None:
    assert run("photo.png")[:2] == (0, "photo.styles.png\n")
    before = (tmp_path / "photo.styles.png").read_bytes()
    assert read_picture(tmp_path / "photo.styles.png").rgb.shape[1] >= 200
    code, _, err = run("photo.png")
    assert (code, "this file exists already" in err) == (2, True)
    assert run("photo.png", "--overwrite", "--quiet")[:2] == (0, "")
    assert (tmp_path / "photo.styles.png").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("gone.png",), "gone.png: cannot read this file"),
        (("photo.png", "-o", "photo.png", "--overwrite"), "photo.png: this output is the input"),
        (("photo.png", "-o", "sheet.mp4"), "a picture is not written as '.mp4'"),
        (("photo.png", "-o", "no/sheet.png"), "cannot write here"),
    ],
)
def test_errors_are_clear(run: Run, words: tuple[str, ...], message: str) -> None:
    code, _, err = run(*words)
    assert code == 2
    assert message in err


def test_without_a_style_that_paints_there_is_no_sheet(tmp_path: Path, run: Run) -> None:
    for name in ("kept", "neg"):
        (tmp_path / f"cache/styles/{name}.safetensors").unlink()
    assert "none of the 1 styles can paint this" in run("photo.png")[2]
    (tmp_path / "cache/styles/broken.safetensors").unlink()
    assert "there are no styles yet" in run("photo.png")[2]
    assert not (tmp_path / "photo.styles.png").exists()


@pytest.mark.parametrize("count", [1, 2, 5, 27])
def test_long_and_foreign_labels_fit(count: int) -> None:
    pictures = [("ä" + "name" * 30, np.zeros((50, 70, 3), np.uint8))] * count
    sheet = draw_style_sheet(pictures)
    assert (sheet[:, -GAP:] == PAPER).all()
    assert (sheet[:, :, 0] == 0).sum() >= count * 50 * 70

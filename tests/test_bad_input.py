"""What a person gets wrong most: each is a clear message on stderr, exit code 2, no traceback, and nothing written."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from media import identity_style
from tiny import TINY, write_tiny

from engine.cli import main
from engine.images import Picture, write_picture

STEPS = 1 + TINY[: TINY.index("\nsteps: ") + 1].count("\n")  # the line that states them
CASES = {
    "missing recipe": ("train absent.yaml", r"absent\.yaml: there is no such recipe"),
    "unknown loss": ("train unknown_loss.yaml", r"unknown_loss\.yaml:7: losses\.0\.name: no loss .*; did you mean 'total_variation'\?"),
    "wrong type": ("train wrong_type.yaml", rf"wrong_type\.yaml:{STEPS}: steps: .*'many'"),
    "duplicate key": ("train duplicate.yaml", rf"duplicate\.yaml:{STEPS + 1}: .*steps.*twice.*line {STEPS}"),
    "missing style image": ("train no_image.yaml", r"no_image\.yaml:5: style\.image: there is no style image .*gone\.png"),
    "unknown backend": ("infer photo.png --style same.safetensors --backend torhc", r"no backend .* 'torhc'; did you mean 'torch'\?"),
    "unreadable video": ("infer broken.mp4 --style same.safetensors", r"broken\.mp4: .*(no video|cannot|read)"),
    "truncated style": ("infer photo.png --style cut.safetensors", r"cut\.safetensors: this is no whole safetensors file"),
    "text as style": ("infer photo.png --style text.safetensors", r"text\.safetensors: this is no whole safetensors file"),
    "existing output": ("infer photo.png -o there.png --style same.safetensors", r"there\.png: .*(exists|there already).*\n?.*--overwrite"),
    "unknown style": ("infer photo.png --style vangogh", r"no style is called 'vangogh'"),
    "absent input": ("infer gone.png --style same.safetensors", r"gone\.png: there is no such file"),
    "absent photos": ("train no_photos.yaml", r"no_photos\.yaml:\d+: dataset\.photos: there is no file or folder .*gone"),
    "tiny picture": ("infer tiny.png --style reconet_candy", r"tiny\.png: .*5 pixels"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    text = write_tiny(tmp_path).read_text()
    (tmp_path / "unknown_loss.yaml").write_text(text.replace("{name: total_variation", "{name: total_varation"))
    (tmp_path / "wrong_type.yaml").write_text(text.replace("steps: 12", "steps: many"))
    (tmp_path / "duplicate.yaml").write_text(text.replace("steps: 12", "steps: 12\nsteps: 13"))
    (tmp_path / "no_image.yaml").write_text(text.replace("dots.png", "gone.png"))
    (tmp_path / "no_photos.yaml").write_text(text.replace("layers: 2}", "photos: gone}"))
    (tmp_path / "broken.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(200))
    whole = identity_style(tmp_path / "same.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-10])
    (tmp_path / "text.safetensors").write_text("no style at all\n")
    for name, side in (("photo.png", 8), ("there.png", 8), ("tiny.png", 3)):
        write_picture(tmp_path / name, Picture(np.zeros((side, side, 3), np.uint8)))
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_explained(case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, said = CASES[case]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    err = capsys.readouterr().err
    print(f"$ engine {words}\n{err}")
    assert caught.value.code == 2
    assert re.search(said, err), err
    assert "Traceback" not in err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

"""``engine styles`` and ``engine doctor``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from installed import BACKENDS
from media import identity_style
from typer.testing import CliRunner, Result

from engine import EngineError
from engine.cli import make_app
from engine.style import load_style, read_style


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a run called ``mine``, a cached style ``kept`` and a damaged one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    for path in ("runs/mine/style.safetensors", "cache/styles/kept.safetensors"):
        (tmp_path / path).parent.mkdir(parents=True)
        identity_style(tmp_path / path)
    (tmp_path / "cache/styles/broken.safetensors").write_text("no style")
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(), arguments)


def test_styles_of_the_cache_and_of_runs_are_listed_and_a_damaged_one_is_said(folder: Path) -> None:
    rows = {row["name"]: row for row in json.loads(invoke("styles", "--json").stdout)}
    assert rows["mine"]["parameters"] == rows["kept"]["parameters"] == 12
    assert "no whole safetensors file" in rows["broken"]["error"]
    text = invoke("styles").stdout
    assert re.search(r"^mine +12 parameters +0 steps", text, re.MULTILINE)
    assert "broken" in text


def test_a_style_describes_itself(folder: Path) -> None:
    about = json.loads(invoke("styles", "info", "mine", "--json").stdout)
    assert about["name"] == "same"
    assert about["parameters"] == 12
    assert about["bytes"] == (folder / "runs/mine/style.safetensors").stat().st_size
    assert "parameters: 12" in invoke("styles", "info", str(folder / "cache/styles/kept.safetensors")).stdout


@pytest.mark.parametrize("name", ["nothere", "gone.safetensors", "broken"])
def test_what_is_no_style_is_an_error(folder: Path, name: str) -> None:
    assert isinstance(invoke("styles", "info", name).exception, EngineError)


def test_reading_the_description_leaves_the_weights_alone(folder: Path) -> None:
    path = folder / "runs/mine/style.safetensors"
    info, network = read_style(path)
    whole = load_style(path)
    assert (info, network) == (whole.info, whole.network)


def test_doctor_finds_the_backends(folder: Path) -> None:
    done = invoke("doctor", "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == (0 if BACKENDS else 1)
    for name in BACKENDS:
        backend = found["backends"][name]
        assert backend["usable"]
        assert backend["version"]
        assert backend["device"]
    assert found["cores"] >= 1
    assert found["libraries"]["opencv"]
    assert found["cache"] == str(folder / "cache")
    assert Path("styles/kept.safetensors").as_posix() in [Path(path).as_posix() for path in found["cached"]]
    assert "backend " in invoke("doctor").stdout


def test_doctor_fails_where_nothing_can_paint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_DISABLE_PLUGINS", "engine_torch,engine_mindspore,engine_openvino,engine_onnx")
    error = invoke("doctor").exception
    assert isinstance(error, EngineError)
    assert error.exit_code == 1

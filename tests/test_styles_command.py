"""``engine styles`` and ``engine doctor``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed import BACKENDS
from media import IDENTITY_WEIGHTS, identity_network, identity_style
from safetensors.numpy import save_file
from typer.testing import CliRunner, Result

from engine import EngineError, places
from engine.cli import make_app, report
from engine.style import StyleInfo, find_style, load_style, read_style


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


def test_a_style_that_another_of_its_name_hides_is_listed_too(folder: Path) -> None:
    first, second = identity_style(folder / "cache/styles/mine.safetensors"), Path("runs/mine/style.safetensors")
    rows = [row for row in json.loads(invoke("styles", "--json").stdout) if row["name"] == "mine"]
    assert [(row["path"], row.get("hidden_by")) for row in rows] == [(str(first), None), (str(second), str(first))]
    assert f"{second}  (hidden by {first}; use its path)\n" in invoke("styles").stdout
    assert invoke("styles").stdout.count("hidden by") == 1


def test_a_style_is_found_by_the_name_it_gives_itself_or_by_its_run_folder(folder: Path) -> None:
    own = identity_style(folder / "cache/styles/file.safetensors", "own")
    assert find_style("own") == own
    assert find_style("mine") == find_style("runs/mine") == Path("runs/mine/style.safetensors")
    assert load_style(Path("runs/mine")).info.name == "same"
    with pytest.raises(EngineError, match=r"2 styles are called 'same': .*kept\.safetensors, .*mine.style\.safetensors"):
        find_style("same")
    with pytest.raises(EngineError, match=r"^cache: this folder holds no style\.safetensors"):
        find_style("cache")
    with pytest.raises(EngineError, match=r"^no style is called 'knept'; did you mean 'kept'\? known: .*\n.*engine train reconet_candy"):
        find_style("knept")


def test_without_styles_the_command_that_trains_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path))
    monkeypatch.setattr(places, "shipped", lambda: tmp_path)
    assert invoke("styles").stdout == "There are no styles yet. Train one: engine train reconet_candy\n"


def write_raw(path: Path, weights: dict[str, Any] = IDENTITY_WEIGHTS, **metadata: str) -> None:
    """A style file of whatever stands in ``metadata`` in place of what belongs there."""
    whole = {"styleengine": StyleInfo(name="x").model_dump_json(), "network": identity_network().to_json()}
    save_file(weights, path, metadata=whole | metadata)


INFO = StyleInfo(name="x", recipe={"model": 1}).model_dump_json()
TRAPS: dict[str, Any] = {
    "deep network": {"network": "[" * 200_000},
    "deep description": {"styleengine": "[" * 200_000},
    "description that cannot be said again": {"styleengine": INFO.replace('{"model":1}', '{"a":' * 600 + "1" + "}" * 600)},
    "long description": {"styleengine": INFO + " " * 2**22},
    "infinite channels": {"network": identity_network().to_json().replace('"image": 3', '"image": Infinity')},
    "endless kernel": {
        "network": identity_network()
        .to_json()
        .replace('"kernel": 1', f'"kernel": 1{"0" * 400}1')
        .replace('"padding": 0', f'"padding": 5{"0" * 400}')
    },
    "endless picture": {"network": identity_network().to_json().replace('"multiple": 4', '"multiple": 1' + "0" * 400)},
    "two pictures": {"network": identity_network().to_json().replace('["crop"]', '["crop", "conv"]')},
    "weights of another network": {"weights": {"conv.weight": np.zeros((3, 3, 3, 3), np.float32)}},
    "weights that are no floats": {"weights": {key: x.astype(np.int32) for key, x in IDENTITY_WEIGHTS.items()}},
    "unknown layer": {"network": identity_network().to_json().replace('"conv2d"', '"conv2e"')},
}


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)
def test_one_bad_file_is_listed_with_its_error_and_harms_no_other(folder: Path, trap: dict[str, Any]) -> None:
    path = folder / "cache/styles/trap.safetensors"
    write_raw(path, **trap)
    done = invoke("styles", "--json")
    assert done.exit_code == 0, done.exception
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["trap"]["error"].startswith(f"{path}: ")
    assert rows["kept"]["parameters"] == 12
    assert "trap" in invoke("styles").stdout
    for read in (load_style, read_style):
        with pytest.raises(EngineError):
            read(path)


def test_what_a_file_says_cannot_steer_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = "\x1b[2J\x9b31m\x07\rred"
    info = StyleInfo(name=f"x{bad}", notes=f"one\ntwo{bad}", recipe={f"k{bad}": bad}, licence=bad)
    write_raw(folder / "runs/mine/style.safetensors", styleengine=info.model_dump_json())
    write_raw(folder / "cache/styles/trap.safetensors", network=json.dumps({"nodes": [], "inputs": {"image": 3}, "outputs": [bad]}))
    said = [invoke("styles", "info", "mine").stdout, invoke("styles").stdout]
    report(invoke("styles", "info", "trap").exception)
    said.append(capsys.readouterr().err)
    assert "[2J31mred" in said[0]
    assert "notes: one\ntwo" in said[0]
    for text in said:
        assert not set(text) & set("\x1b\x9b\x07\r"), text


LAYER = """
from engine import Layer, Ops, Tensor
class Negate(Layer):
    name = "negate_test"
    def apply(self, ops: Ops, weights, *x: Tensor) -> Tensor:
        return -x[0]
"""
PAINT = """
from pathlib import Path
import numpy as np
from engine import Network, chain, load_style
from engine.style import Style, StyleInfo
if {make}:
    from negating_plugin import Negate
    network = Network({{"image": 3}}, chain("image", {{"no": Negate()}}), ("no",))
    Style(StyleInfo(name="x"), network, {{}}).save(Path("negative.safetensors"))
else:
    print(load_style("negative.safetensors").paint(np.full((8, 8, 3), 255, np.uint8), backend="torch", device="cpu").max())
"""


def test_a_style_of_an_installed_plugins_layer_loads(folder: Path) -> None:
    (folder / "negating_plugin.py").write_text(LAYER)
    info = folder / "negating-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: negating\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[engine.plugins]\nnegating = negating_plugin\n")
    environment = {**os.environ, "PYTHONPATH": str(folder)}

    def paint(make: bool) -> str:
        code = PAINT.format(make=make)
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout

    paint(make=True)
    assert paint(make=False) == "0\n"


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

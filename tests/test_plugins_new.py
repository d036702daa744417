"""``engine plugins new``: what it writes is built, installed, tested and used as it is, then removed again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from external_site import ExternalSite, make_external_site
from tiny import write_tiny

from engine.cli import main

KINDS = ("loss", "dataset", "model", "backend")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExternalSite]:
    """An environment of its own with all four generated packages in it."""
    there = make_external_site(tmp_path_factory.mktemp("strangers"))
    for kind in KINDS:
        done = there.engine("plugins", "new", kind, "grain", "-o", f"my_{kind}")
        assert done.returncode == 0, done.stderr
    there.pip("install", "--no-deps", "--no-build-isolation", "--no-index", *(f"./my_{kind}" for kind in KINDS))
    write_tiny(there.folder, steps="2")
    text = (there.folder / "tiny.yaml").read_text()
    text = text.replace("name: moving_layers, width: 24, height: 20, length: 7, layers: 2", "name: grain, length: 5, width: 24, height: 20")
    text = text.replace("{name: reconet, width: 4, residual_blocks: 1}", "{name: grain, width: 4, depth: 1}")
    (there.folder / "tiny.yaml").write_text(text.replace("losses:\n", "losses:\n  - {name: grain, weight: 10, colour: 0.2}\n"))
    yield there
    shutil.rmtree(there.folder)


def test_each_passes_its_contract(installed: ExternalSite) -> None:
    tests = [f"my_{kind}/tests" for kind in KINDS]
    done = installed.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:benchmark", *tests)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_each_is_strictly_typed(installed: ExternalSite) -> None:
    parts = [str(part) for kind in KINDS for part in (f"my_{kind}/grain_{kind}", f"my_{kind}/tests")]
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", "cache", *parts]
    done = subprocess.run(command, cwd=installed.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"no issues found in {2 * len(KINDS)} source files" in done.stdout


def test_each_is_clean_for_pyright(installed: ExternalSite) -> None:
    folders = [f"my_{kind}" for kind in KINDS]
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", str(installed.python), *folders]
    done = subprocess.run(command, cwd=installed.folder, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert found["generalDiagnostics"] == []
    assert found["summary"]["filesAnalyzed"] == 2 * len(KINDS)


def test_each_is_listed_and_shown(installed: ExternalSite) -> None:
    listed = installed.engine("plugins").stdout
    for kind in KINDS:
        assert f"grain_{kind}  styleengine-grain-{kind} 0.1.0  loaded\n    {kind}: grain\n" in listed
    shown = installed.engine("plugins", "show", "loss", "grain").stdout
    assert "loss grain, from styleengine-grain-loss" in shown
    assert "colour: float, >= 0 = 0.1\n    How much the colours count beside the light." in shown


def test_they_train_and_paint_by_name_until_they_are_removed(installed: ExternalSite) -> None:
    checked = installed.engine("recipes", "check", "tiny.yaml")
    assert checked.returncode == 0, checked.stderr
    trained = installed.engine("train", "tiny.yaml", "--run-dir", "run", "-q")
    assert trained.returncode == 0, trained.stderr
    painted = installed.engine("infer", "dots.png", "-o", "painted.png", "--style", "run/style.safetensors", "--backend", "grain")
    assert painted.returncode == 0, painted.stderr
    assert (installed.folder / "painted.png").is_file()
    installed.pip("uninstall", "--yes", *(f"styleengine-grain-{kind}" for kind in KINDS))
    gone = installed.engine("recipes", "check", "tiny.yaml")
    assert gone.returncode == 2
    for kind in ("model", "loss", "dataset"):
        assert f"no {kind} is called 'grain'; known: " in gone.stderr
    assert "grain" not in installed.engine("plugins").stdout
    again = installed.engine("infer", "dots.png", "-o", "again.png", "--style", "run/style.safetensors", "--backend", "grain")
    assert (again.returncode, "no backend is called 'grain'" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("loss", "Edges"), "the name of a loss is 'Edges'; allowed: words in snake case"),
        (("loss", "../edges"), "the name of a loss is '../edges'; allowed: "),
        (("loss", "content"), "there is a loss called 'content' already"),
        (("model", "engine.testing"), "the name of a model is 'engine.testing'; allowed: "),
        (("backend", "auto"), "the name of a backend is 'auto', which lets the engine choose one"),
        (("loss", "engine", "-o", "absent/edges"), "absent: there is no such folder"),
        (("dataset", "edges", "-o", "there"), "there: this is there already"),
        (("loss", "taken"), "there is a Python package called 'taken_loss' already"),
    ],
)
def test_nothing_is_written_where_something_is_wrong(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "taken_loss.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        main(["plugins", "new", *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_kind_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["plugins", "new", "losses", "edges"])
    assert ended.value.code == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "'losses' is not one of 'loss', 'dataset', 'model', 'backend'" in said

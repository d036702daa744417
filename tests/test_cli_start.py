"""The command line before a command runs: what it imports, how it fails and with which exit code."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import write_tiny

from engine.cli import main

HEAVY = ("torch", "mindspore", "openvino", "onnx", "onnxruntime", "jax", "cv2", "av")
WATCH = """
import sys
from engine.cli import main
try:
    main()
finally:
    print("loaded:", *(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
"""


def engine(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    code = WATCH.format(heavy=HEAVY)
    return subprocess.run([sys.executable, "-c", code, *words], env={**os.environ, **variables}, capture_output=True, text=True)


@pytest.mark.parametrize(
    "words", [("--help",), ("plugins",), ("recipes",), ("recipes", "check", "reconet_candy"), ("plugins", "show", "backend", "torch")]
)
def test_nothing_heavy_is_imported(words: tuple[str, ...]) -> None:
    done = engine(*words)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].split() == ["loaded:"]


@pytest.mark.parametrize(
    ("given", "found"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")], ids=["", "spins", "policy"]
)
def test_threads_that_wait_leave_the_cores_to_others_unless_told(given: dict[str, str], found: str) -> None:
    code = "import atexit, os; from engine.cli import main; atexit.register(lambda: print(os.environ.get('GOMP_SPINCOUNT'))); main(['-h'])"
    kept = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", code], env=kept | given, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == found


def test_importing_the_public_surface_loads_no_framework() -> None:
    code = f"import sys, engine; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(words)
    out, err = capsys.readouterr()
    code = caught.value.code
    return (code if isinstance(code, int) else 0), out, err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("recipes", "check", "absent.yaml"), "error: absent.yaml: there is no such recipe"),
        (("plugins", "show", "loss", "contant"), "error: no loss is called 'contant'; did you mean 'content'?"),
        (("plugins", "--plugin", "absent.py"), "error: absent.py: there is no such plugin file"),
        (("recipes", "check", "reconet_candy", "--set", "stps=3"), "error: --set stps=3: stps: no setting is called 'stps'; did you mean"),
    ],
)
def test_what_the_user_gave_is_wrong(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [("plugns",), ("recipes", "chek"), ("plugins", "--no-such-option"), ("recipes", "check")])
def test_usage_errors_exit_with_2(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert "Usage: engine" in err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--version")
    assert (code, out.split()[0]) == (0, "engine")
    code, out, _ = run(capsys, "-h")
    assert code == 0
    assert all(command in out for command in ("train", "infer", "recipes", "styles", "plugins", "weights", "doctor"))


def test_every_fault_stands_on_its_own_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("format: 1\nsteps: many\n")
    code, out, err = run(capsys, "recipes", "check", str(path))
    assert (code, out) == (2, "")
    faults = [line for line in err.splitlines() if line.startswith("error: ")]
    assert f"error: {path}: model: this setting is required" in faults
    assert faults[-1].startswith(f"error: {path}:2: steps: should be a valid integer")
    code, out, _ = run(capsys, "recipes", "check", str(path), "--json")
    assert code == 2
    assert json.loads(out)["recipe"] is None
    assert [f"error: {fault}" for fault in json.loads(out)["faults"]] == faults


@pytest.mark.parametrize(
    "words",
    [("plugins",), ("recipes",), ("plugins", "show", "model", "reconet"), ("recipes", "check", "reconet_candy")],
)
def test_json_is_one_document(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    code, out, _ = run(capsys, *words, "--json")
    assert code == 0
    assert isinstance(json.loads(out), dict)


def test_lists_name_what_ships(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "plugins")
    assert "engine_losses  styleengine " in out
    (losses,) = [line.removeprefix("    loss: ").split(", ") for line in out.splitlines() if line.startswith("    loss: ")]
    assert {"content", "feature_temporal", "output_temporal", "style", "total_variation"} <= set(losses)
    _, out, _ = run(capsys, "recipes")
    assert out.startswith("reconet_candy  ")
    listed = out.splitlines()[1].rpartition(": ")[2]
    _, checked, _ = run(capsys, "recipes", "check", "reconet_candy")
    assert checked.endswith(f", losses {listed}\n")  # by label: names alone would be `content, content, style, style, ...`
    _, out, _ = run(capsys, "plugins", "show", "loss", "content")
    assert 'layer: str = "relu3_3"' in out.splitlines()
    assert "weight: float, >= 0 = 10000.0" in out.splitlines()


def test_a_recipe_that_lacks_a_file_is_listed_with_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = write_tiny(tmp_path).read_text().replace("layers: 2}", "photos: absent}")
    line = text.count("\n", 0, text.index("absent")) + 1
    (tmp_path / "photos.yaml").write_text(text)
    monkeypatch.setattr("engine.places.shipped", lambda: tmp_path)
    fault = f"{tmp_path / 'photos.yaml'}:{line}: dataset.photos: there is no file or folder {tmp_path / 'absent'}"
    code, out, _ = run(capsys, "recipes")
    assert code == 0
    assert [line for line in out.splitlines() if "cannot run" in line] == [f"    cannot run as it stands: {fault}"]
    assert [line.split()[0] for line in out.splitlines() if not line.startswith(" ")] == ["photos", "tiny"]
    code, out, _ = run(capsys, "recipes", "--json")
    assert (code, [summary["faults"] for summary in json.loads(out)["recipes"]]) == (0, [[fault], []])
    assert run(capsys, "recipes", "check", "photos")[0] == 2


def test_a_plugin_file_is_listed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from engine import hookimpl\n\n@hookimpl\ndef engine_after_training(run): ...\n")
    _, out, _ = run(capsys, "plugins", "--plugin", str(path))
    assert f"mine  {path}  loaded" in out.splitlines()


def test_no_color_is_honoured() -> None:
    colour = re.compile(r"\x1b\[(\d+;)*([349]\d|10[0-7])(;\d+)*m")
    assert colour.search(engine("--help", FORCE_COLOR="1").stdout)
    assert not colour.search(engine("--help", FORCE_COLOR="1", NO_COLOR="1").stdout)

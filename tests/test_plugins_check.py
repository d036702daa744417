"""``engine plugins check``: the contract on an installed plugin and on a plugin file, and what it says when it cannot run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cli import main
from engine.plugins import load_plugins

OTHERS = ",".join(p.name for p in load_plugins().plugins if "backend" in p.components and p.name != "engine_torch")
LOSS = """
from engine import Field, Loss, Needs, hookimpl

class Root(Loss):
    \"\"\"Has no gradient where the picture is black.\"\"\"
    name = "root"
    power: float = Field(description="A setting.")

    def needs(self):
        return Needs()

    def __call__(self, ops, clip, prepared):
        return self.power * ops.mean(ops.sqrt(clip.output(0) + 1))

@hookimpl
def engine_register_losses():
    return [Root]
"""


def check(*words: str, without: str = OTHERS) -> subprocess.CompletedProcess[str]:
    code = "import sys; from engine.cli import main; sys.exit(main(['plugins', 'check', *sys.argv[1:]]))"
    environment = {**os.environ, "ENGINE_DISABLE_PLUGINS": without}
    return subprocess.run([sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True, check=False)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["plugins", "check", *words])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_an_installed_loss_passes() -> None:
    done = check("loss", "total_variation")
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, summary = done.stdout.splitlines()
    assert summary == f"loss total_variation: {len(lines)} ok"
    assert "ok        test_gradient[torch]" in lines


def test_a_plugin_files_fault_is_named_and_counts(tmp_path: Path) -> None:
    (tmp_path / "roots.py").write_text(LOSS)
    done = check("loss", "root", "--set", "power=2", "--plugin", str(tmp_path / "roots.py"), "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["kind"], found["name"], found["settings"], found["failed"]) == ("loss", "root", {"power": 2}, 1)
    assert found["ok"] == len(found["tests"]) - 1
    (failed,) = (test for test in found["tests"] if test["status"] == "failed")
    assert failed["test"] == "test_flat_frames[torch]"
    assert failed["reason"].startswith("of black frames and an empty mask its gradient is not finite on torch; look for")


@pytest.mark.parametrize(
    ("end", "status"),
    [("import os; os._exit(5)", 5), ("import os; os._exit(0)", 0), ("import pytest; pytest.exit('bye', returncode=0)", 0)],
    ids=["5", "0", "pytest"],
)
def test_a_plugin_that_ends_the_process_is_no_success(tmp_path: Path, end: str, status: int) -> None:
    (tmp_path / "ends.py").write_text(LOSS.replace("return Needs()", f"print('no way out', flush=True); {end}"))
    done = check("loss", "root", "--set", "power=2", "--plugin", str(tmp_path / "ends.py"), without=f"{OTHERS},engine_torch")
    assert done.returncode == 1
    assert f"the tests of loss root stopped early, with exit status {status}" in done.stderr


def test_a_dataset_says_which_settings_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "dataset", "video")
    assert "dataset video cannot be built without the setting path" in said
    assert "--set path=...   A folder of clips" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["loss", "contant"], "did you mean 'content'?"),
        (["style", "content"], "no kind of component is called 'style'"),
        (["loss", "content", "--set", "layer"], "--set layer: write --set KEY=VALUE"),
        (["loss", "content", "--set", "lair=relu2_2"], "lair: no setting is called 'lair'; did you mean 'layer'?"),
    ],
)
def test_what_cannot_be_checked_is_refused(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert said in refused(capsys, *words)


def test_without_pytest_it_says_what_to_install(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest", None)  # what an absent package looks like to find_spec
    assert "python -m pip install 'styleengine[testing]'" in refused(capsys, "loss", "content")

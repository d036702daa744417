"""Training: every weight moves, a run can be killed and resumed bit for bit, and every way out leaves a checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import write_tiny

from engine import EngineError, RunError, load_style, train
from engine.checkpoint import load_checkpoint
from engine.plugins import load_plugins
from engine.recipe import load_recipe
from engine.training import run_recipe

ENGINE = Path(sys.executable).with_name("engine")
ENVIRONMENT = dict(os.environ)
"""Given to children whose weights are compared bit by bit: once MindSpore has run here, the C library's own environment, which they would
inherit, says OMP_NUM_THREADS=1, and sums over one thread round in another way."""
SLOW = """
import time
from engine import hookimpl

@hookimpl
def engine_after_step(run, step):
    time.sleep(0.15)
"""
LOGS = """
from engine import hookimpl

def note(run, text):
    with (run.folder / "calls.txt").open("a") as file:
        file.write(text + " ")

@hookimpl
def engine_before_training(run):
    note(run, f"before:{run.step}/{run.steps}")

@hookimpl
def engine_after_step(run, step, losses):
    assert set(losses) == {*run.plan.losses, "total"} and run.step == step
    note(run, f"step:{step}")

@hookimpl
def engine_after_training(run):
    note(run, f"after:{(run.folder / 'style.safetensors').is_file()}")

@hookimpl
def engine_on_error(run, error):
    note(run, "error")
"""
TEARS = """
from engine import hookimpl

@hookimpl
def engine_before_training(run):
    step, done = run.trainer.step, []

    def torn(batch):
        if len(done) == 6:
            step(batch)
            raise KeyboardInterrupt
        done.append(1)
        return step(batch)

    run.trainer.step = torn
"""
RUINS = """
from engine import hookimpl

@hookimpl
def engine_after_step(run, step):
    if step == STEP:
        weights = {name: x * float("nan") for name, x in run.trainer.weights().items()}
        run.trainer.restore(weights, run.trainer.state())
"""
RAISES = """
from engine import hookimpl

@hookimpl
def engine_after_step(run, step):
    if step == 6:
        raise ValueError("no more ink")

@hookimpl
def engine_on_error(run, error):
    (run.folder / "seen.txt").write_text(f"{type(error).__name__} at {run.step}")
"""


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def same(a: Path, b: Path) -> None:
    one, other = load_checkpoint(a / "checkpoint.safetensors"), load_checkpoint(b / "checkpoint.safetensors")
    assert one.step == other.step
    for name, x in {**one.weights, **one.state}.items():
        np.testing.assert_array_equal(x, {**other.weights, **other.state}[name], err_msg=name)


def test_a_run_folder_holds_all_of_the_run(tmp_path: Path) -> None:
    style = train(write_tiny(tmp_path), run_dir=tmp_path / "run")
    folder = tmp_path / "run"
    steps = [row["step"] for row in rows(folder) if "total" in row]
    assert steps == list(range(1, 13))
    term = rows(folder)[1]["losses"]["output_temporal"]
    assert term["weighted"] == pytest.approx(10 * term["raw"])
    assert [row["step"] for row in rows(folder) if "held_out" in row] == [0, 5, 10, 12]
    facts = json.loads((folder / "run.json").read_text())
    assert facts["seed"] == 0
    assert facts["framework"] == "torch"
    assert set(facts["versions"]) >= {"styleengine", "numpy", "python"}
    previews = sorted(path.name for path in (folder / "previews").iterdir())
    assert previews == ["step_000000.png", "step_000005.png", "step_000010.png", "step_000012.png"]
    picture = cv2.imread(str(folder / "previews" / "step_000012.png"))
    assert picture.shape == (40, 48, 3)  # a pair beside each other, input above painting
    again = load_recipe(folder / "recipe.yaml")
    assert again.data == load_recipe(tmp_path / "tiny.yaml").data
    assert (style.info.name, style.info.steps) == ("tiny", 12)
    assert str(tmp_path) not in style.info.model_dump_json()  # no path of the machine that trained it
    assert load_style(folder / "style.safetensors").paint(np.zeros((9, 7, 3), np.uint8)).shape == (9, 7, 3)


def test_one_step_moves_every_weight(tmp_path: Path) -> None:
    recipe = load_recipe(write_tiny(tmp_path, steps="1"))
    style = train(tmp_path / "tiny.yaml", overrides=["steps=1"], run_dir=tmp_path / "run")
    start = recipe.model.network().initial_weights(0)
    # A bias that an instance norm follows has no effect: its gradient is zero, or rounding noise around it.
    idle = {f"{name}.bias" for name in ("encoder.0.conv", "encoder.1.conv", "encoder.2.conv", "residual.0.conv1", "residual.0.conv2")}
    idle |= {"decoder.0.conv.bias", "decoder.1.conv.bias"}
    assert idle < set(start)
    moved = {name: np.abs(style.weights[name] - x).max() for name, x in start.items() if name not in idle}
    assert all(moved.values()), [name for name, most in moved.items() if not most]
    assert all(np.isfinite(x).all() for x in style.weights.values())


def test_kill_and_resume_gives_the_uninterrupted_weights(tmp_path: Path) -> None:
    recipe = write_tiny(tmp_path)
    (tmp_path / "slow.py").write_text(SLOW)
    train(recipe, run_dir=tmp_path / "whole")
    command = [ENGINE, "train", recipe, "--run-dir", tmp_path / "cut", "--plugin", tmp_path / "slow.py", "-q"]
    process = subprocess.Popen(command, env=ENVIRONMENT)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline and not _past(tmp_path / "cut" / "checkpoint.safetensors", 4):
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert load_checkpoint(tmp_path / "cut" / "checkpoint.safetensors").step in (4, 8)
    train(recipe, run_dir=tmp_path / "cut", resume=True)
    same(tmp_path / "whole", tmp_path / "cut")
    assert [row["step"] for row in rows(tmp_path / "cut") if "total" in row] == list(range(1, 13))


def _past(path: Path, step: int) -> bool:
    return path.exists() and load_checkpoint(path).step >= step


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_leave_a_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    recipe = write_tiny(tmp_path, checkpoint="{every: 1000}")
    (tmp_path / "slow.py").write_text(SLOW)
    command = [ENGINE, "train", recipe, "--run-dir", tmp_path / "run", "--plugin", tmp_path / "slow.py"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline and not (tmp_path / "run" / "previews" / "step_000005.png").exists():
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"--resume --plugin {tmp_path / 'slow.py'}" in said
    assert "Traceback" not in said
    step = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").step
    assert 5 <= step < 12
    train(recipe, run_dir=tmp_path / "whole")
    train(recipe, run_dir=tmp_path / "run", resume=True)
    same(tmp_path / "whole", tmp_path / "run")


def test_a_run_that_fails_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "raises.py").write_text(RAISES)
    command = [ENGINE, "train", write_tiny(tmp_path), "--run-dir", "a run", "--plugin", "raises.py", "-q"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no more ink" in done.stderr
    assert "Go on with: engine train 'a run/recipe.yaml' --run-dir 'a run' --resume --plugin raises.py" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plugin_that_raises_stops_the_run_with_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "raises.py").write_text(RAISES)
    host = load_plugins([tmp_path / "raises.py"])
    recipe = load_recipe(write_tiny(tmp_path), host=host)
    with pytest.raises(RunError, match=r"raises.*engine_after_step at step 6: .*no more ink"):
        run_recipe(recipe, host, folder=tmp_path / "run", quiet=True)
    assert load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").step == 6
    assert (tmp_path / "run" / "seen.txt").read_text() == "RunError at 6"


def test_lifecycle_hooks_are_called_in_order(tmp_path: Path) -> None:
    (tmp_path / "logs.py").write_text(LOGS)
    recipe, folder = write_tiny(tmp_path, optimiser="{learning_rate: 1e-3}"), tmp_path / "run"
    train(recipe, overrides=["steps=2"], plugins=[tmp_path / "logs.py"], run_dir=folder)
    train(recipe, overrides=["steps=3"], plugins=[tmp_path / "logs.py"], run_dir=folder, resume=True)
    assert (folder / "calls.txt").read_text() == "before:0/2 step:1 step:2 after:True before:2/3 step:3 after:True "


@pytest.mark.parametrize(("step", "said"), [(6, "every loss"), (8, "the weight '.*'")])
def test_what_is_no_number_keeps_the_last_good_checkpoint(tmp_path: Path, step: int, said: str) -> None:
    recipe, folder = write_tiny(tmp_path), tmp_path / "run"
    (tmp_path / "a_ruin.py").write_text(RUINS.replace("STEP", str(step)))
    with pytest.raises(RunError, match=rf"^[^:]*run: {said} is no longer a finite number at step 8") as caught:
        train(recipe, plugins=[tmp_path / "a_ruin.py"], run_dir=folder)
    assert "untouched" in str(caught.value)
    assert all(json.loads(line, parse_constant=pytest.fail) for line in (folder / "metrics.jsonl").read_text().splitlines())
    kept = load_checkpoint(folder / "checkpoint.safetensors")
    assert kept.step == 4
    assert all(np.isfinite(x).all() for x in kept.weights.values())


def test_a_stop_in_the_middle_of_a_step_keeps_no_torn_state(tmp_path: Path) -> None:
    """Ctrl-C waits for the step; whatever tears one all the same must leave the checkpoint before it."""
    recipe, folder = write_tiny(tmp_path), tmp_path / "run"
    (tmp_path / "tears.py").write_text(TEARS)
    host = load_plugins([tmp_path / "tears.py"])
    with pytest.raises(RunError, match="interrupted after step 6"):
        run_recipe(load_recipe(recipe, host=host), host, folder=folder, quiet=True)
    assert load_checkpoint(folder / "checkpoint.safetensors").step == 4
    train(recipe, run_dir=folder, resume=True)
    train(recipe, run_dir=tmp_path / "whole")
    same(tmp_path / "whole", folder)


def test_an_unusable_run_folder_is_an_error_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="cannot be a run folder") as caught:
        train(write_tiny(tmp_path), run_dir=tmp_path / "file" / "run")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_reduced_precision_trains(tmp_path: Path, precision: str) -> None:
    style = train(write_tiny(tmp_path), overrides=["steps=3"], precision=precision, run_dir=tmp_path / "run")
    start = load_recipe(tmp_path / "tiny.yaml").model.network().initial_weights(0)
    assert style.info.backend["precision"] == precision
    assert all(np.isfinite(x).all() for x in style.weights.values())
    assert np.abs(style.weights["decoder.2.conv.weight"] - start["decoder.2.conv.weight"]).max() > 0


def test_an_earlier_run_is_not_lost_by_accident(tmp_path: Path) -> None:
    recipe, folder = write_tiny(tmp_path), tmp_path / "run"
    train(recipe, overrides=["steps=2"], run_dir=folder)
    kept = (folder / "style.safetensors").read_bytes()
    with pytest.raises(EngineError, match="already"):
        train(recipe, overrides=["steps=2"], run_dir=folder)
    with pytest.raises(EngineError, match=r"the recipe has changed since this run began: seed"):
        train(recipe, overrides=["steps=2", "seed=3"], run_dir=folder, resume=True)
    (tmp_path / "recipe.yaml").write_text(recipe.read_text())
    with pytest.raises(EngineError, match="holds other things than a run"):
        train(tmp_path / "recipe.yaml", run_dir=tmp_path, overwrite=True)
    with pytest.raises(EngineError, match="no run to resume"):
        train(recipe, run_dir=tmp_path / "rnu", resume=True)
    assert (folder / "style.safetensors").read_bytes() == kept
    with pytest.raises(EngineError, match="changed since this run began: steps"):
        train(recipe, overrides=["steps=4"], run_dir=folder, resume=True)  # the learning rate would jump
    again = train(recipe, overrides=["steps=2"], run_dir=folder, resume=True)
    assert again.info.losses == load_style(folder / "style.safetensors").info.losses != {}
    (folder / "mine.txt").write_text("kept")
    assert train(recipe, overrides=["steps=1"], run_dir=folder, overwrite=True).info.steps == 1
    assert (folder / "mine.txt").is_file()
    assert sorted(path.name for path in (folder / "previews").iterdir()) == ["step_000000.png", "step_000001.png"]
    assert [row["step"] for row in rows(folder)] == [0, 1, 1]


def test_more_steps_go_on_where_the_learning_rate_is_constant_and_the_folder_has_moved(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    train(write_tiny(tmp_path / "here", optimiser="{learning_rate: 1e-3}"), overrides=["steps=2"], run_dir=tmp_path / "here" / "run")
    (tmp_path / "here").rename(tmp_path / "there")
    folder = tmp_path / "there"
    assert train(folder / "tiny.yaml", overrides=["steps=4"], run_dir=folder / "run", resume=True).info.steps == 4
    with pytest.raises(EngineError, match="more than 3"):
        train(folder / "tiny.yaml", overrides=["steps=3"], run_dir=folder / "run", resume=True)
    picture = folder / "dots.png"
    picture.write_bytes(picture.read_bytes()[:-12] + b"\0" * 12)
    with pytest.raises(EngineError, match="changed since this run began: style_sha256"):
        train(folder / "tiny.yaml", overrides=["steps=5"], run_dir=folder / "run", resume=True)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("dataset.width=4", "4x20"),
        ("dataset.width=26", r"clips of 26x20 would be padded in training.*sides divisible by 4"),
        ("backend.device=ascend", "no Ascend device"),
    ],
)
def test_what_does_not_fit_is_said_before_a_folder_is_made(tmp_path: Path, setting: str, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        train(write_tiny(tmp_path), overrides=[setting], run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_is_an_error(tmp_path: Path) -> None:
    recipe, folder = write_tiny(tmp_path), tmp_path / "run"
    train(recipe, overrides=["steps=1"], run_dir=folder)
    path = folder / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(EngineError, match="no whole checkpoint"):
        train(recipe, run_dir=folder, resume=True)
    assert (folder / "style.safetensors").is_file()

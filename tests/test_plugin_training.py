"""What a plugin does wrong in the middle of training: what is said, and what the run is left with."""

import json
import os
import subprocess
import sys
from pathlib import Path

from plugin_site import Site
from tiny import write_tiny

NAN = """
from engine import Clip, Field, Loss, Needs, Ops, Prepared, Tensor, hookimpl

class Lost(Loss):
    \"\"\"No number after the first steps.\"\"\"
    name = "lost"

    def needs(self) -> Needs:
        return Needs()

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        return ops.mean(clip.output(0)) * float("nan")

@hookimpl
def engine_register_losses():
    return [Lost]
"""


RAISES = """
from engine import hookimpl

@hookimpl
def engine_after_step(run, step):
    if step == 3:
        raise RuntimeError("no more ink")
"""


def train(site: Site, folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site.folder), **variables}
    command = [sys.executable, "-c", "from engine.cli import main; main()", "train", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_after_a_hook_that_raises_the_run_goes_on_without_the_plugin(site: Site, tmp_path: Path) -> None:
    name = site.install("sick-hook", RAISES)
    write_tiny(tmp_path, steps="6")
    failed = train(site, tmp_path, "tiny.yaml", "--run-dir", "run", "-q")
    assert failed.returncode == 1
    assert "the plugin sick-hook failed in engine_after_step at step 3: RuntimeError: no more ink (" in failed.stderr
    assert "Go on with: engine train run/recipe.yaml --run-dir run --resume" in failed.stderr
    assert "Traceback" not in failed.stderr
    resumed = train(site, tmp_path, "run/recipe.yaml", "--run-dir", "run", "--resume", "-q", ENGINE_DISABLE_PLUGINS=name)
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "run" / "style.safetensors").is_file()
    steps = [json.loads(line).get("step") for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {1, 2, 3, 4, 5, 6} <= set(steps)


def test_a_hook_cannot_empty_what_the_next_one_reads(site: Site, tmp_path: Path) -> None:
    site.install("aaa", RAISES.replace("step):", "step, losses):").replace('raise RuntimeError("no more ink")', "losses.clear()"))
    write_tiny(tmp_path, steps="3")
    failed = train(site, tmp_path, "tiny.yaml", "--run-dir", "run", "-q")
    said = "the plugin aaa failed in engine_after_step at step 3: AttributeError: 'mappingproxy' object has no attribute 'clear' ("
    assert said in failed.stderr
    assert "engine_metrics" not in failed.stderr


def test_a_loss_that_is_no_number_ends_the_run(site: Site, tmp_path: Path) -> None:
    site.install("lost-loss", NAN)
    write_tiny(tmp_path)
    done = train(site, tmp_path, "tiny.yaml", "--run-dir", "run", "-q", "--set", "losses=[{name: lost}]")
    assert done.returncode == 1
    assert "the loss lost is not a finite number at step 1\n  `engine plugins check loss lost` says what is wrong" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "style.safetensors").exists()


def test_after_a_gradient_that_is_no_number_the_strangers_loss_is_suspected(site: Site, tmp_path: Path) -> None:
    """Its value is fine; the weights are what it ruined, and with them every loss."""
    steep = NAN.replace('ops.mean(clip.output(0)) * float("nan")', "ops.sqrt(0 * ops.mean(clip.output(0)))")
    site.install("lost-loss", steep)
    write_tiny(tmp_path)
    losses = "losses=[{name: total_variation}, {name: lost}]"
    done = train(site, tmp_path, "tiny.yaml", "--run-dir", "run", "-q", "--set", losses, "--backend", "torch")
    assert done.returncode == 1
    assert "run: every loss is no longer a finite number at step " in done.stderr
    assert "A gradient may have been no number: `engine plugins check loss lost` says what is wrong with it" in done.stderr
    assert "total_variation`" not in done.stderr

"""A run started on one backend goes on on another: the same state, the same steps, nearly the same weights."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from installed import TRAINING
from test_parity import idle
from tiny import write_tiny

from engine import train
from engine.checkpoint import load_checkpoint

ENGINE = Path(sys.executable).with_name("engine")
STOPS = """
from engine import hookimpl

@hookimpl
def engine_after_step(run, step):
    if step == {step}:
        raise ValueError("enough")
"""


@pytest.mark.parametrize(("first", "second"), list(combinations(TRAINING, 2)))
def test_a_run_goes_on_on_another_backend_and_back_again(tmp_path: Path, first: str, second: str) -> None:
    recipe, folder = write_tiny(tmp_path, preview="{every: 1000}"), tmp_path / "run"
    for step, backend, more in ((4, second, ()), (8, first, ("--resume",))):
        (tmp_path / "stops.py").write_text(STOPS.format(step=step))
        command = [ENGINE, "train", recipe, "--run-dir", folder, "--backend", backend, "--plugin", tmp_path / "stops.py", "-q", *more]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1
        assert "enough" in done.stderr
        before = load_checkpoint(folder / "checkpoint.safetensors")
        assert before.step == step

    done = subprocess.run(
        [ENGINE, "train", recipe, "--run-dir", folder, "--backend", second, "--resume", "-q"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    after = load_checkpoint(folder / "checkpoint.safetensors")
    assert (after.step, int(after.state["step"])) == (12, 12)
    assert {name: x.shape for name, x in after.state.items()} == {name: x.shape for name, x in before.state.items()}
    assert {name: x.dtype for name, x in after.state.items()} == {name: x.dtype for name, x in before.state.items()}
    assert json.loads((folder / "run.json").read_text())["backend"] == second
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "total" in row] == list(range(1, 13))

    whole = train(recipe, backend="torch", run_dir=tmp_path / "whole")
    assert whole.info.steps == 12
    start = whole.network.initial_weights(0)
    for name, x in whole.weights.items():
        # The bias of a convolution that an instance norm follows has no gradient but rounding, which Adam makes steps of.
        if idle(name):
            continue
        gone = np.linalg.norm(x - start[name])
        assert gone > 0
        assert np.linalg.norm(after.weights[name] - x) <= 0.05 * gone, name

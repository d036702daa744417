"""A backend that is no part of us: JAX, installed from its own pyproject, passes the contract, trains and paints as torch does."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from external_site import ExternalSite, make_external_site
from skimage import data

from engine import Picture, read_picture, write_picture
from engine.style import load_style

RECIPE = """
format: 1
name: small
model: {name: reconet, width: 2, residual_blocks: 1}
style: {image: style.png, size: 32}
losses:
  - {name: total_variation, weight: 1e-3}
  - {name: feature_temporal, weight: 10}
  - {name: output_temporal, weight: 10}
dataset: {name: moving_layers, width: 32, height: 24, layers: 2, motion: 2}
steps: 3
backend: {name: jax, device: cpu, precision: float32}
"""
QUICKLY = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
"""The contract compiles a thousand small functions and runs each once."""
EXACT = "test_operator and sum and many"
"""So compiled, XLA adds up number after number, and float32 does not bear that."""


@pytest.fixture(scope="module")
def external(tmp_path_factory: pytest.TempPathFactory) -> ExternalSite:
    """An environment with the plugin installed; and a style that three steps on JAX have made there, in ``run``."""
    if find_spec("jax") is None:
        assert "CI" not in os.environ, "jax is not installed: pip install 'styleengine[dev]'"
        pytest.skip("jax is not installed")
    made = make_external_site(tmp_path_factory.mktemp("jax"))
    made.install("engine_jax")
    write_picture(made.folder / "style.png", Picture(data.astronaut()[:64, :64]))
    (made.folder / "small.yaml").write_text(RECIPE)
    done = made.engine("train", "small.yaml", "--run-dir", "run")
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.parametrize(("tests", "flags"), [(EXACT, ""), (f"not ({EXACT})", QUICKLY)], ids=["as it is", "quickly"])
def test_it_passes_the_contract(external: ExternalSite, tests: str, flags: str) -> None:
    done = external.tests("engine_jax", "-k", tests, XLA_FLAGS=flags)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout.splitlines()[-1]


def test_it_is_listed(external: ExternalSite) -> None:
    assert "engine_jax" in external.engine("plugins", "--json").stdout


def test_three_steps_make_a_style(external: ExternalSite) -> None:
    info = load_style(external.folder / "run/style.safetensors").info
    assert (info.steps, info.backend["framework"]) == (3, "jax")
    assert all(np.isfinite(value) for value in info.losses.values())


def test_it_paints_as_torch_does(external: ExternalSite) -> None:
    write_picture(external.folder / "in.png", Picture(data.chelsea()[:50, :70]))
    found = {}
    for backend in ("jax", "torch"):
        output = external.folder / f"{backend}.png"
        options = ("--style", "run", "--backend", backend, "--device", "cpu", "--precision", "float32", "--quiet")
        done = external.engine("infer", "in.png", "-o", output, *options)
        assert done.returncode == 0, done.stderr
        found[backend] = read_picture(output).rgb.astype(int)
    assert np.ptp(found["torch"]) > 0
    assert np.abs(found["jax"] - found["torch"]).max() <= 1


def test_its_steps_are_timed_beside_torchs(external: ExternalSite) -> None:
    """That the table is printed; what it says is nothing for a test."""
    table = Path(__file__).parent / "benchmarks/step_table.py"
    words = ("--size", "32x32", "--width", "2", "--rounds", "1", "--short")
    done = external.run(table, *words, ENGINE_DISABLE_PLUGINS="engine_mindspore")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| jax \| \d+ \| \d+ \| \d+\.\d\d \|\n\| torch \| \d+ \| \d+ \| 1\.00 \|$", done.stdout, re.M)

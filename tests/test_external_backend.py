"""A backend that is no part of us: JAX, installed from its own pyproject, passes the contract, trains and paints as torch does."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from engine import Picture, read_picture, write_picture
from engine.style import load_style

PLUGIN = Path(__file__).parent / "plugins/engine_jax"
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
COMMAND = "from engine.cli import main; main()"
CONTRACT = "not test_operator[ and not test_operator_gradient and not test_layer"
"""Left out here: operators and layers one by one, which compile hundreds of functions; the plugin's own run has them."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the plugin installed, and all that is installed here."""
    if find_spec("jax") is None:
        assert "CI" not in os.environ, "jax is not installed: pip install 'styleengine[dev]'"
        pytest.skip("jax is not installed")
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / "bin/python"
    packages = Path(run(python, "-c", "import site; print(site.getsitepackages()[0])").strip())
    # As a site folder, so that what is installed in it to be edited is found as well.
    lines = "".join(f"import site; site.addsitedir({path!r})\n" for path in site.getsitepackages())
    (packages / "shared.pth").write_text(lines)
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    run(sys.executable, "-m", "pip", "--python", python, "install", *offline, PLUGIN)
    return python


@pytest.fixture(scope="module")
def style(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A style that three steps on JAX have made."""
    folder = tmp_path_factory.mktemp("training")
    write_picture(folder / "style.png", Picture(data.astronaut()[:64, :64]))
    (folder / "small.yaml").write_text(RECIPE)
    run(python, "-c", COMMAND, "train", folder / "small.yaml", "--run-dir", folder / "run")
    return folder / "run/style.safetensors"


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_passes_the_contract(python: Path) -> None:
    found = run(
        python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", PLUGIN, "-c", PLUGIN / "pyproject.toml", "-k", CONTRACT, PLUGIN
    )
    assert " passed" in found


def test_it_is_listed(python: Path) -> None:
    assert "engine_jax" in run(python, "-c", COMMAND, "plugins", "--json")


def test_three_steps_make_a_style(style: Path) -> None:
    info = load_style(style).info
    assert (info.steps, info.backend["framework"]) == (3, "jax")
    assert all(np.isfinite(value) for value in info.losses.values())


def test_it_paints_as_torch_does(python: Path, style: Path, tmp_path: Path) -> None:
    write_picture(tmp_path / "in.png", Picture(data.chelsea()[:50, :70]))
    found = {}
    for backend in ("jax", "torch"):
        output = tmp_path / f"{backend}.png"
        options = ("--style", style, "--backend", backend, "--device", "cpu", "--precision", "float32", "--quiet")
        run(python, "-c", COMMAND, "infer", tmp_path / "in.png", "-o", output, *options)
        found[backend] = read_picture(output).rgb.astype(int)
    assert np.ptp(found["torch"]) > 0
    assert np.abs(found["jax"] - found["torch"]).max() <= 1

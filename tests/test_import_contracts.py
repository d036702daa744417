"""Each import contract can fail: a line that breaks it is found in a copy of the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BREAKS = {
    "Plugins stand on the core and never on each other": ("losses/engine_losses/content.py", "import engine_datasets"),
    "Only a backend may import a framework": ("engine/loader.py", "import torch"),
    "Built-in plugins use the public surface only": ("datasets/engine_datasets/__init__.py", "import engine.errors"),
    "The core reads from top to bottom": ("engine/files.py", "import engine.plugins"),
    "The contracts read from top to bottom": ("engine/contracts/dataset.py", "import engine.contracts.loss"),
    "Nobody imports a model; models arrive through the hook": ("engine/cli/train.py", "import engine.models.reconet"),
}


def lint(root: Path, *options: str) -> tuple[int, str]:
    paths = os.pathsep.join(str(root / shelf) for shelf in ("", "backends", "losses", "datasets"))
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache", *options]
    done = subprocess.run(command, cwd=root, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in ("engine", "backends", "losses", "datasets"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize("contract", BREAKS)
def test_a_forbidden_import_is_found(contract: str, copy: Path) -> None:
    file, line = BREAKS[contract]
    path = copy / file
    path.write_text(path.read_text() + f"\n{line}\n")
    code, text = lint(copy)
    assert code == 1, text
    assert f"{contract} BROKEN" in text


def test_a_new_file_must_be_given_its_storey(copy: Path) -> None:
    (copy / "engine" / "attic.py").write_text('"""Somewhere."""\n')
    code, text = lint(copy)
    assert code == 1, text
    assert "attic" in text

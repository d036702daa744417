"""What plugin authors' tests get without an import: fixtures, and a pytest that starts no slower for them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import engine
import engine.testing
from engine import Ops, warp
from engine.plugins import PluginHost
from engine.testing import ExampleClip, OracleOps

AT_THE_END = """
import sys
def pytest_sessionfinish(session):
    print("LOADED", *sorted(name for name in sys.modules if name.partition(".")[0] in {"engine", "numpy", "pydantic", "torch"}))
"""


def test_pytest_loads_nothing_for_the_fixtures(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(AT_THE_END)
    (tmp_path / "test_nothing.py").write_text("def test_nothing(): pass\n")
    command = [sys.executable, "-m", "pytest", "-qs", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "LOADED engine engine.testing engine.testing.fixtures\n" in done.stdout


def test_engine_ops_are_every_backends_and_the_oracles(engine_ops: Ops) -> None:
    x = engine_ops.asarray(np.arange(6.0).reshape(2, 3))
    assert engine_ops.to_numpy(engine_ops.sum(x, axis=1)).tolist() == [3, 12]


def test_engine_host_has_the_installed_plugins(engine_host: PluginHost) -> None:
    assert "content" in engine_host.names("loss")


def test_engine_clips_flow_is_exact(engine_clip: ExampleClip, engine_host: PluginHost) -> None:
    sample = engine_clip.sample.check("the example")
    assert sample.flow is not None
    assert sample.mask is not None
    for k in range(2):
        seen = sample.mask[k, 0] > 0
        assert 0.7 < seen.mean() < 1
        np.testing.assert_array_equal(warp(sample.frames[k], sample.flow[k])[seen], sample.frames[k + 1][seen])
    clip = engine_clip.on(OracleOps())
    moved = clip.frame(0) - OracleOps().warp(clip.frame(-1), clip.flow(0, -1))
    np.testing.assert_allclose(moved * clip.mask(0, -1), 0, atol=1e-12)


@pytest.mark.parametrize("package", [engine, engine.testing], ids=["engine", "engine.testing"])
def test_type_checkers_and_python_see_the_same_names(package: object) -> None:
    tree = ast.parse(Path(str(getattr(package, "__file__", ""))).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {name.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names}
    assert seen == getattr(package, "_HOME", None)
    assert all(getattr(package, name) is not None for name in seen)
    assert set(seen) <= set(dir(package))


def test_contracts_without_pytest_say_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "pytest.py").write_text("raise ModuleNotFoundError('No module named pytest', name='pytest')\n")
    code = "from engine.testing import OracleOps, LossContract"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert "EngineError: engine.testing needs pytest" in done.stderr
    assert "python -m pip install 'styleengine[testing]'" in done.stderr

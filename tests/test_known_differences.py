"""What is known of the frameworks is still so: every reproduction fails, in the framework alone, as it is written down."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import COLLECTED
from installed import BACKENDS, HOST, backend
from known_differences import KNOWN_DIFFERENCES, TRAPS, KnownDifference, Reproduction, Trap

# MindSpore computes on a thread of its own; unless that is waited for, one operation in forty reports what the one before it failed of.
RUNS_ALL = """
import json, runpy, sys, traceback
failed = {}
for file in sys.argv[1:]:
    try:
        runpy.run_path(file)
    except Exception:
        failed[file] = traceback.format_exc()
        if "mindspore" in sys.modules:
            from mindspore.graph.api import _pynative_executor
            _pynative_executor.sync()
print(json.dumps(failed))
"""
RIGHT_NOW = "the framework does it right now: remove the entry, and what goes around it"


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the reproductions of known differences, one after another in a process of their own, raised."""
    folder = tmp_path_factory.mktemp("reproductions")
    files = {str(folder / f"{i}.py"): known for i, known in enumerate(KNOWN_DIFFERENCES) if known.backend in BACKENDS}
    for file, known in files.items():
        Path(file).write_text(known.code)
    done = subprocess.run([sys.executable, "-c", RUNS_ALL, *files], cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    failed = json.loads(done.stdout.splitlines()[-1])
    return {known.what: failed.get(file, "") for file, known in files.items()}


def each(entries: Sequence[Reproduction]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("entry", entries, ids=lambda entry: entry.what)


@each(KNOWN_DIFFERENCES)
def test_the_framework_alone_differs(entry: KnownDifference, failures: dict[str, str]) -> None:
    if entry.backend not in BACKENDS:
        pytest.skip(f"{entry.backend} is not installed")
    assert failures[entry.what], RIGHT_NOW
    assert entry.said in failures[entry.what]


@each(TRAPS)
def test_a_trap_is_still_there(entry: Trap, tmp_path: Path) -> None:
    """In a process of its own, which it may bring down."""
    if entry.backend not in BACKENDS:
        pytest.skip(f"{entry.backend} is not installed")
    file = tmp_path / "reproduction.py"  # code that MindSpore compiles must stand in a file
    file.write_text(entry.code)
    done = subprocess.run([sys.executable, file], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0, RIGHT_NOW
    assert entry.said in done.stderr or (entry.or_said and entry.or_said in done.stderr)


def test_a_trap_that_never_ends_is_recognised(tmp_path: Path) -> None:
    """By what faulthandler writes, which needs no interpreter lock."""
    (pad,) = (trap for trap in TRAPS if trap.or_said)
    (watchdog,) = (line for line in pad.code.splitlines() if "dump_traceback_later" in line)
    code = f"import faulthandler\n{watchdog.replace('20', '0.5')}\nwhile True: pass"
    test_a_trap_is_still_there(replace(pad, backend=BACKENDS[0], code=code), tmp_path)


@each([*KNOWN_DIFFERENCES, *TRAPS])
def test_a_reproduction_is_the_framework_alone(entry: Reproduction) -> None:
    assert entry.said
    imported: set[str] = set()
    for node in ast.walk(ast.parse(entry.code)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module))
    assert imported <= {HOST.backend_class(entry.backend).package, "numpy", *sys.stdlib_module_names}


@pytest.mark.parametrize("name", BACKENDS)
def test_every_difference_that_a_backend_knows_of_is_reproduced(name: str) -> None:
    """What a backend excuses itself with is the framework's fault, shown in lines of it alone."""
    known = backend(name).known_differences
    entries = [entry for entry in KNOWN_DIFFERENCES if entry.backend == name]
    assert {entry.what for entry in entries} == set(known.values())
    assert sorted(test.rpartition("::")[2] for entry in entries for test in entry.tests) == sorted(known)


def test_every_difference_names_a_test(request: pytest.FixtureRequest) -> None:
    """Where the file of a test was collected, the test is in it, once; a case that was renamed would no longer be expected to fail."""
    collected = Counter(request.config.stash[COLLECTED])
    files = {name.partition("::")[0] for name in collected}
    named = [test for known in KNOWN_DIFFERENCES for test in known.tests if known.backend in BACKENDS]
    assert len(set(named)) == len(named)
    assert [name for name in named if name.partition("::")[0] in files and collected[name] != 1] == []


ENTRY = """
from known_differences_of_the_engine import KnownDifference
THREE = ("test_three.py::test_all[as]", "test_three.py::test_all[else]", "test_three.py::test_all[right]")
KNOWN_DIFFERENCES = [KnownDifference(backend="torch", what="differs", code="", said="no kernel", tests=THREE)]
"""
THREE = """
import pytest
@pytest.mark.parametrize("error", [RuntimeError("there is no kernel for it"), RuntimeError("no memory"), None], ids=["as", "else", "right"])
def test_all(error):
    if error: raise error
"""


def test_only_the_failure_that_is_known_is_expected(tmp_path: Path) -> None:
    """With tests/conftest.py, a list of its own and three tests that it names: one fails as it says, one otherwise, one not at all."""
    here = Path(__file__).parent
    shutil.copy(here / "conftest.py", tmp_path)
    shutil.copy(here / "known_differences.py", tmp_path / "known_differences_of_the_engine.py")
    for name, text in (("known_differences.py", ENTRY), ("test_three.py", THREE), ("pytest.ini", "[pytest]")):
        (tmp_path / name).write_text(text)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(here)])}
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "test_three.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    summary = done.stdout[done.stdout.index("short test summary") :]
    assert "XFAIL test_three.py::test_all[as] - differs" in summary
    assert "FAILED test_three.py::test_all[else] - RuntimeError: no memory" in summary
    assert "FAILED test_three.py::test_all[right] - [XPASS(strict)] differs" in summary

"""What is known of the frameworks is still so: every reproduction fails, in the framework alone, as it is written down."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import COLLECTED
from installed import BACKENDS, HOST
from known_differences import KNOWN_DIFFERENCES, TRAPS, Reproduction

DIFFERENCES = {known.reason: (known.backend, known.reproduction) for known in KNOWN_DIFFERENCES}
PITFALLS = {trap.name: (trap.backend, trap.reproduction) for trap in TRAPS}
REPRODUCTIONS = DIFFERENCES | PITFALLS
RUNS_ALL = """
import json, runpy, sys, traceback
failed = {}
for file in sys.argv[1:]:
    try:
        runpy.run_path(file)
    except Exception:
        failed[file] = traceback.format_exc()
print(json.dumps(failed))
"""
RIGHT_NOW = "the framework does it right now: remove the entry, and what goes around it"


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the reproductions of known differences, one after another in a process of their own, raised."""
    folder, files = tmp_path_factory.mktemp("reproductions"), {}
    for i, (what, (backend, reproduction)) in enumerate(DIFFERENCES.items()):
        if backend in BACKENDS:
            files[str(folder / f"{i}.py")] = what
            (folder / f"{i}.py").write_text(reproduction.code)
    done = subprocess.run([sys.executable, "-c", RUNS_ALL, *files], cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    failed = json.loads(done.stdout.splitlines()[-1])
    return {what: failed.get(file, "") for file, what in files.items()}


@pytest.mark.parametrize("what", DIFFERENCES)
def test_the_framework_alone_differs(what: str, failures: dict[str, str]) -> None:
    backend, reproduction = DIFFERENCES[what]
    if backend not in BACKENDS:
        pytest.skip(f"{backend} is not installed")
    assert failures[what], RIGHT_NOW
    assert reproduction.said in failures[what]


@pytest.mark.parametrize("what", PITFALLS)
def test_a_trap_is_still_there(what: str, tmp_path: Path) -> None:
    """In a process of its own, which it may bring down."""
    backend, reproduction = PITFALLS[what]
    if backend not in BACKENDS:
        pytest.skip(f"{backend} is not installed")
    file = tmp_path / "reproduction.py"  # code that MindSpore compiles must stand in a file
    file.write_text(reproduction.code)
    done = subprocess.run([sys.executable, file], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0, RIGHT_NOW
    assert reproduction.said in done.stderr


@pytest.mark.parametrize("what", REPRODUCTIONS)
def test_a_reproduction_is_the_framework_alone(what: str) -> None:
    backend, reproduction = REPRODUCTIONS[what]
    imported: set[str] = set()
    for node in ast.walk(ast.parse(reproduction.code)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module))
    assert imported <= {HOST.backend_class(backend).package, "numpy", *sys.stdlib_module_names}


def test_every_difference_names_a_test(request: pytest.FixtureRequest) -> None:
    """Where the file of a test was collected, the test is in it, once; a case that was renamed would no longer be expected to fail."""
    collected = Counter(request.config.stash[COLLECTED])
    files = {name.partition("::")[0] for name in collected}
    named = [f"{known.test}[{known.case}]" for known in KNOWN_DIFFERENCES if known.backend in BACKENDS]
    assert len(set(named)) == len(named)
    assert [name for name in named if name.partition("::")[0] in files and collected[name] != 1] == []


def test_every_difference_has_a_reproduction() -> None:
    assert all(isinstance(known.reproduction, Reproduction) and known.reproduction.said for known in (*KNOWN_DIFFERENCES, *TRAPS))

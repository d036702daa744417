"""``engine plugins check``: run the contract of its kind on an installed plugin."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.options import Json, PluginFiles, host_of, printable

if TYPE_CHECKING:
    from engine.plugins import PluginHost

MARK = "ENGINE_CHECK "
"""How the child's lines with a result begin."""
END = "ENGINE_CHECK_END"
"""The child's last line."""


def register(group: typer.Typer) -> None:
    """Add the command to ``engine plugins``."""
    group.command("check")(_check)


def _check(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="model, loss, dataset or backend.")],
    name: Annotated[str, typer.Argument(help="As a recipe names it.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting to build it with, any number of times: --set path=clips."),
    ] = None,
    as_json: Json = False,
    plugin: PluginFiles = None,
) -> None:
    """Run the tests that every component of its kind passes, on each installed backend; needs the extra `testing`.

    Exits with 1 where a test fails.
    """
    from engine.errors import EngineError

    if importlib.util.find_spec("pytest") is None:
        remedy = "Install it: python -m pip install 'styleengine[testing]'"
        raise EngineError("engine plugins check needs pytest, which is not installed", remedy=remedy)
    settings = _settings(set_ or [])
    host = host_of(context, plugin)
    _try(host, kind, name, settings)
    records = []
    for record in _run(kind, name, settings, plugin or [], host.first_party_only):
        records.append(record)
        if not as_json:
            print(_line(record), flush=True)
    counts = {status: sum(record["status"] == status for record in records) for status in ("ok", "failed", "expected", "skipped")}
    if as_json:
        print(json.dumps({"kind": kind, "name": name, "settings": settings, **counts, "tests": records}, indent=2))
    else:
        print(f"{kind} {name}: " + ", ".join(f"{count} {status}" for status, count in counts.items() if count))
    if counts["failed"]:
        raise typer.Exit(1)


def _settings(given: list[str]) -> dict[str, Any]:
    from engine.errors import EngineError
    from engine.recipe_source import override
    from engine.yaml_lines import Traced

    root = Traced({}, "--set", 0, Path.cwd())
    for setting in given:
        if fault := override(root, setting):
            raise EngineError(fault, where=f"--set {setting}")
    settings: dict[str, Any] = root.plain()
    return settings


def _try(host: PluginHost, kind: str, name: str, settings: dict[str, Any]) -> None:
    """Refuse what cannot be built: which settings are wrong or missing, or which framework."""
    from engine.contracts.dataset import Dataset
    from engine.errors import BadSample, EngineError

    if kind == "backend":
        host.make_backend(name, device=settings.get("device", "cpu"), settings=settings).describe()  # also which device there is
        return
    fields = host.get(kind, name).model_fields
    if absent := [key for key, field in fields.items() if field.is_required() and key not in settings]:
        said = "\n  ".join(f"--set {key}=...   {fields[key].description}" for key in absent)
        raise EngineError(f"{kind} {name} cannot be built without the setting {', '.join(absent)}", remedy=f"Give it:\n  {said}")
    component = host.make(kind, name, settings, Path.cwd())
    if isinstance(component, Dataset):
        with suppress(BadSample, IndexError):  # the contract's to judge
            component[0]  # where its folder is empty, or not there, there is nothing to test


def _run(kind: str, name: str, settings: dict[str, Any], files: list[Path], first_party_only: bool) -> Iterator[dict[str, str]]:
    """What a child process finds, test by test; a :class:`RunError` with its last words where it does not come to the end."""
    from engine.admission import ALLOW
    from engine.errors import RunError

    asked = {"kind": kind, "name": name, "settings": settings, "files": [str(file.resolve()) for file in files]}
    environment = {**os.environ, "ENGINE_CHECK": json.dumps(asked)} | ({ALLOW: ""} if first_party_only else {})
    command = [sys.executable, "-P", "-m", "engine.testing"]  # -P: the folder that it starts in holds no modules of ours
    others: deque[str] = deque(maxlen=12)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        assert child.stdout is not None
        ended = False
        for line in child.stdout:
            if line.startswith(MARK):
                yield json.loads(line.removeprefix(MARK))
            elif line.rstrip() == END:
                ended = True
            elif line.strip():
                others.append(line.rstrip())
    if not ended or child.returncode not in (0, 1):  # pytest's for passed and failed
        raise RunError(f"the tests of {kind} {name} stopped early, with exit status {child.returncode}", remedy="\n  ".join(others))


def _line(record: dict[str, str]) -> str:
    reason = printable(record["reason"]).replace("\n", "\n" + " " * 10)
    return f"{record['status']:<8}  {record['test']}" + (f"\n{' ' * 10}{reason}" if reason else "")

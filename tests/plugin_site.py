"""A folder that plugins are written and installed into for a test."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from engine.cli import main
from engine.plugins import Plugin, PluginHost, load_plugins

COMMAND = """
import typer
from engine import hookimpl

@hookimpl
def engine_register_commands(app: typer.Typer) -> None:
    app.command("{name}")(lambda: print("a stranger's"))
"""
LOSS = '''
from engine import Clip, Field, Loss, Needs, Ops, Prepared, Tensor, hookimpl

class Loss1(Loss):
    """Nothing but a test."""
    name = "{name}"
    size: int = Field(default=3, ge=1, description="A setting.")

    def needs(self) -> Needs:
        return Needs()

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        return ops.mean(clip.output(0))

@hookimpl
def engine_register_losses():
    return [Loss1]
'''
_number = itertools.count()


class Site:
    """A folder on sys.path that plugins are installed into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, distribution: str, code: str, entry: str = "") -> str:
        """Write a module and the metadata of the distribution that brings it; the plugin's name."""
        module = f"{distribution.replace('-', '_')}_{next(_number)}"  # modules stay in sys.modules
        entry = entry or distribution.replace("-", "_")
        (self.folder / f"{module}.py").write_text(code)
        info = self.folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[engine.plugins]\n{entry} = {module}\n")
        return entry


def record(name: str, host: PluginHost | None = None) -> Plugin:
    return next(plugin for plugin in (host or load_plugins()).plugins if plugin.name == name)


def run(*words: str) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)

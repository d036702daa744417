"""The command ``engine``: one small module for each group of commands, and the commands of plugins."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated

import typer

from engine.cli import doctor, infer, plugins, recipes, styles, train, weights
from engine.errors import EngineError, RecipeError
from engine.plugins import load_plugins

GROUPS = (train, infer, styles, recipes, weights, plugins, doctor)
"""In the order of ``engine --help``; each has ``register(app)`` and imports little until a command runs."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 2 what the user gave is wrong, 1 the run failed."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        make_app(warn=given[:1] != ["plugins"])(given, prog_name="engine")
    except EngineError as error:
        report(error)
        sys.exit(error.exit_code)


def make_app(*, warn: bool = False) -> typer.Typer:
    """The whole command line; with ``warn``, plugins that failed are named on stderr."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})
    app.callback()(_engine)
    for group in GROUPS:
        group.register(app)
    host = load_plugins()
    failures = [f"the plugin {plugin.owner} failed to load; see `engine plugins`" for plugin in host.plugins if plugin.status == "failed"]
    failures += host.register_commands(app)
    for failure in failures if warn else ():
        print(f"warning: {failure}", file=sys.stderr)
    return app


def report(error: EngineError) -> None:
    """Print an error on stderr, each fault of a recipe on its own line."""
    for text in error.faults if isinstance(error, RecipeError) else [str(error)]:
        print(f"error: {text}", file=sys.stderr)


def _engine(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", callback=lambda given: _version(given))] = False,
) -> None:
    """Style transfer for images and video: train a style from a recipe, paint with it."""


def _version(given: bool) -> None:
    if given:
        print(f"engine {metadata.version('styleengine')}")
        raise typer.Exit

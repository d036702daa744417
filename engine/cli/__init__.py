"""The command ``engine``: one small module for each group of commands, and the commands of plugins."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated

import typer

from engine.cli import doctor, infer, plugins, recipes, styles, train, weights
from engine.cli.options import printable
from engine.errors import EngineError, RecipeError
from engine.plugins import load_plugins

GROUPS = (train, infer, styles, recipes, weights, plugins, doctor)
"""In the order of ``engine --help``; each has ``register(app)`` and imports little until a command runs."""

SPINS = "1000"
"""How often a thread of OpenMP looks for work before it sleeps. GNU's own 300,000 cost nothing while a command has the machine to itself,
and make two commands on the same cores take 2.6 times as long as they need."""

NO_PLUGINS = "--no-plugins"  # read before the command line is made, since plugins add commands to it


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 2 what the user gave is wrong, 1 the run failed."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read when a framework is imported
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: files that are half written go
    try:
        options = list(itertools.takewhile(lambda word: word.startswith("-"), given))
        words = list(itertools.takewhile(lambda word: word != "--", given))
        if NO_PLUGINS in words[len(options) :]:
            command = words[len(options)]
            raise EngineError(f"{NO_PLUGINS} stands after the command", remedy=f"Write it before: engine {NO_PLUGINS} {command} ...")
        lists_plugins = words[len(options) : len(options) + 1] == ["plugins"]
        make_app(warn=not lists_plugins, first_party_only=any(map(_wants_no_plugins, words)))(given, prog_name="engine")
    except EngineError as error:
        report(error)
        sys.exit(error.exit_code)


def make_app(*, warn: bool = False, first_party_only: bool = False) -> typer.Typer:
    """The whole command line; with ``warn``, plugins that failed or were refused something are named on stderr."""
    host = load_plugins(first_party_only=first_party_only)
    settings = {"help_option_names": ["-h", "--help"], "obj": host}
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, context_settings=settings)
    app.callback()(_engine)
    for group in GROUPS:
        group.register(app)
    failures = [plugin.failure for plugin in host.plugins if plugin.status == "failed"]
    failures += [f"the plugin {plugin.owner}: {plugin.error}" for plugin in host.plugins if plugin.status == "loaded" and plugin.error]
    failures += host.register_commands(app)
    for failure in [*host.misspelt, *(failures if warn else ())]:
        print(f"warning: {printable(failure)}", file=sys.stderr)
    return app


def _wants_no_plugins(word: str) -> bool:
    """Also where it is misspelt: the slip is an error, and by then a plugin would have run."""
    return word.startswith("-") and word.lower().replace("-", "").replace("_", "").startswith("noplugin")


def report(error: EngineError) -> None:
    """Print an error on stderr, each fault of a recipe on its own line, and what was noted about it on its way."""
    for text in error.faults if isinstance(error, RecipeError) else [str(error)]:
        print(f"error: {printable(text)}", file=sys.stderr)
    for note in getattr(error, "__notes__", ()):
        print(f"  {printable(note)}", file=sys.stderr)


def _engine(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", callback=lambda given: _version(given))] = False,
    no_plugins: Annotated[bool, typer.Option(NO_PLUGINS, help="Load no plugin but the engine's own; goes before the command.")] = False,
) -> None:
    """Style transfer for images and video: train a style from a recipe, paint with it."""


def _version(given: bool) -> None:
    if given:
        print(f"engine {metadata.version('styleengine')}")
        raise typer.Exit

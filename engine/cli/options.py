"""What commands share: options, the plugins that are loaded already, and text that a terminal only shows."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from engine.plugins import PluginHost

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
PluginFiles = Annotated[list[Path] | None, typer.Option("--plugin", metavar="FILE", help="Load this plugin file too; may be repeated.")]


def host_of(context: typer.Context, files: Sequence[Path] | None = None) -> PluginHost:
    """The installed plugins, which the command line has loaded for their commands; with plugin files, all of them anew."""
    from engine.plugins import load_plugins

    host: PluginHost = context.obj
    return load_plugins(files, first_party_only=host.first_party_only) if files else host


def printable(text: object) -> str:
    """The text without control characters but line ends and tabs: what a stranger's file says cannot steer the terminal."""
    return "".join(c for c in str(text) if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))

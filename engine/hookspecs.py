"""The hooks that a plugin may implement; each is used by a plugin of our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, SupportsFloat

import pluggy

from engine.contracts.backend import Backend
from engine.contracts.dataset import Dataset
from engine.contracts.loss import Loss
from engine.contracts.model import Model

if TYPE_CHECKING:
    import typer

    from engine.run import Run

hookspec = pluggy.HookspecMarker("engine")
hookimpl = pluggy.HookimplMarker("engine")
API_VERSION = "1.0"
"""Of all that a plugin builds on: the names of ``engine``, the hooks, the contracts. The first number rises where one of them changes
or goes, the second where something is added. A plugin says what it was made for, ``ENGINE_API = "1"`` at the top of its module, and
is refused where the first number is another; one that says nothing is taken as it is."""


@hookspec
def engine_register_models() -> list[type[Model]]:
    """The model classes of this plugin."""
    return []


@hookspec
def engine_register_losses() -> list[type[Loss]]:
    """The loss classes of this plugin."""
    return []


@hookspec
def engine_register_datasets() -> list[type[Dataset]]:
    """The dataset classes of this plugin."""
    return []


@hookspec
def engine_register_backends() -> list[type[Backend]]:
    """The backend classes of this plugin. Importing the plugin must not import the framework."""
    return []


@hookspec
def engine_register_commands(app: typer.Typer) -> None:
    """Add commands of one's own to the command line: ``app.command()`` or ``app.add_typer()``."""


@hookspec
def engine_before_training(run: Run) -> None:
    """The run folder is there and the first step is next (the first after a restart, too)."""


@hookspec
def engine_after_step(run: Run, step: int, losses: Mapping[str, SupportsFloat]) -> None:
    """``step`` updates are done. Raw losses by label and ``total``, to be read only; reading one waits for the device."""


@hookspec
def engine_before_timing(run: Run) -> None:
    """The last step is done and the style is written; some steps more are timed, to find out what the loader costs."""


@hookspec
def engine_after_training(run: Run) -> None:
    """The last step is done, the style is written and nothing else is to come."""


@hookspec
def engine_on_error(run: Run, error: BaseException) -> None:
    """Training stopped early; what was reached is in the checkpoint, unless a loss or weight is no number any more.

    Ctrl-C and SIGTERM arrive here as KeyboardInterrupt.
    """

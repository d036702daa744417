"""The plugin host: load what was discovered, keep what failed with its error, and hand out components by name."""

from __future__ import annotations

import importlib.util
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import pluggy
from pydantic import ValidationError

from engine.cards import has_card
from engine.components import Component
from engine.contracts import KINDS
from engine.contracts.backend import Backend
from engine.contracts.dataset import Dataset
from engine.contracts.loss import Loss
from engine.contracts.model import Model
from engine.discovery import Discovered, discover
from engine.errors import EngineError, RunError
from engine.faults import explain, unknown
from engine.registration import REGISTER, add_commands, describe, hooks_of, register

if TYPE_CHECKING:
    import typer


@dataclass(frozen=True)
class Plugin:
    """One plugin and what became of it."""

    name: str
    distribution: str
    """Of an installed plugin; the path for a plugin file."""
    version: str
    status: Literal["loaded", "disabled", "failed"]
    error: str = ""
    """Why it failed, or which of its components another plugin claims too."""
    components: Mapping[str, Mapping[str, type[Component]]] = field(default_factory=dict)
    """By kind, then by name."""
    manager: pluggy.PluginManager | None = field(default=None, repr=False)
    """Its hooks; a manager of its own, so that hooks run plugin by plugin and each error has an owner."""
    file: Path | None = None
    """Of a plugin file, as the user named it."""

    @property
    def owner(self) -> str:
        """How messages call it."""
        return self.distribution if Path(self.distribution).stem.replace("-", "_") == self.name else f"{self.distribution} ({self.name})"


def load_plugins(files: Sequence[Path] = ()) -> PluginHost:
    """Load every installed plugin that ``ENGINE_DISABLE_PLUGINS=a,b`` does not name, and these files.

    An installed plugin that fails is kept with its error; a file was asked for by name, so its failure is an :class:`EngineError`.
    """
    disabled = {name.strip() for name in os.environ.get("ENGINE_DISABLE_PLUGINS", "").split(",")} - {""}
    there = discover(files)
    names = sorted({found.name for found in there})
    misspelt = [f"ENGINE_DISABLE_PLUGINS: {unknown('plugin', name, names)}" for name in sorted(disabled.difference(names))]
    return PluginHost([_load(found, found.name in disabled) for found in there], misspelt)


class PluginHost:
    """The plugins of one command and their components."""

    def __init__(self, plugins: Sequence[Plugin], misspelt: Sequence[str] = ()) -> None:
        self.misspelt = tuple(misspelt)
        """A clause for each name in ``ENGINE_DISABLE_PLUGINS`` that no plugin has."""
        owners: dict[tuple[str, str], list[Plugin]] = defaultdict(list)
        for plugin in plugins:
            for kind, classes in plugin.components.items():
                for name in classes:
                    owners[kind, name].append(plugin)
        self._conflicts = {key: [plugin.owner for plugin in claims] for key, claims in owners.items() if len(claims) > 1}
        self._classes = {key: claims[0].components[key[0]][key[1]] for key, claims in owners.items() if len(claims) == 1}
        self.plugins = tuple(self._without_conflicts(plugin) for plugin in plugins)
        """Sorted by name."""

    def _without_conflicts(self, plugin: Plugin) -> Plugin:
        clashes = [(kind, name) for kind, classes in plugin.components.items() for name in classes if (kind, name) in self._conflicts]
        if not clashes:
            return plugin
        error = "; ".join(
            f"{' and '.join(self._conflicts[key])} both have a {key[0]} called {key[1]!r}, so neither loads" for key in clashes
        )
        kept = {
            kind: {name: cls for name, cls in classes.items() if (kind, name) not in clashes} for kind, classes in plugin.components.items()
        }
        return replace(plugin, error=error, components=kept)

    @property
    def files(self) -> list[Path]:
        """The plugin files that were asked for by name."""
        return [plugin.file for plugin in self.plugins if plugin.file]

    def names(self, kind: str) -> list[str]:
        """The components of one kind, sorted."""
        return sorted(name for of, name in self._classes if of == kind)

    def get(self, kind: str, name: str) -> type[Component]:
        """The class that a recipe names; an :class:`EngineError` that says which names there are."""
        if kind not in KINDS:
            raise EngineError(unknown("kind of component", kind, KINDS))
        if owners := self._conflicts.get((kind, name)):
            remedy = "Uninstall one of them, or name one plugin in ENGINE_DISABLE_PLUGINS."
            raise EngineError(f"{' and '.join(owners)} both have a {kind} called {name!r}, so neither loads", remedy=remedy)
        if (kind, name) in self._classes:
            return self._classes[kind, name]
        raise EngineError(unknown(kind, name, self.names(kind)), remedy=self._absent())

    def _absent(self) -> str:
        failed = [plugin.owner for plugin in self.plugins if plugin.status == "failed"]
        disabled = [plugin.owner for plugin in self.plugins if plugin.status == "disabled"]
        said = [f"{len(failed)} installed plugin(s) failed to load ({', '.join(failed)}): see `engine plugins`."] if failed else []
        said += [f"ENGINE_DISABLE_PLUGINS turns off {', '.join(disabled)}."] if disabled else []
        return " ".join(said)

    def make(self, kind: str, name: str, settings: Mapping[str, Any] = {}, base: Path | None = None) -> Component:
        """A component of these settings; relative paths among them start at ``base``."""
        cls = self.get(kind, name)
        try:
            return cls.model_validate(dict(settings), context={"base": base})
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, location))}: {text}" if location else text for location, text in explain(error, cls)]
            raise EngineError("\n".join(faults), where=f"{kind} {name}") from None

    def make_model(self, name: str, settings: Mapping[str, Any] = {}, base: Path | None = None) -> Model:
        """:meth:`make` for a model."""
        return cast(Model, self.make("model", name, settings, base))

    def make_loss(self, name: str, settings: Mapping[str, Any] = {}, base: Path | None = None) -> Loss:
        """:meth:`make` for a loss."""
        return cast(Loss, self.make("loss", name, settings, base))

    def make_dataset(self, name: str, settings: Mapping[str, Any] = {}, base: Path | None = None) -> Dataset:
        """:meth:`make` for a dataset."""
        return cast(Dataset, self.make("dataset", name, settings, base))

    def make_backend(
        self,
        name: str = "auto",
        *,
        device: str = "auto",
        precision: str = "auto",
        settings: Mapping[str, Any] = {},
        training: bool = False,
    ) -> Backend:
        """A backend by name, or with ``auto`` what :meth:`pick_backend` picks.

        A backend that was named is never replaced: an :class:`EngineError` gives the command that installs its framework,
        or says that it only paints.
        """
        chosen = self.pick_backend(device, training=training) if name == "auto" else name
        cls = self.backend_class(chosen)
        if absent := missing_package(cls):
            remedy = f"Install it: {cls.install}" if cls.install else ""
            raise EngineError(f"the backend {chosen!r} needs {absent}, which is not installed", remedy=remedy)
        if training and not cls.trains:
            trainers = ", ".join(other for other in self.names("backend") if self.backend_class(other).trains)
            raise EngineError(
                f"the backend {chosen!r} only paints", allowed=trainers, remedy="Train on another one; any backend paints the style."
            )
        return cast(Backend, self.make("backend", chosen, {**settings, "device": device, "precision": precision}))

    def model_class(self, name: str) -> type[Model]:
        """:meth:`get` for a model."""
        return cast(type[Model], self.get("model", name))

    def backend_class(self, name: str) -> type[Backend]:
        """:meth:`get` for a backend, whether its framework is installed or not."""
        return cast(type[Backend], self.get("backend", name))

    def pick_backend(self, device: str = "auto", *, training: bool = False) -> str:
        """What ``auto`` means here: of the installed backends that serve the device, and train if asked to, that of the highest priority.

        Where the device is ``auto`` too and the machine has a card, those that serve cards come before those that serve none.
        An :class:`EngineError` where there is none, with the commands that install one.
        """
        kind = device.partition(":")[0]
        classes = [self.backend_class(name) for name in self.names("backend")]
        fitting = [cls for cls in classes if kind in ("auto", *cls.devices) and (cls.trains or not training)]
        if installed := [cls for cls in fitting if is_installed(cls)]:
            cards = kind == "auto" and has_card()
            return max(installed, key=lambda cls: (cards and cls.devices != ("cpu",), cls.priority)).name
        work = ("trains" if training else "paints") + (f" on the device {device!r}" if kind != "auto" else "")
        problem = f"no installed backend {work}" if any(map(is_installed, classes)) else "no backend is installed"
        commands = [f"Install one of them: {' | '.join(cls.install for cls in fitting if cls.install)}"] if fitting else []
        raise EngineError(problem, remedy="\n  ".join([*commands, *filter(None, [self._absent()])]))

    def register_commands(self, app: typer.Typer) -> list[str]:
        """Let every plugin add its commands; what went wrong, a clause for each plugin whose commands are missing."""
        return add_commands(app, [(plugin.owner, plugin.manager) for plugin in self.plugins if plugin.manager is not None])

    def call(self, hook: str, **arguments: object) -> None:
        """Call a lifecycle hook of every plugin in name order.

        One that raises does not keep the others from running; afterwards a :class:`RunError` names plugin, hook and step.
        """
        failures: list[tuple[str, Exception]] = []
        for plugin in self.plugins:
            if plugin.manager is None:
                continue
            try:
                getattr(plugin.manager.hook, hook)(**arguments)
            except Exception as error:
                step = f" at step {arguments['step']}" if "step" in arguments else ""
                failures.append((f"the plugin {plugin.owner} failed in {hook}{step}: {describe(error)}", error))
        if failures:
            raise RunError("\n".join(text for text, _ in failures)) from failures[0][1]


def is_installed(cls: type[Backend]) -> bool:
    """Whether all that the backend imports is there, found out without importing it."""
    return not missing_package(cls)


def missing_package(cls: type[Backend]) -> str:
    """The first of the packages that the backend imports and that is not installed; empty where all are."""
    return next((name for name in (cls.package, *cls.further_packages) if name and not _is_there(name)), "")


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # a package in which it should be is absent or broken
        return False


def _load(found: Discovered, disabled: bool) -> Plugin:
    file = Path(found.distribution) if isinstance(found.source, Path) else None
    record = Plugin(found.name, found.distribution, found.version, "disabled", file=file)
    if disabled:
        return record
    try:
        plugin = found.load()
        manager = hooks_of(plugin)
        components = {kind: register(manager, kind, hook) for kind, hook in REGISTER.items()}
    except (Exception, SystemExit) as error:
        if isinstance(found.source, Path):
            raise EngineError(f"this plugin file failed to load: {describe(error)}", where=found.distribution) from error
        return replace(record, status="failed", error=describe(error))
    return replace(record, status="loaded", components={kind: classes for kind, classes in components.items() if classes}, manager=manager)

"""The plugin host: load what was discovered, keep what failed with its error, and hand out components by name."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import pluggy
from pydantic import ValidationError

import engine.fusing  # noqa: F401 - its layer has its name before a plugin can take it
from engine.admission import ALLOW, DISABLE, Admission, is_first_party
from engine.cards import has_card
from engine.components import Component
from engine.contracts import KINDS
from engine.contracts.backend import Backend
from engine.contracts.dataset import Dataset
from engine.contracts.loss import Loss
from engine.contracts.model import Model
from engine.discovery import Discovered, discover
from engine.errors import EngineError, LossFailed, RunError
from engine.faults import did_you_mean, explain, unknown
from engine.layers import Layer
from engine.registration import REGISTER, add_commands, check_api, describe, hooks_of, register

if TYPE_CHECKING:
    import typer


@dataclass(frozen=True)
class Plugin:
    """One plugin and what became of it."""

    name: str
    distribution: str
    """Of an installed plugin; the path for a plugin file."""
    version: str
    status: Literal["loaded", "disabled", "not allowed", "failed"]
    error: str = ""
    """Why it failed or may not load, or what of it was refused: components and commands that others claim too."""
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

    @property
    def failure(self) -> str:
        """A clause that says in a line why it failed to load."""
        reason, _, _ = self.error.partition("\n")
        return f"the plugin {self.owner} failed to load: {reason}"

    @property
    def third_party(self) -> bool:
        """Whether it comes from a package that is not the engine's own."""
        return self.file is None and not self.first_party

    @property
    def first_party(self) -> bool:
        """Whether it comes with the engine."""
        return self.file is None and is_first_party(self.distribution)


def load_plugins(files: Sequence[Path] = (), *, first_party_only: bool = False) -> PluginHost:
    """Load the installed plugins and these files.

    ``ENGINE_DISABLE_PLUGINS=a,b`` leaves plugins out. Where ``ENGINE_ALLOW_PLUGINS=a,b`` is set, only first-party plugins load and those
    that it names. Both name a plugin or, of others than the engine, its distribution. With ``first_party_only`` no other installed
    plugin loads at all.
    What is left out is not imported. A module may state ``ENGINE_API``, the :data:`engine.API_VERSION` that it was made for; one for
    another major version is refused.

    An installed plugin that fails is kept with its error; a file was asked for by name, so its failure is an :class:`EngineError`.
    """
    admission, there = Admission.of_environment(first_party_only), discover(files)
    ours = {found.name for found in there if is_first_party(found.distribution)}
    with _quiet_stdout():
        plugins = [_load(found, admission, ours) for found in there]
    return PluginHost(plugins, admission.misspelt(there), first_party_only=first_party_only)


class PluginHost:
    """The plugins of one command and their components."""

    def __init__(self, plugins: Sequence[Plugin], misspelt: Sequence[str] = (), *, first_party_only: bool = False) -> None:
        self.misspelt = tuple(misspelt)
        """A clause for each name in ``ENGINE_DISABLE_PLUGINS`` and ``ENGINE_ALLOW_PLUGINS`` that no plugin has."""
        self.first_party_only = first_party_only
        owners: dict[tuple[str, str], list[Plugin]] = defaultdict(list)
        for plugin in plugins:
            for kind, classes in plugin.components.items():
                for name in classes:
                    owners[kind, name].append(plugin)
        self._claims = {key: claims for key, claims in owners.items() if len(claims) > 1}
        settled = {key: _winners(claims) for key, claims in owners.items()}
        self._classes = {key: claims[0].components[key[0]][key[1]] for key, claims in settled.items() if len(claims) == 1}
        self.plugins = tuple(self._without_conflicts(plugin) for plugin in plugins)
        """Sorted by name."""

    def _without_conflicts(self, plugin: Plugin) -> Plugin:
        claimed = [(kind, name) for kind, classes in plugin.components.items() for name in classes if (kind, name) in self._claims]
        clashes = [key for key in claimed if key not in self._classes or _winners(self._claims[key])[0] is not plugin]
        if not clashes:
            return plugin
        error = "; ".join(map(self._refusal, clashes))
        if plugin.file is not None and any(key in self._classes for key in clashes):
            raise EngineError(error, where=plugin.distribution, remedy="Give it another name.")
        kept = {
            kind: {name: cls for name, cls in classes.items() if (kind, name) not in clashes} for kind, classes in plugin.components.items()
        }
        return replace(plugin, error=error, components=kept)

    def _refusal(self, key: tuple[str, str]) -> str:
        kind, name = key
        claims = self._claims[key]
        if key in self._classes:
            strangers = " and ".join(plugin.owner for plugin in claims if not plugin.first_party)
            return f"there is a {kind} called {name!r} in the engine itself, so that of {strangers} does not load"
        return f"{' and '.join(plugin.owner for plugin in claims)} each have a {kind} called {name!r}, so none of these loads"

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
        if (kind, name) in self._classes:
            return self._classes[kind, name]
        if (kind, name) in self._claims:
            files = " or ".join(f"--plugin {plugin.file}" for plugin in self._claims[kind, name] if plugin.file)
            remedy = f"Leave out {files}." if files else f"Uninstall one of them, or name one plugin in {DISABLE}."
            raise EngineError(self._refusal((kind, name)), remedy=remedy)
        known = self.names(kind)
        missing = "" if did_you_mean(name, known) else "Is the plugin that brings it installed? `engine plugins` lists them."
        raise EngineError(unknown(kind, name, known), remedy=self._absent() or missing)

    def _absent(self) -> str:
        disabled, kept_out = ([p.owner for p in self.plugins if p.status == status] for status in ("disabled", "not allowed"))
        said = [f"{plugin.failure}; see `engine plugins`." for plugin in self.plugins if plugin.status == "failed"]
        said += [f"{DISABLE} turns off {', '.join(disabled)}."] if disabled else []
        said += [f"{'--no-plugins' if self.first_party_only else ALLOW} leaves out {', '.join(kept_out)}."] if kept_out else []
        return " ".join(said)

    def owner(self, kind: str, name: str) -> Plugin:
        """The plugin that brings a component which :meth:`get` gives."""
        return next(plugin for plugin in self.plugins if name in plugin.components.get(kind, {}))

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
        """Let every plugin add its commands, the engine's own first; what went wrong, a clause for each whose commands are missing.

        The clause is kept as an error of that plugin too.
        """
        asked = sorted((plugin for plugin in self.plugins if plugin.manager is not None), key=lambda plugin: not plugin.first_party)
        with _quiet_stdout():
            failures = add_commands(app, [(plugin.owner, plugin.first_party, plugin.manager) for plugin in asked if plugin.manager])
        said = {plugin.owner: "; ".join(filter(None, (plugin.error, failures.get(plugin.owner, "")))) for plugin in self.plugins}
        self.plugins = tuple(replace(plugin, error=said[plugin.owner]) for plugin in self.plugins)
        return [f"the plugin {owner} {failure}" for owner, failure in failures.items()]

    def call(self, hook: str, **arguments: object) -> None:
        """Call a lifecycle hook of every plugin in name order.

        One that raises does not keep the others from running; afterwards a :class:`RunError` names plugin, hook and step,
        or a :class:`LossFailed` that a plugin has met comes through as it is.
        """
        failures: list[tuple[str, BaseException]] = []
        of_losses: list[LossFailed] = []
        for plugin in self.plugins:
            if plugin.manager is None:
                continue
            try:
                getattr(plugin.manager.hook, hook)(**arguments)
            except LossFailed as error:
                of_losses.append(error)
            except (Exception, SystemExit) as error:
                step = f" at step {arguments['step']}" if "step" in arguments else ""
                failures.append((f"the plugin {plugin.owner} failed in {hook}{step}: {describe(error)}", error))
        if of_losses:
            for text, _ in failures:
                of_losses[0].add_note(text)
            raise of_losses[0]
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


def _winners(claims: Sequence[Plugin]) -> Sequence[Plugin]:
    """Of the plugins with one name, those that have a right to it: the engine's own before strangers."""
    return [plugin for plugin in claims if plugin.first_party] or claims


def _load(found: Discovered, admission: Admission, ours: Collection[str]) -> Plugin:
    record = Plugin(found.name, found.distribution, found.version, "disabled", file=found.file)
    if refusal := admission.refusal(found):
        status, reason = refusal
        return replace(record, status=status, error=reason)
    modules, layers = set(sys.modules), dict(Layer.kinds)
    try:
        if found.name in ours and not record.first_party:
            raise EngineError(f"a plugin of the engine itself is called {found.name!r}", remedy="Give it another name.")
        plugin = found.load()
        check_api(found.stated_api() if (stated := getattr(plugin, "ENGINE_API", None)) is None else stated)
        manager = hooks_of(plugin, _layers_of(found))
        components = {kind: register(manager, kind, hook) for kind, hook in REGISTER.items()}
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too, and what pytest raises to skip
        if not record.first_party:
            _forget(found, modules, layers)
        if found.file is not None:
            raise EngineError(f"this plugin file failed to load: {_why(found, error)}", where=found.distribution) from error
        return replace(record, status="failed", error=_why(found, error))
    return replace(record, status="loaded", components={kind: classes for kind, classes in components.items() if classes}, manager=manager)


def _forget(found: Discovered, modules: Collection[str], layers: Mapping[str, type[Layer]]) -> None:
    """Undo a stranger's import: no layer of its stays, nor a module, so that another plugin of its package defines those layers again."""
    for name in [name for name in sys.modules if found.owns(name) and name not in modules]:
        del sys.modules[name]
    for name in _layers_of(found):
        del Layer.kinds[name]
    Layer.kinds.update(layers)


def _layers_of(found: Discovered) -> list[str]:
    return [name for name, cls in Layer.kinds.items() if found.owns(cls.__module__)]


def _quiet_stdout() -> contextlib.AbstractContextManager[object]:
    """What plugins print while they load goes to stderr: stdout is the command's, which may be one JSON document."""
    return contextlib.redirect_stdout(sys.stderr)


def _why(found: Discovered, error: BaseException) -> str:
    """Why a plugin failed; that it was made for another API, where it says so, explains whatever else is wrong."""
    try:
        check_api(found.stated_api())
    except EngineError as made_for_another:
        return str(made_for_another) if made_for_another.problem in str(error) else f"{made_for_another}\n  It said: {describe(error)}"
    return describe(error)

"""Ask one plugin for what it brings, and refuse what does not fit."""

from __future__ import annotations

import inspect
import math
import re
import traceback
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import pluggy

from engine import hookspecs
from engine.components import Component
from engine.contracts import KINDS
from engine.contracts.backend import Backend
from engine.errors import EngineError
from engine.faults import did_you_mean, unknown

if TYPE_CHECKING:
    import typer

REGISTER = {kind: f"engine_register_{'losses' if kind == 'loss' else kind + 's'}" for kind in KINDS}
"""The hook of each kind of component."""
RESERVED = {"dataset": ("share",)}
"""What a recipe says of a component beside its settings, by kind: no setting can be called that."""


def check_api(stated: object) -> None:
    """An :class:`EngineError` where a plugin states that it was made for another major version of the engine's API."""
    ours = hookspecs.API_VERSION.partition(".")[0]
    if stated is None:
        return
    if not isinstance(stated, str) or not re.fullmatch(r"\d+(\.\d+)*", stated):
        raise EngineError(f"ENGINE_API is {stated!r}", allowed=f"the version it was made for as a text, like {ours!r}")
    if stated.partition(".")[0] != ours:
        remedy = f"Install a version of it that was made for API {ours}, or a styleengine with API {stated.partition('.')[0]}."
        raise EngineError(
            f"this plugin was made for version {stated} of the engine's API, and this is {hookspecs.API_VERSION}", remedy=remedy
        )


def check_name(kind: str, name: object, what: str) -> None:
    """An :class:`EngineError` where no component of this kind can be called that; ``what`` it is that names it so."""
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise EngineError(f"{what} is {name!r}", allowed="words in snake case, like `total_variation`")
    if kind == "backend" and name == "auto":
        raise EngineError(f"{what} is 'auto', which lets the engine choose one", remedy="Take another name.")


def hooks_of(plugin: object, layers: Collection[str] = ()) -> pluggy.PluginManager:
    """A manager that knows this plugin only; an error where a hook is misspelt, has other arguments or lacks its mark.

    One that brings ``layers`` needs no hook: they are known once its module is imported.
    """
    if isinstance(plugin, type):
        raise EngineError(f"the entry point names the class {plugin.__qualname__}", allowed="a module, or an instance: hooks = Hooks()")
    manager = pluggy.PluginManager("engine")
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    known = [name for name in vars(hookspecs) if name.startswith("engine_")]
    for caller in manager.get_hookcallers(plugin) or ():  # pluggy accepts a misspelt hook without a word
        if not caller.has_spec() and not all(found.optionalhook for found in caller.get_hookimpls()):
            raise EngineError(unknown("hook", caller.name, known))
    for name, item in inspect.getmembers(plugin, inspect.isroutine):
        if name in known and not getattr(manager.hook, name).get_hookimpls() and not hasattr(item, "engine_spec"):
            raise EngineError(f"{name}() is not marked with @hookimpl, so nobody would call it")
    if not manager.get_hookcallers(plugin) and not layers:
        remedy = "Return what it brings from engine_register_losses() or the like, marked with @hookimpl."
        raise EngineError("this plugin has no hook, so it brings nothing", allowed=", ".join(known), remedy=remedy)
    return manager


def register(manager: pluggy.PluginManager, kind: str, hook: str) -> dict[str, type[Component]]:
    """The classes of one kind that the plugin registers, by name; an :class:`EngineError` for whatever is no component."""
    caller = getattr(manager.hook, hook)
    if not caller.get_hookimpls():
        return {}
    answers = caller()  # pluggy drops None
    classes = answers[0] if answers else None
    if not isinstance(classes, Iterable) or isinstance(classes, str):
        raise EngineError(f"{hook}() returned {classes!r}", allowed=f"a list of {kind} classes")
    found: dict[str, type[Component]] = {}
    for cls in classes:
        if not isinstance(cls, type) or not issubclass(cls, KINDS[kind]):
            raise EngineError(f"{hook}() returned {cls!r} among others", allowed=f"subclasses of engine.{KINDS[kind].__name__}")
        _check_component(kind, cls)
        if cls.name in found:
            raise EngineError(f"{hook}() returned two called {cls.name!r}")
        found[cls.name] = cls
    return found


def _check_component(kind: str, cls: type[Component]) -> None:
    if typed := sorted(cls.model_fields.keys() & KINDS[kind].__class_vars__):
        remedy = f"Write it without a type: {typed[0]} = ..."
        raise EngineError(f"{cls.__qualname__}.{typed[0]} has a type, which makes it a setting", remedy=remedy)
    check_name(kind, getattr(cls, "name", None), f"{cls.__qualname__}.name")
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise EngineError(f"{cls.__qualname__} does not define {', '.join(missing)}")
    if issubclass(cls, Backend):
        _check_backend(cls)
    if silent := [key for key, item in cls.model_fields.items() if not (item.description or "").strip()]:
        remedy = "Write Field(default=..., description=...)."
        raise EngineError(f"these settings of {cls.__qualname__} have no description: {', '.join(silent)}", remedy=remedy)
    if renamed := [key for key, item in cls.model_fields.items() if item.validation_alias or item.serialization_alias]:
        problem = f"these settings of {cls.__qualname__} have an alias, and a recipe knows them by their own names: {', '.join(renamed)}"
        raise EngineError(problem, remedy="Leave aliases out.")
    for key in cls.model_fields.keys() & set(RESERVED.get(kind, ())):
        problem = f"{cls.__qualname__} has a setting called {key}, which in a recipe says how much of a mix a dataset gives"
        raise EngineError(problem, remedy="Give it another name.")
    for key, item in cls.model_fields.items():
        if not _is_finite(item.default):
            problem = f"{cls.__qualname__}.{key} is {item.default!r} by default, which no recipe can hold"
            raise EngineError(problem, allowed="finite numbers")


def _is_finite(value: object) -> bool:
    return all(map(_is_finite, value)) if isinstance(value, (list, tuple)) else not isinstance(value, float) or math.isfinite(value)


def _check_backend(cls: type[Backend]) -> None:
    missing = [name for name in ("gradient", "trainer") if getattr(cls, name) is getattr(Backend, name)]
    if cls.trains and missing:
        raise EngineError(
            f"{cls.__qualname__} does not define {', '.join(missing)}", remedy="A backend that only paints has trains = False."
        )
    if not isinstance(cls.further_packages, tuple):
        raise EngineError(f"{cls.__qualname__}.further_packages is {cls.further_packages!r}", allowed="a tuple of import names")
    if not isinstance(cls.devices, tuple) or not cls.devices or not set(cls.devices) <= {"cpu", "gpu", "ascend"}:
        raise EngineError(f"{cls.__qualname__}.devices is {cls.devices!r}", allowed="a tuple of cpu, gpu, ascend")


def describe(error: BaseException, file: str | None = None) -> str:
    """What was raised, and the line that raised it; of ``file`` the innermost one, where it is among those that led there."""
    if isinstance(error, (EngineError, pluggy.PluginValidationError)):
        return str(error)
    if isinstance(error, SyntaxError) and error.filename:  # no frame of the file: it never ran
        return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    frames = [frame for frame in frames if frame.filename == file] or frames
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{_named(error)}{place}"


def _named(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}{_near(error)}"
    except Exception:  # a plugin's own exception may fail to say what it is
        return type(error).__name__


def _near(error: BaseException) -> str:
    """What may have been meant where there is no attribute of that name; one that is there has raised for reasons of its own."""
    if not isinstance(error, AttributeError) or not error.name or "did you mean" in str(error):
        return ""
    there = [name for name in dir(error.obj) if not name.startswith("_")]
    return "" if error.name in there else did_you_mean(error.name, there)


def add_commands(app: typer.Typer, plugins: Sequence[tuple[str, bool, pluggy.PluginManager]]) -> dict[str, str]:
    """Add the commands of plugins, each (owner, whether it is first-party, hooks), first-party ones first.

    A clause by owner for every plugin that failed or wants a name that is taken. Two strangers of one name: neither gets it.
    """
    from typer import Typer

    failures: dict[str, str] = {}
    strangers: list[tuple[str, typer.Typer, set[str]]] = []
    for owner, first_party, manager in plugins:
        own = Typer()
        try:
            _ask_for_commands(manager, own)
            if first_party:
                _take_over(app, own)
            else:
                strangers.append((owner, own, _commands_of(own, _stated_names(app))))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too, and what pytest raises to skip
            failures[owner] = f"could not add its commands: {describe(error)}"
    for owner, own, names in strangers:
        claims = {name: [other for other, _, theirs in strangers if name in theirs] for name in sorted(names)}
        if clash := next((name for name, claimants in claims.items() if len(claimants) > 1), None):
            failures[owner] = (
                f"could not add its commands: {' and '.join(claims[clash])} each have a command {clash!r}, so none of these is added"
            )
        else:
            _take_over(app, own)
    return failures


def _ask_for_commands(manager: pluggy.PluginManager, own: typer.Typer) -> None:
    hook = "engine_register_commands"
    if answers := getattr(manager.hook, hook)(app=own):
        remedy = "Add to the app that it is given: app.command() or app.add_typer()."
        raise EngineError(f"{hook}() returned {answers[0]!r}", allowed="nothing", remedy=remedy)
    if own.registered_callback is not None:
        remedy = "Only a group of its own may have one: app.add_typer(group, name=...)."
        raise EngineError(f"{hook}() gives the whole command line a callback", remedy=remedy)


def _take_over(app: typer.Typer, own: typer.Typer) -> None:
    app.registered_commands += own.registered_commands
    app.registered_groups += own.registered_groups


def _stated_names(app: typer.Typer) -> set[str]:
    from typer.main import get_command_name

    names = {info.name or get_command_name(info.callback.__name__) for info in app.registered_commands if info.callback is not None}
    return names | {group.name for group in app.registered_groups if isinstance(group.name, str)}


def _commands_of(own: typer.Typer, taken: Collection[str]) -> set[str]:
    """The names of a stranger's commands, which are built and their help read: what fails in that would end every command."""
    from typer.main import get_group

    try:
        commands = get_group(own).commands
    except Exception as error:  # where it was raised is inside typer
        raise EngineError(f"typer cannot build them: {_named(error)}") from error
    for name, command in sorted(commands.items()):
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
            raise EngineError(f"a command is called {name!r}", allowed="small letters, digits, - and _, a letter first")
        if name in taken:
            raise EngineError(f"there is a command {name!r} already")
        if "[" in (command.help or ""):  # markup, as typer prints it
            from rich.markup import render

            render(command.help or "")
    return set(commands)

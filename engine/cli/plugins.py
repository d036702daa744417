"""``engine plugins``: which plugins there are, what became of them, and what a component can be set to."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from engine.cli import plugins_check, plugins_new
from engine.cli.options import Json, PluginFiles, host_of, printable

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from engine.plugins import Plugin


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(invoke_without_command=True, help="List plugins and what they bring.")
    group.callback()(_list)
    group.command("show")(_show)
    plugins_check.register(group)
    plugins_new.register(group)
    app.add_typer(group, name="plugins")


def _list(context: typer.Context, as_json: Json = False, plugin: PluginFiles = None) -> None:
    """List plugins, also those that failed to load, with the reason."""
    if context.invoked_subcommand:
        return
    records = [_record(found) for found in host_of(context, plugin).plugins]
    if as_json:
        print(json.dumps({"plugins": records}, indent=2))
        return
    for record in records:
        lines = [f"{record['name']}  {record['distribution']} {record['version']}".rstrip() + f"  {record['status']}"]
        lines += [f"    {kind}: {', '.join(names)}" for kind, names in record["components"].items()]
        lines += [f"    {line}" for line in record["error"].splitlines()]
        print(printable("\n".join(lines)))


def _show(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="model, loss, dataset or backend.")],
    name: Annotated[str, typer.Argument(help="As a recipe names it.")],
    as_json: Json = False,
    plugin: PluginFiles = None,
) -> None:
    """Show what a component is and what can be set."""
    from engine.contracts.backend import Backend
    from engine.plugins import is_installed
    from engine.recipe_schema import settings_schema

    host = host_of(context, plugin)
    cls = host.get(kind, name)
    owner = host.owner(kind, name)
    about = inspect.cleandoc(cls.__doc__ or "")
    if as_json:
        facts: dict[str, Any] = {"kind": kind, "name": name, "plugin": owner.name, "distribution": owner.distribution, "about": about}
        facts |= {"installed": is_installed(cls), "install": cls.install} if issubclass(cls, Backend) else {}
        print(json.dumps(facts | {"schema": settings_schema(cls)}, indent=2))
        return
    print(printable(f"{kind} {name}, from {owner.owner}\n\n{about}\n"))
    if issubclass(cls, Backend):
        packages = " and ".join(filter(None, (cls.package, *cls.further_packages)))
        print(printable(f"framework: {packages or 'none'}, {'installed' if is_installed(cls) else f'not installed: {cls.install}'}\n"))
    for key, field in cls.model_fields.items():
        print(printable(f"{key}: {type_of(field)}{_default_of(field)}\n    {field.description}"))


def _record(plugin: Plugin) -> dict[str, Any]:
    components = {kind: sorted(classes) for kind, classes in plugin.components.items() if classes}
    facts = {"name": plugin.name, "distribution": plugin.distribution, "version": plugin.version}
    return {**facts, "status": plugin.status, "error": plugin.error, "components": components}


_SIGNS = {
    "ge": ">=",
    "gt": ">",
    "le": "<=",
    "lt": "<",
    "multiple_of": "a multiple of",
    "min_length": "length >=",
    "max_length": "length <=",
}


def type_of(field: FieldInfo) -> str:
    """What a setting may be, as `engine plugins show` prints it."""
    limits = [
        f"{sign} {getattr(item, key)}" for item in field.metadata for key, sign in _SIGNS.items() if getattr(item, key, None) is not None
    ]
    return ", ".join([_type_name(field.annotation), *limits])


def _type_name(kind: object) -> str:
    inner = get_args(kind)
    match get_origin(kind):
        case None:
            return "..." if kind is ... else "null" if kind is type(None) else str(getattr(kind, "__name__", kind))
        case origin if origin is Annotated:
            return _type_name(inner[0])
        case origin if origin is Literal:
            return " | ".join(json.dumps(item, default=str) for item in inner)
        case origin if origin in (Union, UnionType):
            return " | ".join(_type_name(item) for item in inner)
        case origin:
            return f"{_type_name(origin)}[{', '.join(_type_name(item) for item in inner)}]"


def _default_of(field: FieldInfo) -> str:
    if field.is_required():
        return " (required)"
    try:
        value = field.get_default(call_default_factory=True, validated_data={})
        return f" = {value if isinstance(value, Path) else json.dumps(value, default=str)}"
    except Exception as error:  # a plugin's code
        return f" (made anew for each; here that fails: {type(error).__name__}: {error})"

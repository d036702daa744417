"""Write what of the documentation is made from code: the quotes in the pages, and the reference. ``python docs/generate.py [--check]``."""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

import engine
from engine import Clip, Needs, Ops, hookspecs, ops, recipe
from engine.augmentation import Augmentation
from engine.cli.plugins import type_of
from engine.plugins import PluginHost
from engine.recipe_schema import recipe_schema

ROOT = Path(__file__).resolve().parent.parent
QUOTE = re.compile(r"^<!-- quoted: (?P<file>[^:\n]+?)(?::(?P<name>\w+))? -->\n```(?P<kind>\w*)\n.*?^```$", re.M | re.S)
"""A file, or one class or function of it, or its ``imports``, and the block that holds it."""


MODELS: tuple[type[BaseModel], ...] = (
    recipe.Recipe,
    recipe.Block,
    recipe.SharedBlock,
    recipe.EncoderBlock,
    recipe.BackendBlock,
    recipe.StyleImage,
    recipe.OptimiserSettings,
    recipe.LoaderSettings,
    recipe.Every,
    Augmentation,
)
"""What a recipe is made of."""


def pages() -> dict[Path, str]:
    """Every page that is made from code, wholly or in parts, as it should be."""
    written = sorted((ROOT / "docs").glob("*.md"))
    reference = {"hooks": hooks(), "ops": operators(), "clip": clip(), "names": surface(), "recipe": recipe_settings()}
    return {page: quoted(page.read_text()) for page in written} | {
        ROOT / f"docs/reference/{name}.md": "\n".join(lines).rstrip() + "\n" for name, lines in reference.items()
    }


def quoted(page: str) -> str:
    """The page with its quotes as the files have them now."""
    return QUOTE.sub(lambda found: "\n".join([found[0].partition("\n")[0], f"```{found['kind']}", _text(found), "```"]), page)


def _text(found: re.Match[str]) -> str:
    text = (ROOT / found["file"]).read_text().rstrip("\n")
    if found["name"] is None:
        return text
    if found["name"] == "imports":
        imports = [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
        return "\n".join(text.splitlines()[imports[0].lineno - 1 : imports[-1].end_lineno])
    (node,) = (node for node in ast.parse(text).body if getattr(node, "name", None) == found["name"])
    assert isinstance(node, ast.ClassDef | ast.FunctionDef)
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno])


def hooks() -> Iterator[str]:
    """Every hook, with its signature and what it is for."""
    yield from _head("Hooks", "A plugin implements those that it needs, each marked with `engine.hookimpl`.")
    for name, function in vars(hookspecs).items():
        if name.startswith("engine_"):
            yield from _entry(name, function)


def operators() -> Iterator[str]:
    """Every operator of ``engine.Ops``, and the words that their types stand for."""
    yield from _head("Operators", inspect.cleandoc(Ops.__doc__ or ""))
    (dtypes,) = (_line(below) for alias, below in pairwise(ast.parse(inspect.getsource(ops)).body) if "DType" in ast.unparse(alias))
    yield from ["| type | one of |", "| --- | --- |", f"| `DType` | {dtypes.replace('``', '`')} |"]
    for name in ("PadMode", "ResizeMode", "UpsampleMode"):
        words = get_args(getattr(engine, name))
        yield f"| `{name}` | {', '.join(f'`{word}`' for word in words)} |"
    yield ""
    yield from _methods(Ops)


def clip() -> Iterator[str]:
    """What a loss asks for, and what it sees."""
    yield from _head("Clip", inspect.cleandoc(Clip.__doc__ or ""))
    yield from _methods(Clip)
    yield from _class(Needs)


def surface() -> Iterator[str]:
    """Every other name of ``engine``, by what a plugin is written for."""
    text = "The classes and functions that a plugin may import from `engine`, beside operators and `Clip`, which have pages of their own."
    yield from _head("Names of engine", text)
    found = {name: getattr(engine, name) for name in sorted(engine.__all__, key=str.lower) if name not in ("Clip", "Needs", "Ops")}
    for name, item in found.items():
        if inspect.isclass(item) and item.__module__.startswith("engine."):
            yield from _class(item)
        elif inspect.isfunction(item) and item.__module__.startswith("engine."):
            yield from _entry(name, item)


def recipe_settings() -> Iterator[str]:
    """Every setting of a recipe that is not a component's own."""
    text = "What a recipe may say beside the settings of its components, which `engine plugins show KIND NAME` prints. A required setting "
    yield from _head("Recipe", text + "has no default; one that the recipe under `extends` has need not be said again.")
    for model in MODELS:
        yield from [
            f"## {model.__name__}",
            "",
            inspect.cleandoc(model.__doc__ or ""),
            "",
            "| setting | type | default | |",
            "| --- | --- | --- | --- |",
        ]
        if model is recipe.Recipe:
            extends = recipe_schema(PluginHost(()))["properties"]["extends"]
            yield f"| `extends` | `str` | none | {extends['description']} |"
        for name, field in model.model_fields.items():
            default = "" if field.is_required() else f"`{_default(field.get_default(call_default_factory=True, validated_data={}))}`"
            default = "the file's name" if (model, name) == (recipe.Recipe, "name") else default
            kind = type_of(field).replace("|", r"\|")
            yield f"| `{name}` | `{kind}` | {default} | {field.description} |"
        yield ""


def _default(value: Any) -> str:
    return value.model_dump_json() if isinstance(value, BaseModel) else json.dumps(value)


def _head(title: str, text: str) -> list[str]:
    return [f"# {title}", "", "<!-- made by docs/generate.py -->", "", text, ""]


def _methods(protocol: type) -> Iterator[str]:
    for name, item in vars(protocol).items():
        if not name.startswith("_") and (inspect.isfunction(item) or isinstance(item, property)):
            yield from _entry(name, item)


def _class(item: type) -> list[str]:
    """What it is, how one is made, and its attributes that have a text below them. Settings of components `engine plugins show` prints."""
    made = not issubclass(item, BaseModel) and not inspect.isabstract(item) and not getattr(item, "_is_protocol", False)
    shown = ["```python", f"{item.__name__}({', '.join(_parameters(item))})", "```", ""] if made else []
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(item))).body
    assert isinstance(node, ast.ClassDef)
    pairs = [(ast.unparse(field), below) for field, below in pairwise(node.body) if isinstance(field, ast.AnnAssign)]
    texts = [f"- `{field}`: {_line(below)}" for field, below in pairs if _line(below)]
    return [f"## {item.__name__}", "", *shown, inspect.cleandoc(item.__doc__ or ""), "", *([*texts, ""] if texts else [])]


def _parameters(item: type) -> Iterator[str]:
    for key, parameter in inspect.signature(item).parameters.items():
        stated = f"{key}: {parameter.annotation}" if parameter.annotation is not inspect.Parameter.empty else key
        yield stated if parameter.default is inspect.Parameter.empty else f"{stated} = {parameter.default!r}"


def _line(node: ast.stmt) -> str:
    text = node.value.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) else ""
    return " ".join(text.split()) if isinstance(text, str) else ""


def _entry(name: str, item: Any) -> list[str]:
    function: Any = item.fget if isinstance(item, property) else item
    source = textwrap.dedent(inspect.getsource(function))
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)
    head = "\n".join(source.splitlines()[node.lineno - 1 : node.body[0].lineno - 1])
    shown = f"{name}: {ast.unparse(node.returns)}" if isinstance(item, property) and node.returns else f"{head} ..."
    return [f"## {name}", "", "```python", shown, "```", "", inspect.cleandoc(item.__doc__ or ""), ""]


def main() -> int:
    """Write the pages that are not as they should be; with ``--check`` only name them, and exit with 1 where there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    stale = {page: text for page, text in pages().items() if not page.is_file() or page.read_text() != text}
    for page, text in stale.items():
        print(page.relative_to(ROOT))
        if not arguments.check:
            page.parent.mkdir(exist_ok=True)
            page.write_text(text)
    return int(arguments.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())

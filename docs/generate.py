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
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from engine import Clip, Ops, hookspecs, recipe
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
    reference = {"hooks": hooks(), "ops": operators(), "clip": clip(), "recipe": recipe_settings()}
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
    """Every operator of ``engine.Ops``."""
    yield from _head("Operators", inspect.cleandoc(Ops.__doc__ or ""))
    yield from _methods(Ops)


def clip() -> Iterator[str]:
    """What a loss sees."""
    yield from _head("Clip", inspect.cleandoc(Clip.__doc__ or ""))
    yield from _methods(Clip)


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

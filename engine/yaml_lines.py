"""Read and write YAML 1.2 as recipes use it, keeping the line of every value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from engine.components import StatedText
from engine.errors import RecipeError

Scalar: TypeAlias = str | int | float | bool | None
_MOST_VALUES = 100_000  # aliases in aliases can make a small file endless

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_NULL = re.compile(r"~|null|Null|NULL|")
_BREAK = re.compile("[\x85\u2028\u2029]")
_TAG = "tag:yaml.org,2002:"


@dataclass
class Traced:
    """A value, and where it was stated."""

    value: Scalar | list[Traced] | dict[str, Traced]
    source: str
    """The file, or the ``--set`` option."""
    line: int
    """From 1; 0 where lines mean nothing."""
    base: Path
    """What relative paths in it start from."""

    @property
    def where(self) -> str:
        """``path:12``."""
        return f"{self.source}:{self.line}" if self.line else self.source

    def plain(self) -> Any:
        """Plain data; texts remember the folder that they were stated in."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return StatedText.of(self.value, self.base) if isinstance(self.value, str) else self.value


@dataclass
class Document:
    """A YAML text that could be read, with the faults that did not keep it from being read."""

    root: Traced
    faults: list[tuple[str, int, str]] = field(default_factory=list)
    """Source, line, text."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # YAML 1.1's would read `no` as false


class _Dumper(yaml.SafeDumper):  # YAML 1.1's stay, so that what either version would misread is quoted
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def text(self, text: str) -> yaml.ScalarNode:
        """Between double quotes where the emitter would take a character of it for the end of a line."""
        return self.represent_scalar(f"{_TAG}str", text, style='"' if _BREAK.search(text) else None)


_Dumper.add_representer(str, _Dumper.text)

for _kind, _pattern in (("null", _NULL), ("bool", _BOOL), ("int", _INT), ("float", _FLOAT)):
    _whole = re.compile(f"(?:{_pattern.pattern})$")  # PyYAML asks for a match at the start only
    _Loader.add_implicit_resolver(f"{_TAG}{_kind}", _whole, None)
    _Dumper.add_implicit_resolver(f"{_TAG}{_kind}", _whole, None)


def read_yaml(text: str, source: str, base: Path, *, lines: bool = True) -> Document:
    """The value that a YAML text states; a :class:`RecipeError` with its line where it is no YAML."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        reading = _Reading(source, base, lines)
        if node is None:
            return Document(Traced(None, source, 0, base))
        return Document(reading.read(node), reading.faults)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise RecipeError(f"{_where(source, mark.line + 1 if mark and lines else 0)}: this is no YAML: {_one_line(error)}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{source}: this is no YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise RecipeError(f"{source}: this is nested too deeply") from None


def dump_yaml(data: Any) -> str:
    """Plain data as YAML that :func:`read_yaml` reads back to the same, and YAML 1.1 readers too."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Reading:
    def __init__(self, source: str, base: Path, lines: bool) -> None:
        self.source, self.base, self.lines = source, base, lines
        self.faults: list[tuple[str, int, str]] = []
        self.count = 0
        self.open: list[yaml.Node] = []

    def read(self, node: yaml.Node, line: int | None = None) -> Traced:
        at = (node.start_mark.line + 1 if line is None else line) if self.lines else 0
        self.count += 1
        if self.count > _MOST_VALUES:
            raise RecipeError(f"{self.source}: this holds over {_MOST_VALUES:,} values")
        if any(node is outer for outer in self.open):
            raise RecipeError(f"{_where(self.source, at)}: this value contains itself")
        self.open.append(node)
        traced = Traced(None, self.source, at, self.base)
        if isinstance(node, yaml.MappingNode):
            traced.value = self._mapping(node)
        elif isinstance(node, yaml.SequenceNode):
            traced.value = [self.read(item) for item in node.value]
        else:
            traced.value = self._scalar(node, at)
        self.open.pop()
        return traced

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Traced]:
        found: dict[str, Traced] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1 if self.lines else 0
            if not isinstance(key, yaml.ScalarNode):
                self.faults.append((self.source, line, "a key is a plain word"))
            elif key.value in found:
                self.faults.append((self.source, line, f"the key {key.value!r} is there twice; first on line {found[key.value].line}"))
            else:
                found[key.value] = self.read(value, line)
        return found

    def _scalar(self, node: yaml.Node, line: int) -> Scalar:
        kind, text = node.tag.removeprefix(_TAG), str(node.value)
        read = _SCALARS.get(kind)
        try:
            if read is not None:
                return read(text)
            problem = f"the tag {node.tag!r} means nothing here"
        except (ValueError, KeyError):
            problem = f"{text[:40]!r} is no {kind}"
        self.faults.append((self.source, line, problem))
        return text


def _integer(text: str) -> int:
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _real(text: str) -> float:
    word = text.lower().lstrip("+-")
    return float(text.replace(".", "", 1)) if word in (".inf", ".nan") else float(text)


_SCALARS: dict[str, Callable[[str], Scalar]] = {
    "str": str,
    "null": lambda text: None,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": _integer,
    "float": _real,
}


def _where(source: str, line: int) -> str:
    return f"{source}:{line}" if line else source


def _one_line(error: yaml.MarkedYAMLError) -> str:
    return " ".join(str(part) for part in (error.context, error.problem) if part)

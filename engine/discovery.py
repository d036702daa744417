"""Find plugins without importing them: installed ones by their entry point, and files that the user names."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints, distributions, entry_points
from pathlib import Path

from engine.errors import EngineError

GROUP = "engine.plugins"
_FILES = "engine_plugin_"
"""How the modules of plugin files begin."""


@dataclass(frozen=True)
class Discovered:
    """A plugin that is there; nothing of it has run yet."""

    name: str
    distribution: str
    """Of an installed plugin; the path for a plugin file."""
    version: str
    source: EntryPoint | Path

    @property
    def file(self) -> Path | None:
        """Of a plugin file, as the user named it."""
        return Path(self.distribution) if isinstance(self.source, Path) else None

    def load(self) -> object:
        """Import it; whatever its code raises comes out."""
        if isinstance(self.source, Path):
            return _load_file(self.source)
        if not self.source.pattern.match(self.source.value):
            raise EngineError(f"the entry point is {self.source.value!r}", allowed="`module` or `module:object`")
        return self.source.load()

    def stated_api(self) -> object:
        """What its module, or its package, states as ``ENGINE_API``, read without running it; None where that says nothing."""
        try:
            return next((stated for file in self._files() if (stated := _constant(file, "ENGINE_API")) is not None), None)
        except Exception:  # asked of plugins that failed: nothing about them need be in order
            return None

    def owns(self, module: str) -> bool:
        """Whether a module of this name is the plugin's: the file, or any of its package."""
        if isinstance(self.source, Path):
            return module.startswith(f"{_FILES}{self.source.stem}_")
        return re.split(r"\W", module)[0] == re.split(r"\W", self.source.value)[0]

    def _files(self) -> list[Path]:
        if isinstance(self.source, Path):
            return [self.source]
        package, *inside = self.source.module.split(".")
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.origin:
            return []
        place = Path(spec.origin).parent.joinpath(*inside)
        return [*([place.with_suffix(".py"), place / "__init__.py"] if inside else []), Path(spec.origin)]


def _constant(file: Path, name: str) -> object:
    """What a module's text says that a name is; None where it does not, or not as a constant."""
    if not file.is_file():
        return None
    for node in ast.parse(file.read_bytes()).body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if name in names and isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Constant):
            return node.value.value
    return None


def discover(files: Sequence[Path] = ()) -> list[Discovered]:
    """Installed plugins and the files given, sorted by name; an :class:`EngineError` for a file that is not there."""
    found = [
        # without METADATA, as an interrupted uninstallation leaves it, name and version are None, whatever their type says
        Discovered(point.name, (point.dist and point.dist.name) or "unknown", (point.dist and point.dist.version) or "", point)
        for point in _entry_points()
    ]
    for path in {path.resolve(): path for path in reversed(files)}.values():  # a file that is named twice is one
        if not path.is_file() or path.suffix != ".py":
            problem = "a plugin file ends in .py" if path.is_file() else "there is no such plugin file"
            raise EngineError(problem, where=str(path))
        found.append(Discovered(path.stem, str(path), "", path.resolve()))
    return sorted(found, key=lambda plugin: (plugin.name, plugin.distribution))


def _entry_points() -> EntryPoints:
    try:
        return entry_points(group=GROUP)
    except Exception:  # Python reads those of every package at once, and stumbles over a line that is none
        for distribution in distributions():
            try:
                _ = distribution.entry_points
            except Exception as error:
                name = distribution.name or "unknown"
                remedy = f"Install that package again: python -m pip install --force-reinstall {name}"
                problem = f"the entry points of the package {name} cannot be read ({type(error).__name__}: {error})"
                raise EngineError(problem, where=str(distribution.locate_file("")), remedy=remedy) from error
        raise


def file_of(cls: type) -> Path | None:
    """The plugin file that a class is from; None for one of an installed package."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return Path(file) if file and cls.__module__.startswith(_FILES) else None


def _load_file(path: Path) -> object:
    code = path.read_bytes()
    name = f"{_FILES}{path.stem}_{hashlib.sha256(bytes(path) + code).hexdigest()[:12]}"
    if name in sys.modules:  # one file, one set of classes, however often plugins are loaded
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"Python cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # first, because pickle and dataclasses look a class's module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module

"""``engine plugins new``: a package of one's own that passes its contract as it is written."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from enum import StrEnum
from importlib import metadata, resources
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from engine.cli.options import host_of

SMALL = {
    "dataset": '    settings = {"length": 3, "width": 24, "height": 16}\n',
    "model": '    settings = {"width": 4, "depth": 1}\n',
}
"""Settings that a kind's contract runs quickly with."""
USES = {
    "loss": """In a recipe, beside the losses of another one:

    extends: reconet_candy
    losses: {$name: {weight: 1e6}}

While training, the log shows each loss times its weight. Begin where this one is about a tenth of the largest, and look
at the previews.""",
    "dataset": "In a recipe:\n\n    extends: reconet_candy\n    dataset: {name: $name, width: 160, height: 160}",
    "model": "In a recipe:\n\n    extends: reconet_candy\n    model: {name: $name}",
    "backend": "On the command line:\n\n    engine infer photo.png --backend $name",
}
"""How a component of each kind is used, for the README."""
NEEDS = {"loss": [], "dataset": ["numpy>=1.26,<3"], "model": [], "backend": ["numpy>=1.26,<3", "ml_dtypes>=0.4,<1"]}
"""What a kind's module imports beside the engine."""
TESTED = {"loss": "testing,torch", "dataset": "testing", "model": "testing,torch", "backend": "testing"}
"""The extras that a kind's tests need: losses and models are tried on a backend."""


class Kind(StrEnum):
    """What can be begun."""

    LOSS = "loss"
    DATASET = "dataset"
    MODEL = "model"
    BACKEND = "backend"


def register(group: typer.Typer) -> None:
    """Add the command to ``engine plugins``."""
    group.command("new")(_new)


def _new(
    context: typer.Context,
    kind: Annotated[Kind, typer.Argument(help="What to write.")],
    name: Annotated[str, typer.Argument(help="What recipes will call it: words in snake case.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FOLDER", help="Where to; ./NAME_KIND by default.")] = None,
) -> None:
    """Write a package with a component of one's own, its test and a README; it works as it is, and is there to be changed."""
    package = name if name.endswith(f"_{kind}") else f"{name}_{kind}"
    folder = output or Path(package)
    _check(host_of(context).names(kind), kind, name, package, folder)
    _write(folder, _files(kind, name, package))
    print(f"{folder} is written: the {kind} {name!r} in {package}/__init__.py, and its test")
    print(f"    cd {folder} && python -m pip install -e '.[dev]' && python -m pytest")


def _check(known: list[str], kind: Kind, name: str, package: str, folder: Path) -> None:
    from engine.errors import EngineError
    from engine.registration import check_name

    check_name(kind, name, f"the name of a {kind}")
    if name in known:
        raise EngineError(
            f"there is a {kind} called {name!r} already", remedy=f"Take another name; see `engine plugins show {kind} {name}`."
        )
    if package in sys.stdlib_module_names or importlib.util.find_spec(package) is not None:
        raise EngineError(f"there is a Python package called {package!r} already", remedy="Take another name.")
    if folder.exists() or folder.is_symlink():
        raise EngineError("this is there already", where=str(folder), remedy="Name another folder: -o FOLDER")
    if not folder.parent.is_dir():
        raise EngineError("there is no such folder", where=str(folder.parent), remedy="Make it first.")


def _files(kind: Kind, name: str, package: str) -> dict[str, str]:
    """The text of every file by its path in the package's folder."""
    from engine.hookspecs import API_VERSION

    major, minor, *_ = metadata.version("styleengine").split(".")
    dependencies = [f"styleengine>={major}.{minor},<{int(major) + 1}", *NEEDS[kind]]
    words = {
        "kind": kind,
        "name": name,
        "package": package,
        "distribution": f"styleengine-{package.replace('_', '-')}",  # so that it takes nobody's name on an index
        "class_name": "".join(word.capitalize() for word in package.split("_")),
        "contract": f"{kind.capitalize()}Contract",
        "api": API_VERSION.partition(".")[0],
        "dependencies": ", ".join(f'"{text}"' for text in dependencies),
        "settings": SMALL.get(kind, ""),
        "tested": TESTED[kind],
        "use": Template(USES[kind]).substitute(name=name),
    }
    templates = resources.files("engine.cli") / "templates"

    def filled(template: str) -> str:
        return Template((templates / template).read_text("utf-8")).substitute(words)

    return {
        "pyproject.toml": filled("pyproject.toml.txt"),
        "README.md": filled("README.md.txt"),
        f"{package}/__init__.py": filled(f"{kind}.py.txt"),
        f"{package}/py.typed": "",
        f"tests/test_{package}.py": filled("test.py.txt"),
    }


def _write(folder: Path, files: dict[str, str]) -> None:
    """All of it or nothing: written beside its place, then renamed."""
    from engine.errors import EngineError

    try:
        beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise EngineError(f"cannot write here: {error.strerror}", where=str(folder)) from None
    try:
        for name, text in files.items():
            path = beside / "new" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        (beside / "new").rename(folder)
    finally:
        shutil.rmtree(beside)

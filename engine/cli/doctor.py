"""``engine doctor``: what this machine can run, and what is missing."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING, Any

import typer

from engine import places
from engine.cli.options import Json, host_of
from engine.errors import EngineError, RunError

if TYPE_CHECKING:
    from engine.plugins import PluginHost

LIBRARIES = {"numpy": ("numpy",), "opencv": ("opencv-python-headless", "opencv-python"), "av": ("av",), "safetensors": ("safetensors",)}
"""What the core needs -> the distributions that bring it."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Say what is installed, which backends can paint here, and where files are; exit code 1 where nothing can paint."""
    found = examine(host_of(context))
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _print(found)
    if not any(backend["usable"] for backend in found["backends"].values()):
        raise RunError("no backend can paint here", remedy="Install one: pip install 'styleengine[torch]'")


def examine(host: PluginHost) -> dict[str, Any]:
    """Everything that ``engine doctor`` knows. Each installed framework is imported."""
    return {
        "engine": _version(["styleengine"]),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory(),
        "libraries": {name: _version(distributions) for name, distributions in LIBRARIES.items()},
        "backends": {name: _backend(host, name) for name in host.names("backend")},
        "plugins_failed": {plugin.owner: plugin.error for plugin in host.plugins if plugin.status == "failed"},
        "plugins_disabled": [plugin.owner for plugin in host.plugins if plugin.status == "disabled"],
        "cache": str(places.cache_folder()),
        "cached": sorted(str(path.relative_to(places.cache_folder())) for path in places.cache_folder().rglob("*.safetensors")),
        "shipped": str(places.shipped()),
    }


def _backend(host: PluginHost, name: str) -> dict[str, Any]:
    from engine.plugins import missing_package

    cls = host.backend_class(name)
    if absent := missing_package(cls):
        return {"usable": False, "problem": f"{absent} is not installed", "remedy": cls.install}
    try:
        return {"usable": True, "priority": cls.priority, **host.make_backend(name).describe()}
    except EngineError as error:
        return {"usable": False, "problem": error.problem, "remedy": error.remedy}
    except Exception as error:  # a framework that is broken fails in its own way, and finding that out is this command's work
        return {"usable": False, "problem": f"{type(error).__name__}: {error}", "remedy": cls.install}


def _print(found: dict[str, Any]) -> None:
    for key in ("engine", "python", "system", "cores", "memory_gib", "cache", "shipped"):
        print(f"{key.replace('_', ' ')}: {found[key]}")
    print("libraries: " + ", ".join(f"{name} {version or 'missing'}" for name, version in found["libraries"].items()))
    print("cached weights and styles: " + (", ".join(found["cached"]) or "none (`engine weights fetch vgg16` gets what training needs)"))
    for name, backend in found["backends"].items():
        state = [f"{key} {backend[key]}" for key in ("version", "device", "precision") if key in backend]
        print(f"backend {name}: " + (", ".join(state) if backend["usable"] else f"{backend['problem']}; {backend['remedy']}"))
    for name, error in found["plugins_failed"].items():
        print(f"plugin {name} failed: {error}")
    for name in found["plugins_disabled"]:
        print(f"plugin {name} is disabled")


def _version(distributions: Sequence[str]) -> str | None:
    for name in distributions:
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (AttributeError, ValueError, OSError):  # Windows does not say
        return None

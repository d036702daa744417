"""The backends that are installed here, one object each for the whole test run."""

from __future__ import annotations

from functools import cache

from engine import Backend
from engine.plugins import is_installed, load_plugins

HOST = load_plugins()
BACKENDS = [name for name in HOST.names("backend") if is_installed(HOST.backend_class(name))]
TRAINING = [name for name in BACKENDS if HOST.backend_class(name).trains]


@cache
def backend(name: str, precision: str = "float32") -> Backend:
    """A backend on the CPU."""
    return HOST.make_backend(name, device="cpu", precision=precision)

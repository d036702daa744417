"""The pytest fixtures of the engine; pytest loads this file whenever it starts, so it imports nothing before use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from engine.ops import Ops
    from engine.plugins import PluginHost
    from engine.testing.scenes import ExampleClip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes ``engine_ops`` runs once on each installed backend, and on the float64 oracle."""
    if "engine_ops" in metafunc.fixturenames:
        from engine.testing.contract import installed_backends

        names = ["oracle", *(backend.name for backend in installed_backends())]
        metafunc.parametrize("engine_ops", names, indirect=True)


@pytest.fixture
def engine_ops(request: pytest.FixtureRequest) -> Ops:
    """The operators of one backend on the CPU, or of the oracle, which computes in float64."""
    from engine.testing.contract import installed_backends
    from engine.testing.oracle import OracleOps

    if request.param == "oracle":
        return OracleOps()
    found: dict[str, Ops] = {backend.name: backend.ops for backend in installed_backends() if backend.name == request.param}
    if request.param not in found:
        pytest.fail(f"no backend called {request.param!r} is installed")
    return found[request.param]


@pytest.fixture
def engine_host() -> PluginHost:
    """The plugin host with every installed plugin: ``engine_host.make_loss("content")``."""
    from engine.testing.contract import plugin_host

    return plugin_host()


@pytest.fixture
def engine_clip() -> ExampleClip:
    """A sample of a dataset with exact flow and mask, and the clip that a loss sees: ``engine_clip.on(ops)``."""
    from engine.testing.scenes import ExampleClip, moving_sample

    return ExampleClip(moving_sample(3))

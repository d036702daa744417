"""What several test files share."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings
from known_differences import KNOWN_DIFFERENCES, KnownDifference
from plugin_site import Site
from recipe_texts import GOOD

from engine import Array, EngineError
from engine.plugins import PluginHost, load_plugins
from engine.weights import load_weights

collect_ignore = ["plugins"]
"""Distributions of their own, with tests that run where they are installed."""

settings.register_profile("engine", deadline=None)  # how long an example takes depends on the machine
settings.load_profile("engine")

COLLECTED = pytest.StashKey[list[str]]()
"""``file::function[case]`` (``file::class::function[case]``) of every test that was collected, whether it is to run or not."""
EXPECTED = pytest.StashKey[KnownDifference]()
"""Of a test that must fail: why, and with what text."""

REPORT = pytest.StashKey[list[str]]()
"""Lines that benchmarks print below their tables: what they measured beside the time."""


class FrameworkDiffers(Exception):
    """A test failed with the text of its known difference."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What the list of known differences names must fail, as the list says."""
    known = {test: entry for entry in KNOWN_DIFFERENCES for test in entry.tests}
    names = [f"{item.path.name}::{item.nodeid.partition('::')[2]}" for item in items]
    config.stash[COLLECTED] = names
    for item, name in zip(items, names, strict=True):
        if name in known:
            item.stash[EXPECTED] = known[name]
            item.add_marker(pytest.mark.xfail(strict=True, reason=known[name].what, raises=FrameworkDiffers))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Tell the failure that is expected from any other one."""
    try:
        yield
    except Exception as error:
        if (
            "mindspore" in sys.modules
        ):  # it computes on a thread of its own: an error that is not waited for may be raised again by the next test
            from mindspore.graph.api import _pynative_executor

            _pynative_executor.sync()
        expected = item.stash.get(EXPECTED, None)
        if expected is None or expected.said not in str(error):
            raise
        raise FrameworkDiffers(expected.what) from error


@pytest.fixture(scope="session")
def encoder_weights() -> dict[str, Array]:
    """VGG16's published weights, fetched into the user's cache by the engine itself; without them CI fails, others skip."""
    try:
        return load_weights(load_plugins().make_model("vgg16"))
    except EngineError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"no encoder weights: {error}")


@pytest.fixture(scope="session")
def recipe_host() -> PluginHost:
    """The small components of tests/plugins/recipe_kit.py and no other plugin."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_DISABLE_PLUGINS", ",".join(plugin.name for plugin in load_plugins().plugins))
        kit = Path(__file__).parent / "plugins/recipe_kit.py"
        return PluginHost([plugin for plugin in load_plugins([kit]).plugins if plugin.name == "recipe_kit"])


@pytest.fixture
def recipe_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with ``r/x.yaml``, and the picture and the folder that it names."""
    (tmp_path / "r/pictures").mkdir(parents=True)
    (tmp_path / "r/pictures/a.jpg").write_bytes(b"")
    (tmp_path / "r/clips").mkdir()
    (tmp_path / "r/x.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return Site(folder)


@pytest.fixture
def report(pytestconfig: pytest.Config) -> list[str]:
    """Lines to be printed at the end."""
    return pytestconfig.stash.setdefault(REPORT, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(REPORT, []):
        terminalreporter.write_line(line)

"""What all contracts share: the component under test, the backends it is tried on, and tests that nobody can replace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from engine.components import Component
from engine.contracts.backend import Backend
from engine.faults import did_you_mean, explain
from engine.plugins import PluginHost, is_installed, load_plugins
from engine.recipe_schema import settings_schema

HEAVY = ("torch", "mindspore", "openvino", "onnx", "onnxruntime", "jax", "tensorflow", "cv2", "av")
"""What importing a plugin must not load: it is imported inside methods."""


@cache
def plugin_host() -> PluginHost:
    """The installed plugins, loaded once a test run."""
    return load_plugins()


@cache
def installed_backends(training: bool = False) -> tuple[Backend, ...]:
    """Every backend that is installed here, on the CPU in float32, by name; with ``training`` those that train."""
    host = plugin_host()
    classes = [host.backend_class(name) for name in host.names("backend")]
    fitting = [cls for cls in classes if is_installed(cls) and "cpu" in cls.devices and (cls.trains or not training)]
    return tuple(host.make_backend(cls.name, device="cpu", precision="float32") for cls in fitting)


class Contract:
    """The tests that every component of a kind passes; a plugin's own tests subclass the contract of its kind.

    A test that takes ``backend`` runs on each installed backend, one that takes ``training_backend`` on each that trains.
    """

    component: ClassVar[type[Component]]
    """The class under test."""
    settings: ClassVar[Mapping[str, Any]] = {}
    """What it is built with."""
    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Why a test must fail, by its name: ``test_x`` on every backend, ``test_x[torch]`` on one. Should it pass after all, that fails."""
    kind: ClassVar[type[Component]] = Component
    how_to_build: ClassVar[str] = "Give the class of the test settings = {...} that fit."

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        ours = {name: base for base in reversed(cls.__mro__) for name in vars(base) if name.startswith("test_") and _is_ours(base)}
        for name, contract in sorted(ours.items()):
            owner = next(base for base in cls.__mro__ if name in vars(base))
            if not _is_ours(owner):
                raise TypeError(
                    f"{owner.__name__} replaces {name} of {contract.__name__}; a contract's test is never replaced. "
                    f"Where it must fail for now, say so: expected_failures = {{{name!r}: 'why'}}"
                )
        if not isinstance(cls.expected_failures, Mapping):
            raise TypeError(
                f"{cls.__name__}.expected_failures is {cls.expected_failures!r}; it must be a dict of reasons: {{'test_x': 'why'}}"
            )
        if unknown := sorted(name for name in cls.expected_failures if name.partition("[")[0] not in ours):
            raise TypeError(
                f"{cls.__name__}.expected_failures names {unknown[0]!r}, and there is no such test; there are {', '.join(sorted(ours))}"
            )
        if bare := sorted(name for name, reason in cls.expected_failures.items() if not reason.strip()):
            raise TypeError(f"{cls.__name__}.expected_failures gives no reason for {bare[0]!r}")
        component = getattr(cls, "component", cls.kind)
        if not (isinstance(component, type) and issubclass(component, cls.kind)):
            raise TypeError(f"{cls.__name__}.component is {component!r}; it must be a class that derives from engine.{cls.kind.__name__}")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a test once for each backend that it asks for."""
        for name in ("backend", "training_backend"):
            if name in metafunc.fixturenames:
                backends = installed_backends(name == "training_backend") or (None,)
                metafunc.parametrize(name, backends, ids=[backend.name if backend else "none installed" for backend in backends])

    @pytest.fixture(autouse=True)
    def _need_a_component(self) -> None:
        if not hasattr(self, "component"):
            pytest.fail(f"{type(self).__name__} does not say what it tests; write component = ..., the class under test", pytrace=False)

    @pytest.fixture(autouse=True)
    def _need_a_backend(self, request: pytest.FixtureRequest) -> None:
        """No test passes, or is left out, because there is nothing to compute with."""
        callspec = getattr(request.node, "callspec", None)
        for name, value in (callspec.params if callspec else {}).items():
            if name in ("backend", "training_backend") and value is None:
                pytest.fail(f"no backend {'that trains ' if name != 'backend' else ''}is installed: pip install 'styleengine[torch]'")

    @pytest.fixture(autouse=True)
    def _expect_failures(self, request: pytest.FixtureRequest, _need_a_component: None) -> None:
        excused = self.excused()
        for name in {request.node.name, request.node.originalname} & excused.keys():
            request.applymarker(pytest.mark.xfail(strict=True, reason=excused[name]))

    def excused(self) -> Mapping[str, str]:
        """Why a test must fail, by its name: here ``expected_failures``."""
        return self.expected_failures

    def build(self) -> Any:
        """The component of these settings."""
        try:
            return self.component.model_validate(dict(self.settings))
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, place))}: {text}" for place, text in explain(error, self.component))
            pytest.fail(f"it cannot be built with settings = {dict(self.settings)}: {faults}. {self.how_to_build}", pytrace=False)

    def made(self, folder: Path) -> Component:
        """The component under test; a kind whose components read files makes them in the folder."""
        built: Component = self.build()
        return built

    def test_expected_failures_are_of_cases_that_there_are(self, request: pytest.FixtureRequest) -> None:
        """An excuse that outlives its case, or never had one, excuses nothing."""
        if not (excused := self.excused()):
            return
        there = {item.name: item for item in request.node.getparent(pytest.Class).collect()}
        backends = plugin_host().names("backend")
        for name in excused:
            test, bracket, case = name.removesuffix("]").partition("[")
            if not (test.startswith("test_") and hasattr(self, test)):
                pytest.fail(f"{name!r} is expected to fail, and there is no such test", pytrace=False)
            own = {other.removesuffix("]").partition("[")[2]: item for other, item in there.items() if other.startswith(f"{test}[")}
            of_backends = any({"backend", "training_backend"} & item.callspec.params.keys() for item in own.values())
            cases = sorted(own)
            if name in there or (cases and not bracket) or (of_backends and not did_you_mean(case, backends)):
                continue  # a backend may be one that is not installed here
            known = f"cases: {', '.join(cases)}" if cases else f"{test} has none, so it is named without brackets"
            pytest.fail(f"{name!r} is expected to fail, and there is no such case; {known}", pytrace=False)

    def test_every_setting_is_described(self) -> None:
        """Every field has a description: it is all that ``engine plugins show`` and an editor can say about it."""
        for name, field in self.component.model_fields.items():
            assert field.description, (
                f"the setting {name!r} of {self.component.__name__} has no description; write {name}: ... = Field(..., description='...')"
            )

    def test_settings_round_trip(self, tmp_path: Path) -> None:
        """The component built from its own settings as JSON is equal to it: recipes and styles keep settings as text."""
        component = self.made(tmp_path)
        again = type(component).model_validate(json.loads(component.model_dump_json()))
        # Not ==, which compares what a component keeps for itself too: arrays, locks.
        assert again.model_dump() == component.model_dump(), f"built again from its settings as JSON, {component!r} is {again!r}"

    def test_settings_have_a_schema(self) -> None:
        """Editors complete and check them in a recipe by it."""
        settings_schema(self.component)

    def test_import_is_light(self) -> None:
        """Importing the plugin loads no framework, OpenCV or PyAV."""
        module = self.component.__module__
        package, _, _ = module.partition(".")
        modules = _loaded_by(package)  # often that is all of the plugin, and one child for all its components
        loaded = [name for name in HEAVY if name in (modules if module in modules else _loaded_by(module))]
        assert not loaded, (
            f"importing {module} imports {', '.join(loaded)}; move that import into the method that uses it, "
            "so that `engine --help` stays quick and a machine without it can still list the plugin"
        )


def _is_ours(base: type) -> bool:
    return issubclass(base, Contract) and base.__module__.startswith("engine.testing.")


@cache
def _loaded_by(module: str) -> frozenset[str]:
    """Every module that a new interpreter has loaded after importing this one."""
    return frozenset(run_python(module, "print(*sys.modules)").split())


def run_python(module: str, code: str) -> str:
    """What lines of Python print in a new interpreter, with other hashes, that has imported a module which is loaded here."""
    package, file = module.partition(".")[0], str(sys.modules[module].__file__)
    # Where no new interpreter finds it, it is a file that pytest or --plugin loaded under a name of its own.
    start = f"""
import importlib.util, sys
sys.path[:0] = {sys.path!r}
if importlib.util.find_spec({package!r}):
    __import__({module!r})
else:
    spec = importlib.util.spec_from_file_location({module!r}, {file!r})
    sys.modules[{module!r}] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[{module!r}])
"""
    environment = {**os.environ, "PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"}
    done = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"in a new Python, {module} fails:\n{done.stderr.strip()}"
    return done.stdout

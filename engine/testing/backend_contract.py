"""What every backend must do: operators, layers, painting, training where it trains, and what it says of itself."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from engine.contracts.backend import Backend, Trainer
from engine.errors import EngineError
from engine.plugins import missing_package
from engine.testing.cases import LayerCase
from engine.testing.op_cases import OP_CASES
from engine.testing.operator_contract import LayerChecks, OperatorChecks
from engine.testing.painting_contract import PaintingChecks
from engine.testing.small_training import painted, pictures, reference_steps, small_network, small_plan, small_weights
from engine.testing.training_contract import TrainingChecks

KINDS = ("cpu", "gpu", "ascend")
PRECISIONS = ("float32", "bfloat16", "float16")
_BACKENDS: dict[type[BackendContract], Backend] = {}
_TRAINERS: dict[type[BackendContract], Trainer] = {}


class BackendContract(OperatorChecks, LayerChecks, PaintingChecks, TrainingChecks):
    """The tests that every backend passes, on the CPU in float32 unless ``settings`` say otherwise.

    What its framework computes wrongly the backend says itself, in :attr:`engine.Backend.known_differences`; these tests must fail.
    """

    component: ClassVar[type[Backend]]
    kind = Backend

    def build(self) -> Backend:
        """The backend on the CPU."""
        return self.component.model_validate({"device": "cpu", "precision": "float32", **self.settings})

    def excused(self) -> Mapping[str, str]:
        """What the contract's own class expects, and what the backend knows of its framework."""
        try:
            return {**_built(type(self)).known_differences, **self.expected_failures}
        except Exception:  # so that the other tests run; test_known_differences_are_said raises it again
            return self.expected_failures

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend under test, one for all tests of the class."""
        missing = missing_package(self.component)
        assert not missing, f"{self.component.name} needs {missing}, which is not installed; install it: {self.component.install}"
        return _built(type(self))

    @pytest.fixture
    def trained(self, backend: Backend) -> Backend:
        """The same, where it trains."""
        if not backend.trains:
            pytest.skip(f"{backend.name} only paints")
        return backend

    @pytest.fixture
    def trainer(self, trained: Backend) -> Trainer:
        """Of :func:`small_plan`, one for all tests of the class, at the beginning of its run."""
        trainer, first = _trainer(type(self)), reference_steps()[0]
        trainer.restore(first.weights, first.state)
        return trainer

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """A test for each case, a layer's native form beside its reference; gradients where the backend trains."""
        tables: dict[str, Callable[[], Sequence[Any]]] = {
            "op_case": lambda: OP_CASES,
            "op_gradient": lambda: [case for case in OP_CASES if case.differentiable],
            "layer_form": self._forms,
            "layer_gradient": self._forms,
        }
        for name in sorted(tables.keys() & set(metafunc.fixturenames)):
            if name.endswith("gradient") and not self.component.trains:
                unused = pytest.param(None, id="none", marks=pytest.mark.skip(reason=f"{self.component.name} only paints"))
                metafunc.parametrize(name, [unused])
            else:
                metafunc.parametrize(name, tables[name](), ids=_case_name)

    def _forms(self) -> list[tuple[bool, LayerCase]]:
        """Each case of a layer by its reference, and by the native form where there is one."""
        try:
            native = frozenset(_built(type(self)).native)
        except Exception:  # so that other tests are collected; test_every_native_form_has_cases raises it again
            native = frozenset()
        return [(own, case) for case in self.layer_cases for own in (False, True) if not own or type(case.layer) in native]

    def test_doctor_facts(self, backend: Backend) -> None:
        """``describe()`` says framework, version, device and precision as they are in use, each a text."""
        facts = backend.describe()
        assert not (missing := {"framework", "version", "device", "precision"} - set(facts)), f"describe() lacks {sorted(missing)}"
        for key, text in facts.items():
            assert isinstance(text, str), f"describe() gives {key} as {type(text).__name__}, not as text"
            assert text, f"describe() leaves {key} empty"
        asked = backend.device.partition(":")[0]
        assert asked == "auto" or facts["device"].startswith(asked), f"on device={asked!r} it says the device {facts['device']!r}"
        assert facts["precision"] in PRECISIONS, f"the precision in use is {facts['precision']!r}; allowed: {', '.join(PRECISIONS)}"
        free = backend.free_memory()
        assert free is None or (type(free) is int and free > 0), f"free_memory() is {free!r}, not bytes or None"

    def test_known_differences_are_said(self, backend: Backend) -> None:
        """By test, each with a reason."""
        known = backend.known_differences
        assert isinstance(known, Mapping), f"known_differences is {known!r}; it must be a property that returns a dict of reasons"
        bare = [name for name, reason in known.items() if not (isinstance(reason, str) and reason.strip())]
        assert not bare, f"known_differences gives no reason for {bare[0]!r}"

    def test_class_facts(self) -> None:
        """Name, package, command, devices: what the engine knows of a backend before its framework is imported."""
        cls = self.component
        assert re.fullmatch(r"[a-z][a-z0-9_]*", cls.name), f"the name {cls.name!r} is no word in snake case"
        assert cls.package, "package is empty: the engine could not tell whether the framework is installed"
        assert cls.install, "install is empty: nobody is told how to get the framework"
        assert cls.devices, "devices is empty"
        assert not (unknown := set(cls.devices) - set(KINDS)), f"devices has {sorted(unknown)}; allowed: {', '.join(KINDS)}"

    def test_heavy_state_is_left_behind(self, backend: Backend) -> None:
        """It pickles after use, without the framework's objects, and comes back equal."""
        used = backend.ops.to_numpy(backend.ops.asarray(np.ones(2)))
        again = pickle.loads(pickle.dumps(backend))
        assert again == backend, f"from its pickle {backend!r} came back as {again!r}"
        assert np.array_equal(again.ops.to_numpy(again.ops.asarray(np.ones(2))), used)

    @pytest.mark.parametrize("device", ["gpu", "gpu:63", "ascend", "ascend:63"])
    def test_a_device_that_is_not_there_is_refused(self, device: str, backend: Backend) -> None:
        """With an :class:`engine.EngineError` that says what is allowed or what to do, from ``describe`` and ``painter``."""
        made = self.component.model_validate({**self.settings, "device": device, "precision": "auto"})
        if device in self.component.devices:  # it may be there: then it says so
            try:
                assert made.describe()["device"], "describe() leaves device empty"
                return
            except EngineError:
                pass
        self._refuses(made, f"device {device!r}")

    @pytest.mark.parametrize("precision", ["auto", "bfloat16", "float16"])
    def test_a_precision_is_computed_in_or_refused(self, precision: str, backend: Backend) -> None:
        """Never quietly another one: refused as a device is, or painted within 3 grey levels of the oracle on average."""
        made = self.component.model_validate({"device": "cpu", **self.settings, "precision": precision})
        try:
            used = made.describe()["precision"]
        except EngineError:
            assert precision != "auto", "precision='auto' is refused on a CPU"
            self._refuses(made, f"precision {precision!r}")
            return
        assert used == precision or (precision == "auto" and used in PRECISIONS), f"asked for {precision}, it computes in {used}"
        network, frames = small_network(), pictures(1, 12, 14)
        (found,) = made.painter(network, small_weights(network)).paint(iter([frames]))
        far = np.abs(found.astype(int) - painted(network, small_weights(network), frames)).mean()
        assert found.dtype == np.uint8, f"a painting is {found.dtype}, not uint8"
        assert far < 3, f"in {used} paintings are {far:.1f} grey levels off on average"

    def _refuses(self, made: Backend, what: str) -> None:
        network = small_network()
        for call, use in (("describe()", made.describe), ("painter()", lambda: made.painter(network, small_weights(network)))):
            try:
                use()
            except EngineError as refusal:
                error = refusal
            else:
                raise AssertionError(f"{what} is not refused by {call}")
            assert error.exit_code == 2, f"{what}: what the user chose is wrong, so the exit code is 2, not {error.exit_code}"
            assert error.allowed or error.remedy, f"{what} is refused without a word of what is allowed: {error}"


def _built(contract: type[BackendContract]) -> Backend:
    if contract not in _BACKENDS:
        _BACKENDS[contract] = contract().build()
    return _BACKENDS[contract]


def _trainer(contract: type[BackendContract]) -> Trainer:
    if contract not in _TRAINERS:
        _TRAINERS[contract] = _built(contract).trainer(small_plan())
    return _TRAINERS[contract]


def _case_name(case: Any) -> str:
    if isinstance(case, tuple):
        native, layer_case = case
        return f"{'native' if native else 'reference'} {layer_case.name}"
    return str(case.name)

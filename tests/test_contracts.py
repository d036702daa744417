"""The contracts find what is wrong with a plugin, say what to do about it, and cannot be talked out of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from pydantic import PrivateAttr

from engine import (
    Array,
    Clip,
    Conv2d,
    Dataset,
    Field,
    Layer,
    Loss,
    Model,
    Needs,
    Network,
    Ops,
    Prepared,
    Sample,
    Shape,
    Tensor,
    Weights,
    chain,
)
from engine.plugins import load_plugins
from engine.testing import DatasetContract, LayerContract, LossContract, ModelContract, moving_sample

HOST = load_plugins()
WRONG = [Path(__file__).parent / f"plugins/wrong_{kind}.py" for kind in ("losses", "datasets", "models")]


@pytest.fixture(scope="module")
def failures() -> dict[str, str]:
    """Of one run of the wrong plugins' tests, on torch alone: what each failed test said, by ``class::test``."""
    others = ",".join(plugin.name for plugin in HOST.plugins if "backend" in plugin.components and plugin.name != "engine_torch")
    environment = {**os.environ, "ENGINE_DISABLE_PLUGINS": others, "COLUMNS": "600", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-rfEx", "--tb=no", "-p", "no:cacheprovider", "-c", os.devnull, *map(str, WRONG)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    found = re.findall(r"^(FAILED|ERROR|XFAIL) .*?::(\w+::\S+) - (.*)$", done.stdout, re.M)
    assert found, done.stdout + done.stderr
    return {f"{status} {test}": said for status, test, said in found}


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("NotANumber::test_value[torch]", "it is nan, not finite on oracle; look for a division"),
        ("NotFlat::test_flat_frames[torch]", "its gradient is not finite on torch; look for a division"),
        (
            "Deciding::test_decides_nothing_by_numbers",
            "it calls ops.to_numpy: a backend that compiles a step reads the numbers of the first",
        ),
        ("Comparing::test_decides_nothing_by_numbers", "it looks at a tensor's numbers: a backend that compiles"),
        ("Methodical::test_computes_by_operators_alone", "it uses .mean of a tensor: a tensor is the framework's own"),
        ("EvenSides::test_another_size_and_style[torch]", "reshape"),
        ("Keeping::test_another_size_and_style[torch]", "two style images cost the same"),
        ("NoScalar::test_value[torch]", "it returns a tensor of shape (2, 3, 16, 24); reduce it to one number, as ops.mean(x) does"),
        ("NoGradient::test_gradient[torch]", "its gradient is zero everywhere, so it teaches the network nothing"),
        ("Greedy::test_reads_only_what_it_needs", "reads clip.tap('features', 0), which its needs() does not name; let needs() return"),
        ("Wasteful::test_needs_only_what_it_reads", "needs() names encoder=['relu1_2'], which the loss never reads"),
        ("Summed::test_batch_is_averaged", "average over the batch, the first axis"),
        ("Weighted::test_weight_is_left_to_the_engine", "the engine multiplies by it, so leave self.weight alone"),
        ("Undescribed::test_every_setting_is_described", "the setting 'size' of Undescribed has no description; write size: ... = Field("),
        ("Forgiven::test_value[torch]", "not true: this one passes"),
        ("Lettered::test_construction", "needs() says encoder='relu1_2'; let it be a tuple of names: encoder=('relu1_2',)"),
        (
            "Misnamed::test_expected_failures_are_of_cases_that_there_are",
            "'test_value[torhc]' is expected to fail, and there is no such case; cases: torch",
        ),
        (
            "Caseless::test_expected_failures_are_of_cases_that_there_are",
            "there is no such case; test_reads_only_what_it_needs has none, so it is named without brackets",
        ),
        ("Hashed::test_same_sample_in_another_python", "dataset[0] differs in another Python; sort what comes from a set"),
        ("Seeding::test_same_sample_in_threads", "differs when four threads read; what calls share"),
        ("Coupled::test_flow_leads_back", "sample 0 is a tuple; let __getitem__ return engine.Sample(frames, ...)"),
        ("Listed::test_samples_fit_the_contract", "sample 0: frames is a list; allowed: a NumPy array"),
        ("Peeking::test_decides_nothing_by_numbers", "it calls ops.to_numpy: a backend that compiles"),
        ("Joined::test_pictures_of_a_batch_are_apart", "away when another one is in its batch; reduce over axes 2 and 3, not 0"),
        ("Batched::test_pictures_of_a_batch_are_apart", "away when another one is in its batch; let no layer reduce over axis 0"),
        ("Transposed::test_flow_leads_back", "dx and dy exchanged"),
        ("Negated::test_flow_leads_back", "the flow negated; it leads from frame k back to frame k - 1"),
        ("Shares::test_flow_leads_back", "it is in pixels, not in shares of the picture"),
        ("Endless::test_ends_with_an_index_error", "dataset[3] is there though len() says 3; let it raise IndexError"),
        ("Random::test_same_sample_by_index", "dataset[0] differs from one call to the next; seed what is random by the index"),
        ("Narrow::test_samples_fit_the_contract", "samples of several sizes"),
        ("Filed::test_construction", "it cannot be built with settings = {}: path: this setting is required"),
        ("Filed::test_construction", "or, where files are needed, dataset(self, tmp_path) that writes them"),
        ("Faint::test_samples_fit_the_contract", "they are uint8 from 0 to 255, not from 0 to 1"),
        ("Idle::test_reads_every_weight", "apply() never reads the weight idle; take it out of weights()"),
        ("Halved::test_shape", "shape((3, 8, 9),) says (3, 8, 9); apply() returns (3, 4, 4)"),
        ("Blurred::test_weights", "initial() makes weight in float64; let it return float32"),
        ("Blurred::test_window", "row 1 of its output changes with row 0 of input 0; by window() it reads 1 to 1"),
        ("Shrinking::test_shapes", "pad with PadToMultiple and undo it with CropLike"),
    ],
)
def test_a_fault_is_found_and_named(failures: dict[str, str], test: str, said: str) -> None:
    assert said in failures[f"FAILED Test{test}"]


def test_a_contract_of_nothing_says_so(failures: dict[str, str]) -> None:
    errors = {test: said for test, said in failures.items() if test.startswith("ERROR TestNothing")}
    assert errors
    assert set(errors.values()) == {"Failed: TestNothing does not say what it tests; write component = ..., the class under test"}


def test_an_expected_failure_is_no_failure(failures: dict[str, str]) -> None:
    assert failures["XFAIL TestForgiven::test_batch_is_averaged"] == "sums on purpose"


def test_nothing_else_of_a_component_fails(failures: dict[str, str]) -> None:
    """One fault is one message, so that an author is not led astray."""
    for name in ("Methodical", "Wasteful", "Summed", "Weighted", "Undescribed", "Shares", "Endless", "Narrow"):
        assert sum(test.startswith(f"FAILED Test{name}::") for test in failures) == 1, name


class Dull(Dataset):
    """One clip that nothing moves in, or of which nothing is seen to move."""

    name = "dull"
    motion: int = Field(default=0, description="Pixels a frame.")
    contrast: float = Field(default=1.0, description="Zero is black.")

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        sample = moving_sample(motion=(self.motion, 0))
        return Sample((sample.frames * self.contrast).astype(np.uint8), sample.flow, sample.mask)


@pytest.mark.parametrize("settings", [{"motion": 0}, {"motion": 2, "contrast": 0}], ids=["still", "black"])
def test_a_flow_that_cannot_be_told_from_a_wrong_one_is_not_judged(settings: dict[str, object], tmp_path: Path) -> None:
    checked = type("Checked", (DatasetContract,), {"component": Dull, "settings": settings})()
    with pytest.raises(pytest.skip.Exception, match="a right flow cannot be told from a wrong one"):
        checked.test_flow_leads_back(tmp_path)


class Forgetful(Dull):
    name = "contracts_forgetful"
    untraceable: bool = Field(default=False, description="The mask is what was forgotten, else the flow.")

    def __getitem__(self, index: int) -> Sample:
        sample = moving_sample(motion=(3, 0))
        assert sample.flow is not None
        assert sample.mask is not None
        if self.untraceable:
            return Sample(sample.frames, -sample.flow, 0 * sample.mask)
        return Sample(sample.frames, 0 * sample.flow, sample.mask)


@pytest.mark.parametrize(
    ("untraceable", "said"), [(False, "no motion in the flow, but in the pictures"), (True, "the mask is 0 at every pixel")]
)
def test_a_flow_or_mask_that_was_never_filled_is_met(untraceable: bool, said: str, tmp_path: Path) -> None:
    checked = type("Checked", (DatasetContract,), {"component": Forgetful, "settings": {"untraceable": untraceable}})()
    with pytest.raises(AssertionError, match=said):
        checked.test_flow_leads_back(tmp_path)


class Hoarder(Loss):
    """Five frames a step, one of them read."""

    name = "contracts_hoarder"

    def needs(self) -> Needs:
        return Needs(frames=5)

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        return ops.mean(ops.square(clip.output(0)))


def test_frames_that_are_never_read_are_met() -> None:
    checked = type("Checked", (LossContract,), {"component": Hoarder})()
    with pytest.raises(AssertionError, match=r"needs\(\) asks for 5 frames, of which the loss reads 1"):
        checked.test_needs_only_what_it_reads()


NOTHING_INSTALLED = """
from engine.testing import LossContract
from engine.plugins import load_plugins

class TestContent(LossContract):
    component = load_plugins().get("loss", "total_variation")
"""


class Neighbours(Loss):
    """What a pixel of deep features differs by from those beside it, which shallow toy features would leave nothing of."""

    name = "contracts_neighbours"

    def needs(self) -> Needs:
        return Needs(encoder=("relu4_2", "relu5_1"))

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        found = [clip.encoded("output", layer, 0) for layer in ("relu4_2", "relu5_1")]
        return sum(ops.mean(ops.square(x[:, :, 1:-1, 1:-1] * 2 - x[:, :, :-2, 1:-1] - x[:, :, 2:, 1:-1])) for x in found)


class TestNeighbours(LossContract):
    component = Neighbours


class Blurring(Layer):
    """A layer that keeps an array and a lock for itself, and detaches what it divides by."""

    name = "contracts_blurring"
    _kernel: Array = PrivateAttr(default_factory=lambda: np.ones((3, 3), np.float32) / 9)
    _lock: object = PrivateAttr(default_factory=threading.Lock)

    def shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def apply(self, ops: Ops, weights: Weights, *x: Tensor) -> Tensor:
        scale = ops.mean(ops.abs(x[0]), axis=(1, 2, 3), keepdims=True) + float(self._kernel.sum())
        return x[0] / ops.stop_gradient(scale)


class TestBlurring(LayerContract):
    component = Blurring


class Divided(Model):
    name = "contracts_divided"

    def network(self) -> Network:
        layers = {"conv": Conv2d(out_channels=3, padding=1), "blurring": Blurring()}
        return Network({"image": 3}, chain("image", layers), ("blurring",))


class TestDivided(ModelContract):
    component = Divided


class TestSinglePictures(DatasetContract):
    component = HOST.get("dataset", "moving_layers")
    settings = {"width": 40, "height": 32, "frames": 1}


class Detached(Loss):
    """The frame before is a target that is not itself pulled along."""

    name = "detached"

    def needs(self) -> Needs:
        return Needs(frames=2, flow=True)

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        target = ops.stop_gradient(ops.warp(clip.output(-1), clip.flow(0, -1)))
        return ops.mean(ops.square(clip.mask(0, -1) * (clip.output(0) - target)))


class TestDetached(LossContract):
    component = Detached


def test_without_a_backend_no_contract_passes(tmp_path: Path) -> None:
    (tmp_path / "test_loss.py").write_text(NOTHING_INSTALLED)
    (tmp_path / "pytest.ini").write_text("[pytest]")
    ours = ",".join(f"engine_{name}" for name in ("torch", "mindspore", "onnx", "openvino"))
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "test_loss.py"]
    environment = {**os.environ, "ENGINE_DISABLE_PLUGINS": ours, "COLUMNS": "600"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "ERROR test_loss.py::TestContent::test_gradient[none installed] - Failed: no backend that trains is installed" in done.stdout


def test_a_replaced_test_is_refused() -> None:
    with pytest.raises(TypeError, match=r"TestMine replaces test_gradient of LossContract.*expected_failures = \{'test_gradient': 'why'\}"):
        type("TestMine", (LossContract,), {"component": HOST.get("loss", "content"), "test_gradient": lambda self: None})
    easy = type("Easy", (), {"test_value": None})
    with pytest.raises(TypeError, match="Easy replaces test_value of LossContract"):
        type("TestMine", (easy, LossContract), {"component": HOST.get("loss", "content")})


def test_ones_own_tests_may_be_replaced() -> None:
    mine = type("TestMine", (LossContract,), {"component": HOST.get("loss", "content"), "test_mine": lambda self: None})
    type("TestOther", (mine,), {"test_mine": lambda self: None})


def test_an_expected_failure_of_no_test_is_refused() -> None:
    with pytest.raises(TypeError, match=r"names 'test_gradiant\[torch\]', and there is no such test"):
        type("TestMine", (LossContract,), {"component": HOST.get("loss", "content"), "expected_failures": {"test_gradiant[torch]": "x"}})


def test_expected_failures_that_are_no_dict_are_refused() -> None:
    with pytest.raises(TypeError, match=r"expected_failures is \{'test_value'\}; it must be a dict of reasons"):
        type("TestMine", (LossContract,), {"component": HOST.get("loss", "content"), "expected_failures": {"test_value"}})


def test_an_expected_failure_without_a_reason_is_refused() -> None:
    with pytest.raises(TypeError, match="expected_failures gives no reason for 'test_value'"):
        type("TestX", (LossContract,), {"component": type(HOST.make_loss("content")), "expected_failures": {"test_value": " "}})


class Dimmed(Dull):
    """A right flow under a light that goes down: what lies outside the picture is black, and near to it."""

    def __getitem__(self, index: int) -> Sample:
        sample = moving_sample(motion=(2, -1), name=f"a texture {index}")
        frames = (sample.frames * np.array([0.2, 0.1]).reshape(2, 1, 1, 1)).astype(np.uint8)
        return Sample(frames, sample.flow, sample.mask)


def test_a_right_flow_of_dark_pictures_is_no_wrong_one(tmp_path: Path) -> None:
    contract = type("TestX", (DatasetContract,), {"component": Dimmed})()
    contract.test_flow_leads_back(tmp_path)


def test_a_component_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match=r"component is .*Conv2d.*; it must be a class that derives from engine\.Loss"):
        type("TestMine", (LossContract,), {"component": Conv2d})
    assert issubclass(HOST.get("loss", "content"), Loss)


class TestConvolution(LayerContract):
    component = Conv2d
    settings = {"out_channels": 4, "kernel": 3, "stride": 2, "padding": 1}
    inputs = [(3, 8, 11)]


class TestReconet(ModelContract):
    component = HOST.model_class("reconet")
    settings = {"width": 4, "residual_blocks": 1}


class TestMovingLayers(DatasetContract):
    component = HOST.get("dataset", "moving_layers")
    settings = {"width": 40, "height": 32, "frames": 3, "layers": 2, "motion": 4, "illumination": 0, "noise": 0}

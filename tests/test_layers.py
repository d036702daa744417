"""Every layer: its shapes, its settings, what it computes by hand; backends are compared in tests/test_backend_contract.py."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from installed import BACKENDS, backend
from pydantic import ValidationError

from engine import (
    Add,
    Array,
    Concat,
    Conv2d,
    CropLike,
    EngineError,
    InstanceNorm2d,
    Layer,
    MaxPool2d,
    Normalize,
    Pad,
    PadToMultiple,
    ReLU,
    Shape,
)
from engine.layers import make_layer
from engine.plugins import load_plugins
from engine.testing import LAYER_CASES, LayerCase, LayerContract, OracleOps, draw

CASES = pytest.mark.parametrize("case", LAYER_CASES, ids=lambda case: case.name)


def test_every_layer_has_cases() -> None:
    ours = {name for name, cls in Layer.kinds.items() if cls.__module__.startswith("engine.")}
    assert {case.layer.name for case in LAYER_CASES} == ours
    assert len({case.name for case in LAYER_CASES}) == len(LAYER_CASES)


@CASES
@pytest.mark.parametrize("test", ["shape", "description_finds_it", "weights", "window", "window_moves_with_the_input"])
def test_contract_without_backends(case: LayerCase, test: str) -> None:
    contents = {"component": type(case.layer), "settings": case.layer.model_dump(), "inputs": case.shapes}
    getattr(type("Checked", (LayerContract,), contents)(), f"test_{test}")()


def apply(layer: Layer, *x: Array, **weights: Array) -> Array:
    result: Array = layer.apply(OracleOps(), weights, *(np.float64(a) for a in x))
    return result


def test_instance_norm_by_hand() -> None:
    x = np.array([[1.0, 3], [5, 7]])[None, None]  # mean 4, biased variance 5
    found = apply(InstanceNorm2d(eps=4), x, weight=np.array([2.0]), bias=np.array([1.0]))
    np.testing.assert_allclose(found[0, 0], (np.array([[-3.0, -1], [1, 3]]) / 3) * 2 + 1)


def test_instance_norm_knows_neither_other_images_nor_other_channels() -> None:
    x = np.float64(draw("images", (3, 4, 5, 6)))
    weights = {"weight": np.ones(4), "bias": np.zeros(4)}
    found = apply(InstanceNorm2d(), x, **weights)
    np.testing.assert_allclose(found[1:2], apply(InstanceNorm2d(), x[1:2], **weights), atol=1e-12)
    np.testing.assert_allclose(found.mean(axis=(2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(found.var(axis=(2, 3)), 1, atol=1e-3)


def test_instance_norm_of_a_constant_is_its_bias() -> None:
    for name in BACKENDS:
        ops = backend(name).ops
        for form in (None, backend(name).native.get(InstanceNorm2d)):
            x, weight, bias = ops.asarray(np.full((1, 2, 3, 3), 7.0)), ops.asarray(np.ones(2)), ops.asarray(np.array([0.25, -1]))
            layer, weights = InstanceNorm2d(), {"weight": weight, "bias": bias}
            result = form(layer, weights, x) if form else layer.apply(ops, weights, x)
            np.testing.assert_allclose(ops.to_numpy(result)[0, :, 1, 1], [0.25, -1], atol=1e-3)  # rounding of 7, times 1 / sqrt(eps)


def test_normalize_is_torchvisions() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    unit = np.random.default_rng(0).uniform(size=(2, 3, 4, 5))
    found = apply(Normalize(low=-1, high=1, mean=mean, std=std), unit * 2 - 1)
    for channel in range(3):
        np.testing.assert_allclose(found[:, channel], (unit[:, channel] - mean[channel]) / std[channel], atol=1e-12)


@pytest.mark.parametrize(
    ("layer", "shapes", "said"),
    [
        (Conv2d(out_channels=4, kernel=9), ((3, 8, 20),), "smaller than the 9x9 kernel"),
        (MaxPool2d(), ((3, 1, 8),), "smaller than the 2x2 window"),
        (Add(), ((3, 4, 4), (3, 4, 5)), "cannot add"),
        (Concat(), ((3, 4, 4), (3, 4, 5)), "different sizes"),
        (CropLike(), ((3, 4, 4), (3, 4, 5)), "cannot crop"),
        (Pad(amount=4), ((3, 4, 9),), "too few to mirror"),
        (PadToMultiple(multiple=4), ((3, 1, 8),), "too few to mirror"),
        (Normalize(mean=(0.5, 0.5), std=(1, 1)), ((3, 4, 4),), "do not fit 3 channels"),
        (Normalize(mean=(0.5, 0.5, 0.5), std=(1, 0, 1)), ((3, 4, 4),), "do not fit 3 channels"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(layer: Layer, shapes: tuple[Shape, ...], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        layer.shape(*shapes)


def test_groups_that_do_not_divide_are_refused() -> None:
    with pytest.raises(EngineError, match="do not divide into 3 groups"):
        Conv2d(out_channels=6, groups=3).weights(4)
    with pytest.raises(EngineError, match="do not divide into 2 groups"):
        Conv2d(out_channels=3, groups=2).weights(4)


@pytest.mark.parametrize("side", [5, 6, 7, 8])
def test_padding_to_a_multiple_is_as_small_as_can_be(side: int) -> None:
    assert PadToMultiple().shape((3, side, side + 1)) == (3, math.ceil(side / 4) * 4, math.ceil((side + 1) / 4) * 4)


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError):
        Conv2d(out_channels=0)
    with pytest.raises(EngineError, match="no layer is called 'conv3d'"):
        make_layer("conv3d", {})
    with pytest.raises(ValidationError):
        make_layer("conv2d", {"out_channels": 3, "dilation": 2})


TWIN = """
from engine import Layer, Ops, Tensor, hookimpl
class {cls}(Layer):
    name = "{name}"
    def apply(self, ops: Ops, weights, *x: Tensor) -> Tensor:
        return x[0]
@hookimpl
def engine_register_models():
    return []
"""


def test_a_second_layer_of_a_name_fails_its_plugin_and_the_message_names_both(tmp_path: Path) -> None:
    path = tmp_path / "twin.py"
    path.write_text(TWIN.format(cls="Mine", name="relu"))
    with pytest.raises(
        EngineError, match=r"twin\.py: .*engine\.layers\.ReLU and engine_plugin_twin_\w+\.Mine are both layers called 'relu'"
    ):
        load_plugins([path])
    assert make_layer("relu", {}) == ReLU()


def test_a_plugin_file_that_changed_replaces_its_own_layer(tmp_path: Path) -> None:
    path, other = tmp_path / "swap.py", tmp_path / "other.py"
    for added in ("", "# changed\n"):
        path.write_text(TWIN.format(cls="Swap", name="swap_test") + added)
        load_plugins([path])
    other.write_text(TWIN.format(cls="Swap", name="swap_test"))
    with pytest.raises(EngineError, match=r"engine_plugin_swap_\w+\.Swap and engine_plugin_other_\w+\.Swap are both layers"):
        load_plugins([other])

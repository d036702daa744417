"""Each loss on the oracle against its formula written again in NumPy, and the contract of losses on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from further_loss_cases import further_cases
from installed import HOST, TRAINING, backend
from loss_cases import LAYERS, Case, H, W, cases, flow_of, gram, make
from pydantic import ValidationError

from engine import Array, Needs
from engine.testing import GivenClip, LossContract, OracleOps, draw, numerical_gradient

OPS = OracleOps()
CASES = [*cases(), *further_cases()]
EACH = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
BACKEND = pytest.mark.parametrize("name", TRAINING)


def scalar(case: Case, *variables: Array) -> float:
    return float(case.value(OPS, *variables))


@EACH
def test_oracle_gives_the_formula(case: Case) -> None:
    variables = [np.float64(x) for x in case.variables]
    assert scalar(case, *variables) == pytest.approx(case.formula(*variables), rel=1e-12)
    assert np.shape(case.value(OPS, *variables)) == ()


@EACH
def test_gradient_reaches_every_frame(case: Case) -> None:
    """Through the warp too; that gradients are right on every backend is the contract's."""
    host = backend("torch")
    value, gradients = host.gradient(lambda *x: case.value(host.ops, *x), *case.variables)
    assert value == pytest.approx(case.formula(*(np.float64(x) for x in case.variables)), rel=1e-5)
    assert all(gradient.any() for gradient in gradients)


for _name in HOST.names("loss"):  # on every backend, against the oracle, which gives the formulas
    globals()[f"Test_{_name}"] = type(f"Test_{_name}", (LossContract,), {"component": HOST.get("loss", _name), "__module__": __name__})


def test_independent_gradient_of_the_formulas() -> None:
    """The formulas' own gradients agree with the losses' on the oracle, so that both sides of the comparison are checked."""
    for case in [c for c in CASES if c.name in ("content of 2", "style of 1", "feature_temporal with any motion, 2 frames")]:
        found = numerical_gradient(lambda *x, case=case: scalar(case, *x), *case.variables)
        wanted = numerical_gradient(lambda *x, case=case: case.formula(*x), *case.variables)
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-7)


def test_published_weights() -> None:
    weights = {"content": 1e4, "style": 1e5, "total_variation": 1e-5, "feature_temporal": 1e5, "output_temporal": 2e5}
    assert {name: make(name).weight for name in weights} == weights
    assert make("content", weight=3).weight == 3


def test_needs_are_no_more_than_is_read() -> None:
    assert make("content").needs() == Needs(encoder=("relu3_3",), frame_encoder=("relu3_3",))
    assert make("content", layer="relu2_2").needs() == Needs(encoder=("relu2_2",), frame_encoder=("relu2_2",))
    assert make("style").needs() == Needs(encoder=("relu1_2", "relu2_2", "relu3_3", "relu4_3"))
    assert make("style", layers=["relu4_3"]).needs() == Needs(encoder=("relu4_3",))
    assert make("total_variation").needs() == Needs()
    assert make("feature_temporal", tap="deep").needs() == Needs(frames=2, taps=("deep",), flow=True)
    assert make("output_temporal").needs() == Needs(frames=2, flow=True)


@pytest.mark.parametrize(
    ("name", "settings"), [("content", {"weight": -1}), ("style", {"layers": []}), ("output_temporal", {"luminance": "so"})]
)
def test_wrong_settings_are_refused(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HOST.get("loss", name).model_validate(settings)


def test_prepared_gram_matrices() -> None:
    features = {layer: draw(f"style {layer}", (1, *shape)) for layer, shape in LAYERS.items()}
    for name in TRAINING:
        ops = backend(name).ops
        prepared = make("style").prepare(ops, {layer: ops.asarray(x) for layer, x in features.items()})
        for layer, x in features.items():
            np.testing.assert_allclose(ops.to_numpy(prepared[layer])[0], gram(np.float64(x[0])), rtol=1e-5, atol=1e-7)


@BACKEND
def test_gram_matrix_stays_accurate_at_full_size(name: str) -> None:
    ops = backend(name).ops
    features = np.maximum(draw("relu1_2", (1, 8, 256, 256)), 0) * 50
    found = ops.to_numpy(make("style", layers=["x"]).prepare(ops, {"x": ops.asarray(features)})["x"])[0]
    np.testing.assert_allclose(found, gram(np.float64(features[0])), rtol=1e-5)


@BACKEND
def test_own_style_costs_nothing(name: str) -> None:
    ops = backend(name).ops
    features = {layer: ops.asarray(draw(f"style {layer}", (1, *shape))) for layer, shape in LAYERS.items()}
    loss = make("style")
    clip = GivenClip(ops, encoded_output={layer: [x] for layer, x in features.items()})
    assert float(loss(ops, clip, loss.prepare(ops, features))) == 0


@BACKEND
@pytest.mark.parametrize("shift", [(0, 0), (2, 0), (-1, 3)])
def test_what_moves_with_the_scene_costs_exactly_nothing(name: str, shift: tuple[int, int]) -> None:
    """Zero flow is the identity and an integer shift exact: a translated picture has temporal loss 0, not nearly 0."""
    ops, (dx, dy) = backend(name).ops, shift
    wide = draw("a panorama", (2, 3, H + 8, W + 8))
    before, now = wide[:, :, 4 : 4 + H, 4 : 4 + W], wide[:, :, 4 + dy : 4 + dy + H, 4 + dx : 4 + dx + W]
    mask = np.zeros((2, 1, H, W), np.float32)
    mask[:, :, max(0, -dy) : H - max(0, dy), max(0, -dx) : W - max(0, dx)] = 1
    pair = [ops.asarray(now), ops.asarray(before)]
    clip = GivenClip(ops, pair, pair, [ops.asarray(flow_of(dx, dy))], [ops.asarray(mask)], {"features": pair})
    assert float(make("output_temporal", luminance=False)(ops, clip, {})) == 0
    assert float(make("feature_temporal")(ops, clip, {})) == 0
    assert float(make("output_temporal")(ops, clip, {})) == 0


@BACKEND
def test_luminance_lets_the_output_brighten_with_the_input(name: str) -> None:
    ops = backend(name).ops
    frame, output, light = draw("frame", (2, 3, H, W)), draw("output", (2, 3, H, W)), np.float32(0.25)
    clip = GivenClip(
        ops,
        [ops.asarray(frame + light), ops.asarray(frame)],
        [ops.asarray(output + light), ops.asarray(output)],
        [ops.asarray(flow_of(0, 0))],
        [ops.asarray(np.ones((2, 1, H, W)))],
    )
    assert float(make("output_temporal")(ops, clip, {})) == pytest.approx(0, abs=1e-10)
    assert float(make("output_temporal", luminance=False)(ops, clip, {})) == pytest.approx(3 * 0.25**2, rel=1e-5)


@BACKEND
@pytest.mark.parametrize("loss", ["feature_temporal", "output_temporal"])
def test_masked_pixels_cost_nothing_and_count(name: str, loss: str) -> None:
    ops = backend(name).ops
    pair = [ops.asarray(np.ones((2, 3, H, W))), ops.asarray(np.zeros((2, 3, H, W)))]
    still = [ops.asarray(np.zeros((2, 3, H, W)))] * 2

    def value(share: float) -> float:
        mask = np.zeros((2, 1, H, W), np.float32)
        mask[:, :, :, : int(share * W)] = 1
        clip = GivenClip(ops, still, pair, [ops.asarray(flow_of(0, 0))], [ops.asarray(mask)], {"features": pair})
        return float(make(loss)(ops, clip, {}))

    whole = {"feature_temporal": 1.0, "output_temporal": 3.0}[loss]
    assert [value(share) for share in (0, 0.5, 1)] == pytest.approx([0, whole / 2, whole])

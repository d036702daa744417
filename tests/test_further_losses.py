"""What the losses beyond ReCoNet's are for: each is 0 where nothing is wrong, and tells what is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from further_loss_cases import luminance, stand_in_encoder
from installed import HOST, TRAINING, backend
from loss_cases import LAYERS, H, W, flow_of, make
from pydantic import ValidationError

from engine import Array, Needs, Ops, Tensor
from engine.testing import GivenClip, OracleOps, draw

OPS = OracleOps()
BACKEND = pytest.mark.parametrize("name", TRAINING)
NEW = ("frame_difference", "feature_difference", "noise_stability", "long_term_temporal", "moments", "colour_content")


def test_needs_are_no_more_than_is_read() -> None:
    four = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
    assert make("frame_difference").needs() == Needs(frames=2)
    assert make("feature_difference", layers=["a", "b"]).needs() == Needs(frames=2, encoder=("a", "b"), frame_encoder=("a", "b"))
    assert make("noise_stability").needs() == Needs()
    assert make("long_term_temporal").needs() == Needs(frames=5, flow=True)
    assert make("long_term_temporal", distances=[2, 3]).needs() == Needs(frames=4, flow=True)
    assert make("moments").needs() == Needs(encoder=four)
    assert make("colour_content", layer="relu2_2").needs() == Needs(encoder=("relu2_2",))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("frame_difference", {"channels": "hue"}),
        ("feature_difference", {"layers": []}),
        ("noise_stability", {"noise": 0}),
        ("moments", {"layers": []}),
        ("colour_content", {"colour": -1}),
        ("colour_content", {"square": 0}),
        *(("long_term_temporal", {"distances": distances}) for distances in ([], [0, 1], [2, 1], [1, 1])),
    ],
)
def test_wrong_settings_are_refused(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HOST.get("loss", name).model_validate(settings)


@pytest.mark.parametrize("name", NEW)
def test_formula_and_source_are_told(name: str) -> None:
    cls = HOST.get("loss", name)
    assert "^2" in str(cls.__doc__)
    assert " 20" in str(cls.__doc__)  # the year of what it is taken from
    assert all(field.description for field in cls.model_fields.values())


def value(name: str, ops: Ops, clip: GivenClip, **settings: Any) -> float:
    loss = make(name, **settings)
    return float(loss(ops, clip, loss.prepare(ops, {})))


@BACKEND
def test_an_output_that_changes_as_the_input_does_costs_nothing_whatever_it_shows(name: str) -> None:
    ops = backend(name).ops
    now, before, look = (draw(key, (2, 3, H, W)) for key in ("now", "before", "look"))
    frames, outputs = [ops.asarray(now), ops.asarray(before)], [ops.asarray(now + look), ops.asarray(before + look)]
    for channels in ("rgb", "luminance"):
        assert value("frame_difference", ops, GivenClip(ops, frames, outputs), channels=channels) == pytest.approx(0, abs=1e-12)
        still = value("frame_difference", ops, GivenClip(ops, frames, [outputs[0]] * 2), channels=channels)
        assert still > 0.05  # a painting that does not move with the scene
    features = GivenClip(ops, encoded_output={"relu3_3": outputs}, encoded_frame={"relu3_3": frames})
    assert value("feature_difference", ops, features) == pytest.approx(0, abs=1e-12)


def test_luminance_lets_colours_change() -> None:
    frame = draw("frame", (1, 3, H, W))
    turned = np.zeros_like(frame)
    turned[:, 0], turned[:, 1] = 0.7152, -0.2126  # redder and less green, as bright as before
    clip = GivenClip(OPS, [frame, frame], [frame + turned, frame])
    assert value("frame_difference", OPS, clip, channels="luminance") == pytest.approx(0, abs=1e-12)
    assert value("frame_difference", OPS, clip) > 0.1


def noise_that_is_given(ops: Ops, frame: Array, **settings: Any) -> Array:
    """What the network gets beside the frame."""
    given: list[Tensor] = []
    seen = ops.asarray(frame)

    def network(x: Tensor) -> Tensor:
        given.append(x)
        return x

    value("noise_stability", ops, GivenClip(ops, [seen], [seen], network=network), **settings)
    (noisy,) = given
    return np.float64(ops.to_numpy(noisy)) - frame


@BACKEND
def test_noise_is_alike_on_every_backend_and_its_spread_as_asked_for(name: str) -> None:
    frame = np.clip(draw("frame", (2, 3, 140, 150)), -1, 1)  # larger than the noise, which is repeated
    noise = noise_that_is_given(backend(name).ops, frame, noise=0.1)
    np.testing.assert_allclose(noise, noise_that_is_given(OPS, frame, noise=0.1), atol=1e-5)
    assert noise.std(axis=(1, 2, 3)) == pytest.approx([0.1, 0.1], rel=0.05)
    assert np.abs(noise.mean(axis=(2, 3))).max() < 0.005
    np.testing.assert_allclose(noise[:, :, 128:, 128:], noise[:, :, :12, :22], atol=1e-6)


def test_noise_is_repeatable_and_another_for_another_frame_or_seed() -> None:
    frame, other = (np.clip(draw(name, (1, 3, 40, 48)), -1, 1) for name in ("frame", "other"))
    noise = noise_that_is_given(OPS, frame)
    np.testing.assert_array_equal(noise, noise_that_is_given(OPS, frame))
    alone = noise_that_is_given(OPS, np.concatenate([other, frame]))[1:]
    np.testing.assert_allclose(noise, alone, atol=1e-12)  # whatever else is in the batch
    for unlike in (noise_that_is_given(OPS, other), noise_that_is_given(OPS, frame, seed=1)):
        assert abs(np.corrcoef(noise.ravel(), unlike.ravel())[0, 1]) < 0.95
    assert np.isfinite(noise_that_is_given(OPS, np.zeros_like(frame))).all()


def test_a_network_that_does_not_hear_noise_is_stable() -> None:
    frame = draw("frame", (1, 3, 32, 32))
    for gain in (0, 3):
        clip = GivenClip(OPS, [frame], [gain * frame], network=lambda x, gain=gain: gain * x)
        assert value("noise_stability", OPS, clip, noise=0.1) == pytest.approx(gain**2 * 0.01, rel=0.1)


@BACKEND
def test_drift_that_two_frames_do_not_show_is_seen_over_four(name: str) -> None:
    """Strokes that slide by a little a frame over a still scene: the pairs cost little, the long way costs much."""
    ops, zero = backend(name).ops, np.zeros((1, 3, H, W), np.float32)
    outputs = [ops.asarray(zero + 0.1 * k) for k in range(5)]
    clip = GivenClip(ops, [ops.asarray(zero)] * 5, outputs, [ops.asarray(flow_of(0, 0, 1))] * 4, [ops.asarray(zero[:, :1] + 1)] * 4)
    costs = [value("long_term_temporal", ops, clip, distances=[distance]) for distance in (1, 2, 4)]
    assert costs == pytest.approx([0.01, 0.04, 0.16], rel=1e-4)
    assert value("long_term_temporal", ops, clip) == pytest.approx(sum(costs), rel=1e-4)


@BACKEND
def test_what_moves_with_the_scene_over_three_frames_costs_exactly_nothing(name: str) -> None:
    ops = backend(name).ops
    wide = draw("a panorama", (1, 3, H, W + 4))
    frames = [ops.asarray(wide[..., 4 - 2 * k : 4 - 2 * k + W]) for k in range(3)]  # the scene moves to the left: +2 leads back
    mask = np.zeros((1, 1, H, W), np.float32)
    mask[..., : W - 2] = 1
    given = [ops.asarray(flow_of(2, 0, 1))] * 2, [ops.asarray(mask)] * 2
    assert value("long_term_temporal", ops, GivenClip(ops, frames, frames, *given), distances=[1, 2]) == 0
    wrong = [ops.asarray(flow_of(-2, 0, 1))] * 2, given[1]
    assert value("long_term_temporal", ops, GivenClip(ops, frames, frames, *wrong), distances=[2], luminance=False) > 0.01


@BACKEND
def test_moments_know_palette_and_contrast_and_no_places(name: str) -> None:
    ops = backend(name).ops
    style = {layer: draw(f"style {layer}", (1, *shape)) for layer, shape in LAYERS.items()}
    loss = make("moments")
    prepared = loss.prepare(ops, {layer: ops.asarray(x) for layer, x in style.items()})

    def cost(change: float, factor: float) -> float:
        shown = {layer: [ops.asarray(x[..., ::-1].copy() * factor + change)] for layer, x in style.items()}
        return float(loss(ops, GivenClip(ops, encoded_output=shown), prepared))

    assert cost(0, 1) == pytest.approx(0, abs=1e-10)  # mirrored
    assert cost(0.5, 1) == pytest.approx(0.25 * len(LAYERS), rel=1e-3)  # brighter
    assert cost(0, 2) > 0.1  # more contrast


@BACKEND
def test_moments_of_a_constant_picture_have_a_gradient(name: str) -> None:
    host, loss, flat = backend(name), make("moments", layers=["x"]), np.ones((1, 2, 3, 4), np.float32)

    def cost(x: Tensor) -> Tensor:
        clip = GivenClip(host.ops, encoded_output={"x": [x]})
        return loss(host.ops, clip, loss.prepare(host.ops, {"x": host.ops.asarray(0 * flat)}))

    _, (gradient,) = host.gradient(cost, flat)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


@BACKEND
def test_colours_are_held_in_the_large_and_free_in_the_small(name: str) -> None:
    ops = backend(name).ops
    frame = draw("frame", (1, 3, H, W))

    def cost(output: Array, colour: float, square: int = 2) -> float:
        shown = [ops.asarray(frame)], [ops.asarray(output)]
        clip = GivenClip(ops, *shown, encoder=lambda x: stand_in_encoder(ops, x))
        return value("colour_content", ops, clip, colour=colour, square=square)

    assert cost(frame, 5) == 0
    grey = np.repeat(luminance(frame), 3, 1).astype(np.float32)
    assert cost(grey, 0) == pytest.approx(0, abs=1e-9)  # the features see light alone
    assert cost(grey, 2, 1) == pytest.approx(2 * float(((frame - grey) ** 2).mean()), rel=1e-4)
    red = np.array([0.7152, -0.2126, 0], np.float32).reshape(1, 3, 1, 1)  # of no light
    dots = np.where((np.indices((H, W)).sum(0) % 2)[None, None], red, -red).astype(np.float32)
    assert cost(frame + dots, 1) == pytest.approx(0, abs=1e-6)
    assert cost(frame + red, 1) == pytest.approx(float((red**2).mean()), rel=1e-4)
    assert cost(frame + red, 1, 1000) == pytest.approx(float((red**2).mean()), rel=1e-4)  # one square, the whole picture

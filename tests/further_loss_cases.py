"""Formulas of the losses beyond ReCoNet's, written again in NumPy, and clips to compare them on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from loss_cases import LAYERS, Case, H, W, by_layer, flow_of, make, some, warped

from engine import Array, Ops, Tensor
from engine.testing import GivenClip, draw

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def luminance(rgb: Array) -> Array:
    """(..., 3, h, w) -> (..., 1, h, w)."""
    y: Array = np.tensordot(np.moveaxis(rgb.astype(float), -3, -1), LUMINANCE, 1)[..., None, :, :]
    return y


def frame_difference(outputs: Sequence[Array], frames: Sequence[Array], channels: str) -> float:
    total, n = 0.0, len(outputs[0])
    for k in range(len(outputs) - 1):
        for i in range(n):
            painted, seen = outputs[k][i] - outputs[k + 1][i], frames[k][i].astype(float) - frames[k + 1][i]
            if channels == "luminance":
                painted, seen = luminance(painted), luminance(seen)
            total += float(((painted - seen) ** 2).sum()) / painted.size
    return total / n


def moments(outputs: dict[str, Sequence[Array]], image: dict[str, Array]) -> float:
    total = 0.0
    for layer, frames in outputs.items():
        wanted = image[layer][0].astype(float)
        for x in (x for frame in frames for x in frame):
            for c in range(len(x)):
                spread, goal = (float(np.sqrt(part.var() + 1e-5)) for part in (x[c], wanted[c]))
                total += (float(x[c].mean() - wanted[c].mean()) ** 2 + (spread - goal) ** 2) / len(x)
    return total / len(outputs["relu1_2"][0])


def colour_content(outputs: Sequence[Array], frames: Sequence[Array], colour: float, square: int) -> float:
    total, n = 0.0, len(outputs[0])
    for output, frame in zip(outputs, frames, strict=True):
        for i in range(n):
            light, wanted = luminance(output[i]), luminance(frame[i])
            features = _seen(np.concatenate([light] * 3)) - _seen(np.concatenate([wanted] * 3))
            wrong = squares(output[i].astype(float) - frame[i], square)
            total += float((features**2).sum()) / features.size + colour * sum(float((s.mean((1, 2)) ** 2).mean()) for s in wrong) / len(
                wrong
            )
    return total / n


def squares(x: Array, side: int) -> list[Array]:
    """The whole squares of (c, h, w)."""
    return [x[:, i : i + side, j : j + side] for i in range(0, H - side + 1, side) for j in range(0, W - side + 1, side)]


def _seen(x: Array) -> Array:
    """What the encoder below makes of (3, h, w)."""
    return x[:2, 1:] ** 2 + 0.5 * x[1:, :-1]


def stand_in_encoder(ops: Ops, x: Tensor) -> dict[str, Tensor]:
    return {"relu3_3": ops.square(x[:, :2, 1:, :]) + 0.5 * x[:, 1:, :-1, :]}


def noise_stability(gain: Array, frame: Array, noise: float, seed: int) -> float:
    """For a network that gives gain * x + x^2."""
    drawn = np.random.default_rng(seed).normal(size=(4, 1, 3, 128, 128)).astype(np.float32)[:, 0, :, :H, :W]
    total = 0.0
    for g, x in zip(gain, frame.astype(float), strict=True):
        alike = np.array([(x * pattern).sum() for pattern in drawn.astype(float)])
        e = noise * np.tensordot(alike / np.linalg.norm(alike), drawn.astype(float), 1)
        total += float(((g * e + 2 * x * e + e * e) ** 2).mean())
    return total / len(gain)


def long_term_temporal(
    outputs: Sequence[Array], frames: Sequence[Array], flows: Sequence[Array], masks: Sequence[Array], distances: Sequence[int]
) -> float:
    """The flow and the mask are followed pixel by pixel, from frame to frame."""
    total, n = 0.0, len(outputs[0])
    for i in range(n):
        ways = {0: (np.zeros((2, H, W)), np.ones((1, H, W)))}
        for k in range(max(distances)):
            way, seen = ways[k]
            # Only a pixel that is wholly inside, between pixels that can all be followed, is followed on.
            ways[k + 1] = (way + warped(flows[k][i].astype(float), way), seen * (warped(masks[k][i].astype(float), way) > 0.9995))
        for distance in distances:
            way, seen = ways[distance]
            change = outputs[0][i] - warped(outputs[distance][i], way)
            brighter = frames[0][i].astype(float) - warped(frames[distance][i].astype(float), way)
            total += float((seen * (change - luminance(brighter)) ** 2).sum()) / (3 * H * W)
    return total / n


def further_cases() -> list[Case]:
    images = {layer: draw(f"style {layer}", (1, c, h + 2, w + 1)) for layer, (c, h, w) in LAYERS.items()}
    frames, seen = some("frame", 3, 2, 3, H, W), some("encoded frame", 3, 2, *LAYERS["relu3_3"])
    found = [
        Case(
            f"frame_difference of {count}, {channels}",
            make("frame_difference", channels=channels),
            some("output", count, 2, 3, H, W),
            lambda ops, *x: GivenClip(ops, [ops.asarray(f) for f in frames[: len(x)]], x),
            lambda *x, channels=channels: frame_difference(x, frames, channels),
            {},
        )
        for count, channels in ((3, "rgb"), (2, "luminance"))
    ]
    found.append(
        Case(
            "feature_difference of 3",
            make("feature_difference"),
            some("encoded output", 3, 2, *LAYERS["relu3_3"]),
            lambda ops, *x: GivenClip(ops, encoded_output={"relu3_3": x}, encoded_frame={"relu3_3": [ops.asarray(f) for f in seen]}),
            lambda *x: frame_difference(x, seen, "all"),
            {},
        )
    )
    found.append(
        Case(
            "moments of 2",
            make("moments"),
            [x for layer, shape in LAYERS.items() for x in some(f"encoded {layer}", 2, 2, *shape)],
            lambda ops, *x: GivenClip(ops, encoded_output=by_layer(x, 2)),
            lambda *x: moments(by_layer(x, 2), images),
            images,
        )
    )
    found.append(
        Case(
            "colour_content of 2",
            make("colour_content", colour=3, square=4),
            some("output", 2, 2, 3, H, W),
            lambda ops, *x: GivenClip(ops, [ops.asarray(f) for f in frames[:2]], x, encoder=lambda image: stand_in_encoder(ops, image)),
            lambda *x: colour_content(x, frames[:2], 3, 4),
            {},
        )
    )
    return [*found, _noise_stability(), _long_term()]


def _noise_stability() -> Case:
    frame = draw("frame", (2, 3, H, W))

    def clip(ops: Ops, gain: Tensor) -> GivenClip:
        def network(x: Tensor) -> Tensor:
            return gain * x + ops.square(x)

        seen = ops.asarray(frame)
        return GivenClip(ops, [seen], [network(seen)], network=network)

    loss = make("noise_stability", noise=0.3, seed=5)
    return Case("noise_stability", loss, [draw("gain", (2, 3, H, W))], clip, lambda gain: noise_stability(gain, frame, 0.3, 5), {})


def _long_term() -> Case:
    """Four frames, of which the last but one is not compared with."""
    inside = np.pad(np.ones((2, 1, H - 2, W - 2), np.float32), ((0, 0), (0, 0), (1, 1), (1, 1)))
    frames, (between,) = some("frame", 4, 2, 3, H, W), some("between", 1, 2, 3, H, W)
    flows = [flow_of(0.25, -0.5), flow_of(0.5, 0.25), flow_of(-0.5, 0.75)]
    given = {"frames": frames, "flows": flows, "masks": [inside * (x > -1) for x in some("hole", 3, 2, 1, H, W)]}

    def clip(ops: Ops, now: Tensor, before: Tensor, oldest: Tensor) -> GivenClip:
        outputs = [now, before, ops.asarray(between), oldest]
        frames, flows, masks = ([ops.asarray(x) for x in given[key]] for key in ("frames", "flows", "masks"))
        return GivenClip(ops, frames, outputs, flows, masks)

    def formula(now: Array, before: Array, oldest: Array) -> float:
        return long_term_temporal([now, before, between, oldest], **given, distances=(1, 3))

    loss = make("long_term_temporal", distances=(1, 3))
    return Case("long_term_temporal over 4 frames", loss, some("output", 3, 2, 3, H, W), clip, formula, {})

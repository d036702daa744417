"""The losses' formulas written again in NumPy, and clips to compare them on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from installed import HOST

from engine import Array, Loss, Ops, Tensor
from engine.testing import GivenClip, draw

H, W = 6, 8
LAYERS = {"relu1_2": (2, 6, 8), "relu2_2": (3, 3, 4), "relu3_3": (4, 2, 3), "relu4_3": (5, 1, 2)}
PIXELS = [(row, column) for row in range(H) for column in range(W)]


def flow_of(dx: float, dy: float, n: int = 2) -> Array:
    return np.broadcast_to(np.array([dx, dy], np.float32).reshape(1, 2, 1, 1), (n, 2, H, W)).copy()


def some(name: str, count: int, *shape: int) -> list[Array]:
    return [draw(f"{name} {k}", shape) for k in range(count)]


def masks_of(count: int) -> list[Array]:
    return [(x > 0).astype(np.float32) for x in some("mask", count, 2, 1, H, W)]


# The formulas again, on NumPy arrays, image by image and frame by frame.


def warped(x: Array, flow: Array) -> Array:
    """(c, h, w): every pixel gathered with tent weights from all others."""
    c, h, w = x.shape
    result = np.zeros((c, h, w))
    for row in range(h):
        for column in range(w):
            rows = np.maximum(0, 1 - np.abs(np.arange(h) - (row + flow[1, row, column])))
            columns = np.maximum(0, 1 - np.abs(np.arange(w) - (column + flow[0, row, column])))
            result[:, row, column] = np.einsum("cij,i,j->c", x, rows, columns)
    return result


def content(outputs: Sequence[Array], frames: Sequence[Array]) -> float:
    n = len(outputs[0])
    return sum(float(((o[i] - f[i]) ** 2).sum()) / o[i].size for o, f in zip(outputs, frames, strict=True) for i in range(n)) / n


def gram(features: Array) -> Array:
    return np.einsum("ihw,jhw->ij", features, features, optimize=False) / features.size


def style(outputs: dict[str, Sequence[Array]], image: dict[str, Array]) -> float:
    total = 0.0
    for layer, frames in outputs.items():
        wanted = gram(np.float64(image[layer][0]))
        total += sum(float(((gram(x) - wanted) ** 2).sum()) for frame in frames for x in frame)
    return total / len(outputs["relu1_2"][0])


def total_variation(outputs: Sequence[Array]) -> float:
    total = 0.0
    for x in (x for output in outputs for x in output):
        for row, column in PIXELS:
            if column + 1 < W:
                total += np.abs(x[:, row, column + 1] - x[:, row, column]).sum()
            if row + 1 < H:
                total += np.abs(x[:, row + 1, column] - x[:, row, column]).sum()
    return total / len(outputs[0])


def feature_temporal(taps: Sequence[Array], flows: Sequence[Array], masks: Sequence[Array]) -> float:
    """For features of half the size, where both resizings are simple: flow = half the mean of 2x2 pixels, mask = every second pixel."""
    total, n = 0.0, len(taps[0])
    for k in range(len(taps) - 1):
        for i in range(n):
            flow = np.float64(flows[k][i]).reshape(2, H // 2, 2, W // 2, 2).mean(axis=(2, 4)) / 2
            error = (taps[k][i] - warped(taps[k + 1][i], flow)) ** 2
            total += float((masks[k][i, :, ::2, ::2] * error).sum()) / error.size
    return total / n


def output_temporal(
    outputs: Sequence[Array], frames: Sequence[Array], flows: Sequence[Array], masks: Sequence[Array], luminance: bool
) -> float:
    total, n = 0.0, len(outputs[0])
    for k in range(len(outputs) - 1):
        for i in range(n):
            change = outputs[k][i] - warped(outputs[k + 1][i], flows[k][i])
            brighter = np.float64(frames[k][i]) - warped(np.float64(frames[k + 1][i]), flows[k][i])
            for row, column in PIXELS:
                r, g, b = brighter[:, row, column]
                expected = 0.2126 * r + 0.7152 * g + 0.0722 * b if luminance else 0.0
                total += masks[k][i, 0, row, column] * ((change[:, row, column] - expected) ** 2).sum() / (H * W)
    return total / n


@dataclass(frozen=True)
class Case:
    """A loss, the tensors it differentiates by, how a clip is made of them, and the formula."""

    name: str
    loss: Loss
    variables: Sequence[Array]
    clip: Callable[..., GivenClip]
    formula: Callable[..., float]
    style: dict[str, Array]

    def value(self, ops: Ops, *variables: Tensor) -> Tensor:
        prepared = self.loss.prepare(ops, {layer: ops.asarray(x) for layer, x in self.style.items()})
        return self.loss(ops, self.clip(ops, *variables), prepared)


def make(name: str, **settings: Any) -> Loss:
    return HOST.make_loss(name, settings)


def cases() -> list[Case]:
    images = {layer: draw(f"style {layer}", (1, c, h + 2, w + 1)) for layer, (c, h, w) in LAYERS.items()}
    found: list[Case] = []
    for count in (1, 2, 3):
        shape = (2, *LAYERS["relu3_3"])
        seen = some("encoded frame", count, *shape)
        found.append(
            Case(
                f"content of {count}",
                make("content"),
                some("encoded output", count, *shape),
                lambda ops, *x, seen=seen: GivenClip(
                    ops, encoded_output={"relu3_3": x}, encoded_frame={"relu3_3": [ops.asarray(f) for f in seen]}
                ),
                lambda *x, seen=seen: content(x, seen),
                {},
            )
        )
        found.append(
            Case(
                f"style of {count}",
                make("style"),
                [x for layer, shape in LAYERS.items() for x in some(f"encoded {layer}", count, 2, *shape)],
                lambda ops, *x, count=count: GivenClip(ops, encoded_output=by_layer(x, count)),
                lambda *x, count=count: style(by_layer(x, count), images),
                images,
            )
        )
        found.append(
            Case(
                f"total_variation of {count}",
                make("total_variation"),
                some("output", count, 2, 3, H, W),
                lambda ops, *x: GivenClip(ops, outputs=x),
                lambda *x: total_variation(x),
                {},
            )
        )
    flows = {
        "no motion": [flow_of(0, 0)] * 2,
        "a shift": [flow_of(2, 0), flow_of(0, -2)],
        "any motion": [2 * x for x in some("flow", 2, 2, 2, H, W)],
    }
    for motion, flow in flows.items():
        for count in (2, 3):
            found += _temporal(f"{motion}, {count} frames", count, flow, masks_of(2))
    return found


def by_layer(x: Sequence[Any], count: int) -> dict[str, Sequence[Any]]:
    return {layer: x[k * count : (k + 1) * count] for k, layer in enumerate(LAYERS)}


def _temporal(name: str, count: int, flows: list[Array], masks: list[Array]) -> list[Case]:
    frames = some("frame", count, 2, 3, H, W)

    def moving(ops: Ops) -> dict[str, list[Tensor]]:
        return {key: [ops.asarray(x) for x in xs] for key, xs in {"flows": flows, "masks": masks, "frames": frames}.items()}

    return [
        Case(
            f"feature_temporal with {name}",
            make("feature_temporal"),
            some("tap", count, 2, 4, H // 2, W // 2),
            lambda ops, *x: GivenClip(ops, taps={"features": x}, **moving(ops)),
            lambda *x: feature_temporal(x, flows, masks),
            {},
        ),
        *(
            Case(
                f"output_temporal with {name}, luminance={luminance}",
                make("output_temporal", luminance=luminance),
                some("output", count, 2, 3, H, W),
                lambda ops, *x: GivenClip(ops, outputs=x, **moving(ops)),
                lambda *x, luminance=luminance: output_temporal(x, frames, flows, masks, luminance),
                {},
            )
            for luminance in (True, False)
        ),
    ]

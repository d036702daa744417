"""Cases of what works on images: convolution, pooling, padding, resizing, warping."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.ops import Array, Shape
from engine.testing.cases import OpCase, draw, op_case


def _convolutions() -> list[OpCase]:
    def case(setting: str, x: Shape, weight: Shape, bias: bool = True, *, fixed: tuple[int, ...] = (), **settings: int) -> OpCase:
        inputs = (x, weight, (weight[0],)) if bias else (x, weight)
        tolerance: dict[str, Any] = {"value_tolerance": 1e-4, "gradient_tolerance": 1e-3}  # up to 500 products a sum
        return op_case("conv2d", setting, lambda ops, *t: ops.conv2d(*t, **settings), *inputs, fixed=fixed, **tolerance)

    return [
        case("3x3", (2, 3, 5, 6), (4, 3, 3, 3)),
        case("3x3 padding 1", (2, 3, 5, 6), (4, 3, 3, 3), padding=1),
        case("3x3 no bias", (2, 3, 5, 6), (4, 3, 3, 3), False),
        case("3x3 stride 2 odd size", (2, 2, 7, 9), (3, 2, 3, 3), stride=2, padding=1),
        case("3x3 stride 2 rest left out", (2, 2, 6, 8), (3, 2, 3, 3), stride=2),
        case("1x1", (2, 4, 3, 5), (2, 4, 1, 1)),
        case("1x1 stride 2", (1, 4, 5, 5), (2, 4, 1, 1), stride=2),
        case("2x2 even kernel", (1, 2, 4, 5), (3, 2, 2, 2), padding=1),
        case("5x5 stride 3 padding 2", (1, 2, 8, 7), (2, 2, 5, 5), stride=3, padding=2),
        case("9x9 padding 4", (1, 1, 6, 7), (2, 1, 9, 9), padding=4),
        case("kernel as large as the image", (2, 2, 4, 4), (3, 2, 4, 4)),
        case("2 groups", (2, 4, 4, 5), (6, 2, 3, 3), groups=2),
        case("a group a channel", (1, 3, 5, 5), (3, 1, 3, 3), groups=3, padding=1),
        case("a group a channel, 2 outputs each, stride 2", (1, 3, 5, 6), (6, 1, 3, 3), groups=3, stride=2, padding=1),
        case("16 -> 32 channels at 32x32", (1, 16, 32, 32), (32, 16, 3, 3), fixed=(0, 1, 2), padding=1),
    ]


def _pools() -> list[OpCase]:
    cases = [
        ((2, 3, 4, 6), 2, 2),
        ((2, 3, 5, 7), 2, 2),
        ((1, 2, 7, 6), 3, 2),
        ((1, 2, 4, 5), 2, 1),
        ((1, 2, 7, 8), 3, 3),
        ((1, 2, 3, 3), 1, 2),
    ]
    return [
        op_case(
            "max_pool2d", f"{k}x{k} stride {s} of {x[2]}x{x[3]}", lambda ops, x, k=k, s=s: ops.max_pool2d(x, k, s), x, value_tolerance=0.0
        )
        for x, k, s in cases
    ]


def _sides() -> list[OpCase]:
    image = (2, 2, 4, 5)
    exact: dict[str, Any] = {"value_tolerance": 0.0}
    pads = [(1, 1, 1, 1), (1, 2, 3, 0), (0, 0, 0, 0), (0, 3, 0, 0), (0, 0, 2, 3), (4, 4, 3, 3)]
    return [
        *(
            op_case("pad", f"{mode} {sides}", lambda ops, x, m=mode, s=sides: ops.pad(x, s, m), image, **exact)
            for mode in ("constant", "reflect")
            for sides in pads
        ),
        op_case("pad", "by default with zeros", lambda ops, x: ops.pad(x, (1, 0, 0, 2)), image, **exact),
        *(
            op_case("pad_to_multiple", f"{m} of {h}x{w}", lambda ops, x, m=m: ops.pad_to_multiple(x, m), (1, 2, h, w), **exact)
            for m, h, w in [(4, 5, 7), (4, 8, 4), (4, 6, 9), (1, 3, 5), (3, 2, 4)]
        ),
        op_case("crop_like", "smaller", lambda ops, x, y: ops.crop_like(x, y), image, (2, 1, 3, 2), fixed=(1,), **exact),
        op_case("crop_like", "the same", lambda ops, x, y: ops.crop_like(x, y), image, (1, 3, 4, 5), fixed=(1,), **exact),
    ]


def _sizes() -> list[OpCase]:
    bilinear = [
        ((4, 5), (8, 10)),
        ((4, 5), (7, 11)),
        ((6, 8), (3, 4)),
        ((7, 9), (3, 4)),
        ((5, 6), (1, 1)),
        ((1, 1), (3, 2)),
        ((4, 5), (4, 5)),
        ((4, 5), (4, 9)),
    ]
    # float32 ratios read the wrong pixel at 14 -> 46, 26 -> 22 and 39 -> 33
    nearest = [*bilinear, ((14, 26), (46, 22)), ((1, 39), (1, 33))]
    ramp = np.arange(4, dtype=np.float32).reshape(1, 1, 1, 4)

    def resize(old: Shape, new: tuple[int, int], mode: str) -> OpCase:
        setting = f"{mode} {old[0]}x{old[1]} to {new[0]}x{new[1]}"
        tolerance = 0.0 if mode == "nearest" else 1e-5
        return op_case("resize", setting, lambda ops, x: ops.resize(x, new, mode), (1, 2, *old), value_tolerance=tolerance)

    return [
        *(resize(old, new, "bilinear") for old, new in bilinear),
        *(resize(old, new, "nearest") for old, new in nearest),
        *(
            op_case("upsample", f"{mode} {h}x{w} times {f}", lambda ops, x, m=mode, f=f: ops.upsample(x, f, m), (2, 2, h, w))
            for mode in ("nearest", "bilinear", "bilinear_asymmetric")
            for h, w, f in [(3, 4, 2), (2, 3, 3), (1, 1, 2), (3, 2, 1), (2, 3, 4)]
        ),
        op_case("upsample", "asymmetric as published", lambda ops, x: ops.upsample(x, 2, "bilinear_asymmetric"), ramp, value_tolerance=0.0),
    ]


def _warps() -> list[OpCase]:
    size = (2, 3, 5, 7)

    def flow(dx: float, dy: float) -> Array:
        return np.broadcast_to(np.array([dx, dy], np.float32).reshape(1, 2, 1, 1), (2, 2, 5, 7)).copy()

    def case(setting: str, flow: Array, tolerance: float = 1e-5, size: Shape = size) -> OpCase:
        return op_case("warp", setting, lambda ops, x, flow: ops.warp(x, flow), size, flow, fixed=(1,), value_tolerance=tolerance)

    rotated = np.stack(np.meshgrid(np.linspace(-1, 1, 7), np.linspace(-1, 1, 5)))[None].repeat(2, 0).astype(np.float32)
    return [
        case("zero flow", flow(0, 0), tolerance=0.0),
        case("right and up", flow(2, -1), tolerance=0.0),
        case("left and down", flow(-3, 2), tolerance=0.0),
        case("just out", flow(7, 0), tolerance=0.0),
        case("half a pixel", flow(0.5, -0.5), tolerance=1e-6),
        case("fractional", 2 * draw("a flow", (2, 2, 5, 7))),
        case("a smooth field", rotated * 1.7),
        case("far out", flow(1e6, -1e6), tolerance=0.0),
        case("far out on one side", flow(-4e9, 0), tolerance=0.0),
        case("one row", draw("a flat flow", (1, 2, 1, 6)), size=(1, 2, 1, 6)),
        case("one column", draw("a narrow flow", (1, 2, 6, 1)), size=(1, 2, 6, 1)),
    ]


IMAGE_CASES = (*_convolutions(), *_pools(), *_sides(), *_sizes(), *_warps())

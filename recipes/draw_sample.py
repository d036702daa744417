"""Draw sample.mp4, the clip that ``engine infer`` paints when it is given none: balloons over hills, seen from a moving camera.

python recipes/draw_sample.py [OUTPUT.mp4]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
import cv2
import numpy as np

Array: TypeAlias = Any  # OpenCV's stubs and NumPy's do not agree on a type
Colour: TypeAlias = tuple[int, int, int]

WIDTH, HEIGHT, FRAMES, RATE = 640, 360, 48, 24
MARGIN = 70  # pixels beyond the frame on either side, for the pan
SPAN = WIDTH + 2 * MARGIN
S = 3  # layers are drawn at three times the size


@dataclass(frozen=True)
class Layer:
    """A picture with coverage, and how far it goes when the camera pans by one pixel."""

    colour: Array
    """float32 (h, w, 3)."""
    cover: Array
    """float32 (h, w, 1) in 0 .. 1."""
    depth: float


def noise(rng: np.random.Generator, shape: tuple[int, int], scale: float, stretch: float = 1.0) -> Array:
    """Noise of several octaves, (h, w), deviation about 1; features ``scale`` pixels high and ``stretch`` times as wide."""
    h, w = shape
    total = np.zeros(shape, np.float32)
    for octave in range(5):
        cell = max(scale / 2**octave, 1.0)
        small = rng.standard_normal((int(h / cell) + 4, int(w / cell / stretch) + 4)).astype(np.float32)
        total += 0.55**octave * cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC)
    return total / total.std()


def reduce(colour: Array, cover: Array, depth: float) -> Layer:
    """A layer from its drawing at three times the size."""
    size = (cover.shape[1] // S, cover.shape[0] // S)
    small = cv2.resize(cover.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return Layer(cv2.resize(colour.astype(np.float32), size, interpolation=cv2.INTER_AREA), small[..., None], depth)


def blend(stops: list[tuple[float, Colour]], at: Array) -> Array:
    """Colours between stops, (..., 3)."""
    places = [place for place, _ in stops]
    return np.stack([np.interp(at, places, [rgb[i] for _, rgb in stops]) for i in range(3)], -1).astype(np.float32)


def draw_sky(rng: np.random.Generator) -> Layer:
    """A sky from deep blue to peach, with the sun."""
    h, w = HEIGHT * S, SPAN * S
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    stops = [(0.0, (38, 92, 178)), (0.3, (92, 158, 216)), (0.55, (240, 196, 164)), (0.72, (255, 170, 96)), (1.0, (250, 140, 80))]
    colour = blend(stops, y / h + 0.02 * noise(rng, (h, w), 120, 5))
    far = np.hypot(x - 0.715 * w, y - 0.33 * h) / S
    colour += (np.exp(-far / 60)[..., None] * np.array([90, 70, 10])) + np.exp(-far / 200)[..., None] * np.array([40, 20, -20])
    disc = np.clip((33 - far) * S + 0.5, 0, 1)[..., None]
    colour = colour * (1 - disc) + np.array([255, 240, 170]) * disc
    return reduce(np.clip(colour, 0, 255), np.ones((h, w)), 0.1)


def draw_clouds(rng: np.random.Generator) -> Layer:
    """Heaped clouds, lit from the side of the sun."""
    h, w = HEIGHT * S, SPAN * S
    body = np.zeros((h, w), np.float32)
    light = np.zeros((h, w), np.float32)
    for cx, cy, size in [(0.17, 0.20, 62), (0.46, 0.11, 44), (0.90, 0.17, 58), (0.33, 0.36, 34), (0.97, 0.40, 36), (0.03, 0.42, 30)]:
        puffs = [(float(rng.uniform(-1.3, 1.3)), -abs(float(rng.normal(0, 0.26))), float(rng.uniform(0.16, 0.36))) for _ in range(44)]
        for px, py, r in sorted(puffs, key=lambda puff: puff[1]):
            r *= 1.25 - 0.6 * abs(px)
            py *= 1.4 - abs(px)
            x, y = int((cx * SPAN + px * size) * S), int((cy * HEIGHT + py * size) * S)
            radius = max(3, int(r * size * S))
            cv2.circle(body, (x, y), radius, (1.0,), -1, cv2.LINE_AA)
            cv2.circle(light, (x, y), radius, (0.3 + 0.25 * rng.random(),), -1, cv2.LINE_AA)
            top = (x + radius // 5, y - radius // 4)
            cv2.circle(light, top, int(radius * 0.74), (0.75 + 0.25 * rng.random(),), -1, cv2.LINE_AA)
    soft = cv2.GaussianBlur(light, (0, 0), 1.2 * S) + 0.05 * noise(rng, (h, w), 20 * S)
    colour = blend([(0.0, (150, 128, 176)), (0.45, (236, 180, 172)), (0.8, (255, 232, 208)), (1.0, (255, 250, 238))], soft)
    return reduce(colour, cv2.GaussianBlur(body, (0, 0), 0.6 * S) * 0.96, 0.2)


def ridge(rng: np.random.Generator, level: float, height: float, width: float, rough: float) -> Array:
    """The upper edge of a hill at each column of the drawing, in its pixels."""
    w = SPAN * S
    x = np.arange(w) / S
    line = level * HEIGHT + np.zeros(w)
    for wave in range(1, 7):
        line += height / wave**rough * np.sin(2 * np.pi * x * wave / width + rng.uniform(0, 2 * np.pi))
    return line * S


def draw_mountains(rng: np.random.Generator) -> Layer:
    """Far mountains with snow and facets."""
    h, w = HEIGHT * S, SPAN * S
    line = np.full(w, float(h))
    x = np.arange(w) / S
    side = np.zeros(w)
    peaks = [(60, 150, 0.75), (190, 118, 0.8), (300, 165, 0.6), (420, 140, 0.85), (560, 112, 0.7), (690, 150, 0.8), (770, 130, 0.7)]
    for peak, top, slope in peaks:
        cone = (top + slope * np.abs(x - peak)) * S
        side = np.where(cone < line, np.sign(x - peak), side)
        line = np.minimum(line, cone)
    line += 4 * S * noise(rng, (1, w), 22 * S)[0] * 0.5
    y = np.arange(h)[:, None]
    deep = (y - line) / S
    wander = np.arange(w) + 0.3 * np.maximum(deep, 0) * S + 9 * S * noise(rng, (h, w), 24 * S)  # ridges run down aslant
    facets = noise(rng, (h, w), 10 * S) * 0.6 + 0.9 * side[np.clip(wander, 0, w - 1).astype(int)]
    shade = np.clip(0.5 - 0.25 * facets, 0, 1)[..., None]
    rock = np.array([70, 74, 132]) * (1 - shade) + np.array([176, 140, 176]) * shade
    snow = np.clip((30 + 9 * noise(rng, (h, w), 12 * S) - deep) / 2, 0, 1)[..., None]
    white = np.array([168, 182, 228]) * (1 - shade) + np.array([255, 240, 236]) * shade
    colour = rock * (1 - snow) + white * snow
    haze = np.clip(deep / 150, 0, 1)[..., None]
    colour = colour * (1 - haze) + np.array([246, 176, 140]) * haze
    return reduce(colour, np.clip(deep * S + 0.5, 0, 1), 0.3)


def draw_hill(rng: np.random.Generator, line: Array, colours: list[Colour], depth: float, rows: float) -> Layer:
    """A hill of fields in strips, with grain that follows the slope."""
    h, w = HEIGHT * S, SPAN * S
    deep = (np.arange(h)[:, None] - line) / S
    bend = noise(rng, (h, w), 60 * S, 3)
    field = 1.2 * np.sin((deep + 7 * bend) / rows * 2 * np.pi) + 0.4 * noise(rng, (h, w), 26 * S, 3)
    colour = blend([(-1.6 + 3.2 * i / (len(colours) - 1), rgb) for i, rgb in enumerate(colours)], field)
    colour *= (1 + 0.11 * noise(rng, (h, w), 4 * S, 0.5) + 0.05 * noise(rng, (h, w), 1.5 * S))[..., None]
    colour *= np.clip(1.12 - deep / 400, 0.6, 1.2)[..., None]
    rim = np.exp(-np.maximum(deep, 0) / 3)[..., None]
    colour = colour * (1 - 0.35 * rim) + np.array([255, 226, 130]) * 0.35 * rim
    cover = np.clip(deep * S + 0.5, 0, 1).astype(np.float32)
    return reduce(np.clip(colour, 0, 255), cover, depth)


def plant(rng: np.random.Generator, layer: Layer, line: Array, spots: list[tuple[float, float]], greens: list[Colour]) -> Layer:
    """The layer with trees on it: trunks, and crowns of many leaves lit from the right."""
    colour = cv2.resize(layer.colour, None, fx=S, fy=S, interpolation=cv2.INTER_LINEAR)
    cover = np.ascontiguousarray(cv2.resize(layer.cover, None, fx=S, fy=S, interpolation=cv2.INTER_LINEAR))
    for x, size in spots:
        foot = np.array([x * S, line[int(x * S)] + 4 * S])
        radius = size * S
        trunk = foot + radius * np.array([(-0.09, 0), (-0.05, -1), (0.05, -1), (0.11, 0)])
        for picture, value in ((colour, (86, 52, 40)), (cover, (1.0,))):
            cv2.fillPoly(picture, [np.rint(trunk * 16).astype(np.int32)], value, cv2.LINE_AA, 4)
        pointed = rng.random() < 0.4
        leaves = []
        for _ in range(int(60 + 7 * size)):
            if pointed:
                up = rng.random() ** 1.4
                leaves.append((rng.normal(0, 0.34) * (1 - up), -0.3 - 2.3 * up))
            else:
                angle, far = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
                leaves.append((0.85 * far * np.cos(angle), -1.45 + 0.8 * far * np.sin(angle)))
        for dx, dy in sorted(leaves, key=lambda leaf: leaf[0] * 0.6 - leaf[1] * 0.5 + rng.normal(0, 0.35)):
            lit = float(np.clip(0.5 + 0.42 * dx - 0.35 * (dy + 1.3) + rng.normal(0, 0.13), 0, 1))
            rgb = tuple(float(v) for v in blend([(i / (len(greens) - 1), rgb) for i, rgb in enumerate(greens)], np.array(lit)))
            centre = tuple(int(v) for v in foot + radius * np.array([dx, dy]))
            blob = (max(2, int(radius * rng.uniform(0.10, 0.2))), max(2, int(radius * rng.uniform(0.08, 0.15))))
            turn = rng.uniform(0, 180)
            cv2.ellipse(colour, centre, blob, turn, 0, 360, rgb, -1, cv2.LINE_AA)
            cv2.ellipse(cover, centre, blob, turn, 0, 360, (1.0,), -1, cv2.LINE_AA)
    return reduce(colour, cover, layer.depth)


def draw_balloon(rng: np.random.Generator, radius: float, colours: list[Colour], gores: int, zigzag: float) -> Layer:
    """A hot-air balloon with striped gores, shaded as a ball, its ropes and its basket."""
    r = radius * S
    h, w = int(3.3 * r), int(2.3 * r)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    u, v = (x - w / 2) / r, (y - 1.15 * r) / r
    belly = np.where(v < 0, np.sqrt(np.clip(1 - v**2, 0, 1)), np.sqrt(np.clip(1 - (v / 1.32) ** 2, 0, 1)) ** 1.25)
    inside = np.clip((belly - np.abs(u)) * r + 0.5, 0, 1) * (v > -1) * (v < 1.22)
    around = np.arcsin(np.clip(u / np.maximum(belly, 1e-3), -1, 1)) / np.pi + 0.5
    stripe = (around * gores + zigzag * np.abs((v * 3.2) % 1 - 0.5)).astype(int) % len(colours)
    band = (v > 0.28) & (v < 0.5)
    colour = np.array(colours, np.float32)[np.where(band, (stripe + 1 + (around * gores * 2).astype(int) % 2) % len(colours), stripe)]
    seam = np.abs((around * gores) % 1 - 0.5) > 0.46
    shade = 0.62 + 0.5 * np.clip(0.55 * u - 0.45 * v + 0.55, 0, 1) - 0.13 * seam
    colour = colour * shade[..., None] * (1 + 0.03 * noise(rng, (h, w), 6 * S))[..., None]
    glint = np.exp(-((u - 0.4) ** 2 + (v + 0.38) ** 2) / 0.05)[..., None]
    colour = colour * (1 - 0.4 * glint) + 255 * 0.4 * glint
    cover = inside.astype(np.float32)
    basket = (w / 2 + np.array([-0.16, 0.16]) * r, 1.15 * r + np.array([1.62, 1.88]) * r)
    for side in (-1, -0.4, 0.4, 1):
        ends = (int(w / 2 + side * 0.3 * r), int(1.15 * r + 1.15 * r)), (int(w / 2 + side * 0.14 * r), int(basket[1][0]))
        cv2.line(colour, *ends, (74, 46, 50), max(2, int(0.025 * r)), cv2.LINE_AA)
        cv2.line(cover, *ends, (1.0,), max(2, int(0.025 * r)), cv2.LINE_AA)
    corners = (int(basket[0][0]), int(basket[1][0])), (int(basket[0][1]), int(basket[1][1]))
    cv2.rectangle(colour, *corners, (150, 92, 48), -1)
    cv2.rectangle(colour, corners[0], (corners[1][0], corners[0][1] + int(0.07 * r)), (206, 140, 72), -1)
    cv2.rectangle(cover, *corners, (1.0,), -1)
    return reduce(np.clip(colour, 0, 255), cover, 1.0)


def put(frame: Array, layer: Layer, x: float, y: float, angle: float = 0.0) -> None:
    """Lay the layer over the frame, (x, y) being where its upper left corner comes to lie; between pixels, too."""
    h, w = layer.cover.shape[:2]
    place: Array = cv2.getRotationMatrix2D((w / 2, h / 2), angle, 1.0)
    place[:, 2] += (x, y)
    size = (frame.shape[1], frame.shape[0])
    both = np.concatenate([layer.colour * layer.cover, layer.cover], -1)  # premultiplied, so that edges stay clean
    moved = cv2.warpAffine(both, place, size, flags=cv2.INTER_LINEAR)
    frame[:] = frame * (1 - moved[..., 3:]) + moved[..., :3]


def draw() -> Array:
    """The clip, uint8 RGB (48, 360, 640, 3); the same one every time."""
    rng = np.random.default_rng(7)
    lines = [ridge(rng, 0.66, 12, 620, 0.9), ridge(rng, 0.76, 15, 520, 1.0), ridge(rng, 0.90, 13, 700, 1.1)]
    greens = [(18, 66, 58), (38, 112, 62), (110, 160, 54), (226, 206, 84)]
    autumn = [(96, 24, 48), (196, 60, 36), (244, 138, 36), (255, 210, 96)]
    far = draw_hill(rng, lines[0], [(96, 132, 120), (146, 176, 112), (224, 196, 116), (240, 170, 110)], 0.5, 20)
    far = plant(rng, far, lines[0], [(float(x), float(rng.uniform(5, 9))) for x in rng.uniform(10, SPAN - 10, 26)], greens)
    middle = draw_hill(rng, lines[1], [(34, 110, 76), (96, 160, 66), (190, 196, 70), (244, 200, 74)], 0.75, 30)
    middle = plant(rng, middle, lines[1], [(60, 22), (92, 16), (214, 18), (330, 14), (352, 20), (540, 24), (576, 17), (702, 20)], autumn)
    near = draw_hill(rng, lines[2], [(14, 70, 70), (30, 116, 74), (96, 156, 60), (170, 186, 60)], 1.2, 26)
    near = plant(rng, near, lines[2], [(26, 46), (150, 30), (455, 34), (648, 52), (735, 40)], greens)
    blue = draw_balloon(rng, 24, [(250, 196, 40), (60, 140, 200), (250, 244, 226)], 8, 0.0)
    green = draw_balloon(rng, 40, [(30, 150, 160), (252, 240, 214), (236, 96, 60)], 9, 1.0)
    red = draw_balloon(rng, 60, [(220, 40, 56), (255, 178, 36), (250, 240, 220), (112, 44, 140)], 12, 0.0)
    balloons = [  # how near, where at first, pixels a frame, phase of its sway
        (blue, 0.42, (556.0, 72.0), (-0.15, -0.25), 2.1),
        (green, 0.6, (94.0, 78.0), (0.5, -0.35), 0.4),
        (red, 0.9, (290.0, 30.0), (0.3, 0.2), 1.2),
    ]
    scenery = [draw_sky(rng), draw_clouds(rng), draw_mountains(rng), far, middle]
    frames = np.empty((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    for k in range(FRAMES):
        pan = 50 * (0.5 - 0.5 * np.cos(np.pi * k / (FRAMES - 1))) - 25  # eases in and out
        frame = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        for layer in scenery:
            drift = 0.18 * (k - FRAMES / 2) if layer is scenery[1] else 0.0
            put(frame, layer, -MARGIN - pan * layer.depth + drift, 0.0)
        for picture, depth, (x, y), (dx, dy), phase in balloons:
            bob = 2.5 * np.sin(2 * np.pi * k / 40 + phase)
            put(frame, picture, x - pan * depth + dx * k, y + dy * k + bob, 2.0 * np.sin(2 * np.pi * k / 48 + phase))
        put(frame, near, -MARGIN - pan * near.depth, 0.0)
        frames[k] = np.clip(np.rint(frame), 0, 255)
    return frames


def encode(frames: Array, path: Path) -> None:
    """H.264, yuv420p, BT.709."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=RATE, options={"crf": "18", "preset": "slow", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, RATE)
        context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709, and MPEG range
        context.color_range = 1
        for picture in frames:
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            file.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
        file.mux(stream.encode(None))


if __name__ == "__main__":
    encode(draw(), Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("sample.mp4"))

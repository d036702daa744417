"""Draw candy.jpg, the style image of our own: lollipop spirals, dots and broad flowing brush strokes in strong colours.

    python recipes/styles/draw_candy.py [OUTPUT.jpg]

A style is learnt from correlations alone, so the picture is made for them: strokes broad enough that they stay coloured, not grey,
when they are blurred; wide fields of kindred hues; dark fields cool and light ones warm.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np

Array: TypeAlias = Any  # OpenCV's stubs and NumPy's do not agree on a type

WIDTH, HEIGHT = 1280, 1024
S = 2  # everything is drawn at twice the size and reduced at the end
SEED = 20
BANDS = 3.4  # ribbons for each unit of the stream function
INK = (38, 14, 52)

PALETTE = {
    "red": (222, 28, 40),
    "crimson": (168, 12, 62),
    "vermilion": (247, 74, 30),
    "orange": (255, 134, 14),
    "amber": (255, 172, 24),
    "yellow": (255, 214, 30),
    "lemon": (255, 238, 112),
    "teal": (0, 150, 150),
    "aqua": (34, 204, 190),
    "mint": (120, 232, 190),
    "blue": (20, 92, 200),
    "deep": (20, 36, 132),
    "navy": (24, 16, 84),
    "purple": (104, 28, 150),
    "violet": (150, 62, 200),
    "magenta": (232, 32, 128),
    "pink": (255, 120, 160),
}
# From dark to light: dark is cool and light is warm, and neighbours are kin, so that a wide field of paint has one clear colour
# and a network can tell from the brightness of a photo which colour belongs where.
SHADES = ["navy", "deep", "blue", "purple", "violet", "magenta", "red", "vermilion", "orange", "amber", "yellow", "lemon"]
COOL = ["navy", "deep", "blue", "blue", "teal", "teal", "aqua", "aqua", "mint", "lemon", "lemon", "lemon"]
SWEETS = [
    ["vermilion", "yellow", "orange", "amber"],
    ["blue", "aqua", "teal", "deep"],
    ["magenta", "pink", "crimson", "purple"],
    ["orange", "lemon", "amber", "vermilion"],
    ["deep", "violet", "blue", "purple"],
    ["red", "orange", "magenta", "crimson"],
    ["teal", "mint", "aqua", "blue"],
]


@dataclass(frozen=True)
class Sweet:
    """One disc: a spiral, rings or a pinwheel."""

    x: float
    y: float
    radius: float
    arms: int
    pitch: float
    colours: list[str]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Array:
    """Gaussian-smoothed noise of unit deviation, (h, w), with features about ``scale`` pixels across."""
    h, w = shape
    small = rng.standard_normal((int(h / scale) + 5, int(w / scale) + 5)).astype(np.float32)
    grown = cv2.resize(small, (int(w * 1.15), int(h * 1.15)), interpolation=cv2.INTER_CUBIC)[:h, :w]
    return (grown - grown.mean()) / grown.std()


def place_sweets(rng: np.random.Generator) -> list[Sweet]:
    """Discs of many sizes that barely overlap, the largest first."""
    placed: list[Sweet] = []
    for radius in [190, 160, 140, 120, 100, 90, 80, 70, 60, 50, 44]:
        for _ in range(400):
            x, y = rng.uniform(-0.04, 1.04) * WIDTH, rng.uniform(-0.04, 1.04) * HEIGHT
            if all(np.hypot(x - p.x, y - p.y) > 0.98 * (radius + p.radius) + 6 for p in placed):
                arms = int(rng.choice([0, 1, 1, 2, 3]))
                pitch = max(rng.uniform(0.5, 0.7) * radius, 56.0) * float(rng.choice([-1, 1]))
                placed.append(Sweet(x, y, radius, arms, pitch, SWEETS[len(placed) % len(SWEETS)]))
                break
    return [Sweet(p.x * S, p.y * S, p.radius * S, p.arms, p.pitch * S, p.colours) for p in placed]


def lay_out(rng: np.random.Generator, sweets: list[Sweet]) -> tuple[Array, Array, Array, Array]:
    """Base colour (h, w, 3), region labels, the direction of the brush in radians and the regions' width in pixels (h, w)."""
    h, w = HEIGHT * S, WIDTH * S
    ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
    stream = 0.9 * smooth_noise(rng, (h, w), 620 * S / 2) + 0.3 * smooth_noise(rng, (h, w), 260 * S / 2) + 2.2 * (ys / h) - 0.9 * (xs / w)
    for p in sweets:  # ribbons bend round the discs
        far = np.hypot(xs - p.x, ys - p.y) / p.radius
        stream += 1.3 * np.sign(p.pitch) * np.exp(-0.55 * far**2) * min(1.0, p.radius / (120 * S))
    gy, gx = np.gradient(cv2.GaussianBlur(stream, (0, 0), 6))
    angle = np.arctan2(gx, -gy)
    band = np.floor(stream * BANDS).astype(np.int32)
    breadth = 1 / np.maximum(BANDS * np.hypot(gx, gy), 1e-4)
    label = np.zeros_like(band)  # the ribbons have no contour, only the sweets
    warm, cool = (np.array([PALETTE[name] for name in names], np.float32) for names in (SHADES, COOL))
    light = 0.5 + 0.27 * smooth_noise(rng, (h, w), 300 * S) + 0.10 * (np.mod(band * 5, 7) / 3 - 1)
    at = np.clip(light * len(SHADES), 0, len(SHADES) - 1).astype(np.int32)
    colour = np.where((smooth_noise(rng, (h, w), 340 * S) > 0.55)[..., None], cool[at], warm[at])
    wobble = smooth_noise(rng, (h, w), 70 * S)
    for number, p in enumerate(sweets):
        dx, dy = xs - p.x, ys - p.y
        r = np.hypot(dx, dy) * (1 + 0.035 * wobble)
        theta = np.arctan2(dy, dx)
        inside = r < p.radius
        phase = r / abs(p.pitch) + np.sign(p.pitch) * p.arms * theta / (2 * np.pi) + 0.06 * wobble
        colours = np.array([PALETTE[name] for name in p.colours], np.float32)
        count = {0: 4, 1: 2, 2: 4, 3: 3}[p.arms]
        cycle = max(p.arms, 1) if p.arms else 2  # a whole number of turns of the palette, so that the branch cut does not show
        ring = np.floor(np.mod(phase, cycle) * (count / cycle)).astype(np.int32) % count
        rim = inside & (r > p.radius * 0.9)
        colour[inside] = colours[ring[inside]]
        colour[rim] = colours[3]
        label[inside] = 1000 * (number + 1) + ring[inside]
        label[rim] = 1000 * (number + 1) + 900
        turn = theta + np.pi / 2 + np.sign(p.pitch) * np.arctan2(p.arms * abs(p.pitch) / (2 * np.pi), np.maximum(r, 1.0))
        angle[inside] = turn[inside]
        breadth[inside] = 60 * S
    return colour, label, angle, cv2.GaussianBlur(breadth.clip(0, 60 * S), (0, 0), 8)


def trace(angle: Array, x: float, y: float, length: float, step: float) -> Array:
    """A path (n, 2) of so many pixels that follows the direction field both ways from its start."""
    h, w = angle.shape
    halves = []
    for sign in (1.0, -1.0):
        px, py, last, points = x, y, None, []
        for _ in range(int(length / 2 / step)):
            if not (0 <= px < w and 0 <= py < h):
                break
            a = float(angle[int(py), int(px)])
            dx, dy = np.cos(a) * sign, np.sin(a) * sign
            if last is not None and dx * last[0] + dy * last[1] < 0:
                dx, dy = -dx, -dy
            last = (dx, dy)
            px, py = px + dx * step, py + dy * step
            points.append((px, py))
        halves.append(points)
    return np.array(halves[1][::-1] + [(x, y)] + halves[0], np.float32)


def vary(rng: np.random.Generator, rgb: Array, amount: float) -> Array:
    """The colour a little off in hue, saturation kept high, and in brightness."""
    hsv = cv2.cvtColor(np.clip(rgb, 0, 255).astype(np.uint8).reshape(1, 1, 3), cv2.COLOR_RGB2HSV).astype(np.float32)[0, 0]
    hsv[0] = (hsv[0] + rng.normal(0, 7 * amount)) % 180
    hsv[1] = np.clip(hsv[1] * rng.uniform(0.92, 1.1), 150, 255)
    hsv[2] = np.clip(hsv[2] * (1 + rng.normal(0, 0.17 * amount)), 50, 255)
    return cv2.cvtColor(hsv.astype(np.uint8).reshape(1, 1, 3), cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)


def lighter(rgb: Array, amount: float) -> Array:
    """The colour brighter and paler in its own hue: mixed with another, a highlight would be grey."""
    hsv = cv2.cvtColor(np.clip(rgb, 0, 255).astype(np.uint8).reshape(1, 1, 3), cv2.COLOR_RGB2HSV).astype(np.float32)[0, 0]
    hsv[1] *= 1 - 0.5 * amount
    hsv[2] += (255 - hsv[2]) * amount
    return cv2.cvtColor(hsv.astype(np.uint8).reshape(1, 1, 3), cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)


def stroke(rng: np.random.Generator, canvas: Array, height: Array, path: Array, width: float, rgb: Array) -> None:
    """One brush stroke: bristles beside each other, each of its own shade and length."""
    if len(path) < 3:
        return
    along = np.gradient(path, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], 1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    t = np.linspace(0, 1, len(path))
    taper = np.minimum(1, 6 * np.minimum(t, 1 - t) + 0.35)[:, None]
    hair = max(2.0, width / 6)
    level = rng.uniform(90, 170)
    for offset in np.arange(-width / 2, width / 2 + 0.1, hair * 0.8):
        start, end = int(rng.uniform(0, 0.12) * len(path)), len(path) - int(rng.uniform(0, 0.16) * len(path))
        line = (path + normal * offset * taper)[start:end]
        if len(line) < 2:
            continue
        shade = np.clip(rgb * (1 + rng.normal(0, 0.075)) + rng.normal(0, 5), 0, 255)
        points = np.round(line * 8).astype(np.int32).reshape(-1, 1, 2)
        thick = max(1, round(hair * rng.uniform(0.9, 1.5)))
        cv2.polylines(canvas, [points], False, tuple(float(v) for v in shade), thick, cv2.LINE_AA, 3)
        cv2.polylines(height, [points], False, (level + rng.normal(0, 38),), thick, cv2.LINE_AA, 3)


@dataclass(frozen=True)
class Brush:
    """A pass over the whole picture with strokes of about one width."""

    width: float
    cover: float
    """How many times over the strokes would cover the picture."""
    variety: float


def paint_strokes(rng: np.random.Generator, canvas: Array, height: Array, base: Array, angle: Array, brush: Brush, room: Array) -> None:
    """Strokes in the colours of ``base``, most of them where ``room``, the distance to the ink, lets them be."""
    h, w = angle.shape
    for _ in range(int(brush.cover * h * w / brush.width**2 / 4.5)):
        x, y = rng.uniform(0, w), rng.uniform(0, h)
        if room[int(y), int(x)] < 0.5 * brush.width + 3 * S and rng.uniform() < 0.85:
            continue
        rgb = vary(rng, base[int(y), int(x)], brush.variety)
        path = trace(angle, x, y, brush.width * rng.uniform(3.0, 6.5), max(3.0, brush.width / 6))
        stroke(rng, canvas, height, path, brush.width * rng.uniform(0.7, 1.25), rgb)


def draw_ink(rng: np.random.Generator, canvas: Array, height: Array, label: Array, breadth: Array) -> Array:
    """Dark contours between regions, swelling and thinning as a pen does; returns the distance to them."""
    kernel = np.ones((3, 3), np.uint8)
    lab = label.astype(np.float32)
    edge = (cv2.dilate(lab, kernel) != cv2.erode(lab, kernel)).astype(np.uint8)
    distance = cv2.distanceTransform(1 - edge, cv2.DIST_L2, 5)
    thickness = S * np.clip(2.3 + 1.3 * smooth_noise(rng, label.shape, 55 * S) + 0.5 * smooth_noise(rng, label.shape, 9 * S), 0.5, 6.0)
    thickness = np.minimum(thickness, 0.11 * breadth)  # narrow ribbons must not close up into black
    cover = np.clip(thickness - distance + 0.5, 0, 1)[..., None]
    ink = np.array(INK, np.float32) + 4 * smooth_noise(rng, label.shape, 5 * S)[..., None]
    canvas[:] = canvas * (1 - cover) + ink * cover
    height[:] = height * (1 - cover[..., 0]) + 70 * cover[..., 0]
    return distance


def draw_dots(rng: np.random.Generator, canvas: Array, height: Array, angle: Array, distance: Array, base: Array) -> None:
    """Rows of dots along ribbons and arms, and dots alone; each outlined, with a highlight."""
    h, w = angle.shape
    names = list(PALETTE)

    def dot(x: float, y: float, r: float, rgb: tuple[int, int, int]) -> None:
        centre = (round(x * 8), round(y * 8))
        cv2.circle(canvas, centre, round((r + max(2.0, r * 0.22)) * 8), INK, -1, cv2.LINE_AA, 3)
        cv2.circle(canvas, centre, round(r * 8), tuple(float(v) for v in vary(rng, np.array(rgb, np.float32), 0.5)), -1, cv2.LINE_AA, 3)
        cv2.circle(height, centre, round(r * 8), (210.0,), -1, cv2.LINE_AA, 3)
        if r > 5 * S / 2:
            spot = tuple(float(v) for v in np.minimum(np.array(rgb) * 0.45 + 150, 255))
            cv2.circle(canvas, (round((x - r * 0.3) * 8), round((y - r * 0.32) * 8)), round(r * 0.34 * 8), spot, -1, cv2.LINE_AA, 3)

    def contrast(x: float, y: float) -> tuple[int, int, int]:
        under = base[int(y), int(x)]
        far = sorted(names, key=lambda name: float(np.abs(under - np.array(PALETTE[name])).sum()))[len(names) // 2 :]
        return PALETTE[str(rng.choice(far))]

    for _ in range(26):
        x, y = rng.uniform(0, w), rng.uniform(0, h)
        room = float(distance[int(y), int(x)])
        r = min(rng.uniform(7, 13) * S, room * 0.55)
        if r < 6 * S:
            continue
        path = trace(angle, x, y, rng.uniform(90, 420) * S, 3.0)
        rgb, gone = contrast(x, y), 0.0
        for (ax, ay), (bx, by) in itertools.pairwise(path):
            gone += float(np.hypot(bx - ax, by - ay))
            if gone > 2.9 * r and 0 <= bx < w and 0 <= by < h and distance[int(by), int(bx)] > 1.15 * r:
                dot(float(bx), float(by), r * rng.uniform(0.85, 1.1), rgb)
                gone = 0.0
    for _ in range(60):
        x, y = rng.uniform(0, w), rng.uniform(0, h)
        r = rng.uniform(7, 16) * S
        if distance[int(y), int(x)] > 1.3 * r:
            dot(x, y, r, contrast(x, y))


def draw_highlights(rng: np.random.Generator, canvas: Array, height: Array, angle: Array, base: Array, count: int) -> None:
    """Bright flicks along the flow, light on what they lie on."""
    h, w = angle.shape
    for _ in range(count):
        x, y = rng.uniform(0, w), rng.uniform(0, h)
        under = base[int(y), int(x)]
        light = lighter(under, rng.uniform(0.3, 0.8))
        path = trace(angle, x, y, rng.uniform(30, 110) * S, 3.0)
        stroke(rng, canvas, height, path, rng.uniform(4, 8) * S, light)


def light_relief(canvas: Array, height: Array) -> Array:
    """Light from the upper left on the thickness of the paint."""
    fine = cv2.GaussianBlur(height, (0, 0), 1.2)
    gy, gx = np.gradient(fine)
    shade = np.clip((gx + gy) * 0.010, -0.22, 0.22)[..., None]
    return np.clip(canvas * (1 + shade) + 40 * np.maximum(shade, 0), 0, 255)


def draw() -> Array:
    """The picture, uint8 RGB (1024, 1280, 3); the same one every time."""
    rng = np.random.default_rng(SEED)
    base, label, angle, breadth = lay_out(rng, place_sweets(rng))
    canvas, height = base.copy(), np.full(label.shape, 128, np.float32)
    for brush in (Brush(40 * S, 1.8, 1.0), Brush(26 * S, 1.6, 0.9)):
        paint_strokes(rng, canvas, height, base, angle, brush, np.full_like(height, np.inf))
    distance = draw_ink(rng, canvas, height, label, breadth)
    for brush in (Brush(16 * S, 0.35, 1.2),):
        paint_strokes(rng, canvas, height, base, angle, brush, distance)
    draw_highlights(rng, canvas, height, angle, base, 500)
    draw_dots(rng, canvas, height, angle, distance, base)
    lit = light_relief(canvas, height)
    small = cv2.resize(lit, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return np.clip(np.round(small), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("candy.jpg")
    cv2.imwrite(str(target), cv2.cvtColor(draw(), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])

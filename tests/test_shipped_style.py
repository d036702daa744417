"""The style that ships, on photos that it was not trained on: nearer to its style image than a colour transfer; no grey, border or blob."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage
import sklearn
from media import real_clip

from engine import Array, load_style
from engine.images import read_picture, resized
from engine.places import shipped
from engine.plugins import load_plugins
from engine.video_reading import VideoReader

LAYERS = ("relu3_3", "relu4_3")
GRAM_RATIO = 0.5  # the Gram distance, of what a colour transfer reaches
SATURATION = 60  # at least, on average, of 255
DULL = (16, 64)  # dull: the mean colour of a block of so many pixels has less than so much saturation, of 255
DULL_SHARE = 0.1  # of a painting's area, at most
LIKENESS = 1.5  # how many times nearer its relu4_3 features must be to its own photo's than to another photo's
RING = 4  # pixels; the outer ring of a painting is compared with the ring just inside it
RING_STEP = 20  # grey levels between the means of the two rings, beyond the photo's own
RING_CONTRAST = 0.6  # the outer ring's deviation, at least, of the inner one's
FLAT = (6, 8)  # flat: within a window of so many pixels (a Gaussian's sigma) no channel deviates by so many grey levels
FLAT_SHARE = 0.06  # of a painting's area, at most
HOLE = (4, 12)  # flat as above, and every channel at an end of its range: black, white, a pure colour
HOLE_END = 8  # grey levels from the end
HOLE_SHARE = 0.005  # of a painting's area, at most, beyond the photo's own
RGB_TO_LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
PHOTOS = ("chelsea", "flower", "bigbuckbunny")
LMS_TO_LAB = np.diag(1 / np.sqrt([3, 6, 2])) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])


def photo(name: str) -> Array:
    """A photo that recipes/collect_photos.py leaves out, 512 pixels long."""
    if name == "bigbuckbunny":
        with VideoReader(real_clip("bigbuckbunny.mp4")) as reader:
            return resized(next(frame.image for i, frame in enumerate(reader.frames()) if i == 60), 512)
    folder = Path(next(iter((skimage if name == "chelsea" else sklearn).__path__)))
    return resized(read_picture(folder / {"chelsea": "data/chelsea.png", "flower": "datasets/images/flower.jpg"}[name]).rgb, 512)


def colour_transfer(image: Array, style: Array) -> Array:
    """Reinhard et al. 2001: mean and deviation of each channel of l-alpha-beta become the style's."""

    def to_lab(rgb: Array) -> Array:
        return np.log10(np.maximum(rgb.reshape(-1, 3) / 255.0 @ RGB_TO_LMS.T, 1e-3)) @ LMS_TO_LAB.T

    x, s = to_lab(image), to_lab(style)
    lab = (x - x.mean(0)) / x.std(0) * s.std(0) + s.mean(0)
    rgb = 10 ** (lab @ np.linalg.inv(LMS_TO_LAB).T) @ np.linalg.inv(RGB_TO_LMS).T
    return np.clip(np.rint(rgb * 255), 0, 255).astype(np.uint8).reshape(image.shape)


def rings(image: Array) -> tuple[float, float]:
    """From the outer ring to the one inside it: the step of the mean, and outer over inner deviation; of the channel that is worst."""
    outer, inner = (cut_ring(image[k : -k or None, k : -k or None]) for k in (0, RING))
    return float(np.abs(outer.mean(0) - inner.mean(0)).max()), float((outer.std(0) / inner.std(0)).min())


def cut_ring(image: Array) -> Array:
    """The pixels of the outer ring, float (n, 3)."""
    inside = np.zeros(image.shape[:2], bool)
    inside[RING:-RING, RING:-RING] = True
    return image[~inside].astype(float)


def local(image: Array, sigma: float) -> tuple[Array, Array]:
    """Mean (h, w, 3) and largest deviation of a channel (h, w) in the window around each pixel."""
    x = image.astype(float)
    mean = cv2.GaussianBlur(x, (0, 0), sigma)
    variance = cv2.GaussianBlur(x * x, (0, 0), sigma) - mean * mean
    return mean, np.sqrt(np.maximum(variance, 0)).max(-1)


def flat_share(image: Array) -> float:
    sigma, levels = FLAT
    return float((local(image, sigma)[1] < levels).mean())


def hole_share(image: Array) -> float:
    """The share of saturated blobs, as instance normalisation leaves them: flat, every channel at an end of its range."""
    sigma, levels = HOLE
    mean, deviation = local(image, sigma)
    at_an_end = ((mean < HOLE_END) | (mean > 255 - HOLE_END)).all(-1)
    return float(((deviation < levels) & at_an_end).mean())


def dull_share(image: Array) -> float:
    """The share of grey areas: blocks whose mean colour is grey, be it flat or strokes of hues that cancel out."""
    side, level = DULL
    blocks = cv2.resize(image, (image.shape[1] // side, image.shape[0] // side), interpolation=cv2.INTER_AREA)
    return float((cv2.cvtColor(blocks, cv2.COLOR_RGB2HSV)[..., 1] < level).mean())


@pytest.fixture(scope="module")
def features(encoder_weights: dict[str, Array]):
    host = load_plugins()
    network = host.make_model("vgg16").network().prune(LAYERS)
    weights = {name: encoder_weights[name] for name in network.weight_shapes()}
    painter = host.make_backend("torch", device="cpu", precision="float32").painter(network, weights)

    def of(image: Array) -> list[Array]:
        x = image.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1
        return [f.reshape(f.shape[1], -1).astype(np.float64) for f in painter.run({"image": x}).values()]  # (c, h w) each

    return of


@pytest.fixture(scope="module")
def style():
    return load_style(shipped() / "weights" / "reconet_candy.safetensors")


@pytest.fixture(scope="module")
def style_image(style) -> Array:
    return resized(read_picture(shipped() / "styles" / "candy.jpg").rgb, style.info.recipe["style"]["size"])


@pytest.mark.parametrize("name", PHOTOS)
def test_its_grams_are_less_than_half_as_far_as_a_colour_transfers(name: str, features, style, style_image: Array) -> None:
    image = photo(name)

    def grams(x: Array) -> list[Array]:
        return [f @ f.T / f.size for f in features(x)]

    goal = grams(style_image)

    def distances(x: Array) -> Array:
        return np.array([np.square(g - s).sum() for g, s in zip(grams(x), goal, strict=True)])

    ratio = distances(style.paint(image, device="cpu", precision="float32")) / distances(colour_transfer(image, style_image))
    print(f"{name}: Gram distance over colour transfer's: " + ", ".join(f"{k} {r:.3f}" for k, r in zip(LAYERS, ratio, strict=True)))
    assert (ratio <= GRAM_RATIO).all(), ratio


@pytest.mark.parametrize("name", PHOTOS)
def test_the_photo_is_recognised_in_the_painting(name: str, features, style) -> None:
    def content(image: Array) -> Array:
        f = features(image)[1]  # relu4_3: what is where, hardly in which colours
        f = f - f.mean(1, keepdims=True)
        return f / np.linalg.norm(f)

    size = (384, 256)
    images = {key: cv2.resize(photo(key), size, interpolation=cv2.INTER_AREA) for key in PHOTOS}
    painted = content(style.paint(images[name], device="cpu", precision="float32"))
    likeness = {key: float((painted * content(image)).sum()) for key, image in images.items()}
    print(f"{name}: " + ", ".join(f"likeness to {key} {value:.3f}" for key, value in likeness.items()))
    assert likeness[name] > LIKENESS * max(value for key, value in likeness.items() if key != name)


@pytest.mark.parametrize("name", PHOTOS)
def test_it_is_colourful_and_has_no_border(name: str, style) -> None:
    image = photo(name)
    painted = style.paint(image, device="cpu", precision="float32")
    dull = dull_share(painted)
    print(f"{name}: dull {dull:.3f}, the photo {dull_share(image):.3f}")
    assert cv2.cvtColor(painted, cv2.COLOR_RGB2HSV)[..., 1].mean() > SATURATION  # no grey
    assert dull < DULL_SHARE
    (step, contrast), (own_step, _) = rings(painted), rings(image)
    print(f"{name}: ring step {step:.1f}, the photo's {own_step:.1f}; ring contrast {contrast:.2f}")
    assert step < RING_STEP + own_step
    assert contrast > RING_CONTRAST


@pytest.mark.parametrize("name", PHOTOS)
def test_it_has_no_blobs(name: str, style) -> None:
    image = photo(name)
    painted = style.paint(image, device="cpu", precision="float32")
    flat, (hole, own_hole) = flat_share(painted), (hole_share(x) for x in (painted, image))
    print(f"{name}: flat {flat:.3f}, holes {hole:.4f}, the photo's {own_hole:.4f}")
    assert flat < FLAT_SHARE
    assert hole < HOLE_SHARE + own_hole


def test_grey_areas_are_found() -> None:
    stripes = np.zeros((96, 128, 3), np.uint8)
    stripes[:, 0::8], stripes[:, 4::8] = (250, 20, 20), (20, 240, 240)  # loud near by, grey from afar
    stripes = np.repeat(stripes[:, ::4], 4, 1)
    fields = np.hstack([np.full((96, 64, 3), (230, 120, 20), np.uint8), np.full((96, 64, 3), (30, 40, 150), np.uint8)])
    assert cv2.cvtColor(stripes, cv2.COLOR_RGB2HSV)[..., 1].mean() > SATURATION
    assert dull_share(stripes) > DULL_SHARE
    assert dull_share(fields) == 0


def test_borders_and_blobs_are_found() -> None:
    strokes = cv2.resize(np.random.default_rng(0).integers(40, 216, (43, 64, 3), np.uint8), (512, 344), interpolation=cv2.INTER_LINEAR)
    assert rings(strokes)[0] < RING_STEP
    assert rings(strokes)[1] > RING_CONTRAST
    assert flat_share(strokes) < FLAT_SHARE
    assert hole_share(strokes) == 0
    framed = strokes.copy()
    framed[RING:-RING, RING:-RING] = np.clip(strokes[RING:-RING, RING:-RING] + 2.0 * RING_STEP, 0, 255)
    assert rings(framed)[0] > RING_STEP
    smeared = cv2.copyMakeBorder(cv2.blur(strokes, (31, 31))[RING:-RING, RING:-RING], *[RING] * 4, cv2.BORDER_REFLECT)
    smeared[RING:-RING, RING:-RING] = strokes[RING:-RING, RING:-RING]
    assert rings(smeared)[1] < RING_CONTRAST
    grey, black = (cv2.circle(strokes.copy(), (300, 200), radius, colour, -1) for radius, colour in ((80, (140, 90, 60)), (40, (0, 0, 0))))
    assert flat_share(grey) > FLAT_SHARE
    assert hole_share(grey) == 0
    assert hole_share(black) > HOLE_SHARE


def test_it_says_how_it_was_made(style) -> None:
    info = style.info
    assert info.name == "candy"
    assert info.licence == "Apache-2.0"
    assert info.steps == info.recipe["steps"] >= 1000
    assert "collect_photos.py" in info.notes
    assert info.recipe["dataset"]["photos"] == "photos"
    assert (style.network.parameters(), info.recipe["model"]["width"]) == (276_675, 16)


def test_infer_uses_it_by_default(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8))
    done = subprocess.run([Path(sys.executable).with_name("engine"), "infer", "photo.jpg"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "photo.candy.jpg").is_file()


def test_the_style_image_is_what_its_script_draws(tmp_path: Path) -> None:
    """Its pixels to less than a grey level on average; another seed's are 93 away.

    Not byte for byte, though here it is: OpenCV's filters and its JPEG encoder may round otherwise in another version or on
    another processor, and one stroke's edge that falls a pixel aside is no other picture.
    """
    drawn = tmp_path / "drawn.jpg"
    subprocess.run([sys.executable, shipped() / "styles" / "draw_candy.py", drawn], check=True)
    there, again = (cv2.imread(str(path)).astype(int) for path in (shipped() / "styles" / "candy.jpg", drawn))
    assert there.shape == again.shape == (1024, 1280, 3)
    assert np.abs(there - again).mean() < 1

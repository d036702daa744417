"""The style that ships, on photos that it was not trained on: nearer to its style image than a colour transfer; no grey, no border."""

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
RGB_TO_LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
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


@pytest.fixture(scope="module")
def grams(encoder_weights: dict[str, Array]):
    host = load_plugins()
    network = host.make_model("vgg16").network().prune(LAYERS)
    weights = {name: encoder_weights[name] for name in network.weight_shapes()}
    painter = host.make_backend("torch", device="cpu", precision="float32").painter(network, weights)

    def of(image: Array) -> list[Array]:
        x = image.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1
        flat = [f.reshape(f.shape[1], -1).astype(np.float64) for f in painter.run({"image": x}).values()]
        return [f @ f.T / f.size for f in flat]

    return of


@pytest.fixture(scope="module")
def style_image() -> Array:
    return resized(read_picture(shipped() / "styles" / "candy.jpg").rgb, 512)


@pytest.fixture(scope="module")
def style():
    return load_style(shipped() / "weights" / "reconet_candy.safetensors")


@pytest.mark.parametrize("name", ["chelsea", "flower", "bigbuckbunny"])
def test_its_grams_are_less_than_half_as_far_as_a_colour_transfers(name: str, grams, style, style_image: Array) -> None:
    image = photo(name)
    goal = grams(style_image)

    def distances(x: Array) -> Array:
        return np.array([np.square(g - s).sum() for g, s in zip(grams(x), goal, strict=True)])

    ratio = distances(style.paint(image, device="cpu", precision="float32")) / distances(colour_transfer(image, style_image))
    print(f"{name}: Gram distance over colour transfer's: " + ", ".join(f"{k} {r:.3f}" for k, r in zip(LAYERS, ratio, strict=True)))
    assert (ratio <= 0.5).all(), ratio


@pytest.mark.parametrize("name", ["chelsea", "flower", "bigbuckbunny"])
def test_it_is_colourful_keeps_the_picture_and_has_no_border(name: str, style) -> None:
    image = photo(name)
    painted = style.paint(image, device="cpu", precision="float32")
    assert cv2.cvtColor(painted, cv2.COLOR_RGB2HSV)[..., 1].mean() > 60  # no grey
    smooth = [cv2.GaussianBlur(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), (0, 0), 6).astype(float).ravel() for x in (image, painted)]
    assert np.corrcoef(smooth)[0, 1] > 0.3  # light stays light where the photo is light
    ring, inside = painted.astype(float), painted[8:-8, 8:-8].astype(float)
    edge = np.concatenate([ring[:4].reshape(-1, 3), ring[-4:].reshape(-1, 3), ring[:, :4].reshape(-1, 3), ring[:, -4:].reshape(-1, 3)])
    assert np.abs(edge.mean(0) - inside.reshape(-1, 3).mean(0)).max() < 45
    assert edge.std(0).min() > 0.5 * inside.reshape(-1, 3).std(0).min()


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

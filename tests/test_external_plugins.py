"""Strangers' plugins, each a distribution of its own: installed, tested by their own tests, used together, removed; in this order."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from external_site import EXTERNAL, ExternalSite, make_external_site
from flo_clip import write_flo_clip
from installed import TRAINING

from engine import Picture, read_picture, write_picture

ROOT = Path(__file__).parents[1]
BRINGS = {
    "clip_info_command": ("styleengine-clip-info", {}),
    "flicker_metric": ("styleengine-flicker-metric", {}),
    "flo_frames": ("styleengine-flo-frames", {"dataset": ["flo_frames"]}),
    "moments_loss": ("styleengine-moments-loss", {"loss": ["channel_moments"]}),
    "unet_model": ("styleengine-unet-model", {"model": ["separable_unet"]}),
}
INSTALLED = [distribution for distribution, _ in BRINGS.values()]
RECIPE = """
format: 1
name: stranger
model: {name: separable_unet, width: 4}
encoder: {name: vgg16}
style: {image: dots.png, size: 32}
losses:
  - {name: channel_moments, layers: [relu1_2, relu2_2], weight: 10}
  - {name: feature_temporal, weight: 1}
dataset: {name: flo_frames, path: frames}
steps: 3
preview: {every: 2}
"""


@pytest.fixture(scope="module")
def external(tmp_path_factory: pytest.TempPathFactory) -> ExternalSite:
    """The five of them, installed; and the recipe that uses three of them beside what it names."""
    made = make_external_site(tmp_path_factory.mktemp("external"))
    made.install(*EXTERNAL)
    write_flo_clip(made.folder / "frames")
    write_picture(made.folder / "dots.png", Picture(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)))
    (made.folder / "stranger.yaml").write_text(RECIPE)
    return made


def test_the_engine_lists_them(external: ExternalSite) -> None:
    done = external.engine("plugins", "--json")
    assert done.returncode == 0, done.stderr
    found = {record["name"]: record for record in json.loads(done.stdout)["plugins"]}
    for name, (distribution, components) in BRINGS.items():
        record = found[name]
        assert (record["distribution"], record["version"], record["status"]) == (distribution, "0.1.0", "loaded"), record
        assert {kind: list(names) for kind, names in record["components"].items() if names} == components


@pytest.mark.parametrize("plugin", EXTERNAL)
def test_its_own_tests_pass(external: ExternalSite, plugin: str) -> None:
    done = external.tests(plugin)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(rf"^PASSED (?:\S*/)?sources/{plugin}/tests/", done.stdout, re.MULTILINE)
    if "CI" in os.environ:
        skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
        assert not skipped


@pytest.mark.usefixtures("encoder_weights")
@pytest.mark.parametrize("name", [name for name in TRAINING if name in ("torch", "mindspore")])
def test_a_style_of_three_strangers(external: ExternalSite, name: str) -> None:
    """Loss, dataset and model of three plugins train together, a fourth measures, and what they trained is painted with."""
    run = external.folder / f"run_{name}"
    done = external.engine("train", "stranger.yaml", "--backend", name, "--device", "cpu", "--run-dir", run)
    assert done.returncode == 0, done.stderr
    with (run / "flicker.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [0, 2, 3]
    assert all(0 < float(row["warp_error"]) < 1 for row in rows)
    versions = json.loads((run / "run.json").read_text())["versions"]
    assert {name: version for name, version in versions.items() if name.startswith("styleengine-")} == dict.fromkeys(INSTALLED, "0.1.0")
    painted = external.folder / f"{name}.png"
    done = external.engine("infer", "frames/frame_0001.png", "--style", run, "--backend", name, "--device", "cpu", "-o", painted)
    assert done.returncode == 0, done.stderr
    assert read_picture(painted).rgb.shape == read_picture(external.folder / "frames/frame_0001.png").rgb.shape


def test_the_recipes_of_the_docs_are_right(external: ExternalSite) -> None:
    """With these plugins; the frames lie where the dataset's page says."""
    pages = sorted((ROOT / "docs").glob("*.md"))
    recipes = [block for page in pages for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.M | re.S)]
    assert len(recipes) >= 2
    for number, text in enumerate(recipes):
        (external.folder / f"docs_{number}.yaml").write_text(text)
        done = external.engine("recipes", "check", f"docs_{number}.yaml")
        assert done.returncode == 0, done.stderr


def test_the_command_counts_frames(external: ExternalSite) -> None:
    done = external.engine("clip-info", ROOT / "recipes/sample.mp4", "--json")
    assert done.returncode == 0, done.stderr
    from engine import VideoReader

    with VideoReader(ROOT / "recipes/sample.mp4") as clip:
        frame = [found.image.shape for found in clip.frames()]
        rate = float(clip.info.rate)
    assert json.loads(done.stdout) == {"frames": len(frame), "width": frame[0][1], "height": frame[0][0], "fps": rate}
    done = external.engine("clip-info", external.folder / "dots.txt")
    assert done.returncode == 2
    assert "dots.txt" in done.stderr
    assert "Traceback" not in done.stderr


def test_removed_again_their_names_are_unknown(external: ExternalSite) -> None:
    """Whoever paints a style whose layer is gone is told which, and to install what it came from."""
    external.pip("uninstall", "--yes", *(distribution for distribution, _ in BRINGS.values()))
    done = external.engine("recipes", "check", "stranger.yaml")
    assert done.returncode == 2
    for name in ("separable_unet", "channel_moments", "flo_frames"):
        assert name in done.stderr
    assert "Traceback" not in done.stderr
    done = external.engine("clip-info", "x.mp4")
    assert done.returncode == 2
    assert "clip-info" in done.stderr
    for run in external.folder.glob("run_*"):
        done = external.engine("infer", "frames/frame_0001.png", "--style", run, "-o", "gone.png")
        assert done.returncode == 2
        assert "no layer is called 'separable_conv2d'" in done.stderr
        assert "Install the plugin that it comes from." in done.stderr
        assert not (external.folder / "gone.png").exists()

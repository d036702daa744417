"""Print the contract table: what the contract of its kind says of each component, ours and strangers', on each backend."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from external_site import EXTERNAL, ExternalSite, make_external_site
from flo_clip import write_flo_clip

from engine.places import shipped

LOSSES = """
    content style total_variation feature_temporal output_temporal frame_difference feature_difference noise_stability long_term_temporal
    moments colour_content channel_moments
"""
COMPONENTS = {
    "loss": LOSSES.split(),
    "dataset": [
        "moving_layers",
        "images path=photos width=48 height=32",
        "video path=clips width=320 height=180",
        "sceneflow roots=scenes width=96 height=54",
        "flo_frames path=frames",
    ],
    "model": ["reconet width=4 residual_blocks=1", "separable_unet width=4"],
    "layer": ["SeparableConv2d"],
    "backend": ["torch", "mindspore", "onnx", "openvino", "jax"],
}
"""By kind, with the settings that find their files in :func:`data` or make a model small."""
OUTCOMES = {"PASSED": "ok", "FAILED": "failed", "ERROR": "failed", "XFAIL": "expected", "SKIPPED": "skipped"}


def data(site: ExternalSite) -> None:
    """What the datasets read, made in the environment's folder: scenes, frames with .flo of one of them, photos, a clip."""
    site.engine("data", "sample", "scenes", "--scenes", "1", "--frames", "4", "--width", "192", "--height", "108").check_returncode()
    (photos := site.folder / "photos").mkdir()
    shutil.copy(shipped() / "styles/candy.jpg", photos)
    (clips := site.folder / "clips").mkdir()
    shutil.copy(shipped() / "sample.mp4", clips)
    write_flo_clip(site.folder / "frames")


def results(site: ExternalSite, kind: str, name: str, settings: list[str]) -> Iterator[tuple[str, str]]:
    """Each test of a contract and what became of it; of a layer those in the tests of the plugin that brings it."""
    if kind == "layer":
        done = site.tests("unet_model")
        for outcome, test in re.findall(rf"^([A-Z]+) \S+::Test{name}::(test_.*?)(?: - .*)?$", done.stdout, re.M):
            yield test, OUTCOMES[outcome]
        return
    done = site.engine("plugins", "check", kind, name, "--json", *(word for setting in settings for word in ("--set", setting)))
    if not done.stdout:
        sys.exit(done.stderr)
    yield from ((test["test"], test["status"]) for test in json.loads(done.stdout)["tests"])


def table(site: ExternalSite, kinds: list[str], backends: list[str]) -> Iterator[str]:
    """Rows of Markdown."""
    yield f"| kind | component | {' | '.join(backends)} | on none |"
    yield f"| --- | --- | {'--- | ' * len(backends)}--- |"
    for kind in kinds:
        for component in COMPONENTS[kind]:
            name, *settings = component.split()
            cells: dict[str, Counter[str]] = defaultdict(Counter)
            for test, outcome in results(site, kind, name, settings):
                found = re.search(r"\[(\w+)", test)
                where = name if kind == "backend" else found[1] if found and found[1] in backends else ""
                cells[where][outcome] += 1
            shown = [", ".join(f"{count} {outcome}" for outcome, count in sorted(cells[where].items())) for where in (*backends, "")]
            yield f"| {kind} | {name} | {' | '.join(shown)} |"


def main() -> None:
    """Print it, row by row; in an environment of its own, which has the external plugins and is removed again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=list(COMPONENTS), help=f"of {', '.join(COMPONENTS)} only these")
    kinds = parser.parse_args().kinds
    with tempfile.TemporaryDirectory() as folder:
        site = make_external_site(Path(folder))
        site.install(*EXTERNAL, "engine_jax")
        data(site)
        for row in table(site, kinds, COMPONENTS["backend"]):
            print(row, flush=True)


if __name__ == "__main__":
    main()

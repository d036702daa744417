"""Print the contract table: what the contract of its kind says of each component, on each backend. Needs the external plugins installed."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

ENGINE = Path(sys.executable).with_name("engine")
LOSSES = """
    content style total_variation feature_temporal output_temporal frame_difference feature_difference noise_stability long_term_temporal
    moments colour_content channel_moments
"""
COMPONENTS = {
    "loss": LOSSES.split(),
    "dataset": ["moving_layers"],
    "model": ["reconet width=4 residual_blocks=1", "separable_unet width=4"],
    "backend": ["torch", "mindspore", "onnx", "openvino", "jax"],
}
"""By kind, with the settings that make a model small."""


def results(kind: str, name: str, settings: list[str]) -> list[dict[str, str]]:
    """Of every test of ``engine plugins check``; empty where there is no such component."""
    words = [ENGINE, "plugins", "check", kind, name, "--json", *(word for setting in settings for word in ("--set", setting))]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode == 2:
        print(done.stderr.strip(), file=sys.stderr)
        return []
    tests: list[dict[str, str]] = json.loads(done.stdout)["tests"]
    return tests


def table(kinds: list[str], backends: list[str]) -> Iterator[str]:
    """Rows of markdown."""
    yield f"| kind | component | {' | '.join(backends)} | on none |"
    yield f"| --- | --- | {'--- | ' * len(backends)}--- |"
    for kind in kinds:
        for component in COMPONENTS[kind]:
            name, *settings = component.split()
            cells: dict[str, Counter[str]] = defaultdict(Counter)
            for test in results(kind, name, settings):
                found = re.search(r"\[(\w+)", test["test"])
                where = name if kind == "backend" else found[1] if found and found[1] in backends else ""
                cells[where][test["status"]] += 1
            shown = [", ".join(f"{count} {outcome}" for outcome, count in cells[where].items()) for where in (*backends, "")]
            yield f"| {kind} | {component} | {' | '.join(shown)} |"


def main() -> None:
    """Print it, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=list(COMPONENTS), help="of them only these")
    for row in table(parser.parse_args().kinds, COMPONENTS["backend"]):
        print(row, flush=True)


if __name__ == "__main__":
    main()

"""Print what a training step of the everyday recipe takes on each backend that trains and is installed, strangers' too, in turns."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # what the tests share

from test_speed import everyday

from engine.loader import read_sample, stack
from engine.plugins import is_installed, load_plugins


def main() -> None:
    """The table, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="160x160")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--short", action="store_true", help="a shorter network and fewer losses, to see that it works")
    given = parser.parse_args()
    width, height = (int(side) for side in given.size.split("x"))
    host = load_plugins()
    names = [name for name in host.names("backend") if host.backend_class(name).trains and is_installed(host.backend_class(name))]
    recipe, plan, frames = everyday((width, height), given.width, short=given.short)
    clips = stack([read_sample(recipe.dataset, 0, frames)], "the first")
    trainers = {name: host.make_backend(name, device="cpu", precision="float32").trainer(plan) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(given.rounds + 1):
        for name, trainer in trainers.items():
            begin = time.perf_counter()
            float(trainer.step(clips)["total"])
            if number:  # the first one compiles
                seconds[name].append(time.perf_counter() - begin)
    what = f"{recipe.recipe.name}, {given.size}, {given.width} wide, float32, batch 1, CPU, {given.rounds} rounds in turns"
    print(f"A training step of {what}\n\n| backend | ms, best | median | by torch's best |\n| --- | --- | --- | --- |")
    torch = min(seconds.get("torch", [float("nan")]))
    for name, taken in seconds.items():
        print(f"| {name} | {1e3 * min(taken):.0f} | {1e3 * statistics.median(taken):.0f} | {min(taken) / torch:.2f} |")


if __name__ == "__main__":
    main()

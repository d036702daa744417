"""How long the everyday work takes; without ``--benchmark-enable`` each case runs once, on small pictures, to see that it works."""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from installed import BACKENDS, HOST, TRAINING, backend
from pytest_benchmark.fixture import BenchmarkFixture

from engine import CheckedRecipe, TrainingPlan
from engine.loader import Loader, read_sample, stack
from engine.objective import union
from engine.recipe import load_recipe

ENGINE = Path(sys.executable).with_name("engine")
PAINTS = """
import re, sys
from pathlib import Path
import numpy as np
from engine.plugins import load_plugins

host = load_plugins()
network = host.make_model("reconet", {"width": 48, "residual_blocks": 4}).network()
painter = host.make_backend(sys.argv[1], device="cpu", precision="float32").painter(network, network.initial_weights(0))
frames = np.random.default_rng(0).integers(0, 256, (3, 1, int(sys.argv[3]), int(sys.argv[2]), 3), np.uint8)
assert len([painted for painted in painter.paint(iter(frames))]) == 3
print(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])  # ru_maxrss would begin with the parent's
"""
PRECISIONS = [(name, "float32") for name in BACKENDS] + [(name, "bfloat16") for name in BACKENDS if name == "torch"]
computed = pytest.mark.parametrize(("name", "precision"), PRECISIONS)
trained = pytest.mark.parametrize(("name", "precision"), [(name, precision) for name, precision in PRECISIONS if name in TRAINING])
channels_wide = pytest.mark.parametrize("channels", [16], ids="{}wide".format)
batch_of = pytest.mark.parametrize("batch", [1], ids="batch{}".format)


def sides(benchmark: BenchmarkFixture, size: str) -> tuple[int, int]:
    """Width and height of what is timed; small ones where nothing is."""
    width, height = map(int, size.split("x"))
    return (64, 48) if benchmark.disabled else (width, height)


def everyday(size: tuple[int, int], channels: int, *, short: bool = False) -> tuple[CheckedRecipe, TrainingPlan, int]:
    """The everyday recipe, what a trainer needs of it, and frames a clip; the encoder's weights are random.

    With ``short`` a shorter network and fewer losses, which compile sooner.
    """
    width, height = size
    changes = {"model.width": channels, "model.residual_blocks": 3, "dataset.width": width, "dataset.height": height}
    if short:
        changes |= {"model.residual_blocks": 1, "losses": "[{name: content, layer: relu1_2}, {name: output_temporal}]"}
    recipe = load_recipe("reconet_candy", [f"{key}={value}" for key, value in changes.items()], HOST)
    assert recipe.encoder
    needs, network = union(recipe.losses), recipe.model.network()
    encoder = recipe.encoder.network().prune(dict.fromkeys((*needs.encoder, *needs.frame_encoder)))
    plan = TrainingPlan(
        network=network,
        weights=network.initial_weights(0),
        losses=recipe.losses,
        encoder=encoder,
        encoder_weights=encoder.initial_weights(0),
        style=np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8),
        learning_rate=1e-3,
    )
    return recipe, plan, needs.frames


@batch_of
@channels_wide
@pytest.mark.parametrize("size", ["160x160"])
@trained
def test_training_step(benchmark: BenchmarkFixture, name: str, precision: str, size: str, channels: int, batch: int) -> None:
    """One update of the everyday recipe by all its losses; the encoder's weights are random, which takes the same time."""
    recipe, plan, frames = everyday(sides(benchmark, size), channels, short=benchmark.disabled)
    trainer = backend(name, precision).trainer(plan)
    clips = stack([read_sample(recipe.dataset, i, frames) for i in range(batch)], recipe.dataset.name)
    losses = ", ".join(recipe.losses)
    benchmark.extra_info.update(backend=name, precision=precision, size=size, batch=batch, channels=channels, frames=frames, losses=losses)
    benchmark.group = f"a training step, {size}, {channels} wide, batch {batch}"
    total = benchmark.pedantic(lambda: float(trainer.step(clips)["total"]), rounds=10, warmup_rounds=2)
    assert np.isfinite(total)


@pytest.mark.parametrize("source", ["one batch", "live loader"])
def test_training_step_with_its_clips(benchmark: BenchmarkFixture, source: str) -> None:
    """What the loader costs: it makes the next clips while a step is computed, on the same cores."""
    recipe, plan, frames = everyday(sides(benchmark, "160x160"), 16, short=benchmark.disabled)
    trainer = backend("torch", "auto").trainer(plan)
    batches = Loader(recipe.dataset, range(1000), 1, frames).batches()
    if source == "one batch":
        first = next(batches)
        batches.close()
        batches = (first for _ in count())
    benchmark.group = "a training step, 160x160, 16 wide, batch 1, torch, precision auto"
    total = benchmark.pedantic(lambda: float(trainer.step(next(batches))["total"]), rounds=60, warmup_rounds=20)
    batches.close()
    assert np.isfinite(total)


@batch_of
@pytest.mark.parametrize(("channels", "blocks"), [(16, 3), (48, 4)], ids=["16wide", "48wide"])
@pytest.mark.parametrize("size", ["640x360"])
@computed
def test_painted_frame(benchmark: BenchmarkFixture, name: str, precision: str, size: str, channels: int, blocks: int, batch: int) -> None:
    width, height = sides(benchmark, size)
    network = HOST.make_model("reconet", {"width": channels, "residual_blocks": blocks}).network()
    painter = backend(name, precision).painter(network, network.initial_weights(0), batch=batch)
    frames = np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), np.uint8)
    benchmark.extra_info.update(backend=name, precision=precision, size=size, batch=batch, channels=channels)
    benchmark.group = f"a painted frame, {size}, {channels} wide, batch {batch}"
    painted = benchmark.pedantic(lambda: next(painter.paint(iter([frames]))), rounds=10, warmup_rounds=2)
    assert painted.shape == frames.shape
    assert painted.std() > 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process its peak memory so")
@pytest.mark.parametrize("name", BACKENDS)
def test_peak_memory_of_painting(benchmark: BenchmarkFixture, report: list[str], name: str) -> None:
    """A process of its own that paints three frames; the time is that of all of it, start and compilation included."""
    width, height = (320, 180) if benchmark.disabled else (640, 360)
    command = [sys.executable, "-c", PAINTS, name, str(width), str(height)]
    done = benchmark.pedantic(subprocess.run, (command,), {"capture_output": True, "text": True}, rounds=1)
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout) / 1024
    report.append(f"peak memory, three frames of {width}x{height}, 48 wide, float32, batch 1: {name} {peak:.0f} MiB")
    assert peak * 2**20 < (2e9 if benchmark.disabled else 3e9)


@pytest.mark.parametrize("size", ["160x160", "256x256"])
def test_moving_layers_clip(benchmark: BenchmarkFixture, size: str) -> None:
    """A pair of frames with flow and mask, in one process; other clips each round, with the textures of an earlier one at hand."""
    width, height = sides(benchmark, size)
    dataset = HOST.make_dataset("moving_layers", {"width": width, "height": height})
    indices = count()
    benchmark.extra_info.update(size=size, frames=2)
    sample = benchmark.pedantic(lambda: dataset[next(indices)], rounds=40, warmup_rounds=40)
    assert sample.frames.shape == (2, height, width, 3)
    assert sample.flow is not None


def test_help(benchmark: BenchmarkFixture) -> None:
    """The command in a process of its own, from start to exit."""
    done = benchmark.pedantic(subprocess.run, ([ENGINE, "--help"],), {"capture_output": True, "text": True}, rounds=10, warmup_rounds=1)
    assert done.returncode == 0, done.stderr
    assert "infer" in done.stdout

"""Hooks do what their docstrings say, for a plugin file as a stranger writes it; engine_before_timing stands in test_step_times.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import write_tiny
from typer.testing import CliRunner

from engine import RunError, train
from engine.cli import make_app
from engine.plugins import PluginHost, load_plugins

COMPONENTS = """
from engine import Backend, Dataset, Loss, Model, Needs, Network, ReLU, Sample, chain, hookimpl
import numpy as np

class Mine(Loss):
    name = "mine"
    def needs(self): return Needs()
    def __call__(self, ops, clip, prepared): return ops.mean(ops.square(clip.output(0)))

class Grey(Dataset):
    name = "grey"
    def __len__(self): return 2
    def __getitem__(self, index): return Sample(np.full((1, 8, 8, 3), [10, 20][index], np.uint8))

class Flat(Model):
    name = "flat"
    def network(self): return Network({"image": 3}, chain("image", {"relu": ReLU()}), ("relu",))

class Nowhere(Backend):
    name = "nowhere"
    package = "no_such_package"
    install = "pip install it"
    trains = False
    def ops(self): ...
    def describe(self): ...
    def painter(self, network, weights, *, batch=1): ...

@hookimpl
def engine_register_losses(): return [Mine]
@hookimpl
def engine_register_datasets(): return [Grey]
@hookimpl
def engine_register_models(): return [Flat]
@hookimpl
def engine_register_backends(): return [Nowhere]
@hookimpl
def engine_register_commands(app):
    @app.command("say-hello")
    def hello() -> None:
        "Say it."
        print("hello from a plugin")
"""
LIFECYCLE = """
import json
from engine import hookimpl

def note(run, *words):
    with open(run.folder / "seen.jsonl", "a") as file:
        file.write(json.dumps(words) + "\\n")

@hookimpl
def engine_before_training(run): note(run, "before_training", run.folder.is_dir(), (run.folder / "style.safetensors").exists())
@hookimpl
def engine_after_step(run, step, losses):
    note(run, "after_step", step, float(losses["total"]) > 0)
    if FAILS: raise ValueError("no more ink")
@hookimpl
def engine_after_training(run): note(run, "after_training", (run.folder / "style.safetensors").exists())
@hookimpl
def engine_on_error(run, error): note(run, "on_error", type(error).__name__, (run.folder / "style.safetensors").exists())
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> PluginHost:
    """A plugin file with a component of every kind."""
    file = tmp_path_factory.mktemp("components") / "mine.py"
    file.write_text(COMPONENTS)
    return load_plugins([file])


def seen(folder: Path, fails: bool) -> list[list[object]]:
    """What the hooks of a plugin file wrote down during three steps."""
    recipe = write_tiny(folder, steps="3")
    (folder / "watcher.py").write_text(LIFECYCLE.replace("FAILS", str(fails)))
    if fails:
        with pytest.raises(RunError, match="no more ink"):
            train(recipe, run_dir=folder / "run", plugins=[folder / "watcher.py"])
    else:
        train(recipe, run_dir=folder / "run", plugins=[folder / "watcher.py"])
    return [json.loads(line) for line in (folder / "run/seen.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[list[object]]:
    """Of a run that came to its end."""
    return seen(tmp_path_factory.mktemp("whole"), fails=False)


def test_engine_register_losses(host: PluginHost) -> None:
    assert host.make_loss("mine").needs().frames == 1


def test_engine_register_datasets(host: PluginHost) -> None:
    assert host.make_dataset("grey")[1].frames.max() == 20


def test_engine_register_models(host: PluginHost) -> None:
    assert host.make_model("flat").network().outputs == ("relu",)


def test_engine_register_backends(host: PluginHost) -> None:
    assert host.backend_class("nowhere").package == "no_such_package"


def test_engine_register_commands(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(COMPONENTS)
    app = make_app()
    load_plugins([tmp_path / "mine.py"]).register_commands(app)
    assert CliRunner().invoke(app, ["say-hello"]).output == "hello from a plugin\n"


def test_engine_before_training(whole: list[list[object]]) -> None:
    assert whole[0] == ["before_training", True, False]


def test_engine_after_step(whole: list[list[object]]) -> None:
    assert [words for words in whole if words[0] == "after_step"] == [["after_step", step, True] for step in (1, 2, 3)]


def test_engine_after_training(whole: list[list[object]]) -> None:
    assert whole[-1] == ["after_training", True]


def test_engine_on_error(tmp_path: Path) -> None:
    assert seen(tmp_path, fails=True)[1:] == [["after_step", 1, True], ["on_error", "RunError", False]]

"""``engine weights``: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result
from weight_files import CONTENT, SUM

from engine import EngineError
from engine.cli import make_app

PLUGIN = f'''
from engine import Conv2d, Model, Network, WeightSource, chain, hookimpl

class Tiny(Model):
    """One convolution."""
    name = "tiny_published"

    def network(self):
        return Network({{"image": 3}}, chain("image", {{"conv": Conv2d(out_channels=4, kernel=1)}}), ("conv",))

    def sources(self):
        names = {{"conv.weight": "Conv_0/kernel", "conv.bias": "Conv_0/bias"}}
        return (WeightSource("http://127.0.0.1:9/tiny.ckpt", "{SUM}", names, {{4: (3, 2, 0, 1)}}),)

@hookimpl
def engine_register_models():
    return [Tiny]
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "tiny.ckpt").write_bytes(CONTENT)
    (tmp_path / "tiny_plugin.py").write_text(PLUGIN)
    return tmp_path / "tiny_plugin.py"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(make_app(), ["weights", *map(str, arguments)])


def test_fetch_prints_the_path_and_says_what_it_did_on_stderr(plugin: Path, tmp_path: Path) -> None:
    result = run("fetch", "tiny_published", "--plugin", plugin, "--file", tmp_path / "tiny.ckpt")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'cache' / 'weights' / 'tiny_published.safetensors'}\n"
    assert "kept the weights" in result.stderr
    assert Path(result.stdout.strip()).is_file()


def test_quiet_and_json(plugin: Path, tmp_path: Path) -> None:
    result = run("fetch", "tiny_published", "--plugin", plugin, "--file", tmp_path / "tiny.ckpt", "--quiet", "--json")
    assert result.stderr == ""
    record = json.loads(result.stdout)
    assert record["model"] == "tiny_published"
    assert record["origin"] == "http://127.0.0.1:9/tiny.ckpt"
    assert Path(record["path"]).stat().st_size == record["bytes"]


def test_the_list_shows_what_is_there_damaged_and_missing(plugin: Path, tmp_path: Path) -> None:
    run("fetch", "tiny_published", "--plugin", plugin, "--file", tmp_path / "tiny.ckpt")
    (tmp_path / "cache" / "weights" / "broken.safetensors").write_text("no weights")
    text = run().stdout
    assert "from http://127.0.0.1:9/tiny.ckpt" in text
    assert "cannot be used" in text
    assert "engine weights fetch vgg16" in text
    listed = json.loads(run("--json").stdout)
    assert [(c["model"], bool(c["fault"])) for c in listed["cached"]] == [("broken", True), ("tiny_published", False)]
    assert listed["not_fetched"] == ["vgg16", "vgg16_bn"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vgg61"], "did you mean 'vgg16'"),
        (["reconet"], "no weights are published"),
        (["vgg16", "--file", "absent.pth"], "no such file"),
        (["vgg16", "--file", "{folder}/tiny.ckpt"], "none that is published"),
        (["tiny_published", "--plugin", "{folder}/tiny_plugin.py"], "could not be fetched"),
    ],
)
def test_what_is_wrong_is_an_engine_error_of_exit_code_two(plugin: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = run("fetch", *(argument.format(folder=tmp_path) for argument in arguments))
    assert isinstance(result.exception, EngineError)
    assert message in str(result.exception)
    assert result.exception.exit_code == 2
    assert result.stdout == ""

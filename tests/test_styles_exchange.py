"""``engine styles import | export | pull``: what they write, print and refuse."""

from __future__ import annotations

import json
import os
import pickle
import socket
from pathlib import Path

import numpy as np
import pytest
from media import identity_style
from typer.testing import CliRunner, Result
from weight_files import publishing

from engine import EngineError
from engine.cli import make_app
from engine.foreign import find_published
from engine.plugins import load_plugins
from engine.pth import write_pth
from engine.style import find_style, load_style, read_style

PLUGIN = '''
from engine import Conv2d, Layout, Model, Network, PublishedStyle, chain, hookimpl

class Mixer(Model):
    """Mixes colours."""
    name = "mixer"

    def network(self):
        return Network({{"image": 3}}, chain("image", {{"conv": Conv2d(out_channels=3, kernel=1)}}), ("conv",))

    @classmethod
    def recognise(cls, shapes):
        return Layout(cls(), "another mixer", {{"conv.weight": "mix.w", "conv.bias": "mix.b"}}) if "mix.w" in shapes else None

    @classmethod
    def published_styles(cls):
        return tuple(PublishedStyle(name, "{address}/%s.ckpt" % name, {size}, "CC0") for name in ("good", "short", "gone"))

@hookimpl
def engine_register_models():
    return [Mixer]
'''
WEIGHTS = {"mix.w": np.arange(9, dtype=np.float32).reshape(3, 3, 1, 1), "mix.b": np.ones(3, np.float32)}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a style ``same.safetensors`` and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    identity_style(tmp_path / "same.safetensors")
    return tmp_path


@pytest.fixture
def plugin(folder: Path) -> Path:
    """A model with its own layout, and its weights in ``mixed.pth``; its styles are published where nobody listens."""
    write_pth(folder / "mixed.pth", WEIGHTS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return write_plugin(folder, f"http://127.0.0.1:{free.getsockname()[1]}")


def write_plugin(folder: Path, address: str) -> Path:
    path = folder / "mixer_plugin.py"
    path.write_text(PLUGIN.format(address=address, size=(folder / "mixed.pth").stat().st_size))
    return path


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(make_app(), ["styles", *map(str, arguments)])


def refused(*arguments: str | Path) -> str:
    done = invoke(*arguments)
    assert isinstance(done.exception, EngineError), done.output
    assert done.exception.exit_code == 2
    assert done.stdout == ""
    return str(done.exception)


def test_an_imported_style_is_found_by_name(folder: Path, plugin: Path) -> None:
    done = invoke("import", "mixed.pth", "--plugin", plugin)
    assert done.stdout == f"{folder / 'cache/styles/mixed.safetensors'}\n"
    style = load_style("mixed")
    np.testing.assert_array_equal(style.weights["conv.weight"], WEIGHTS["mix.w"])
    assert "another mixer" in style.info.notes
    assert "exists already" in refused("import", "mixed.pth", "--plugin", plugin)
    assert invoke("import", "mixed.pth", "--plugin", plugin, "--overwrite").exit_code == 0


def test_import_to_a_file_with_a_name(folder: Path, plugin: Path) -> None:
    about = json.loads(invoke("import", "mixed.pth", "--plugin", plugin, "--name", "a/b", "-o", "mine.safetensors", "--json").stdout)
    assert (about["name"], about["path"], about["parameters"]) == ("a/b", "mine.safetensors", 12)
    assert read_style("mine.safetensors")[0].name == "a/b"
    assert not (folder / "cache").exists()
    assert "exists already" in refused("import", "mixed.pth", "--plugin", plugin, "-o", "mine.safetensors")
    assert invoke("import", "mixed.pth", "--plugin", plugin, "--name", "a/b").stdout == f"{folder / 'cache/styles/a_b.safetensors'}\n"


def test_a_shipped_styles_name_is_refused_because_it_would_not_be_found() -> None:
    assert "--name" in refused("import", "same.safetensors", "--name", "reconet_candy")
    assert invoke("import", "same.safetensors", "--name", "reconet_candy", "-o", "other.safetensors").exit_code == 0


def test_a_name_that_another_style_gives_itself_is_taken_only_on_demand(folder: Path) -> None:
    """The shipped style's file is reconet_candy, its own name candy: a round trip of it must not take that name unseen."""
    shipped, target = find_style("candy"), folder / "cache/styles/candy.safetensors"
    invoke("export", "candy", "--format", "pth", "--quiet")
    said = refused("import", "candy.pth")
    assert said.startswith(f"{shipped}: the style of this file is called 'candy' too")
    assert str(target) in said
    assert "--overwrite" in said
    assert "-o" in said
    assert find_style("candy") == shipped
    assert not target.exists()
    assert invoke("import", "candy.pth", "--name", "sweet").exit_code == 0
    assert invoke("import", "candy.pth", "--overwrite").stdout == f"{target}\n"
    assert find_style("candy") == target
    assert invoke("import", "candy.pth", "--overwrite").exit_code == 0  # itself is no other style


def test_our_own_style_is_imported_as_it_is(folder: Path) -> None:
    invoke("import", "same.safetensors")
    assert read_style(folder / "cache/styles/same.safetensors") == read_style("same.safetensors")


class Runs:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch ran",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickle.dumps({"a": Runs()}), "nothing was executed"),
        (b"\x0a\xff\xff\xff\xff\x0f\x0a\x01a", "cut off"),
        (b"\x0a\x05\x0a\x81\x80\x80\x80", "cut off"),
        (b"words", "this is no file of weights"),
        (b"", "this is no file of weights"),
    ],
)
def test_what_is_no_style_is_refused_and_nothing_written(folder: Path, content: bytes, said: str) -> None:
    (folder / "bad.ckpt").write_bytes(content)
    assert said in refused("import", "bad.ckpt")
    assert not (folder / "ran").exists()
    assert not (folder / "cache").exists()
    assert "no such file" in refused("import", "absent.ckpt")


@pytest.mark.parametrize("format", ["ckpt", "pth"])
def test_export_and_import_again(folder: Path, format: str) -> None:
    done = invoke("export", "same.safetensors", "--format", format)
    assert done.stdout == f"same.{format}\n"
    assert "exists already" in refused("export", "same.safetensors", "--format", format)
    about = json.loads(invoke("export", "same.safetensors", "--format", format, "--overwrite", "--json").stdout)
    assert about == {"name": "same", "path": f"same.{format}", "format": format, "bytes": (folder / f"same.{format}").stat().st_size}
    invoke("import", f"same.{format}", "-o", "again.safetensors")
    back, first = load_style("again.safetensors"), load_style("same.safetensors")
    assert (back.info, back.network) == (first.info, first.network)
    assert all(back.weights[name].tobytes() == x.tobytes() for name, x in first.weights.items())


def test_export_of_a_shipped_style_by_name_says_how_its_names_are_read(folder: Path) -> None:
    done = invoke("export", "reconet_candy", "--format", "ckpt", "-o", "out.ckpt")
    assert done.stdout == "out.ckpt\n"
    assert "paints differently" in done.stderr
    assert invoke("export", "reconet_candy", "--format", "ckpt", "-o", "out.ckpt", "--overwrite", "--quiet").stderr == ""
    done = invoke("import", "out.ckpt", "-o", "back.safetensors")
    assert read_style("back.safetensors") == read_style(find_style("reconet_candy"))


def test_an_unknown_format_names_the_known_ones(folder: Path) -> None:
    assert "did you mean 'ckpt'? known: ckpt" in refused("export", "same.safetensors", "--format", "ckp", "-o", "x")
    assert "no style is called" in refused("export", "absent", "--format", "ckpt")


@pytest.mark.parametrize(("format", "taken"), [("ckpt", "uint8"), ("pth", "float32"), ("pth", "int8")])
def test_a_format_without_a_choice_of_input_says_which_has_one(folder: Path, format: str, taken: str) -> None:
    said = refused("export", "same.safetensors", "--format", format, "--input", taken)
    assert said == f"--input: the format {format!r} gives no choice of input; allowed: --format onnx"
    assert not (folder / f"same.{format}").exists()


def test_an_input_that_is_none_of_the_two_is_refused(folder: Path) -> None:
    if "CI" not in os.environ:
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    said = refused("export", "same.safetensors", "--format", "onnx", "--input", "int8")
    assert said == "backend onnx: export_input: should be 'uint8' or 'float32', and this is 'int8'"
    assert not (folder / "same.onnx").exists()


def test_a_backend_that_exports_is_found_and_one_whose_framework_is_absent_says_so(folder: Path) -> None:
    code = """
from pathlib import Path
from engine import Backend, hookimpl

class Writer(Backend):
    name = "{name}"
    package = "{package}"
    install = "pip install '{name}'"
    exports = "{name}"
    trains = False
    ops = property(lambda self: None)
    def describe(self): return {{}}
    def painter(self, network, weights, *, batch=1): ...
    def export(self, network, weights, path, *, metadata):
        if "conv.bias" not in weights or set(metadata) != {{"styleengine", "network"}}: raise ValueError
        path.write_text(network.nodes[-1].name)

@hookimpl
def engine_register_backends():
    return [Writer]
"""
    for name, package in (("words", ""), ("absent", "no_such_framework")):
        (folder / f"{name}_plugin.py").write_text(code.format(name=name, package=package))
    done = invoke("export", "same.safetensors", "--format", "words", "--plugin", folder / "words_plugin.py")
    assert done.stdout == "same.words\n"
    assert (folder / "same.words").read_text() == read_style("same.safetensors")[1].nodes[-1].name
    said = refused("export", "same.safetensors", "--format", "words", "--overwrite", "--input", "x", "--plugin", folder / "words_plugin.py")
    assert "the format 'words' gives no choice of input" in said
    said = refused("export", "same.safetensors", "--format", "absent", "--plugin", folder / "absent_plugin.py")
    assert "needs no_such_framework" in said
    assert "pip install 'absent'" in said
    assert not (folder / "same.absent").exists()


def test_a_published_style_is_downloaded_once(folder: Path, plugin: Path) -> None:
    with publishing((folder / "mixed.pth").read_bytes()) as server:
        write_plugin(folder, server.url("")[:-1])
        done = invoke("pull", "good", "--plugin", plugin)
        assert done.stdout == f"{folder / 'cache/styles/good.safetensors'}\n"
        assert server.url("good.ckpt") in done.stderr
        info = read_style(find_style("good"))[0]
        assert (info.name, info.licence) == ("good", "CC0")
        assert server.url("good.ckpt") in info.notes
        again = invoke("pull", "good", "--plugin", plugin)
        assert "already there" in again.stderr
        assert again.stdout == done.stdout
        assert server.asked == {"good": 1}
        about = json.loads(invoke("pull", "good", "--plugin", plugin, "--quiet", "--json", "-o", "copy.safetensors").stdout)
        assert about["path"] == "copy.safetensors"
        assert invoke("pull", "good", "--plugin", plugin, "--overwrite").exit_code == 0
        assert server.asked == {"good": 3}


def test_another_style_of_that_name_is_not_taken_for_it(folder: Path, plugin: Path) -> None:
    invoke("import", "same.safetensors", "--name", "good")
    assert "exists already" in refused("pull", "good", "--plugin", plugin)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("good", "'mix.b' is missing"),
        ("short", "broke off"),
        ("gone", "404"),
        ("large", "no published style is called"),
    ],
)
def test_a_bad_download_is_refused_and_leaves_nothing(folder: Path, plugin: Path, name: str, said: str) -> None:
    write_pth(folder / "mixed.pth", {"mix.w": WEIGHTS["mix.w"], "Conv_0": WEIGHTS["mix.b"]})
    with publishing((folder / "mixed.pth").read_bytes()) as server:
        write_plugin(folder, server.url("")[:-1])
        assert said in refused("pull", name, "--plugin", plugin)
    assert not list((folder / "cache").rglob("*.*"))


def test_a_download_of_another_size_is_refused(folder: Path, plugin: Path) -> None:
    with publishing((folder / "mixed.pth").read_bytes() + b"x") as server:
        write_plugin(folder, server.url("")[:-1])
        size = (folder / "mixed.pth").stat().st_size
        assert f"the file has {size + 1} bytes, not {size}" in refused("pull", "good", "--plugin", plugin)


def test_without_a_network_it_says_what_to_do(plugin: Path) -> None:
    said = refused("pull", "good", "--plugin", plugin)
    assert "refused" in said
    assert "curl -LO http://127.0.0.1:" in said
    assert "engine styles import good.ckpt --name good" in said


def test_the_published_styles_are_known_by_name() -> None:
    assert "did you mean 'mosaic'? known: autoportrait, candy" in refused("pull", "mosaik")


def test_nobody_takes_the_name_of_a_published_style(folder: Path, plugin: Path) -> None:
    ours = find_published("candy", load_plugins()).address
    plugin.write_text(plugin.read_text().replace('("good", "short", "gone")', '("candy", "good")'))
    other = folder / "other_plugin.py"
    other.write_text(
        plugin.read_text().replace('name = "mixer"', 'name = "aaa"').replace("class Mixer", "class Other").replace("[Mixer]", "[Other]")
    )
    host = load_plugins([plugin, other])
    assert find_published("candy", host).address == ours
    with pytest.raises(EngineError, match=r"other_plugin.py.* and .*mixer_plugin.py.* each publish a style called 'good'"):
        find_published("good", host)

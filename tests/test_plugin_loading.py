"""Plugins that fail while they load: each fails alone, is listed with the reason, and leaves nothing behind."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_site import COMMAND, LOSS, Site, record, run

import engine
from engine import API_VERSION, Layer
from engine.cli import main
from engine.plugins import load_plugins

LAYER = """
from engine import Layer

class Mine(Layer):
    name = "{name}"

    def apply(self, ops, weights, *x):
        return x[0]
"""


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ("'1'", ""),
        (f"{API_VERSION!r}", ""),
        ("'1.9'", ""),
        ("'2'", "this plugin was made for version 2 of the engine's API, and this is 1.0\n"),
        ("'0.9'", "this plugin was made for version 0.9 of the engine's API"),
        ("1", "ENGINE_API is 1; allowed: the version it was made for as a text, like '1'"),
        ("'one'", "ENGINE_API is 'one'; allowed"),
    ],
)
def test_a_plugin_for_another_major_version_is_refused(site: Site, stated: str, said: str) -> None:
    name = site.install("made-for", f"ENGINE_API = {stated}\n" + LOSS.format(name="made"))
    found = record(name)
    assert found.status == ("failed" if said else "loaded")
    assert said in found.error


@pytest.mark.parametrize("code", ["from engine import NotYetThere", "import nothing_of_this_name", "1 / 0", "raise SystemExit(3)"])
def test_the_api_is_told_where_the_plugin_cannot_even_be_imported(site: Site, code: str) -> None:
    name = site.install("made-for", f'ENGINE_API = "2"\n{code}\n')
    said = record(name).error
    assert said.startswith("this plugin was made for version 2 of the engine's API, and this is 1.0\n")
    assert "It said: " in said


def test_the_api_is_read_of_the_module_where_the_plugin_is_an_object_in_it(site: Site) -> None:
    code = 'ENGINE_API = "2"\n' + LOSS.format(name="made").replace("def engine_register_losses():", "def register():")
    name = site.install("made-for", code + "\nclass Hooks:\n    @hookimpl\n    def engine_register_losses(self):\n        return [Loss1]\n")
    (entry,) = site.folder.glob("made_for*.dist-info/entry_points.txt")
    entry.write_text(entry.read_text().rstrip() + ":Hooks\n")
    assert "made for version 2" in record(name).error


@pytest.mark.parametrize("stated", ["ENGINE_API: str = '2'", "from typing import Final\nENGINE_API: Final = '2'"])
def test_the_api_may_be_stated_with_a_type(site: Site, stated: str) -> None:
    assert "this plugin was made for version 2" in record(site.install("made-for", f"{stated}\nimport nothing_of_this_name\n")).error


def test_what_pytest_raises_to_skip_ends_nothing(site: Site) -> None:
    name = site.install("skips", "import pytest\npytest.importorskip('nothing_of_this_name')\n")
    assert "could not import 'nothing_of_this_name'" in record(name).error


def test_entry_points_that_are_none_name_their_package(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever they are of, Python would read all or none."""
    site.install("torn", "")
    (entry,) = site.folder.glob("torn*.dist-info/entry_points.txt")
    entry.write_text("[console_scripts]\nno equals sign\n")
    with pytest.raises(SystemExit) as stopped:
        main(["plugins"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert f"{site.folder}: the entry points of the package torn cannot be read (" in said
    assert "pip install --force-reinstall torn" in said


def test_leftovers_of_an_uninstalled_distribution_end_nothing(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    for leftover, metadata in (("gone", None), ("halfway", "Metadata-Version: 2.1\nName: halfway\n")):
        site.install(leftover, "")
        (file,) = site.folder.glob(f"{leftover}-*/METADATA")
        file.unlink() if metadata is None else file.write_text(metadata)
    assert run("plugins") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "gone  unknown  failed" in lines
    assert "halfway  halfway  failed" in lines
    assert run("--no-plugins", "plugins") == 0


@pytest.mark.parametrize("value", ["not valid!! here", "a-b-c", ":x", ""])
def test_an_entry_point_that_names_no_module_is_said(site: Site, value: str) -> None:
    name = site.install("slip", "")
    (entry,) = site.folder.glob("slip*.dist-info/entry_points.txt")
    entry.write_text(f"[engine.plugins]\n{name} = {value}\n")
    assert record(name).error == f"the entry point is {value!r}; allowed: `module` or `module:object`"


def test_a_module_in_anothers_place_is_a_plugin_too(site: Site) -> None:
    code = (
        "import sys, types\n\n"
        "sys.modules[__name__] = types.SimpleNamespace(**{key: item for key, item in globals().items() if key[0] != '_'})\n"
    )
    assert record(site.install("swaps", LOSS.format(name="swapped") + code)).status == "loaded"
    assert record(site.install("swaps-it", code + "1 / 0")).error.startswith("ZeroDivisionError")


def test_a_file_that_python_cannot_even_parse_is_kept_with_its_error(site: Site) -> None:
    assert "Error" in record(site.install("deep", "x = " + "-" * 20_000 + "1")).error


def test_an_entry_point_that_names_a_class_is_said(site: Site) -> None:
    code = LOSS.format(name="made").replace("def engine_register_losses():", "def register():")
    name = site.install("classy", code + "\nclass Hooks:\n    @hookimpl\n    def engine_register_losses(self):\n        return [Loss1]\n")
    (entry,) = site.folder.glob("classy*.dist-info/entry_points.txt")
    entry.write_text(entry.read_text().rstrip() + ":Hooks\n")
    assert record(name).error == "the entry point names the class Hooks; allowed: a module, or an instance: hooks = Hooks()"


def test_no_plugin_takes_the_name_of_a_layer_of_the_engine(site: Site) -> None:
    source = Path(engine.__file__).parent
    code = (
        "import sys, engine.plugins; from engine.layers import Layer; ours = {cls.__qualname__ for cls in Layer.kinds.values()};"
        "print(*ours)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    written = [name for file in source.glob("*.py") for name in re.findall(r"^class (\w+)\(Layer\):", file.read_text(), re.M)]
    assert set(written) <= set(loaded)
    name = site.install("squats", LAYER.format(name="upsampled_conv2d") + LOSS.format(name="squatted"))
    assert "are both layers called 'upsampled_conv2d'" in record(name).error


def test_a_plugin_that_is_refused_leaves_no_layer(site: Site) -> None:
    shared = site.install("shared", LAYER.format(name="kept_layer"))  # brings a layer and needs no hook
    module = next(path.stem for path in site.folder.glob("shared_*.py"))
    code = LAYER.format(name="lost_layer") + f"import {module}\n1 / 0"
    assert record(site.install("aaa", code)).status == "failed"
    assert "lost_layer" not in Layer.kinds
    assert "kept_layer" in Layer.kinds  # of a package that is not the refused plugin's
    other = site.install("bbb", LAYER.format(name="lost_layer") + LOSS.format(name="bbb"))
    assert record(other).status == "loaded"
    assert Layer.kinds["lost_layer"].__module__.startswith("bbb_")
    assert record(shared).status == "loaded"


def test_two_plugins_of_one_package_one_refused(site: Site) -> None:
    package = site.folder / "pair_of_plugins"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "layers.py").write_text(LAYER.format(name="pair_layer"))
    (package / "a.py").write_text("from pair_of_plugins.layers import Mine\n1 / 0\n")
    (package / "b.py").write_text("from pair_of_plugins.layers import Mine\n" + LOSS.format(name="of_pair"))
    site.install("pair", "")
    (entry,) = site.folder.glob("pair-*.dist-info/entry_points.txt")
    entry.write_text("[engine.plugins]\npair_a = pair_of_plugins.a\npair_b = pair_of_plugins.b\n")
    host = load_plugins()
    assert [record(name, host).status for name in ("pair_a", "pair_b")] == ["failed", "loaded"]
    assert Layer.kinds["pair_layer"] is sys.modules["pair_of_plugins.b"].Mine


def test_what_a_plugin_prints_while_it_loads_is_not_on_stdout(site: Site) -> None:
    noisy = "print('at import')\n" + COMMAND.format(name="noisy") + "    print('at commands')\n" + LOSS.format(name="noisy")
    site.install("noisy", noisy.replace("    return [Loss1]", "    print('at losses')\n    return [Loss1]"))
    environment = {**os.environ, "PYTHONPATH": str(site.folder)}
    command = [Path(sys.executable).with_name("engine")]
    listed = subprocess.run([*command, "plugins", "--json"], env=environment, capture_output=True, text=True)
    assert json.loads(listed.stdout)["plugins"]
    assert listed.stderr.split("\n") == ["at import", "at losses", "at commands", ""]
    assert subprocess.run([*command, "noisy"], env=environment, capture_output=True, text=True).stdout == "a stranger's\n"


def test_what_a_plugin_says_cannot_steer_the_terminal(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.install("bell", "raise RuntimeError('\\x1b[2J\\x07gone')")
    site.install("bells", COMMAND.format(name="x") + "    raise RuntimeError('\\x1b[2Jgone')\n")
    site.install(
        "painted", LOSS.format(name="painted").replace("Nothing but", "Nothing\x1b[2J but").replace("A setting.", "A \\x1b[2Jsetting.")
    )
    for words in (("plugins",), ("plugins", "show", "loss", "painted"), ("recipes",)):
        assert run(*words) == 0
        out, err = capsys.readouterr()
        assert "[2J" in out + err
        assert not set("\x1b\x07") & set(out + err)


def test_a_plugin_that_fails_without_a_word_ends_nothing(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.install("silent", 'from engine import EngineError\nraise EngineError("")\n')
    assert record("silent").status == "failed"
    assert run("recipes") == 0
    assert "warning: the plugin silent failed to load: " in capsys.readouterr().err

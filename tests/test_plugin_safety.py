"""What a stranger's plugin may not do: load unasked, take a name of the engine's, or run on an API that it was not made for."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_site import LOSS, Site, record
from tiny import write_tiny

import engine
from engine import API_VERSION, Layer
from engine.cli import main, make_app
from engine.errors import EngineError
from engine.plugins import load_plugins

COMMAND = """
import typer
from engine import hookimpl

@hookimpl
def engine_register_commands(app: typer.Typer) -> None:
    app.command("{name}")(lambda: print("a stranger's"))
"""
COMMANDS_EXIT = """
import typer
from engine import hookimpl

@hookimpl
def engine_register_commands(app: typer.Typer) -> None:
    raise SystemExit(3)
"""
NAN = """
from engine import Clip, Field, Loss, Needs, Ops, Prepared, Tensor, hookimpl

class Lost(Loss):
    \"\"\"No number after the first steps.\"\"\"
    name = "lost"

    def needs(self) -> Needs:
        return Needs()

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        return ops.mean(clip.output(0)) * float("nan")

@hookimpl
def engine_register_losses():
    return [Lost]
"""
RAISES = """
from engine import hookimpl

@hookimpl
def engine_after_step(run, step):
    if step == 3:
        raise RuntimeError("no more ink")
"""


def run(*words: str) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


def test_only_strangers_on_the_allow_list_load(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = site.install("One-Loss", LOSS.format(name="one"), entry="one_entry")
    other = site.install("two-loss", LOSS.format(name="two"))
    outside = site.install("three", "raise RuntimeError('imported')")
    monkeypatch.setenv("ENGINE_ALLOW_PLUGINS", "one.loss, two_loss, ,thre")  # a distribution in another spelling, a plugin, a slip
    host = load_plugins()
    assert [record(name, host).status for name in (plugin, other, outside)] == ["loaded", "loaded", "not allowed"]
    assert record(outside, host).error == "ENGINE_ALLOW_PLUGINS does not name it"
    assert record("engine_losses", host).status == "loaded"
    with pytest.raises(EngineError, match=r"no loss is called 'absent'(?s:.*)ENGINE_ALLOW_PLUGINS leaves out three\."):
        host.get("loss", "absent")
    make_app()
    assert "warning: ENGINE_ALLOW_PLUGINS: no plugin or distribution is called 'thre'; did you mean 'three'?" in capsys.readouterr().err
    assert run("plugins") == 0
    assert "three  three 1.2  not allowed\n    ENGINE_ALLOW_PLUGINS does not name it\n" in capsys.readouterr().out
    monkeypatch.setenv("ENGINE_ALLOW_PLUGINS", "")
    assert {found.status for found in load_plugins().plugins if not found.first_party} == {"not allowed"}


def test_no_plugins_leaves_strangers_out_and_keeps_files(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site.install("one", "raise RuntimeError('imported')")
    site.install("two", LOSS.format(name="two"))
    (tmp_path / "mine.py").write_text(LOSS.format(name="from_file"))
    assert run("--no-plugins", "plugins", "--json", "--plugin", str(tmp_path / "mine.py")) == 0
    said = {found["name"]: (found["status"], found["error"]) for found in json.loads(capsys.readouterr().out)["plugins"]}
    assert said["one"] == said["two"] == ("not allowed", "left out by --no-plugins")
    assert (said["mine"], said["engine_losses"]) == (("loaded", ""), ("loaded", ""))
    assert run("--no-plugins", "plugins", "show", "loss", "two") == 2
    assert "--no-plugins leaves out one, two." in capsys.readouterr().err


def test_a_first_party_name_is_not_taken_over(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = load_plugins().get("loss", "content")
    name = site.install("taker", LOSS.format(name="content"))
    host = load_plugins()
    said = "there is a loss called 'content' in the engine itself, so that of taker does not load"
    assert host.get("loss", "content") is ours
    assert record("engine_losses", host).error == ""
    assert (record(name, host).error, record(name, host).components["loss"]) == (said, {})
    make_app(warn=True)
    assert f"warning: the plugin taker: {said}\n" in capsys.readouterr().err
    file = tmp_path / "mine.py"
    file.write_text(LOSS.format(name="style"))
    with pytest.raises(EngineError, match="there is a loss called 'style' in the engine itself") as caught:
        load_plugins([file])
    assert caught.value.where == str(file)


def test_a_stranger_cannot_be_called_like_a_plugin_of_the_engine(site: Site) -> None:
    site.install("sly", "raise RuntimeError('imported')", entry="engine_losses")
    found = {plugin.distribution: plugin for plugin in load_plugins().plugins if plugin.name == "engine_losses"}
    assert found["styleengine"].status == "loaded"
    assert found["sly"].error.startswith("a plugin of the engine itself is called 'engine_losses'")


@pytest.mark.parametrize("command", ["train", "data", "recipes"])
def test_a_command_of_the_engine_is_not_taken_over(site: Site, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    site.install("aaa", COMMAND.format(name=command))  # before all of ours in the order of names
    app = make_app(warn=True)
    said = f"could not add its commands: there is a command '{command}' already"
    assert f"warning: the plugin aaa {said}\n" in capsys.readouterr().err
    named = [info.name for info in (*app.registered_commands, *app.registered_groups)]
    assert named.count(command) == 1
    assert run("plugins") == 0
    assert f"aaa  aaa 1.2  loaded\n    {said}\n" in capsys.readouterr().out


def test_nor_by_a_group_without_a_name(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    code = COMMAND.format(name="train").replace("app.command(", "inner = typer.Typer()\n    app.add_typer(inner)\n    inner.command(")
    assert "add_typer" in code
    site.install("aaa", code)
    make_app(warn=True)
    assert "the plugin aaa could not add its commands: there is a command 'train' already" in capsys.readouterr().err


def test_a_plugin_that_exits_when_asked_for_commands_ends_nothing(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.install("quits", COMMANDS_EXIT)
    assert run("plugins") == 0
    assert "could not add its commands: SystemExit: 3" in capsys.readouterr().out


def test_no_plugins_holds_for_the_check_in_its_own_process(site: Site, tmp_path: Path) -> None:
    site.install("nosy", f"open({str(tmp_path / 'seen')!r}, 'w')")
    environment = {**os.environ, "PYTHONPATH": str(site.folder)}
    command = [Path(sys.executable).with_name("engine"), "--no-plugins", "plugins", "check", "loss", "total_variation"]
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
    assert not (tmp_path / "seen").exists()


def test_two_strangers_with_one_command_neither_gets_it(site: Site) -> None:
    for name in ("zoe", "adam"):
        site.install(name, COMMAND.format(name="same"))
    site.install("mia", COMMAND.format(name="lonely"))
    host = load_plugins()
    import typer

    app = typer.Typer()
    failures = host.register_commands(app)
    said = "could not add its commands: adam and zoe each have a command 'same', so none of these is added"
    assert failures == [f"the plugin adam {said}", f"the plugin zoe {said}"]
    assert "lonely" in [info.name for info in app.registered_commands]
    assert (record("adam", host).error, record("mia", host).error) == (said, "")


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


def test_what_pytest_raises_to_skip_ends_nothing(site: Site) -> None:
    name = site.install("skips", "import pytest\npytest.importorskip('nothing_of_this_name')\n")
    assert "could not import 'nothing_of_this_name'" in record(name).error


ADDS = """
from __future__ import annotations
from typing import TYPE_CHECKING

import typer
from engine import hookimpl

if TYPE_CHECKING:
    from pathlib import Path

def takes_path(path: Path) -> None:
    print(path)

def marked():
    'Read [/etc/hosts].'

@hookimpl
def engine_register_commands(app: typer.Typer) -> None:
    {adds}
"""


@pytest.mark.parametrize(
    ("adds", "said"),
    [
        ('app.command("probe")(takes_path)', "typer cannot build them: NameError: name 'Path' is not defined"),
        ('app.command("probe")(3)', "typer cannot build them: "),
        ("inner = typer.Typer(); inner.command('probe')(takes_path); app.add_typer(inner, name='inner')", "NameError: name 'Path' is not"),
        ('app.command("probe")(marked)', "MarkupError: closing tag '[/etc/hosts]' at position 5 doesn't match any open tag"),
        *(
            (
                f"app.command({name!r})(lambda: None)",
                f"a command is called {name!r}; allowed: small letters, digits, - and _, a letter first",
            )
            for name in ("train\u200b", "tr\u0430in", "two words", "--help", "Train", "train ")
        ),
        ("app.add_typer(typer.Typer(), name='In ner')", "a command is called 'In ner'; allowed"),
        ('app.command("")(lambda: None)', "a command is called '<lambda>'; allowed"),
        ("return typer.Typer()", "engine_register_commands() returned <typer.main.Typer object at"),
        ("return typer.Typer()", "Add to the app that it is given: app.command() or app.add_typer()."),
        (
            "app.callback()(marked)",
            "engine_register_commands() gives the whole command line a callback\n  Only a group of its own may have one",
        ),
    ],
)
def test_commands_that_would_spoil_the_command_line_are_left_out(
    site: Site, adds: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = site.install("spoils", ADDS.format(adds=adds))
    site.install("good", COMMAND.format(name="good-one_2"))
    assert run("plugins", "--json") == 0
    (found,) = [found for found in json.loads(capsys.readouterr().out)["plugins"] if found["name"] == name]
    assert found["status"] == "loaded"
    assert found["error"].startswith("could not add its commands: ")
    assert said in found["error"]
    assert run("--help") == 0
    out, err = capsys.readouterr()
    assert "good-one_2" in out
    assert "probe" not in out
    assert "warning: the plugin spoils could not add its commands: " in err


def test_a_plugin_file_that_is_named_twice_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(LOSS.format(name="mine"))
    monkeypatch.chdir(tmp_path)
    assert "mine" in load_plugins([Path("mine.py"), tmp_path / "mine.py"]).names("loss")


def train(site: Site, folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site.folder), **variables}
    command = [sys.executable, "-c", "from engine.cli import main; main()", "train", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_after_a_hook_that_raises_the_run_goes_on_without_the_plugin(site: Site, tmp_path: Path) -> None:
    name = site.install("sick-hook", RAISES)
    write_tiny(tmp_path, steps="6")
    failed = train(site, tmp_path, "tiny.yaml", "--run-dir", "run", "-q")
    assert failed.returncode == 1
    assert "the plugin sick-hook failed in engine_after_step at step 3: RuntimeError: no more ink (" in failed.stderr
    assert "Go on with: engine train run/recipe.yaml --run-dir run --resume" in failed.stderr
    assert "Traceback" not in failed.stderr
    resumed = train(site, tmp_path, "run/recipe.yaml", "--run-dir", "run", "--resume", "-q", ENGINE_DISABLE_PLUGINS=name)
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "run" / "style.safetensors").is_file()
    steps = [json.loads(line).get("step") for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {1, 2, 3, 4, 5, 6} <= set(steps)


def test_a_hook_cannot_empty_what_the_next_one_reads(site: Site, tmp_path: Path) -> None:
    site.install("aaa", RAISES.replace("step):", "step, losses):").replace('raise RuntimeError("no more ink")', "losses.clear()"))
    write_tiny(tmp_path, steps="3")
    failed = train(site, tmp_path, "tiny.yaml", "--run-dir", "run", "-q")
    said = "the plugin aaa failed in engine_after_step at step 3: AttributeError: 'mappingproxy' object has no attribute 'clear' ("
    assert said in failed.stderr
    assert "engine_metrics" not in failed.stderr


def test_a_loss_that_is_no_number_ends_the_run(site: Site, tmp_path: Path) -> None:
    site.install("lost-loss", NAN)
    write_tiny(tmp_path)
    done = train(site, tmp_path, "tiny.yaml", "--run-dir", "run", "-q", "--set", "losses=[{name: lost}]")
    assert done.returncode == 1
    assert "the loss lost is not a finite number at step 1\n  `engine plugins check loss lost` says what is wrong" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "style.safetensors").exists()


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


@pytest.mark.parametrize("stated", ["ENGINE_API: str = '2'", "from typing import Final\nENGINE_API: Final = '2'"])
def test_the_api_may_be_stated_with_a_type(site: Site, stated: str) -> None:
    assert "this plugin was made for version 2" in record(site.install("made-for", f"{stated}\nimport nothing_of_this_name\n")).error


LAYER = """
from engine import Layer

class Mine(Layer):
    name = "{name}"

    def apply(self, ops, weights, *x):
        return x[0]
"""


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


@pytest.mark.parametrize(
    "words",
    [
        ("--no-plugin", "plugins"),
        ("--no_plugins", "plugins"),
        ("--noplugins", "plugins"),
        ("--no-plugins=1", "plugins"),
        ("plugins", "--no-plugin"),
    ],
)
def test_what_looks_like_no_plugins_loads_none(
    site: Site, tmp_path: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    site.install("nosy", f"open({str(tmp_path / 'seen')!r}, 'w')")
    assert run(*words) == 2
    assert "--no" in capsys.readouterr().err
    assert not (tmp_path / "seen").exists()


def test_no_plugins_after_the_command_is_told_its_place(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site.install("nosy", f"open({str(tmp_path / 'seen')!r}, 'w')")
    assert run("plugins", "show", "loss", "content", "--no-plugins") == 2
    assert capsys.readouterr().err == "error: --no-plugins stands after the command\n  Write it before: engine --no-plugins plugins ...\n"
    assert not (tmp_path / "seen").exists()


def test_a_distribution_is_disabled_in_any_spelling(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = site.install("my-loss", "raise RuntimeError('imported')")
    two = site.install("stylish", "raise RuntimeError('imported')", entry="other_name")
    monkeypatch.setenv("ENGINE_DISABLE_PLUGINS", "My.Loss, STYLISH, engine-metrics")
    host = load_plugins()
    assert [record(name, host).status for name in (one, two, "engine_metrics", "engine_losses")] == [*["disabled"] * 3, "loaded"]
    assert host.misspelt == ()
    monkeypatch.setenv("ENGINE_DISABLE_PLUGINS", "styleengine")
    monkeypatch.setenv("ENGINE_DISABLED_PLUGINS", one)
    monkeypatch.setenv("ENGINE_ALLOW_PLUGINS", "")
    assert {found.status for found in load_plugins().plugins if found.first_party} == {"loaded"}
    make_app()
    err = capsys.readouterr().err
    assert "warning: ENGINE_DISABLE_PLUGINS: no plugin or distribution is called 'styleengine'; " in err
    said = "no variable of the environment is called 'ENGINE_DISABLED_PLUGINS'; did you mean 'ENGINE_DISABLE_PLUGINS'?"
    assert f"warning: {said} known: ENGINE_ALLOW_PLUGINS, ENGINE_DISABLE_PLUGINS\n" in err


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


def test_of_two_plugin_files_one_can_be_left_out(tmp_path: Path) -> None:
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(LOSS.format(name="same"))
    files = [tmp_path / "one.py", tmp_path / "two.py"]
    with pytest.raises(EngineError, match="each have a loss called 'same'") as caught:
        load_plugins(files).get("loss", "same")
    assert caught.value.remedy == f"Leave out --plugin {files[0]} or --plugin {files[1]}."

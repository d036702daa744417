"""What a stranger's plugin may not do: load unasked, take a name of the engine's, or run on an API that it was not made for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_site import LOSS, Site, record
from tiny import write_tiny

from engine import API_VERSION
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


def test_a_loss_that_is_no_number_ends_the_run(site: Site, tmp_path: Path) -> None:
    site.install("lost-loss", NAN)
    write_tiny(tmp_path)
    done = train(site, tmp_path, "tiny.yaml", "--run-dir", "run", "-q", "--set", "losses=[{name: lost}]")
    assert done.returncode == 1
    assert "the loss lost is not a finite number at step 1\n  `engine plugins check loss lost` says what is wrong" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "style.safetensors").exists()

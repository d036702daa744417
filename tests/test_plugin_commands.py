"""Commands of plugins: none takes the place of one of the engine's, and none that cannot be built spoils the command line."""

import json

import pytest
from plugin_site import COMMAND, Site, record, run

from engine.cli import make_app
from engine.plugins import load_plugins

COMMANDS_EXIT = """
import typer
from engine import hookimpl

@hookimpl
def engine_register_commands(app: typer.Typer) -> None:
    raise SystemExit(3)
"""


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

"""Who may load, and whose a name is: the allow-list, --no-plugins, names of the engine's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_site import LOSS, Site, record, run

from engine.cli import make_app
from engine.errors import EngineError
from engine.plugins import load_plugins


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


def test_no_plugins_holds_for_the_check_in_its_own_process(site: Site, tmp_path: Path) -> None:
    site.install("nosy", f"open({str(tmp_path / 'seen')!r}, 'w')")
    environment = {**os.environ, "PYTHONPATH": str(site.folder)}
    command = [Path(sys.executable).with_name("engine"), "--no-plugins", "plugins", "check", "loss", "total_variation"]
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
    assert not (tmp_path / "seen").exists()


def test_a_plugin_file_that_is_named_twice_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(LOSS.format(name="mine"))
    monkeypatch.chdir(tmp_path)
    assert "mine" in load_plugins([Path("mine.py"), tmp_path / "mine.py"]).names("loss")


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


def test_of_two_plugin_files_one_can_be_left_out(tmp_path: Path) -> None:
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(LOSS.format(name="same"))
    files = [tmp_path / "one.py", tmp_path / "two.py"]
    with pytest.raises(EngineError, match="each have a loss called 'same'") as caught:
        load_plugins(files).get("loss", "same")
    assert caught.value.remedy == f"Leave out --plugin {files[0]} or --plugin {files[1]}."

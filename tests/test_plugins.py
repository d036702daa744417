"""The plugin host, with plugins that are written and installed for each test."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from plugin_site import LOSS, Site, record

from engine.cli import make_app
from engine.errors import EngineError, LossFailed, RunError
from engine.plugins import PluginHost, load_plugins


def test_an_installed_plugin_brings_its_component(site: Site) -> None:
    name = site.install("good-one", LOSS.format(name="good"))
    host = load_plugins()
    found = record(name, host)
    assert (found.status, found.distribution, found.version, found.error) == ("loaded", "good-one", "1.2", "")
    assert host.get("loss", "good") is found.components["loss"]["good"]
    assert "good" in host.names("loss")
    assert host.make_loss("good", {"size": 5}).model_dump() == {"weight": 1.0, "label": "", "size": 5}
    assert load_plugins().get("loss", "good") is host.get("loss", "good")
    names = [plugin.name for plugin in host.plugins]
    assert names == sorted(names)


def test_a_plugin_file_is_told_from_a_distribution_that_is_called_like_one(site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LOSS.format(name="mine"))
    site.install("socket.py", LOSS.format(name="other"), entry="socket_py")
    host = load_plugins([tmp_path / "mine.py"])
    assert record("socket_py", host).distribution == "socket.py"
    assert host.files == [tmp_path / "mine.py"]


def test_first_party_plugins_arrive_by_entry_point_too() -> None:
    found = record("engine_models")
    assert found.distribution == "styleengine"
    assert {"reconet", "vgg16"} <= set(found.components["model"])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
        ("x = = 2", "SyntaxError: invalid syntax ("),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("class Mute(Exception):\n    __str__ = None\nraise Mute", "Mute ("),
        (
            LOSS.format(name="m").replace("engine_register_losses", "engine_register_loses"),
            "no hook is called 'engine_register_loses'; did you mean",
        ),
        (LOSS.format(name="m").replace("@hookimpl", ""), "engine_register_losses() is not marked with @hookimpl"),
        (LOSS.format(name="m").replace("engine_register_losses()", "engine_register_losses(host)"), "host"),
        (LOSS.format(name="m").replace("return [Loss1]", "raise ValueError('no luck')"), "ValueError: no luck"),
        (LOSS.format(name="m").replace("return [Loss1]", "pass"), "returned None; allowed: a list of loss classes"),
        ("import engine", "this plugin has no hook, so it brings nothing; allowed: engine_register_models, "),
        (LOSS.format(name="m").replace("return [Loss1]", "return 'Loss1'"), "returned 'Loss1'"),
        (LOSS.format(name="m").replace("return [Loss1]", "return [Loss1()]"), "allowed: subclasses of engine.Loss"),
        (LOSS.format(name="m").replace("return [Loss1]", "return [int]"), "allowed: subclasses of engine.Loss"),
        (LOSS.format(name="m").replace("_losses()", "_models()"), "allowed: subclasses of engine.Model"),
        (LOSS.format(name="m").replace("return [Loss1]", "return [Loss1, Loss1]"), "returned two called 'm'"),
        (LOSS.format(name="CamelCase"), "Loss1.name is 'CamelCase'; allowed: words in snake case"),
        (LOSS.format(name="m").replace('name = "m"', ""), "Loss1.name is None"),
        (
            LOSS.format(name="m").replace('name = "m"', 'name: str = "m"'),
            "Loss1.name has a type, which makes it a setting\n  Write it without a type: name = ...",
        ),
        (
            LOSS.format(name="m").replace("default=3,", 'default=3, alias="type",'),
            "these settings of Loss1 have an alias, and a recipe knows them by their own names: size\n  Leave alias",
        ),
        (LOSS.format(name="m").replace("default=3,", 'default=3, validation_alias="type",'), "these settings of Loss1 have an alias"),
        (
            LOSS.format(name="m").replace("size: int = Field(default=3, ge=1", "size: float = Field(default=float('inf')"),
            "Loss1.size is inf by",
        ),
        (
            LOSS.format(name="m").replace("size: int = Field(default=3, ge=1", "size: tuple = Field(default=(1, float('nan'))"),
            "Loss1.size is (1, nan) by default, which no recipe can hold; allowed: finite numbers",
        ),
        (
            LOSS.format(name="m")
            .replace("Loss1", "Data1")
            .replace("losses", "datasets")
            .replace("Loss", "Dataset")
            .replace("size:", "share:")
            + "Data1.__abstractmethods__ = frozenset()\n",
            "Data1 has a setting called share, which in a recipe says how much of a mix a dataset gives\n  Give it another name.",
        ),
        (LOSS.format(name="m").replace(', description="A setting."', ""), "these settings of Loss1 have no description: size"),
        (LOSS.format(name="m").replace("def needs", "def wants"), "Loss1 does not define needs"),
    ],
)
def test_a_failed_plugin_is_kept_with_its_error_and_harms_nobody(site: Site, code: str, said: str) -> None:
    name = site.install("bad-one", code)
    site.install("other-one", LOSS.format(name="other"))
    host = load_plugins()
    found = record(name, host)
    assert found.status == "failed"
    assert said in found.error
    assert not found.components
    assert "other" in host.names("loss")
    with pytest.raises(EngineError, match=r"the plugin bad-one failed to load: .*; see `engine plugins`"):
        host.get("loss", "m")


def test_an_error_names_the_line_of_the_plugin(site: Site) -> None:
    name = site.install("bad-line", "x = 1\n\n1 / 0\n")
    assert record(name).error.startswith("ZeroDivisionError: division by zero (")
    assert record(name).error.endswith(".py:3)")


def test_a_syntax_error_is_placed_in_the_plugin_file_only(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("x = 1\nx = = 2\n")
    with pytest.raises(EngineError) as caught:
        load_plugins([path])
    assert str(caught.value) == f"{path}: this plugin file failed to load: SyntaxError: invalid syntax ({path.resolve()}:2)"


def test_two_components_of_one_name_neither_loads(site: Site) -> None:
    one, two = site.install("one", LOSS.format(name="same")), site.install("two", LOSS.format(name="same"))
    site.install("three", LOSS.format(name="lonely"))
    host = load_plugins()
    assert "same" not in host.names("loss")
    assert "lonely" in host.names("loss")
    with pytest.raises(EngineError, match="one and two each have a loss called 'same', so none of these loads"):
        host.get("loss", "same")
    for name in (one, two):
        assert "one and two each have a loss called 'same'" in record(name, host).error
        assert not record(name, host).components["loss"]


def test_disabled_plugins_are_not_imported(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = site.install("one", LOSS.format(name="same")), site.install("two", "raise RuntimeError('imported')")
    site.install("three", LOSS.format(name="same"))
    monkeypatch.setenv("ENGINE_DISABLE_PLUGINS", f"{one}, {two}")
    host = load_plugins()
    assert [record(name, host).status for name in (one, two)] == ["disabled", "disabled"]
    assert record(two, host).error == ""
    assert "same" in host.names("loss")  # the duplicate is resolved by this
    with pytest.raises(EngineError, match="ENGINE_DISABLE_PLUGINS turns off one, two"):
        host.get("loss", "absent")
    assert host.misspelt == ()


def test_a_misspelt_name_among_the_disabled_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ENGINE_DISABLE_PLUGINS", "engine_tourch, ,engine_losses")
    make_app()
    assert capsys.readouterr().err.startswith(
        "warning: ENGINE_DISABLE_PLUGINS: no plugin or distribution is called 'engine_tourch'; did you mean 'engine_torch'? known: "
    )


def test_an_unknown_name_is_met_with_a_suggestion() -> None:
    with pytest.raises(EngineError, match=r"no loss is called 'contant'; did you mean 'content'\? known: (\w+, )*content, "):
        load_plugins().get("loss", "contant")
    with pytest.raises(EngineError, match=r"(?s)no loss is called 'zzz'; known: .*Is the plugin that brings it installed"):
        load_plugins().get("loss", "zzz")
    with pytest.raises(EngineError, match=r"no kind of component is called 'losses'; did you mean 'loss'\?"):
        load_plugins().get("losses", "content")


def test_wrong_settings_are_all_named(site: Site) -> None:
    site.install("good", LOSS.format(name="good"))
    with pytest.raises(EngineError) as caught:
        load_plugins().make("loss", "good", {"size": 0, "wait": 3})
    assert caught.value.where == "loss good"
    assert caught.value.problem.splitlines() == [
        "size: should be greater than or equal to 1, and this is 0",
        "wait: no setting is called 'wait'; did you mean 'weight'? known: label, size, weight",
    ]


def test_a_plugin_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(LOSS.format(name="from_file"))
    host = load_plugins([path])
    assert record("mine", host).distribution == str(path)
    assert load_plugins([path]).get("loss", "from_file") is host.get("loss", "from_file")
    again = pickle.loads(pickle.dumps(host.make_loss("from_file", {"size": 9})))
    assert again == host.make_loss("from_file", {"size": 9})


def test_a_plugin_file_that_changed_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(LOSS.format(name="before"))
    load_plugins([path])
    path.write_text(LOSS.format(name="after"))
    names = load_plugins([path]).names("loss")
    assert "after" in names
    assert "before" not in names


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("absent.py", None, "there is no such plugin file"),
        ("text.txt", "x = 1", "a plugin file ends in .py"),
        ("broken.py", "import no_such_module_at_all", "failed to load: ModuleNotFoundError: No module named 'no_such_module_at_all' ("),
        (
            "hook.py",
            "from engine import hookimpl\n\n@hookimpl\ndef engine_register_dataset():\n    return []\n",
            "failed to load: no hook is called 'engine_register_dataset'; did you mean 'engine_register_datasets'? known: engine_",
        ),
        ("empty_loss.py", LOSS.format(name=""), "Loss1.name is ''"),
    ],
)
def test_a_bad_plugin_file_is_refused_at_once(tmp_path: Path, name: str, code: str | None, said: str) -> None:
    path = tmp_path / name
    if code is not None:
        path.write_text(code)
    with pytest.raises(EngineError) as caught:
        load_plugins([path])
    assert said in str(caught.value)
    assert caught.value.where == str(path)


LIFECYCLE = """
from engine import hookimpl

@hookimpl
def engine_after_step(run, step):
    run.append("{name}")
    {then}
"""


def test_hooks_run_in_name_order_and_one_that_raises_stops_no_other(site: Site) -> None:
    for name, then in (("zoe", ""), ("adam", "raise KeyError('lost')"), ("mia", "1 / 0"), ("eve", "raise SystemExit(3)")):
        site.install(name, LIFECYCLE.format(name=name, then=then))
    host, seen = PluginHost([p for p in load_plugins().plugins if p.distribution in ("zoe", "adam", "mia", "eve")]), []
    with pytest.raises(RunError) as caught:
        host.call("engine_after_step", run=seen, step=7, losses={})
    assert seen == ["adam", "eve", "mia", "zoe"]
    lines = caught.value.problem.splitlines()
    assert lines[0].startswith("the plugin adam failed in engine_after_step at step 7: KeyError: 'lost' (")
    assert lines[1].startswith("the plugin eve failed in engine_after_step at step 7: SystemExit: 3 (")
    assert lines[2].startswith("the plugin mia failed in engine_after_step at step 7: ZeroDivisionError: division by zero (")
    assert caught.value.exit_code == 1
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_loss_that_fails_in_a_hook_is_not_the_plugins_fault(site: Site) -> None:
    evaluates = "from engine.errors import LossFailed\n    raise LossFailed('the loss odd failed')"
    site.install("watcher", LIFECYCLE.format(name="watcher", then=evaluates))
    site.install("zoe", LIFECYCLE.format(name="zoe", then="1 / 0"))
    host, seen = PluginHost([p for p in load_plugins().plugins if p.distribution in ("watcher", "zoe")]), []
    with pytest.raises(LossFailed, match=r"^the loss odd failed\n") as caught:
        host.call("engine_after_step", run=seen, step=7, losses={})
    assert seen == ["watcher", "zoe"]
    assert "the plugin zoe failed in engine_after_step at step 7: ZeroDivisionError" in caught.value.__notes__[0]


def test_ctrl_c_in_a_hook_is_no_failure_of_the_plugin(site: Site) -> None:
    site.install("stopper", LIFECYCLE.format(name="stopper", then="raise KeyboardInterrupt"))
    host = PluginHost([p for p in load_plugins().plugins if p.distribution == "stopper"])
    with pytest.raises(KeyboardInterrupt):
        host.call("engine_after_step", run=[], step=1, losses={})


COMMAND = """
import typer
from engine import hookimpl

@hookimpl
def engine_register_commands(app: typer.Typer) -> None:
    @app.command("{name}")
    def run() -> None:
        print("ran {name}")
    {then}
"""


def test_commands_of_plugins(site: Site) -> None:
    site.install("good", COMMAND.format(name="hello", then=""))
    site.install("rude", COMMAND.format(name="taken", then=""))
    site.install("sick", COMMAND.format(name="half", then="raise OSError('no')"))
    host = PluginHost([p for p in load_plugins().plugins if p.distribution in ("good", "rude", "sick")])
    app = typer.Typer()
    app.command("taken")(lambda: None)
    failures = host.register_commands(app)
    assert [command.name for command in app.registered_commands] == ["taken", "hello"]
    assert failures[0] == "the plugin rude could not add its commands: there is a command 'taken' already"
    assert failures[1].startswith("the plugin sick could not add its commands: OSError: no (")


def test_engine_plugins_lists_what_is_installed(site: Site) -> None:
    site.install("good-one", LOSS.format(name="good"))
    site.install("bad-one", "import no_such_module_at_all")
    environment = {**os.environ, "PYTHONPATH": str(site.folder)}

    def engine(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from engine.cli import main; main()", *words], env=environment, capture_output=True, text=True
        )

    listed = engine("plugins", "--json")
    assert (listed.returncode, listed.stderr) == (0, "")
    records = {found["name"]: found for found in json.loads(listed.stdout)["plugins"]}
    assert records["good_one"] == {
        "name": "good_one", "distribution": "good-one", "version": "1.2", "status": "loaded", "error": "", "components": {"loss": ["good"]},
    }  # fmt: skip
    assert records["bad_one"]["status"] == "failed"
    assert "no_such_module_at_all" in records["bad_one"]["error"]
    shown = engine("plugins", "show", "loss", "good", "--json")
    facts = json.loads(shown.stdout)
    assert (facts["distribution"], facts["about"]) == ("good-one", "Nothing but a test.")
    assert facts["schema"]["properties"]["size"] == {
        "default": 3,
        "description": "A setting.",
        "minimum": 1,
        "title": "Size",
        "type": "integer",
    }
    assert "the plugin bad-one failed to load" not in listed.stderr
    assert "warning: the plugin bad-one failed to load: " in engine("recipes").stderr

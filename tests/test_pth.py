"""torch reads what we write as .pth, bit for bit and without executing a pickle of its own."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine import Array, EngineError
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

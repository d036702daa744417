"""What is published as pickle is read bit for bit, and nothing that a pickle says is ever executed or believed."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import EngineError
from engine.published import read_arrays

torch = pytest.importorskip("torch") if "CI" not in os.environ else __import__("torch")  # in CI a skip is a failure

ARRAYS: dict[str, Any] = {
    "block/kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "block/bias": np.array([1.5, -2], np.float64),
    "turned": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
    "none": np.empty((0, 7), np.float32),
}
TREE = {
    "block": {"kernel": ARRAYS["block/kernel"], "bias": ARRAYS["block/bias"]},
    **{name: ARRAYS[name] for name in ("turned", "none")},
    "step": 12,
}


def write(folder: Path, data: bytes) -> Path:
    path = folder / "file.bin"
    path.write_bytes(data)
    return path


def tensors() -> dict[str, Any]:
    base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5)
    return {
        "whole": base,
        "view": base[1:, ::2, 1:4],
        "turned": base.permute(2, 0, 1),
        "half": torch.linspace(-1, 1, 7, dtype=torch.float16),
        "long": torch.tensor([2**40, -1]),
        "flags": torch.tensor([True, False]),
        "scalar": torch.tensor(3.25),
        "none": torch.empty(0, 5),
    }


def saved(value: Any, zipped: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def text(value: bytes) -> bytes:
    return b"U" + bytes([len(value)]) + value  # Python 2's strings


def name(module: bytes, attribute: bytes) -> bytes:
    return b"c" + module + b"\n" + attribute + b"\n"


def number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


TORCH_HEADER = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numpy_arrays_in_nested_dicts(tmp_path: Path, protocol: int) -> None:
    found = read_arrays(write(tmp_path, pickle.dumps(TREE, protocol)))
    assert set(found) == set(ARRAYS)
    for key, expected in ARRAYS.items():
        np.testing.assert_array_equal(found[key], expected)
        assert found[key].dtype == expected.dtype


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files(tmp_path: Path, zipped: bool) -> None:
    value = tensors()
    found = read_arrays(write(tmp_path, saved(value, zipped)))
    assert set(found) == set(value)
    for key, tensor in value.items():
        np.testing.assert_array_equal(found[key], tensor.numpy())
        assert found[key].dtype == tensor.numpy().dtype


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_with_its_metadata_and_parameters(tmp_path: Path, zipped: bool) -> None:
    layer = torch.nn.Conv2d(3, 4, 3)
    state = layer.state_dict()
    found = read_arrays(write(tmp_path, saved({"state_dict": state, "epoch": 3, "bare": layer.weight}, zipped)))
    np.testing.assert_array_equal(found["state_dict/weight"], state["weight"].numpy())
    np.testing.assert_array_equal(found["bare"], layer.weight.detach().numpy())
    assert set(found) == {"state_dict/weight", "state_dict/bias", "bare"}


def test_the_oldest_form_of_torchs_pickles(tmp_path: Path) -> None:
    # As torch 0.1 under Python 2 wrote: pairs in a list, byte strings, no version 2 of the call.
    storage = b"(" + text(b"storage") + name(b"torch", b"FloatStorage") + text(b"77") + text(b"cpu") + b"K\x06Nt" + b"Q"
    tensor = name(b"torch._utils", b"_rebuild_tensor") + b"(" + storage + b"K\x00" + b"K\x02K\x03\x86" + b"K\x03K\x01\x86" + b"t" + b"R"
    body = name(b"collections", b"OrderedDict") + b"(](](" + text(b"features.0.weight") + tensor + b"ee" + b"t" + b"R"
    data = np.arange(6, dtype="<f4")
    content = TORCH_HEADER + b"\x80\x02" + body + b"." + pickle.dumps(["77"], 2) + struct.pack("<q", 6) + data.tobytes()
    found = read_arrays(write(tmp_path, content))
    np.testing.assert_array_equal(found["features.0.weight"], data.reshape(2, 3))


def test_arrays_are_views_that_cannot_be_written(tmp_path: Path) -> None:
    found = read_arrays(write(tmp_path, saved(tensors(), False)))
    with pytest.raises(ValueError, match="read-only"):
        found["whole"][0, 0, 0] = 1


class Reduced:
    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "os.system": lambda marker: pickle.dumps({"a": Reduced(os.system, (f"touch {marker}",))}, 2),
    "eval": lambda marker: pickle.dumps(Reduced(eval, (f"open({str(marker)!r}, 'w')",)), 4),
    "getattr": lambda marker: pickle.dumps(Reduced(getattr, (1, "real"))),
    "nested in a list": lambda marker: pickle.dumps({"a": [[{"b": Reduced(exec, (f"open({str(marker)!r}, 'w')",))}]]}),
    "text protocol": lambda marker: b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR.",
    "INST": lambda marker: b"\x80\x02(S'touch " + str(marker).encode() + b"'\nios\nsystem\n.",
    "OBJ": lambda marker: b"\x80\x02(cos\nsystem\nU\x01ao.",
    "NEWOBJ of a known name": lambda marker: b"\x80\x02cnumpy\ndtype\nU\x02O8\x85\x81.",
    "extension": lambda marker: b"\x80\x02\x82\x01.",
    "text with escapes": lambda marker: b"\x80\x02}V\\u0041\nK\x01s.",
    "dotted name": lambda marker: b"\x80\x04\x8c\x05numpy\x8c\x14ndarray.__reduce__.x\x93.",
    "a known name called with the wrong things": lambda marker: b"\x80\x02ccollections\nOrderedDict\nK\x05\x85R.",
    "a known name as the root": lambda marker: b"\x80\x02ccollections\nOrderedDict\n.",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_nothing_is_executed(tmp_path: Path, kind: str) -> None:
    marker = tmp_path / "ran"
    with pytest.raises(EngineError):
        read_arrays(write(tmp_path, HOSTILE[kind](marker)))
    assert not marker.exists()


def test_a_name_outside_the_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"'(posix|nt)\.system'.*nothing was executed"):
        read_arrays(write(tmp_path, HOSTILE["os.system"](tmp_path / "ran")))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_that_calls_is_refused(tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "ran"
    with pytest.raises(EngineError, match="system"):
        read_arrays(write(tmp_path, saved({"w": torch.ones(2), "x": Reduced(os.system, (f"touch {marker}",))}, zipped)))
    assert not marker.exists()


def array_pickle(shape: tuple[int, ...], data: bytes, dtype: bytes = b"f4") -> bytes:
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    described = (
        b"cnumpy\ndtype\nX"
        + struct.pack("<I", len(dtype))
        + dtype
        + b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    sizes = b"(" + b"".join(number(n) for n in shape) + b"t"
    return b"\x80\x03}U\x01a" + made + b"(K\x01" + sizes + described + b"\x89B" + struct.pack("<I", len(data)) + data + b"tbs."


def test_the_handmade_array_pickle_is_right(tmp_path: Path) -> None:
    data = np.arange(4, dtype="<f4")
    np.testing.assert_array_equal(read_arrays(write(tmp_path, array_pickle((2, 2), data.tobytes())))["a"], data.reshape(2, 2))


@pytest.mark.parametrize(
    "content",
    [
        array_pickle((2**31, 2**31), b"1234"),
        array_pickle((2**62, 2**62), b""),
        array_pickle((-1, 4), b"1234"),
        array_pickle((0, 2**30, 2**30, 2**30), b""),
        array_pickle((1,) * 1000, b"1234"),
        array_pickle((2,), b"1234"),
        array_pickle((1,), b"12345678", b"O8"),
        array_pickle((1,), b"12345678", b"f4,f4"),
        b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f" + b"abc.",  # BINBYTES8 of 2**63 bytes
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",  # BYTEARRAY8
        b"\x80\x02}" + b"r\xff\xff\xff\xff" + b"j\xfe\xff\xff\xff.",  # LONG_BINPUT at 2**32 - 1, then an index that is not there
        b"\x80\x02" + b"}" * 10 + b"\x85" * 320_000 + b".",
        b"\x80\x02}(" + b")" + b"\x85" * 150_000 + b"K\x01" + b"u.",  # a deep tuple as a key: hashing it would overflow the C stack
        b"\x80\x02" + b"(" * 100_000 + b"l.",
        b"\x80\x02.",
        b"\x80\x02t.",
        b"\x80\x02}",
        b"\x80\x02K\x01.",
        b"\x80\x02]q\x00h\x00a.",
        b"\x80\x02}q\x00U\x01ah\x00s.",  # a dict that holds itself
        b"\x80\x02" + b"ccollections\nOrderedDict\nq\x00](" + b"U\x02ab" * 100_000 + b"e\x85q\x01" + b"h\x00h\x01R" * 50 + b".",
        b"",
        b"\x80",
        b"text\n",
    ],
    ids=range(24),
)
def test_sizes_that_are_claimed_are_not_believed(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, content)
    if len(content) < 100_000:  # tracing many small objects takes seconds
        tracemalloc.start()
    try:
        with pytest.raises(EngineError):
            read_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_huge_memo_index_costs_nothing(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        assert read_arrays(write(tmp_path, b"\x80\x02}r\xff\xff\xff\xffj\xff\xff\xff\xff.")) == {}
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("change", [("offset", 2**40), ("size", 2**20), ("stride", 2**20), ("size", 0x7FFFFFFF)])
def test_a_tensor_cannot_reach_beyond_its_storage(tmp_path: Path, change: tuple[str, int]) -> None:
    values = {"offset": 0, "size": 2, "stride": 1} | dict([change])
    body = b"\x80\x02}U\x01actorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpu" + number(2) + b"NtQ"
    body += number(values["offset"]) + number(values["size"]) + b"\x85" + number(values["stride"]) + b"\x85\x89Nt" + b"Rs."
    content = TORCH_HEADER + body + pickle.dumps(["0"], 2) + struct.pack("<q", 2) + b"\0" * 8
    with pytest.raises(EngineError, match=r"beyond|fit"):
        read_arrays(write(tmp_path, content))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_torch_file_is_refused(tmp_path: Path, zipped: bool) -> None:
    content = saved({"w": torch.ones(1000)}, zipped)
    for size in [len(content) - 1, len(content) // 2, 200, 30, 5]:
        with pytest.raises(EngineError):
            read_arrays(write(tmp_path, content[:size]))


def test_a_compressed_or_foreign_zip_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps(OrderedDict(), 2))
    with pytest.raises(EngineError, match="compressed"):
        read_arrays(write(tmp_path, stream.getvalue()))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("word/document.xml", "no weights")
    with pytest.raises(EngineError, match="no torch weights"):
        read_arrays(write(tmp_path, stream.getvalue()))


VALID = [pickle.dumps(TREE, 2), pickle.dumps(TREE, 4), saved(tensors(), True), saved(tensors(), False)]


def only_engine_errors(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        found = read_arrays(path)
    except EngineError:
        return
    assert sum(x.size for x in found.values()) <= 100 * len(content)
    for x in found.values():
        x.sum()  # every element can be reached


@given(
    st.sampled_from(VALID), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8), st.integers(0, 300)
)
@settings(max_examples=300)
def test_mutated_files_raise_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(content)
    for at, value in changes:
        data[at % len(data)] = value
    only_engine_errors(tmp_path_factory.getbasetemp() / "mutated", bytes(data[: len(data) - cut] if cut < 20 else data))


@given(st.sampled_from([b"", b"\x80\x02", b"\x80\x04}", b"PK\x03\x04", VALID[0][:60], VALID[3][:150]]), st.binary(max_size=300))
@settings(max_examples=300)
def test_random_bytes_raise_nothing_else(tmp_path_factory: pytest.TempPathFactory, start: bytes, content: bytes) -> None:
    only_engine_errors(tmp_path_factory.getbasetemp() / "random", start + content)

"""A MindSpore checkpoint is read and written bit for bit, and nothing that a stranger's says is believed (no MindSpore needed)."""

from __future__ import annotations

import binascii
import string
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine import Array, EngineError, ckpt
from engine.ckpt import write_ckpt
from engine.published import read_arrays

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def chunk(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(dims: tuple[int, ...] = (2,), kind: bytes = b"Float32", content: bytes = bytes(8), packed: bool = False) -> bytes:
    sizes = chunk(1, b"".join(map(varint, dims))) if packed else b"".join(b"\x08" + varint(n) for n in dims)
    return sizes + chunk(2, kind) + chunk(3, content)


def entry(name: bytes = b"a", body: bytes | None = None) -> bytes:
    return chunk(1, chunk(1, name) + chunk(2, tensor() if body is None else body))


def read(folder: Path, content: bytes) -> dict[str, Array]:
    path = folder / "file.bin"
    path.write_bytes(content)
    return read_arrays(path)


def same(found: Array, expected: Array) -> bool:
    return found.dtype == expected.dtype and found.shape == expected.shape and found.tobytes() == expected.tobytes()


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
arrays = hnp.arrays(st.sampled_from(DTYPES).map(np.dtype), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))


@given(st.dictionaries(names, arrays, min_size=1, max_size=4))
def test_what_is_written_comes_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, written: dict[str, Array]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.trip"
    write_ckpt(path, written)
    found = read_arrays(path)
    assert list(found) == list(written)
    assert all(same(found[name], x) for name, x in written.items())


def test_order_in_memory_and_order_of_bytes_do_not_matter(tmp_path: Path) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_ckpt(tmp_path / "file", {"turned": np.asfortranarray(x), "big": x.astype(">f4"), "view": x[:, ::2]})
    found = read_arrays(tmp_path / "file")
    for name, expected in {"turned": x, "big": x, "view": x[:, ::2]}.items():
        np.testing.assert_array_equal(found[name], expected)


def test_a_type_that_has_no_name_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"'a' is complex64.*float16, float32"):
        write_ckpt(tmp_path / "file", {"a": np.ones(2, np.complex64)})


def test_a_long_tensor_is_written_in_slices_and_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ckpt, "_SLICE", 10)
    x, y = np.arange(7, dtype=np.float32), np.array([1, 2], np.float16)
    write_ckpt(tmp_path / "file", {"x": x, "y": y})
    content = (tmp_path / "file").read_bytes()
    assert content.count(chunk(1, b"x")) == 3
    found = read_arrays(tmp_path / "file")
    assert same(found["x"], x)
    assert same(found["y"], y)


def test_a_file_written_by_hand(tmp_path: Path) -> None:
    data = np.array([[1.5, -2], [3, 4]], "<f4")
    bfloat16 = (data.view(np.uint32) >> 16).astype("<u2")
    remark = chunk(1, b"note") + chunk(2, tensor((0,), b"str", "hi".encode("utf-32-le")))
    content = entry(b"w", tensor((2, 2), content=data.tobytes(), packed=True)) + entry(b"s", tensor((0,), b"Int64", b"\x07" + bytes(7)))
    content += entry(b"b", tensor((2, 2), b"BFloat16", bfloat16.tobytes())) + chunk(1, remark)
    content += chunk(9, b"of a later version") + b"\x78\x05" + entry(b"none", tensor((0,), content=b""))
    for trailer in (b"", b"crc_num" + binascii.crc32(content).to_bytes(10, "big")):
        found = read(tmp_path, content + trailer)
        assert set(found) == {"w", "s", "b", "none"}
        assert same(found["w"], data)
        assert same(found["s"], np.array(7, np.int64))
        assert same(found["b"], data)
        assert found["none"].shape == (0,)
        with pytest.raises(ValueError, match="read-only"):
            found["w"][0, 0] = 1


HUGE = 2**31 - 1
HOSTILE: dict[str, tuple[bytes, str]] = {
    "longer than the file": (b"\x0a" + varint(2**34) + chunk(1, b"a"), "cut off"),
    "longer than its entry": (chunk(1, chunk(1, b"a") + b"\x12" + varint(500)), "cut off"),
    "huge dims": (entry(body=tensor((HUGE,) * 4)), "has 8 bytes"),
    "dims of more than 31 bits": (entry(body=tensor((2**40,))), "no list of sizes"),
    "negative dims": (entry(body=tensor((2**64 - 1,))), "no list of sizes"),
    "dims that are empty and huge": (entry(body=tensor((0, *(HUGE,) * 8), content=b"")), "damaged|maximum"),
    "forty dims": (entry(body=tensor((1,) * 40)), "no list of sizes"),
    "a million packed dims": (entry(body=tensor((1,) * 1_000_000, packed=True)), "no list of sizes"),
    "fewer bytes": (entry(body=tensor((3,))), r"shape \(3,\) and type Float32 has 8 bytes"),
    "more bytes": (entry(body=tensor((1,))), "has 8 bytes"),
    "half an element": (entry(body=tensor((2,), content=bytes(7))), "has 7 bytes"),
    "unknown type": (entry(body=tensor(kind=b"Complex64")), "'Complex64'"),
    "long type": (entry(body=tensor(kind=b"F" * 1000)), "1000 bytes"),
    "no type": (entry(body=chunk(3, bytes(8))), "no type"),
    "no content": (entry(body=b"\x08\x02" + chunk(2, b"Float32")), "no content"),
    "two contents": (entry(body=tensor() + chunk(3, bytes(8))), "twice"),
    "two types": (entry(body=tensor() + chunk(2, b"Int8")), "twice"),
    "two tensors": (chunk(1, chunk(1, b"a") + chunk(2, tensor()) * 2), "twice"),
    "no tensor": (chunk(1, chunk(1, b"a")), "0 tensors"),
    "a map of tensors": (chunk(1, chunk(1, b"a") + chunk(3, chunk(1, tensor()))), "0 tensors"),
    "no name": (entry() + chunk(1, chunk(2, tensor())), "''"),
    "long name": (entry(b"n" * 513), "513 bytes"),
    "name that is no text": (entry(b"\xff\xfe"), "damaged"),
    "number for a name": (entry() + chunk(1, b"\x08\x05"), "a number stands"),
    "number for an entry": (entry() + b"\x08\x05", "a number stands"),
    "number for a tensor": (chunk(1, chunk(1, b"a") + b"\x10\x05"), "a number stands"),
    "eight bytes for an entry": (entry() + b"\x09" + bytes(8), "wrong type 1"),
    "a group": (entry() + b"\x7b\x7c", "wrong type 3"),
    "a long varint": (entry() + b"\x80" * 10 + b"\x01", "too long"),
    "a varint beyond 64 bits": (entry() + b"\x50" + b"\xff" * 9 + b"\x7f", "too long"),
    "a varint that is cut off": (entry() + b"\x50\x80", "too long or cut off"),
    "one name twice": (entry(b"a") + entry(b"b") + entry(b"a"), "two different tensors are called 'a'"),
    "slices of several shapes": (entry(b"a") + entry(b"a", tensor((1,), content=bytes(4))), "two different tensors"),
    "too many slices": (entry(b"a") * 2, "has 16 bytes"),
    "a wrong check sum": (entry() + b"crc_num" + bytes(10), "check sum"),
    "text": (b"\nsome words\nthat are no checkpoint\n", "no file of weights"),
    "text like a name": (b"\n\x05\nmore", "cut off|too long"),
}


@pytest.mark.parametrize(("content", "said"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_claimed_is_not_believed(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "file.ckpt"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(EngineError, match=f"(?s){path.name}: .*({said})") as caught:
            read_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()
    assert caught.value.exit_code == 2


def test_a_file_of_nothing_but_small_fields_does_not_take_forever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ckpt, "_MAX_FIELDS", 1000)
    with pytest.raises(EngineError, match="more than 1000 fields"):
        read(tmp_path, entry() + b"\x50\x00" * 1000)


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    first = entry(b"first.weight", tensor((3, 2), content=bytes(24)))
    content = first + entry(b"second")
    assert set(read(tmp_path, content)) == {"first.weight", "second"}
    for size in range(len(content)):
        if size == len(first):  # one whole entry is a whole checkpoint
            assert set(read(tmp_path, content[:size])) == {"first.weight"}
            continue
        with pytest.raises(EngineError):
            read(tmp_path, content[:size])


def only_engine_errors(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        found = read_arrays(path)
    except EngineError:
        return
    assert sum(x.nbytes for x in found.values()) <= 2 * len(content)
    for x in found.values():
        x.copy()  # every element can be reached


VALID = entry(b"w", tensor((2, 2), content=bytes(16))) + entry(b"h", tensor((3,), b"BFloat16", bytes(6), packed=True)) + entry(b"h.2")
VALID += b"crc_num" + binascii.crc32(VALID).to_bytes(10, "big")


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=6), st.integers(0, 60), st.booleans())
@settings(max_examples=400)
def test_mutated_files_raise_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int, with_sum: bool
) -> None:
    data = bytearray(VALID if with_sum else VALID[:-17])
    for at, value in changes:
        data[at % len(data)] = value
    only_engine_errors(tmp_path_factory.getbasetemp() / "mutated.ckpt", bytes(data[: len(data) - cut] if cut < 20 else data))


fields = st.recursive(
    st.binary(max_size=12) | st.integers(0, 2**70).map(varint) | st.text(string.printable, max_size=8).map(str.encode),
    lambda inner: st.lists(st.tuples(st.integers(0, 5), inner).map(lambda pair: chunk(*pair)), max_size=4).map(b"".join),
    max_leaves=12,
)


@given(fields, fields)
@settings(max_examples=400)
def test_random_messages_raise_nothing_else(tmp_path_factory: pytest.TempPathFactory, inside: bytes, after: bytes) -> None:
    content = chunk(1, chunk(1, b"a") + chunk(2, inside)) + after
    only_engine_errors(tmp_path_factory.getbasetemp() / "random.ckpt", content)

"""PFM, .flo and PGM: what was written is read back, and a file that lies is refused before room is made for it."""

from __future__ import annotations

import os
import struct
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from engine_datasets.flow_files import read_flo, read_pfm, read_pgm, write_flo, write_pfm, write_pgm
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine import Array, EngineError

Reader = Callable[[Path], Array]
READERS: dict[str, Reader] = {".pfm": read_pfm, ".flo": read_flo, ".pgm": read_pgm}
side = st.integers(1, 12)
float32 = st.floats(width=32)  # NaN and infinity too: files hold them


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flow") / "file"


def same_bits(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


@given(data=st.data(), h=side, w=side, channels=st.sampled_from([(), (3,)]), big_endian=st.booleans())
def test_pfm_round_trip(place: Path, data: st.DataObject, h: int, w: int, channels: tuple[int, ...], big_endian: bool) -> None:
    picture = data.draw(arrays(np.float32, (h, w, *channels), elements=float32))
    write_pfm(place, picture, big_endian=big_endian)
    read = read_pfm(place)
    assert np.array_equal(read, picture, equal_nan=True)
    assert (read.dtype, read.shape) == (np.float32, picture.shape)
    assert read.flags.c_contiguous
    assert read.flags.writeable


@given(data=st.data(), h=side, w=side)
def test_flo_round_trip(place: Path, data: st.DataObject, h: int, w: int) -> None:
    flow = data.draw(arrays(np.float32, (h, w, 2), elements=float32))
    write_flo(place, flow)
    assert np.array_equal(read_flo(place), flow, equal_nan=True)


@given(data=st.data(), h=side, w=side, dtype=st.sampled_from([np.uint8, np.uint16]), plain=st.booleans())
def test_pgm_round_trip(place: Path, data: st.DataObject, h: int, w: int, dtype: type, plain: bool) -> None:
    picture = data.draw(arrays(dtype, (h, w)))
    write_pgm(place, picture, plain=plain)
    assert same_bits(read_pgm(place), picture)


def test_other_programs_read_what_is_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    flow, grey = rng.normal(size=(7, 5, 2)).astype(np.float32), rng.integers(0, 256, (7, 5), np.uint8)
    write_flo(tmp_path / "a.flo", flow)
    assert np.array_equal(cv2.readOpticalFlow(str(tmp_path / "a.flo")), flow)
    for plain in (False, True):
        write_pgm(tmp_path / "a.pgm", grey, plain=plain)
        assert np.array_equal(cv2.imread(str(tmp_path / "a.pgm"), cv2.IMREAD_UNCHANGED), grey)
    write_pfm(tmp_path / "a.pfm", flow[..., 0], big_endian=True)
    assert np.array_equal(cv2.imread(str(tmp_path / "a.pfm"), cv2.IMREAD_UNCHANGED), flow[..., 0])


def test_what_other_programs_write_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    flow, grey = rng.normal(size=(7, 5, 3)).astype(np.float32), rng.integers(0, 256, (7, 5), np.uint8)
    cv2.imwrite(str(tmp_path / "a.pfm"), flow[..., ::-1])
    assert np.array_equal(read_pfm(tmp_path / "a.pfm"), flow)
    cv2.writeOpticalFlow(str(tmp_path / "a.flo"), flow[..., :2])
    assert np.array_equal(read_flo(tmp_path / "a.flo"), flow[..., :2])
    cv2.imwrite(str(tmp_path / "a.pgm"), grey)
    assert np.array_equal(read_pgm(tmp_path / "a.pgm"), grey)


def test_pfm_rows_go_up_and_its_scale_scales_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.pfm").write_bytes(b"Pf 2  2\r\n-4e2\n" + struct.pack("<4f", 1, 2, 3, 4))
    assert read_pfm(tmp_path / "a.pfm").tolist() == [[3, 4], [1, 2]]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (b"P5\n# made by hand\n2 1#both\n#\n255\n\x07\x08", [[7, 8]]),
        (b"P5 # one line\n2\t1\r\n200 \x07\xff", [[7, 255]]),  # a value above the greatest: bytes are taken as they are
        (b"P5\n2 1\n1\n\x00\x01P5\n2 1\n1\n\x01\x01", [[0, 1]]),  # two pictures
        (b"P5\n1 2\n65535\n\x01\x02\xff\x00", [[258], [65280]]),
        (b"P2\n# plain\n3 1\n15\n0 7#seven\n15\n", [[0, 7, 15]]),
        (b"P2 1 1 300 299", [[299]]),
    ],
)
def test_pgm_headers_and_comments(tmp_path: Path, text: bytes, want: list[list[int]]) -> None:
    (tmp_path / "a.pgm").write_bytes(text)
    assert read_pgm(tmp_path / "a.pgm").tolist() == want


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.pfm", b"", "header"),
        ("cut.pfm", b"PF\n4 3", "header"),
        ("other.pfm", b"P5\n4 3\n255\n", "header"),
        ("letters.pfm", b"PF\nfour 3\n-1\n", "header"),
        ("minus.pfm", b"PF\n-4 -3\n-1\n" + bytes(144), "header"),
        ("zero.pfm", b"PF\n0 3\n-1\n", "0x3"),
        ("noscale.pfm", b"Pf\n1 1\n0.0\n" + bytes(4), "scale"),
        ("odd.pfm", b"Pf\n1 1\n1e\n" + bytes(4), "scale"),
        ("huge.pfm", b"Pf\n1 1\n-1e999\n" + bytes(4), "scale"),
        ("short.pfm", b"PF\n4 3\n-1\n" + bytes(143), "truncated: 143 bytes follow the header, 4x3 pixels take 144"),
        ("long.pfm", b"PF\n4 3\n-1\n" + bytes(145), "too long"),
        ("vast.pfm", b"PF\n999999999 999999999\n-1\n" + bytes(99), "truncated"),
        ("digits.pfm", b"PF\n" + b"9" * 5000 + b" 1\n-1\n", "header"),
        ("empty.flo", b"", "header"),
        ("magic.flo", b"PIEI" + struct.pack("<2i", 1, 1) + bytes(8), "header"),
        ("cut.flo", b"PIEH" + struct.pack("<i", 1), "header"),
        ("minus.flo", b"PIEH" + struct.pack("<2i", -2, -2) + bytes(32), "-2x-2"),
        ("short.flo", b"PIEH" + struct.pack("<2i", 2, 2) + bytes(31), "truncated"),
        ("long.flo", b"PIEH" + struct.pack("<2i", 2, 2) + bytes(33), "too long"),
        ("vast.flo", b"PIEH" + struct.pack("<2i", 2**31 - 1, 2**31 - 1), "truncated"),
        ("empty.pgm", b"", "header"),
        ("p4.pgm", b"P4\n8 1\n\x00", "header"),
        ("open.pgm", b"P5\n# never ends", "header"),
        ("comments.pgm", b"P5\n" + b"# \n" * 5000 + b"1 1\n255\n\x00", "header"),
        ("zero.pgm", b"P5\n1 0\n255\n", "1x0"),
        ("black.pgm", b"P5\n1 1\n0\n\x00", "greatest value is 0"),
        ("deep.pgm", b"P5\n1 1\n65536\n" + bytes(9), "greatest value is 65536"),
        ("short.pgm", b"P5\n4 4\n255\n" + bytes(15), "truncated"),
        ("short16.pgm", b"P5\n4 4\n256\n" + bytes(31), "truncated"),
        ("vast.pgm", b"P5\n999999999 999999999\n255\n", "truncated"),
        ("vastplain.pgm", b"P2\n999999999 999999999\n255\n1 2 3", "truncated"),
        ("few.pgm", b"P2\n2 2\n255\n111 2 3\n", "3 values"),
        ("many.pgm", b"P2\n2 2\n255\n1 2 3 4 5\n", "5 values"),
        ("endless.pgm", b"P2\n1 1\n255\n" + b"12 " * 2**15, "bytes follow the header"),
        ("word.pgm", b"P2\n2 2\n255\n1 2 three 4\n", "'three'"),
        ("minus.pgm", b"P2\n2 2\n255\n1 2 -3 4\n", "'-3'"),
        ("above.pgm", b"P2\n2 2\n15\n1 2 16 4\n", "'16'"),
        ("long.pgm", b"P2\n2 2\n255\n1 2 3 " + b"9" * 9000, "'99999999999999999999'"),
    ],
)
def test_a_file_that_lies_is_refused_by_name(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(EngineError) as caught:
            READERS[path.suffix](path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert says in str(caught.value)
    assert caught.value.where == str(path)
    assert peak < 2**20  # NumPy's arrays are traced too


@pytest.mark.parametrize("suffix", READERS)
def test_what_is_no_file_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(EngineError, match="No such file"):
        READERS[suffix](tmp_path / f"none{suffix}")
    with pytest.raises(EngineError, match="no file"):
        READERS[suffix](tmp_path)
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(EngineError, match="no file"):
            READERS[suffix](tmp_path / "pipe")


@given(data=st.data(), suffix=st.sampled_from(sorted(READERS)))
def test_any_bytes_are_read_or_refused(place: Path, data: st.DataObject, suffix: str) -> None:
    numbers = st.integers(-1, 40).map(lambda n: str(n).encode()) | st.sampled_from([b"-1.0", b"1e38", b"99999999", b"#\n", b"# c\r"])
    starts = st.sampled_from([b"PF\n", b"Pf ", b"P5\n", b"P2 ", b"PIEH", b"PIEH\x01\0\0\0\x02\0\0\0", b""])
    words = st.lists(numbers, max_size=8).map(b"\n".join)
    content = b"".join(data.draw(st.tuples(starts, words, st.sampled_from([b"\n", b" ", b""]), st.binary(max_size=64))))
    place.write_bytes(content)
    array = None
    with suppress(EngineError):  # and no other exception
        array = READERS[suffix](place)
    assert array is None or 0 < array.nbytes <= 4 * len(content)


@pytest.mark.parametrize(
    ("write", "array"),
    [
        (write_pfm, np.zeros((4, 4, 2), np.float32)),
        (write_pfm, np.zeros((0, 4), np.float32)),
        (write_flo, np.zeros((4, 4, 3), np.float32)),
        (write_flo, np.zeros((4, 4), np.float32)),
        (write_pgm, np.zeros((4, 4))),
        (write_pgm, np.zeros((4, 4, 1), np.uint8)),
    ],
)
def test_writers_refuse_what_the_format_cannot_hold(tmp_path: Path, write: Callable[[Path, Array], None], array: Array) -> None:
    with pytest.raises(EngineError, match="shape"):
        write(tmp_path / "a", array)
    assert not any(tmp_path.iterdir())

"""Painting: the size that comes back, the order, the batches, and threads that end."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from installed import BACKENDS, backend
from media import IDENTITY_WEIGHTS, identity_network

from engine import (
    Array,
    Concat,
    Conv2d,
    CropLike,
    EngineError,
    Layer,
    MaxPool2d,
    Network,
    Node,
    Pad,
    RunError,
    Upsample2d,
    chain,
)
from engine.painting import check_size, paint_image, paint_stream
from engine.streams import read_ahead, write_behind


class Inverter:
    """A painter in NumPy that remembers the batches it was given."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
        for batch in batches:
            self.batches.append(len(batch))
            yield 255 - batch


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("engine-")}


@pytest.mark.parametrize(("shape", "dtype"), [((4, 9, 3), np.uint8), ((9, 4, 3), np.uint8), ((9, 9), np.uint8), ((9, 9, 3), np.float32)])
def test_what_is_no_picture_or_too_small_is_refused(shape: tuple[int, ...], dtype: type) -> None:
    with pytest.raises(EngineError, match=r"too small|the picture is"):
        paint_image(backend(BACKENDS[0]), identity_network(), IDENTITY_WEIGHTS, np.zeros(shape, dtype))


def test_a_network_that_does_not_keep_the_size_is_refused() -> None:
    network = Network({"image": 3}, chain("image", {"conv": Conv2d(out_channels=3, kernel=3, stride=2, padding=1)}), ("conv",))
    with pytest.raises(EngineError, match="this network makes"):
        check_size(network, 20, 20)


@pytest.mark.parametrize(
    "layers",
    [
        {f"twice{i}": Concat() for i in range(30)},
        {"up": Upsample2d(factor=1000), "down": MaxPool2d(stride=1000)},
        {"up": Upsample2d(factor=10**400)},
        {"pad": Pad(amount=10**5, mode="constant")},
        {"wide": Conv2d(out_channels=10**7, kernel=1)},
    ],
    ids=lambda layers: "-".join(list(layers)[:2]),
)
def test_a_network_that_would_fill_the_memory_is_refused(layers: dict[str, Layer]) -> None:
    nodes = [Node(n.name, n.layer, n.inputs * 2) if n.layer == Concat() else n for n in chain("image", layers)]
    nodes.append(Node("last", Conv2d(out_channels=3, kernel=1), (nodes[-1].name,)))
    network = Network({"image": 3}, (*nodes, Node("crop", CropLike(), ("last", "image"))), ("crop",))
    with pytest.raises(EngineError, match=r"the node '\w+' needs too much memory for a picture of \d+x360; allowed: 1024 numbers a pixel"):
        check_size(network, 360, 640 + 360)


@pytest.mark.parametrize("size", [(5, 5), (9, 2000), (360, 640)])
def test_the_widest_networks_of_the_field_are_far_from_that_bound(size: tuple[int, int]) -> None:
    layers = {"first": Conv2d(out_channels=128, kernel=9, padding=4), "pad": Pad(amount=1), "last": Conv2d(out_channels=3)}
    check_size(Network({"image": 3}, chain("image", layers), ("last",)), *size)


@given(count=st.integers(0, 23), batch=st.integers(1, 7))
@settings(max_examples=30)
def test_every_frame_comes_back_in_order(count: int, batch: int) -> None:
    painter = Inverter()
    frames = [np.full((5, 6, 3), i, np.uint8) for i in range(count)]
    painted = list(paint_stream(painter, iter(frames), batch))
    assert [int(frame[0, 0, 0]) for frame in painted] == [255 - i for i in range(count)]
    assert painter.batches == [batch] * (count // batch) + ([count % batch] if count % batch else [])


def test_no_more_frames_are_read_than_a_few_batches() -> None:
    made = 0

    def frames() -> Iterator[Array]:
        nonlocal made
        for _ in range(500):
            made += 1
            yield np.zeros((5, 5, 3), np.uint8)

    for painted, _ in enumerate(paint_stream(Inverter(), frames(), 3), 1):
        assert made - painted <= 3 * 3 + 1


def test_an_error_of_the_decoder_arrives_and_the_thread_ends() -> None:
    def frames() -> Iterator[Array]:
        yield np.zeros((5, 5, 3), np.uint8)
        raise EngineError("the file is damaged")

    stream = paint_stream(Inverter(), frames(), 1)
    assert next(stream).shape == (5, 5, 3)
    with pytest.raises(EngineError, match="the file is damaged"):
        next(stream)
    assert not threads()


@pytest.mark.parametrize("ending", ["stop", "error"])
def test_threads_end_and_the_decoder_is_closed_when_the_consumer_leaves(ending: str) -> None:
    closed = threading.Event()

    def frames() -> Iterator[Array]:
        try:
            while True:
                yield np.zeros((5, 5, 3), np.uint8)
        finally:
            closed.set()

    stream = paint_stream(Inverter(), frames(), 2)
    next(stream)
    if ending == "stop":
        stream.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            stream.throw(KeyboardInterrupt())
    assert closed.is_set()
    assert not threads()


@pytest.mark.parametrize("fault", ["drops", "resizes"])
def test_a_painter_that_loses_frames_is_caught(fault: str) -> None:
    class Faulty:
        def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
            for i, batch in enumerate(batches):
                if fault == "resizes":
                    yield batch[:, :4]
                elif i:
                    yield batch

    with pytest.raises(RunError, match="the painter"):
        list(paint_stream(Faulty(), [np.zeros((8, 8, 3), np.uint8)] * 3, 1))


def test_a_batch_below_one_is_refused() -> None:
    with pytest.raises(EngineError, match="a batch of 0"):
        list(paint_stream(Inverter(), [], 0))


def test_reading_ahead_stops_at_its_depth() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    stream = read_ahead(numbers(), 4)
    assert next(stream) == 0
    time.sleep(0.05)
    assert len(made) <= 5
    assert list(stream) == list(range(1, 100))


def test_everything_is_written_and_errors_of_the_writer_arrive() -> None:
    written: list[int] = []
    with write_behind(written.append, 2) as put:
        for i in range(50):
            put(i)
    assert written == list(range(50))

    def fails(value: int) -> None:
        if value == 3:
            raise RunError("the disk is full")

    for values in (range(1000), [3]):  # at a later item, and on leaving
        with pytest.raises(RunError, match="the disk is full"), write_behind(fails, 2) as put:
            deque(map(put, values))
    assert not threads()


def test_what_waits_is_dropped_when_the_producer_fails() -> None:
    written: list[int] = []

    def slowly(value: int) -> None:
        time.sleep(0.02)
        written.append(value)

    def interrupted() -> Iterator[int]:
        yield from range(10)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), write_behind(slowly, 10) as put:
        deque(map(put, interrupted()))
    assert len(written) < 10
    assert not threads()

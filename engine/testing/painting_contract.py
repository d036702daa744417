"""The part of :class:`engine.testing.BackendContract` that paints: a stream of batches, and what it refuses."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.contracts.backend import Backend, Painter
from engine.errors import EngineError
from engine.layers import Concat, Conv2d, CropLike, PadToMultiple, ReLU
from engine.network import Network, Node, chain
from engine.ops import Array
from engine.painting import paint_stream
from engine.testing.contract import Contract
from engine.testing.operator_contract import near
from engine.testing.oracle import OracleOps
from engine.testing.small_training import painted, pictures, small_network, small_weights

HEIGHT, WIDTH = 9, 13
"""Of most pictures, in batches of one or two: a backend that compiles for each shape does so twice."""
MOST_READ = 32
"""Batches that a painter may have read when it has given three; more would be the whole of a short video."""
IDENTITY = Network(
    {"image": 3},
    (*chain("image", {"pad": PadToMultiple(), "conv": Conv2d(out_channels=3, kernel=1)}), Node("crop", CropLike(), ("conv", "image"))),
    ("crop",),
)
KEPT = {"conv.weight": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "conv.bias": np.zeros(3, np.float32)}
"""Weights with which :data:`IDENTITY` gives its picture back."""


class PaintingChecks(Contract):
    """The painter: uint8 in and out, in order, batch by batch, near the oracle's painting; ``run`` with several inputs and outputs."""

    def test_a_stream_is_painted_in_order(self, backend: Backend) -> None:
        """Of batches of two and a last one of one, every picture within a grey level of the oracle's."""
        batches = [pictures(n, HEIGHT, WIDTH, seed=4 * number) for number, n in enumerate((2, 2, 2, 1))]
        found = list(_painter(backend, batch=2).paint(iter(batches)))
        sizes, wanted = [len(x) for x in found], [len(x) for x in batches]
        assert sizes == wanted, f"batches of {wanted} pictures came back as {sizes}"
        for number, (frames, batch) in enumerate(zip(found, batches, strict=True)):
            assert frames.dtype == np.uint8, f"a painting is {frames.dtype}, not uint8"
            assert frames.shape == batch.shape, f"pictures {batch.shape} became {frames.shape}"
            _near_levels(frames, _expected(batch), f"batch {number}")

    @pytest.mark.parametrize("size", [(5, 5), (7, 30), (33, 18), (64, 64)], ids="{0[1]}x{0[0]}".format)
    def test_an_identity_network_gives_the_picture_back(self, size: tuple[int, int], backend: Backend) -> None:
        """Every one of the 256 values, in sizes that are padded and cropped."""
        image = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
        found = _paint_one(backend.painter(IDENTITY, KEPT), image)
        assert np.array_equal(found, image), f"{int((found != image).sum())} values of {image.size} changed"

    def test_one_painter_paints_sizes_in_turn(self, backend: Backend) -> None:
        """Whatever it keeps for a size, it keeps apart from that of another one."""
        painter = _painter(backend)
        for height, width in ((HEIGHT, WIDTH), (5, 7), (HEIGHT, WIDTH)):
            frames = pictures(1, height, width)
            _near_levels(_paint_one(painter, frames), _expected(frames), f"{width}x{height}")

    def test_a_batch_paints_as_single_pictures_do(self, backend: Backend) -> None:
        """A picture does not depend on those beside it."""
        frames, painter = pictures(2, HEIGHT, WIDTH), _painter(backend, batch=2)
        alone = np.concatenate([_paint_one(painter, frames[i : i + 1]) for i in range(2)])
        _near_levels(_paint_one(painter, frames), alone, "two pictures in a batch, against one by one")

    def test_nothing_is_painted_of_nothing(self, backend: Backend) -> None:
        """An empty stream ends at once."""
        assert list(_painter(backend).paint(iter(()))) == []

    def test_painting_is_a_stream(self, backend: Backend) -> None:
        """Of batches without end: it paints while they come, reads no more than it needs, and lets go when it is closed."""

        def endless() -> Generator[Array]:
            for number in range(1, MOST_READ + 1):
                yield pictures(1, HEIGHT, WIDTH, seed=number)
            raise AssertionError(f"read {MOST_READ} batches and gave fewer than three: it waits for the end of the stream")

        source = endless()
        stream = _painter(backend).paint(source)
        found = [next(stream) for _ in range(3)]
        for number, frames in enumerate(found, 1):
            _near_levels(frames, _expected(pictures(1, HEIGHT, WIDTH, seed=number)), f"batch {number}")
        if callable(close := getattr(stream, "close", None)):
            close()
        try:
            source.close()
        except ValueError:  # Python's word for a generator that is running
            pytest.fail("the stream was closed, and a thread of it still reads its source; end the thread when paint() is left")

    def test_leaving_early_ends_the_stream(self, backend: Backend) -> None:
        """As the engine does it for a video that somebody interrupts."""
        stream = paint_stream(_painter(backend, batch=2), (pictures(1, HEIGHT, WIDTH, seed=i)[0] for i in range(100)), 2)
        _near_levels(next(stream), _expected(pictures(1, HEIGHT, WIDTH, seed=0))[0], "the first picture")
        stream.close()

    def test_an_error_of_the_source_comes_through(self, backend: Backend) -> None:
        """What the decoder raises is raised to whoever asks for paintings, as itself, after what was read before it or at once."""

        def damaged() -> Iterator[Array]:
            yield pictures(1, HEIGHT, WIDTH)
            raise EngineError("the file is damaged")

        with pytest.raises(EngineError, match="the file is damaged"):
            list(_painter(backend).paint(damaged()))

    def test_run_paints_the_same(self, backend: Backend) -> None:
        """``run`` in float32 comes within a grey level of ``paint`` and within 1e-3 of the oracle."""
        frames, network = pictures(1, HEIGHT, WIDTH), small_network()
        image = frames.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
        painter = _painter(backend)
        found = painter.run({"image": image})
        assert set(found) == {"crop"}, f"the outputs are called {sorted(found)}, not crop"
        assert found["crop"].dtype == np.float32, f"run gives {found['crop'].dtype}, not float32"
        near(found["crop"], _oracle(network, small_weights(network), {"image": image})["crop"], 1e-3, "run's output")
        levels = np.clip(np.rint((found["crop"] + 1) * 127.5), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
        _near_levels(levels, _paint_one(painter, frames), "run, against paint")

    def test_run_takes_and_gives_several(self, backend: Backend) -> None:
        """Inputs by their names in any order, outputs by the names of their nodes, what nobody reads left out."""
        nodes = (
            Node("wide", Conv2d(out_channels=2, padding=1), ("first",)),
            Node("both", Concat(), ("wide", "second")),
            Node("dead", Conv2d(out_channels=2), ("first",)),
            Node("bent", ReLU(), ("both",)),
        )
        network = Network({"first": 3, "second": 1}, nodes, ("bent", "wide"))
        weights, rng = network.initial_weights(1), np.random.default_rng(2)
        given = {name: rng.normal(size=(2, c, 6, 5)).astype(np.float32) for name, c in (("second", 1), ("first", 3))}
        found, wanted = backend.painter(network, weights).run(given), _oracle(network, weights, given)
        assert set(found) == set(wanted), f"the outputs are called {sorted(found)}, not {sorted(wanted)}"
        for name, x in wanted.items():
            near(found[name], x, 1e-4, f"the output {name}")

    def test_a_picture_too_small_for_the_network_is_refused(self, backend: Backend) -> None:
        """With an :class:`engine.EngineError`, by ``paint`` and by ``run``: 1 pixel cannot be mirrored."""
        painter = backend.painter(IDENTITY, KEPT)
        with pytest.raises(EngineError, match="too few to mirror"):
            list(painter.paint(iter([np.zeros((1, 1, 9, 3), np.uint8)])))
        with pytest.raises(EngineError, match="too few to mirror"):
            painter.run({"image": np.zeros((1, 3, 1, 9), np.float32)})

    def test_export(self, backend: Backend, tmp_path: Path) -> None:
        """A backend that names a format writes a file in it; another one says that it writes none."""
        path = tmp_path / f"style.{backend.exports or 'none'}"
        if backend.exports:
            backend.export(IDENTITY, KEPT, path, metadata={"style": "same"})
            assert path.stat().st_size > 0, "the exported file is empty"
            return
        with pytest.raises(EngineError):
            backend.export(IDENTITY, KEPT, path, metadata={})
        assert not path.exists(), "it exports nothing, and wrote a file"


def _painter(backend: Backend, batch: int = 1) -> Painter:
    network = small_network()
    return backend.painter(network, small_weights(network), batch=batch)


def _paint_one(painter: Painter, frames: Array) -> Array:
    found = list(painter.paint(iter([frames])))
    assert len(found) == 1, f"one batch of pictures came back as {len(found)}"
    return found[0]


def _expected(frames: Array) -> Array:
    network = small_network()
    return painted(network, small_weights(network), frames)


def _oracle(network: Network, weights: dict[str, Array], inputs: dict[str, Array]) -> dict[str, Array]:
    ops = OracleOps()
    return network.apply(ops, {k: ops.asarray(x) for k, x in weights.items()}, {k: ops.asarray(x) for k, x in inputs.items()})


def _near_levels(found: Array, wanted: Array, what: str) -> None:
    assert found.shape == wanted.shape, f"{what}: {found.shape}, not {wanted.shape}"
    levels = np.abs(found.astype(int) - wanted)
    assert levels.max() <= 1, f"{what}: up to {levels.max()} grey levels off, {(levels > 1).mean():.0%} of the values more than one"

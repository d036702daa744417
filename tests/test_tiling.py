"""Painting in stripes: any network, on every backend, comes to what the whole frame comes to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from installed import BACKENDS, HOST, backend
from media import drawn, identity_style, write_clip
from small_network import small

from engine import (
    Add,
    Array,
    BatchNorm2d,
    Concat,
    Conv2d,
    CropLike,
    EngineError,
    InstanceNorm2d,
    Layer,
    MaxPool2d,
    Network,
    Node,
    Normalize,
    Pad,
    PadToMultiple,
    ReLU,
    Tanh,
    Upsample2d,
    chain,
    residual,
)
from engine.cli import main
from engine.images import Picture, read_picture, write_picture
from engine.memory import free_memory
from engine.stripes import Plan
from engine.testing import OracleOps, draw
from engine.tiling import TiledPainter, Tiles, choose_rows, parse_tile

RECONET = HOST.make_model("reconet", {"width": 4, "residual_blocks": 2}).network()
SMALL = small()
"""For MindSpore, which compiles every part for every size."""


class _Oracle:
    """A painter in float64, in which stripes and the whole frame must agree to the last digits that float32 between parts leaves."""

    def __init__(self, network: Network, weights: dict[str, Array]) -> None:
        self._network, self._weights = network, weights

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        self._network.check_inputs({name: x.shape for name, x in inputs.items()})
        given = {name: x.astype(np.float64) for name, x in inputs.items()}
        return self._network.apply(OracleOps(), self._weights, given)

    def paint(self, batches: Any) -> Any:
        raise NotImplementedError


def with_skip(pad: int, stride: int, mode: Any, pool: bool) -> Network:
    """Down and up again beside a skip at full size, norms on both, one of them on the picture itself."""
    down: Layer = MaxPool2d(kernel=stride + 1, stride=stride) if pool else Conv2d(out_channels=3, stride=stride, padding=1)
    nodes = chain(
        "image", {"pad": PadToMultiple(multiple=2 * stride), "norm0": InstanceNorm2d(), "conv0": Conv2d(out_channels=3, padding=1)}
    )
    nodes += chain("conv0", {"batch": BatchNorm2d(), "wide": Pad(amount=pad), "down": down, "norm1": InstanceNorm2d(eps=1e-3)})
    nodes += residual("norm1", "block", [("conv", Conv2d(out_channels=3, padding=1)), ("norm", InstanceNorm2d()), ("relu", ReLU())])
    nodes += chain(
        "block.add", {"up": Upsample2d(factor=stride, mode=mode), "tail": Conv2d(out_channels=2, kernel=1), "norm2": InstanceNorm2d()}
    )
    nodes += (
        Node("same", CropLike(), ("norm2", "conv0")),
        Node("skip", CropLike(), ("conv0", "same")),
        Node("join", Concat(), ("same", "skip")),
    )
    nodes += chain("join", {"last": Conv2d(out_channels=3, groups=1, padding=1), "norm3": InstanceNorm2d(), "tanh": Tanh()})
    nodes += (Node("crop", CropLike(), ("tanh", "image")),)
    return Network({"image": 3}, nodes, ("crop",))


@given(
    st.integers(9, 60),
    st.integers(1, 30),
    st.sampled_from([0, 1, 4]),
    st.sampled_from([1, 2, 3]),
    st.sampled_from(["nearest", "bilinear", "bilinear_asymmetric"]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_network_comes_to_the_same(height: int, rows: int, pad: int, stride: int, mode: str, pool: bool) -> None:
    network = with_skip(pad + stride, stride, mode, pool)
    weights = network.initial_weights(1)
    image = {"image": draw("tall", (1, 3, height, 9)).astype(np.float32)}
    whole = _Oracle(network, weights).run(image)["crop"]
    tiled = TiledPainter(_oracle, network, weights, rows).run(image)["crop"]
    np.testing.assert_allclose(tiled, whole, atol=3e-4)


def _oracle(network: Network, weights: Any) -> Any:
    return _Oracle(network, dict(weights))


def test_without_padding_rows_move_up_and_a_frame_is_mirrored_once() -> None:
    nodes = chain(
        "image", {"pad": Pad(amount=12), "a": Conv2d(out_channels=2), "norm": InstanceNorm2d(), "b": Conv2d(out_channels=2, kernel=5)}
    )
    nodes += chain("b", {"pool": MaxPool2d(kernel=3, stride=2), "norm2": InstanceNorm2d(), "c": Conv2d(out_channels=1)})
    network = Network({"image": 3}, nodes, ("c", "norm"))
    weights, image = network.initial_weights(0), {"image": draw("mirrored", (2, 3, 33, 14)).astype(np.float32)}
    whole = _Oracle(network, weights).run(image)
    for rows in (1, 7, 16):
        tiled = TiledPainter(_oracle, network, weights, rows).run(image)
        for name in network.outputs:
            np.testing.assert_allclose(tiled[name], whole[name], atol=1e-4)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_paints_within_a_grey_level(name: str) -> None:
    slow = name == "mindspore"
    network = SMALL if slow else RECONET
    weights = network.initial_weights(0)
    sizes = [(37, 26, (16,))] if slow else [(64, 48, (4, 20, 64)), (61, 47, (7, 200))]
    for height, width, heights in sizes:
        frames = np.random.default_rng(0).integers(0, 256, (1 if slow else 2, height, width, 3), np.uint8)
        (whole,) = backend(name).painter(network, weights).paint(iter([frames]))
        for rows in heights:
            (tiled,) = TiledPainter(backend(name).painter, network, weights, rows).paint(iter([frames]))
            difference = np.abs(whole.astype(int) - tiled)
            assert difference.max() <= 1
            assert (difference > 0).mean() < 0.001


@pytest.mark.parametrize("name", BACKENDS)
def test_reduced_precision_comes_no_farther_from_float32(name: str) -> None:
    refused = ""
    try:
        backend(name, "bfloat16").painter(RECONET, RECONET.initial_weights(0))
    except EngineError as error:
        refused = str(error)
    if refused:
        assert "in bfloat16" in refused or "no bfloat16" in refused  # it has none on this CPU, and says so
        return
    network = SMALL if name == "mindspore" else RECONET
    weights, reduced = network.initial_weights(0), backend(name, "bfloat16").painter
    frames = np.random.default_rng(0).integers(0, 256, (1, 40, 28, 3), np.uint8)
    painters = [backend(name).painter(network, weights), reduced(network, weights), TiledPainter(reduced, network, weights, 16)]
    exact, whole, tiled = (np.concatenate(list(painter.paint(iter([frames])))).astype(float) for painter in painters)
    assert np.sqrt(np.mean((tiled - exact) ** 2)) <= np.sqrt(np.mean((whole - exact) ** 2)) * 1.02


def test_moments_of_large_and_nearly_equal_numbers_are_kept() -> None:
    network = Network({"image": 3}, chain("image", {"norm": InstanceNorm2d()}), ("norm",))
    weights = network.initial_weights(0)
    image = (1000 + 0.01 * draw("equal", (1, 3, 64, 16))).astype(np.float32)
    tiled = TiledPainter(backend("torch").painter, network, weights, 4).run({"image": image})["norm"]
    exact = (image - image.mean((2, 3), dtype=np.float64, keepdims=True)) / np.sqrt(np.float64(image).var((2, 3), keepdims=True) + 1e-5)
    assert np.abs(tiled - exact).max() < 0.02  # float32 holds 1000 to 6e-5, the numbers vary by 0.01


class _Shuffled(ReLU):
    name = "tests_shuffled"

    def apply(self, ops: Any, weights: Any, *x: Any) -> Any:
        return x[0] - ops.mean(x[0], axis=(2, 3), keepdims=True)


class _OwnNorm(InstanceNorm2d):
    name = "tests_own_norm"


@pytest.mark.parametrize("layer", [_Shuffled(), _OwnNorm()])
def test_a_layer_that_may_read_everything_is_refused(layer: Layer) -> None:
    with pytest.raises(EngineError, match=r"'odd' may read all of its input(.|\n)*--tile off"):
        Plan.of(Network({"image": 3}, chain("image", {"odd": layer}), ("odd",)))


def test_rows_of_different_scales_do_not_meet() -> None:
    nodes = (*chain("image", {"up": Upsample2d(factor=1), "down": MaxPool2d(kernel=1, stride=2)}), Node("sum", Add(), ("down", "up")))
    with pytest.raises(EngineError, match="'sum' may read all"):
        Plan.of(Network({"image": 3}, nodes, ("sum",)))


def test_every_layer_but_moments_has_a_window() -> None:
    mean, std = (0.5,), (0.5,)
    network = Network({"image": 3}, chain("image", {"n": Normalize(mean=mean, std=std)}), ("n",))
    assert Plan.of(network).multiple == 1


@pytest.mark.parametrize("height", [1088, 1089, 1103])
def test_rows_that_come_to_nothing_make_no_stripe_taller(height: int) -> None:
    """Five poolings leave nothing of the last row of 1,089; its empty stripe once made all of them as tall as the frame."""
    pools: dict[str, Layer] = {f"pool{k}": MaxPool2d(kernel=2, stride=2) for k in range(5)}
    nodes = chain("image", {**pools, "norm": InstanceNorm2d(), "conv": Conv2d(out_channels=3, kernel=1)})
    plan = Plan.of(Network({"image": 3}, nodes, ("conv",)))
    shapes = plan.network.shapes(height, 64)
    for work in plan.works:
        read = [stripe.inputs["image"] for stripe in plan.stripes(work, shapes, height, 64) if "image" in stripe.inputs]
        assert all(last - first <= 160 for first, last in read)


def test_the_plan_of_the_widest_reconet_fits_4k_into_two_gigabytes() -> None:
    plan = Plan.of(HOST.make_model("reconet", {}).network())
    assert plan.most_numbers * 2160 * 3840 * 4 > 6e9
    assert plan.kept_numbers * 2160 * 3840 * 4 < 0.8e9
    chosen = [choose_rows(plan, 2160, 3840, memory * 10**9) for memory in (2, 4, 6, 12, 20)]
    assert chosen[0] == 64
    assert chosen[-1] is None
    assert chosen[1] is not None
    assert chosen[2] is not None
    assert chosen[1] <= chosen[2]
    assert choose_rows(plan, 360, 640, 2 * 10**9) is None


def test_what_is_kept_on_the_host_takes_no_room_on_a_card() -> None:
    plan = Plan.of(HOST.make_model("reconet", {}).network())
    room = int(plan.kept_numbers * 2160 * 3840 * 4 * 2.1)  # half of it is used: nothing is left beside what is kept
    shared, card = (choose_rows(plan, 2160, 3840, room, keeps=keeps) for keeps in (True, False))
    assert shared == 64
    assert card is not None
    assert card > 64


def test_the_command_paints_pictures_videos_and_blends_in_stripes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "photo.png"
    write_picture(photo, Picture(np.random.default_rng(0).integers(0, 256, (70, 54, 3), np.uint8)))
    identity_style(tmp_path / "same.safetensors")
    video = write_clip(tmp_path / "clip.mp4", drawn(2, 48, 64))
    pictures = {}
    for tile in ("off", "16"):
        out = tmp_path / tile
        options = ["--backend", "torch", "--precision", "float32", "--json", "--quiet", "--tile", tile]
        with pytest.raises(SystemExit) as ended:
            main(["infer", str(photo), str(video), "-o", f"{out}/", "--blend", f"reconet_candy:3,{tmp_path}/same.safetensors:1", *options])
        assert not ended.value.code
        told = json.loads(capsys.readouterr().out)["outputs"]
        assert [one["tile"] for one in told] == [None if tile == "off" else 16] * 2
        assert any("stripes of 16 rows" in note for note in told[1]["notes"]) is (tile == "16")
        pictures[tile] = read_picture(Path(told[0]["output"])).rgb.astype(int)
    assert np.abs(pictures["off"] - pictures["16"]).max() <= 1


def test_what_tile_may_be() -> None:
    assert [parse_tile(text) for text in ("auto", "off", "64")] == ["auto", "off", 64]


@pytest.mark.parametrize("tile", ["0", "-4", "12.5", "all", "", "99999999999"])
def test_what_is_no_height_is_refused(tile: str) -> None:
    with pytest.raises(EngineError, match="is no height of stripes"):
        parse_tile(tile)


def test_auto_goes_by_the_free_memory_and_paints_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    one = (RECONET, RECONET.initial_weights(0))
    painters = (backend("torch").painter(*one),)
    for memory, rows in ((10**9, None), (10**5, 64)):
        monkeypatch.setattr("engine.tiling.free_memory", lambda memory=memory: memory)
        assert Tiles(backend("torch"), [one], painters, "auto").choose(200, 100)[1] == rows
        assert Tiles(backend("torch"), [one], painters, "off").choose(200, 100) == (painters, None)
    odd = Network({"image": 3}, chain("image", {"odd": _Shuffled()}), ("odd",))
    assert Tiles(backend("torch"), [(odd, {})], painters, "auto").choose(200, 100) == (painters, None)
    with pytest.raises(EngineError, match="may read all"):
        Tiles(backend("torch"), [(odd, {})], painters, 64)


def test_free_memory_is_what_machine_and_control_groups_leave(tmp_path: Path) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    (proc / "self").mkdir(parents=True)
    (groups / "a/b").mkdir(parents=True)
    assert free_memory(proc, groups) is None
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 5000 kB\n")
    assert free_memory(proc, groups) == 5000 * 1024
    (proc / "self/cgroup").write_text("0::/a/b\n")
    (groups / "a/b/memory.max").write_text("max\n")
    (groups / "a/b/memory.current").write_text("77\n")
    (groups / "a/memory.max").write_text("3000000\n")
    (groups / "a/memory.current").write_text("1000000\n")
    (groups / "a/memory.stat").write_text("file 5\ninactive_file 400000\n")
    assert free_memory(proc, groups) == 2_400_000


def test_a_large_frame_is_normed_exactly_by_torch_too() -> None:
    torch = pytest.importorskip("torch")
    x = (np.random.default_rng(0).random((1, 4, 1024, 1024)) + 1.5).astype(np.float32)
    exact = (x - x.mean((2, 3), dtype=np.float64, keepdims=True)) / np.sqrt(x.astype(np.float64).var((2, 3), keepdims=True) + 1e-5)
    weights = {"weight": torch.ones(4), "bias": torch.zeros(4)}
    with torch.inference_mode():
        image = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
        normed = backend("torch").native[InstanceNorm2d](InstanceNorm2d(), weights, image)
    assert np.abs(normed.numpy() - exact).max() < 1e-5

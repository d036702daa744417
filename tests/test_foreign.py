"""Styles of other programs: whose names they are is recognised, what does not fit is refused, and nothing is lost on the way back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media import IDENTITY_WEIGHTS, identity_network
from reconet_names import mindspore_names, pytorch_names
from safetensors.numpy import save_file

from engine import Array, EngineError, Network
from engine.ckpt import write_ckpt
from engine.foreign import DESCRIPTION, export_formats, export_style, import_style
from engine.plugins import load_plugins
from engine.pth import write_pth
from engine.published import read_arrays
from engine.style import Style, StyleInfo, load_style

HOST = load_plugins()


def reconet(width: int = 6, blocks: int = 2, upsample: str = "bilinear_asymmetric") -> Network:
    return HOST.make_model("reconet", {"width": width, "residual_blocks": blocks, "upsample": upsample}).network()


def filled(shapes: dict[str, tuple[int, ...]], dtype: str = "float32") -> dict[str, Array]:
    rng = np.random.default_rng(4)
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def style(network: Network, **about: Any) -> Style:
    weights = {name: np.random.default_rng(3).normal(size=shape).astype(np.float32) for name, shape in network.weight_shapes().items()}
    return Style(StyleInfo(name="mine", **about), network, weights)


def equal(found: Style, expected: Style) -> bool:
    same = all(found.weights[name].tobytes() == x.tobytes() for name, x in expected.weights.items())
    return same and (found.info, found.network, set(found.weights)) == (expected.info, expected.network, set(expected.weights))


def test_a_file_of_the_80_published_names_has_the_published_size(tmp_path: Path) -> None:
    assert len(mindspore_names(48, 4)) == 80
    assert len(pytorch_names(48, 4)) == 54
    write_ckpt(tmp_path / "a.ckpt", {name: np.zeros(shape, np.float32) for name, shape in mindspore_names(48, 4).items()})
    assert (tmp_path / "a.ckpt").stat().st_size == 12_414_563


WRITERS: dict[str, Callable[[Path, dict[str, Array]], None]] = {
    "ckpt": write_ckpt,
    "pth": write_pth,
    "safetensors": lambda path, arrays: save_file(arrays, path),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(("width", "blocks"), [(6, 2), (8, 1), (3, 5)])
@pytest.mark.parametrize("layout", ["mindspore", "pytorch"])
def test_published_names_of_any_width_and_depth(tmp_path: Path, writer: str, width: int, blocks: int, layout: str) -> None:
    names = mindspore_names if layout == "mindspore" else pytorch_names
    arrays = filled(names(width, blocks))
    WRITERS[writer](tmp_path / "candy.bin", arrays)  # what it is called does not matter
    found = import_style(tmp_path / "candy.bin")
    mode = "bilinear_asymmetric" if layout == "mindspore" else "nearest"
    assert found.network == reconet(width, blocks, mode)
    assert found.info.name == "candy"
    assert "candy.bin" in found.info.notes
    assert f"upsample='{mode}'" in found.info.notes
    first, last = ("0.conv2d", "decoder.conv3") if layout == "mindspore" else ("0.layers.1", "decoder.layers.4")
    np.testing.assert_array_equal(found.weights["encoder.0.conv.weight"], arrays[f"encoder.layers.0.layers.{first}.weight"])
    np.testing.assert_array_equal(found.weights["decoder.2.conv.bias"], arrays[f"{last}.layers.{first}.bias"])
    gamma = "gamma" if layout == "mindspore" else "weight"
    np.testing.assert_array_equal(found.weights["residual.0.norm2.weight"], arrays[f"encoder.layers.3.branch.1.layers.1.{gamma}"])
    assert all(x.dtype == np.float32 and x.flags.c_contiguous for x in found.weights.values())


def test_statistics_that_nothing_reads_may_be_absent_and_half_precision_is_taken(tmp_path: Path) -> None:
    arrays = {name: x for name, x in filled(mindspore_names(), "float16").items() if "moving" not in name}
    write_ckpt(tmp_path / "a.ckpt", arrays)
    found = import_style(tmp_path / "a.ckpt").weights["encoder.0.norm.bias"]
    np.testing.assert_array_equal(found, arrays["encoder.layers.0.layers.1.beta"].astype(np.float32))


def without(name: str) -> Callable[[dict[str, Array]], dict[str, Array]]:
    return lambda arrays: {key: x for key, x in arrays.items() if key != name}


def put(name: str, x: Array) -> Callable[[dict[str, Array]], dict[str, Array]]:
    return lambda arrays: arrays | {name: x}


GAMMA, BRANCH = "encoder.layers.0.layers.1.gamma", "encoder.layers.3.branch.0.layers.0.conv2d"
BAD: dict[str, tuple[Callable[[dict[str, Array]], dict[str, Array]], str]] = {
    "missing": (without(GAMMA), f"weight '{GAMMA}' is missing"),
    "first one missing": (without("encoder.layers.0.layers.0.conv2d.weight"), "'encoder.layers.0.layers.0.conv2d.weight' is missing$"),
    "too much": (put("decoder.conv4.layers.0.conv2d.bias", np.ones(3, np.float32)), "'decoder.conv4.layers.0.conv2d.bias' is not part"),
    "wrong shape": (put(GAMMA, np.ones(7, np.float32)), rf"'{GAMMA}' has shape \(7,\), not \(6,\)"),
    "wrong shape of what nothing reads": (put(GAMMA.replace("gamma", "moving_mean"), np.ones(7, np.float32)), r"\(7,\), not \(6,\)"),
    "a hole in the residual blocks": (put(f"{BRANCH.replace('.3.', '.6.')}.bias", np.ones(24, np.float32)), "'encoder.layers.5.branch.0"),
    "a thousand residual blocks": (put(f"{BRANCH.replace('.3.', '.999.')}.bias", np.ones(24, np.float32)), "residual_blocks 997"),
    "no width": (put("encoder.layers.0.layers.0.conv2d.weight", np.ones((0, 3, 9, 9), np.float32)), "width 0"),
    "scalar for a kernel": (put("encoder.layers.0.layers.0.conv2d.weight", np.float32(1).reshape(())), r"has shape \(\), not"),
    "NaN": (put(GAMMA, np.full(6, np.nan, np.float32)), "'encoder.0.norm.weight' holds NaN or infinity"),
    "too large for float32": (put(GAMMA, np.full(6, 1e300)), "holds NaN or infinity"),
    "integers": (put(GAMMA, np.ones(6, np.int32)), "is int32"),
    "names of nobody": (lambda arrays: {f"x.{name}": x for name, x in arrays.items()}, "no model here knows these names"),
    "an encoder": (lambda arrays: {"layers.0.weight": np.ones((64, 3, 3, 3), np.float32)}, "no model here knows .*'layers.0.weight'"),
    "nothing": (lambda arrays: {}, "no model here knows|no file of weights"),
}


@pytest.mark.parametrize("format", ["ckpt", "pth"])
@pytest.mark.parametrize(("change", "said"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_refused_by_name_and_shape(
    tmp_path: Path, change: Callable[[dict[str, Array]], dict[str, Array]], said: str, format: str
) -> None:
    path = tmp_path / f"a.{format}"
    path.write_bytes(b"")
    WRITERS[format](path, change(filled(mindspore_names())))
    with pytest.raises(EngineError, match=said) as caught:
        import_style(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no such file"):
        import_style(tmp_path / "gone.ckpt")


@pytest.mark.parametrize("format", ["ckpt", "pth"])
@pytest.mark.parametrize("upsample", ["nearest", "bilinear_asymmetric"])
def test_nothing_is_lost_there_and_back(tmp_path: Path, format: str, upsample: str) -> None:
    said: list[str] = []
    mine = style(reconet(upsample=upsample), recipe={"steps": 7}, steps=7, licence="CC0", thumbnail="abc")
    export_style(mine, tmp_path / f"a.{format}", format, report=said.append)
    assert equal(import_style(tmp_path / f"a.{format}"), mine)
    arrays = read_arrays(tmp_path / f"a.{format}")
    names = set(mindspore_names()) | {DESCRIPTION} if format == "ckpt" else set(pytorch_names())
    assert set(arrays) == names
    theirs = "bilinear_asymmetric" if format == "ckpt" else "nearest"
    assert bool(said) == (upsample != theirs)
    assert all(f"upsample='{theirs}'" in line for line in said)
    again = tmp_path / f"b.{format}"
    export_style(import_style(tmp_path / f"a.{format}"), again, format, report=said.append)
    assert again.read_bytes() == (tmp_path / f"a.{format}").read_bytes()


def test_statistics_are_written_as_before_training(tmp_path: Path) -> None:
    export_style(style(reconet()), tmp_path / "a.ckpt", "ckpt")
    arrays = read_arrays(tmp_path / "a.ckpt")
    for name, shape in mindspore_names().items():
        assert arrays[name].shape == shape
        if "moving" in name:
            assert (arrays[name] == (0 if name.endswith("mean") else 1)).all()


@pytest.mark.parametrize("format", ["ckpt", "pth"])
def test_a_network_that_no_layout_can_express_keeps_our_names(tmp_path: Path, format: str) -> None:
    mine = Style(StyleInfo(name="same"), identity_network(), {name: x * 2 for name, x in IDENTITY_WEIGHTS.items()})
    export_style(mine, tmp_path / "a", format)
    assert set(IDENTITY_WEIGHTS) <= set(read_arrays(tmp_path / "a"))
    assert equal(import_style(tmp_path / "a"), mine)


def test_a_reconet_with_another_layer_is_not_given_published_names(tmp_path: Path) -> None:
    text = reconet().to_json().replace('"eps": 1e-05', '"eps": 0.001', 1)
    mine = style(Network.from_json(text))
    export_style(mine, tmp_path / "a.ckpt", "ckpt")
    assert "encoder.0.conv.weight" in read_arrays(tmp_path / "a.ckpt")
    assert equal(import_style(tmp_path / "a.ckpt"), mine)


def test_our_own_file_is_taken_as_it_is_and_may_be_renamed(tmp_path: Path) -> None:
    mine = style(reconet(), notes="made here")
    mine.save(tmp_path / "a.safetensors")
    assert equal(import_style(tmp_path / "a.safetensors"), load_style(tmp_path / "a.safetensors"))
    assert import_style(tmp_path / "a.safetensors", name="other").info == mine.info.model_copy(update={"name": "other"})


DESCRIPTIONS: dict[str, bytes] = {
    "no JSON": b"{",
    "no table": b"[1]",
    "no texts": b'{"styleengine": 1, "network": 2}',
    "half": b'{"network": "{}"}',
    "deep": b"[" * 100_000,
    "no text": b"\xff\xfe",
    "no network": json.dumps({"styleengine": StyleInfo(name="x").model_dump_json(), "network": "{}"}).encode(),
    "a deep network": json.dumps({"styleengine": StyleInfo(name="x").model_dump_json(), "network": "[" * 100_000}).encode(),
    "another network": json.dumps(style(reconet(width=8)).description()).encode(),
}


@pytest.mark.parametrize("format", ["ckpt", "pth"])
@pytest.mark.parametrize("content", DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_a_damaged_description_is_refused(tmp_path: Path, content: bytes, format: str) -> None:
    path, arrays = tmp_path / "a", filled(mindspore_names())
    if format == "ckpt":
        write_ckpt(path, arrays | {DESCRIPTION: np.frombuffer(content, np.uint8)})
    else:
        write_pth(path, arrays, {DESCRIPTION: content})
    with pytest.raises(EngineError, match=f"^{path}: "):
        import_style(path)


@pytest.mark.parametrize("x", [np.ones(3, np.float32), np.ones((2, 2), np.uint8)], ids=["floats", "a table"])
def test_a_description_of_another_type_is_refused(tmp_path: Path, x: Array) -> None:
    write_ckpt(tmp_path / "a", filled(mindspore_names()) | {DESCRIPTION: x})
    with pytest.raises(EngineError, match="'styleengine' is "):
        import_style(tmp_path / "a")


def test_a_failed_export_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no format is called 'ckptt'; did you mean 'ckpt'\? known: ckpt, .*pth"):
        export_style(style(reconet()), tmp_path / "a", "ckptt")
    with pytest.raises(EngineError, match="cannot write here"):
        export_style(style(reconet()), tmp_path / "absent" / "a", "ckpt")
    assert not list(tmp_path.iterdir())
    assert set(export_formats(HOST)) >= {"ckpt", "pth"}


def test_the_eight_published_styles() -> None:
    styles = HOST.model_class("reconet").published_styles()
    names = ["autoportrait", "candy", "composition", "edtaonisl", "mosaic", "mosaic_2", "starry_night", "udnie"]
    assert [(s.name, s.size) for s in styles] == [(name, 12_414_563) for name in names]
    assert styles[5].address == "https://download.mindspore.cn/vision/reconet/mosaic_2/reconet_mosaic_2.ckpt"

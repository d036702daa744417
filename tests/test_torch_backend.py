"""What only the PyTorch backend decides: the layout that it paints in, and what float32 means on a card."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from engine_torch.ops import TorchOps
from engine_torch.painter import TorchPainter
from media import IDENTITY_WEIGHTS, identity_network

from engine import Conv2d, EngineError, Layer
from engine.plugins import load_plugins


def test_it_paints_channels_last() -> None:
    seen: list[bool] = []

    def conv(layer: Layer, weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        seen.append(x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous())
        return layer.apply(ops, weights, x)

    ops = TorchOps(torch.device("cpu"))
    painter = TorchPainter(ops, identity_network(), IDENTITY_WEIGHTS, "float32", {Conv2d: conv})
    frames = np.random.default_rng(0).integers(0, 256, (2, 9, 13, 3), np.uint8)
    (painted,) = painter.paint(iter([frames]))
    np.testing.assert_array_equal(painted, frames)
    assert seen == [True]


@pytest.fixture
def tf32() -> Iterator[None]:
    """PyTorch as if somebody had asked for speed."""
    flags = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [flag.allow_tf32 for flag in flags]
    for flag in flags:
        flag.allow_tf32 = True
    yield
    for flag, value in zip(flags, before, strict=True):
        flag.allow_tf32 = value


@pytest.mark.usefixtures("tf32")
def test_float32_on_a_card_is_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    host = load_plugins()
    assert host.make_backend("torch", device="cpu").describe()["device"] == "cpu"
    assert torch.backends.cudnn.allow_tf32
    assert host.make_backend("torch", device="gpu:1", precision="float32").describe()["device"] == "cuda:1"
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    with pytest.raises(EngineError, match=r"torch finds no GPU number 2; allowed: gpu:0, gpu:1"):
        host.make_backend("torch", device="gpu:2").describe()

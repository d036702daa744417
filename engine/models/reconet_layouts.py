"""How others name ReCoNet's weights: the code that made the weights published for MindSpore, and the PyTorch code that it follows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from engine import Array, Layout, Model, PublishedStyle, Shape


@dataclass(frozen=True, eq=False)
class Naming:
    """One program's names: a block's prefix, then that of its convolution or its norm."""

    origin: str
    format: str
    """Of the files that it writes."""
    upsample: Literal["nearest", "bilinear_asymmetric"]
    """How its decoder enlarges."""
    decoder: tuple[str, str, str]
    """Prefixes of the decoder's blocks."""
    convolution: str
    norm: Mapping[str, str]
    """Our name of a norm's weight to theirs."""
    statistics: Mapping[str, float] = field(default_factory=dict)
    """What its norms store and do not read, and the value of each before training."""

    def blocks(self, residual_blocks: int) -> dict[tuple[str, str], str]:
        """Our names of each convolution and of the norm after it, the last one having none, to the prefix of their block."""
        ours = {(f"encoder.{i}.conv", f"encoder.{i}.norm"): f"encoder.layers.{i}" for i in range(3)}
        for i in range(residual_blocks):
            for k in (1, 2):
                ours[f"residual.{i}.conv{k}", f"residual.{i}.norm{k}"] = f"encoder.layers.{3 + i}.branch.{k - 1}"
        last = len(self.decoder) - 1
        return ours | {(f"decoder.{i}.conv", f"decoder.{i}.norm" if i < last else ""): theirs for i, theirs in enumerate(self.decoder)}


MINDSPORE = Naming(
    "the ReCoNet published for MindSpore",
    "ckpt",
    "bilinear_asymmetric",
    ("decoder.conv1", "decoder.conv2", "decoder.conv3"),
    "layers.0.conv2d",
    {"weight": "layers.1.gamma", "bias": "layers.1.beta"},
    {"layers.1.moving_mean": 0.0, "layers.1.moving_variance": 1.0},
)
PYTORCH = Naming(
    "the ReCoNet in PyTorch that the published one follows",
    "pth",
    "nearest",
    ("decoder.layers.1", "decoder.layers.3", "decoder.layers.4"),
    "layers.0.layers.1",
    {"weight": "layers.1.weight", "bias": "layers.1.bias"},
)
_PUBLISHED = ("autoportrait", "candy", "composition", "edtaonisl", "mosaic", "mosaic_2", "starry_night", "udnie")


def make_layout(naming: Naming, model: Model, residual_blocks: int) -> Layout:
    """The names of a model's weights in that program."""
    shapes = model.network().weight_shapes()
    names: dict[str, str] = {}
    unused: dict[str, Array] = {}
    for (convolution, norm), prefix in naming.blocks(residual_blocks).items():
        names |= {f"{convolution}.{part}": f"{prefix}.{naming.convolution}.{part}" for part in ("weight", "bias")}
        if norm:
            names |= {f"{norm}.{part}": f"{prefix}.{theirs}" for part, theirs in naming.norm.items()}
            count = shapes[f"{norm}.weight"]
            unused |= {f"{prefix}.{theirs}": np.full(count, value, np.float32) for theirs, value in naming.statistics.items()}
    return Layout(model, naming.origin, names, unused)


def deduce(shapes: Mapping[str, Shape]) -> tuple[Naming, dict[str, Any]] | None:
    """Whose names these are, and the settings that their shapes tell; None where they are nobody's."""
    for naming in (MINDSPORE, PYTORCH):
        mark = re.compile(rf"(encoder|decoder)\..*{re.escape(naming.convolution)}\.(weight|bias)")
        if any(mark.fullmatch(name) for name in shapes):
            first = [
                f"encoder.layers.0.{part}" for part in (f"{naming.convolution}.weight", f"{naming.convolution}.bias", *naming.norm.values())
            ]
            widths = [shapes[name][0] for name in first if shapes.get(name)]
            numbers = [int(found[1]) for name in shapes if (found := re.match(r"encoder\.layers\.(\d{1,4})\.branch\.", name))]
            settings = {"width": widths[0]} if widths else {}
            return naming, settings | {"residual_blocks": max(numbers, default=3) - 2, "upsample": naming.upsample}
    return None


def published() -> tuple[PublishedStyle, ...]:
    """The eight styles that came with the MindSpore code."""
    root = "https://download.mindspore.cn/vision/reconet"
    return tuple(PublishedStyle(name, f"{root}/{name}/reconet_{name}.ckpt", 12_414_563, "Apache-2.0") for name in _PUBLISHED)

"""The names and shapes of ReCoNet's weights in two published programs, written down without our code."""

from __future__ import annotations


def mindspore_names(width: int = 6, blocks: int = 2) -> dict[str, tuple[int, ...]]:
    """Those of the weights published for MindSpore."""
    a, b, c = width, 2 * width, 4 * width
    convs = {"encoder.layers.0": (a, 3, 9), "encoder.layers.1": (b, a, 3), "encoder.layers.2": (c, b, 3)}
    convs |= {f"encoder.layers.{3 + i}.branch.{k}": (c, c, 3) for i in range(blocks) for k in (0, 1)}
    convs |= {"decoder.conv1": (b, c, 3), "decoder.conv2": (a, b, 3), "decoder.conv3": (3, a, 9)}
    shapes: dict[str, tuple[int, ...]] = {}
    for block, (o, i, k) in convs.items():
        shapes |= {f"{block}.layers.0.conv2d.weight": (o, i, k, k), f"{block}.layers.0.conv2d.bias": (o,)}
        if block != "decoder.conv3":
            shapes |= {f"{block}.layers.1.{part}": (o,) for part in ("moving_mean", "moving_variance", "gamma", "beta")}
    return shapes


def pytorch_names(width: int = 6, blocks: int = 2) -> dict[str, tuple[int, ...]]:
    """Those of the PyTorch code."""
    shapes = {}
    for name, shape in mindspore_names(width, blocks).items():
        if "moving" not in name:
            for old, new in {
                "decoder.conv1": "decoder.layers.1",
                "decoder.conv2": "decoder.layers.3",
                "decoder.conv3": "decoder.layers.4",
            }.items():
                name = name.replace(old, new)
            name = name.replace("layers.0.conv2d", "layers.0.layers.1").replace("gamma", "weight").replace("beta", "bias")
            shapes[name] = shape
    return shapes

"""A network with every kind of edge, for tests of networks, and the oracle's run of it."""

from __future__ import annotations

from engine import Array, Conv2d, CropLike, InstanceNorm2d, Network, Node, Pad, PadToMultiple, ReLU, Tanh, Upsample2d, chain, residual
from engine.testing import OracleOps


def small() -> Network:
    """Pad, halve, a residual block, double, crop: every kind of edge in eleven nodes."""
    nodes = chain("image", {"even": PadToMultiple(multiple=2), "down": Conv2d(out_channels=4, stride=2, padding=1), "relu": ReLU()})
    nodes += residual("relu", "block", [("conv", Conv2d(out_channels=4, padding=1)), ("norm", InstanceNorm2d())])
    nodes += chain("block.add", {"up": Upsample2d(), "pad": Pad(amount=1), "last": Conv2d(out_channels=3), "tanh": Tanh()})
    nodes += (Node("crop", CropLike(), ("tanh", "image")),)
    return Network({"image": 3}, nodes, ("crop",), {"early": "relu", "features": "block.add"})


def run(network: Network, images: dict[str, Array], keep: tuple[str, ...] = (), seed: int = 0) -> dict[str, Array]:
    ops = OracleOps()
    weights = {name: ops.asarray(x) for name, x in network.initial_weights(seed).items()}
    return network.apply(ops, weights, {name: ops.asarray(x) for name, x in images.items()}, keep=keep)

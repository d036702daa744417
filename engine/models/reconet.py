"""ReCoNet, the network that paints (Gao, Gu, Zhang, Yu: Real-time Coherent Video Style Transfer Network, ACCV 2018, arXiv 1807.01197)."""

from __future__ import annotations

from typing import Literal

from engine import (
    Conv2d,
    CropLike,
    Field,
    InstanceNorm2d,
    Layer,
    Model,
    Network,
    Node,
    Pad,
    PadToMultiple,
    ReLU,
    Tanh,
    Upsample2d,
    chain,
    residual,
)


class ReCoNet(Model):
    """An encoder, residual blocks at a quarter of the size, a decoder; every convolution pads by reflection.

    Input ``image`` (n, 3, h, w) in [-1, 1], sides from 5 pixels; output ``crop`` of the same size and range. The
    tap ``features`` is the last residual block's output after its ReLU, (n, 4 width, ceil(h/4), ceil(w/4)).
    The paper's network has width 48, 4 blocks and, in its code, nearest upsampling; the weights published for
    MindSpore were trained with ``bilinear_asymmetric``.
    """

    name = "reconet"
    width: int = Field(default=48, ge=1, le=1024, description="Channels at full size; twice as many at half, four times at a quarter.")
    residual_blocks: int = Field(default=4, ge=1, le=64, description="Residual blocks at a quarter of the size.")
    upsample: Literal["nearest", "bilinear_asymmetric"] = Field(
        default="nearest", description="How the decoder enlarges; published MindSpore weights need bilinear_asymmetric."
    )

    def network(self) -> Network:
        wide = 4 * self.width
        layers: dict[str, Layer] = {"pad": PadToMultiple(multiple=4)}
        for i, (channels, kernel, stride) in enumerate([(self.width, 9, 1), (2 * self.width, 3, 2), (wide, 3, 2)]):
            layers |= _block(f"encoder.{i}", channels, kernel, stride)
        nodes = chain("image", layers)
        for i in range(self.residual_blocks):
            block = f"residual.{i}"
            nodes += residual(nodes[-1].name, block, [*_convolution("1", wide), ("relu1", ReLU()), *_convolution("2", wide)])
            nodes += (Node(f"{block}.relu", ReLU(), (nodes[-1].name,)),)
        features = nodes[-1].name
        layers = {}
        for i, channels in enumerate([2 * self.width, self.width]):
            layers[f"decoder.{i}.upsample"] = Upsample2d(factor=2, mode=self.upsample)
            layers |= _block(f"decoder.{i}", channels, 3, 1)
        layers |= {"decoder.2.pad": Pad(amount=4), "decoder.2.conv": Conv2d(out_channels=3, kernel=9), "decoder.2.tanh": Tanh()}
        nodes += chain(features, layers)
        nodes += (Node("crop", CropLike(), (nodes[-1].name, "image")),)
        return Network({"image": 3}, nodes, ("crop",), {"features": features}, low=-1.0, high=1.0)


def _block(name: str, channels: int, kernel: int, stride: int) -> dict[str, Layer]:
    return {
        f"{name}.pad": Pad(amount=kernel // 2),
        f"{name}.conv": Conv2d(out_channels=channels, kernel=kernel, stride=stride),
        f"{name}.norm": InstanceNorm2d(),
        f"{name}.relu": ReLU(),
    }


def _convolution(number: str, channels: int) -> list[tuple[str, Layer]]:
    return [(f"pad{number}", Pad(amount=1)), (f"conv{number}", Conv2d(out_channels=channels)), (f"norm{number}", InstanceNorm2d())]

"""ReCoNet, the network that paints (Gao, Gu, Zhang, Yu: Real-time Coherent Video Style Transfer Network, ACCV 2018, arXiv 1807.01197)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from engine import (
    Conv2d,
    CropLike,
    EngineError,
    Field,
    InstanceNorm2d,
    Layer,
    Layout,
    Model,
    Network,
    Node,
    Pad,
    PadToMultiple,
    PublishedStyle,
    ReLU,
    Shape,
    Tanh,
    Upsample2d,
    chain,
    residual,
)
from engine.models.reconet_layouts import MINDSPORE, PYTORCH, deduce, make_layout, published


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

    @classmethod
    def recognise(cls, shapes: Mapping[str, Shape]) -> Layout | None:
        found = deduce(shapes)
        if found is None:
            return None
        naming, settings = found
        try:
            model = cls(**settings)
        except ValueError:
            problem = f"the shapes are those of no ReCoNet: {', '.join(f'{key} {value}' for key, value in settings.items())}"
            raise EngineError(problem, allowed="width 1 to 1024, 1 to 64 residual blocks") from None
        return make_layout(naming, model, model.residual_blocks)

    @classmethod
    def layouts(cls, network: Network) -> dict[str, Layout]:
        width = network.weight_shapes().get("encoder.0.conv.bias", (0,))[0]
        blocks = sum(node.name.startswith("residual.") and node.name.endswith(".add") for node in network.nodes)
        if not (1 <= width <= 1024 and 1 <= blocks <= 64):
            return {}
        models = {naming: cls(width=width, residual_blocks=blocks, upsample=naming.upsample) for naming in (MINDSPORE, PYTORCH)}
        if all(model.network() != network for model in models.values()):
            return {}
        return {naming.format: make_layout(naming, model, blocks) for naming, model in models.items()}

    @classmethod
    def published_styles(cls) -> tuple[PublishedStyle, ...]:
        return published()


def _block(name: str, channels: int, kernel: int, stride: int) -> dict[str, Layer]:
    return {
        f"{name}.pad": Pad(amount=kernel // 2),
        f"{name}.conv": Conv2d(out_channels=channels, kernel=kernel, stride=stride),
        f"{name}.norm": InstanceNorm2d(),
        f"{name}.relu": ReLU(),
    }


def _convolution(number: str, channels: int) -> list[tuple[str, Layer]]:
    return [(f"pad{number}", Pad(amount=1)), (f"conv{number}", Conv2d(out_channels=channels)), (f"norm{number}", InstanceNorm2d())]

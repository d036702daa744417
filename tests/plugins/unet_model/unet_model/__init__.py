"""A model for styleengine: a U-Net of depthwise-separable convolutions with the taps that ReCoNet's losses read."""

from engine import (
    Concat,
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
    hookimpl,
)
from unet_model.layer import SeparableConv2d

ENGINE_API = "1"


class SeparableUNet(Model):
    """Down to a quarter of the size and up again, with what was seen on the way down joined in (Ronneberger et al.: U-Net, MICCAI 2015).

    Input ``image`` (n, 3, h, w) in [-1, 1], sides from 5 pixels; output ``crop`` of the same size and range. The tap ``features``,
    (n, 4 width, ceil(h/4), ceil(w/4)), is what the temporal losses compare.
    """

    name = "separable_unet"
    width: int = Field(default=32, ge=1, le=1024, description="Channels at full size; twice as many at half, four times at a quarter.")

    def network(self) -> Network:
        width = self.width
        nodes = chain("image", {"pad": PadToMultiple(multiple=4)} | _block("full", width))
        nodes += chain("full.relu", _block("half", 2 * width, stride=2))
        nodes += chain("half.relu", _block("quarter", 4 * width, stride=2))
        nodes += chain("quarter.relu", _block("deepest", 4 * width) | {"up_half": Upsample2d(factor=2)})
        nodes += (Node("join_half", Concat(), ("up_half", "half.relu")),)
        nodes += chain("join_half", _block("back_half", 2 * width) | {"up_full": Upsample2d(factor=2)})
        nodes += (Node("join_full", Concat(), ("up_full", "full.relu")),)
        last: dict[str, Layer] = {"paint.pad": Pad(amount=1), "paint.conv": SeparableConv2d(out_channels=3), "paint.tanh": Tanh()}
        nodes += chain("join_full", _block("back_full", width) | last)
        nodes += (Node("crop", CropLike(), ("paint.tanh", "image")),)
        return Network({"image": 3}, nodes, ("crop",), {"features": "deepest.relu"}, low=-1.0, high=1.0)


def _block(name: str, channels: int, stride: int = 1) -> dict[str, Layer]:
    return {
        f"{name}.pad": Pad(amount=1),
        f"{name}.conv": SeparableConv2d(out_channels=channels, stride=stride),
        f"{name}.norm": InstanceNorm2d(),
        f"{name}.relu": ReLU(),
    }


@hookimpl
def engine_register_models() -> list[type[Model]]:
    """The models of this plugin; its layer is known once this module is loaded."""
    return [SeparableUNet]

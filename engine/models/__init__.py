"""The models that ship: ReCoNet, which paints, and VGG16, the encoder; nobody imports them, they arrive through the hook."""

from engine import Model, hookimpl
from engine.models.reconet import ReCoNet
from engine.models.vgg import VGG16, VGG16BN


@hookimpl
def engine_register_models() -> list[type[Model]]:
    """The models of this package."""
    return [ReCoNet, VGG16, VGG16BN]

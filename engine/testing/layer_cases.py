"""Cases of every layer: its settings on images of odd and even sizes."""

from __future__ import annotations

from engine.fusing import UpsampledConv2d
from engine.layers import (
    Add,
    BatchNorm2d,
    Concat,
    Conv2d,
    CropLike,
    InstanceNorm2d,
    MaxPool2d,
    Normalize,
    Pad,
    PadToMultiple,
    ReLU,
    Tanh,
    Upsample2d,
)
from engine.moments import Moments, ScaleShift
from engine.testing.cases import LayerCase

IMAGE = (3, 5, 6)
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

LAYER_CASES = (
    LayerCase(Conv2d(out_channels=4), (IMAGE,), value_tolerance=1e-4, gradient_tolerance=1e-3),
    LayerCase(Conv2d(out_channels=2, kernel=1, bias=False), (IMAGE,), value_tolerance=1e-4, gradient_tolerance=1e-3),
    LayerCase(Conv2d(out_channels=4, stride=2, padding=1), ((2, 7, 5),), value_tolerance=1e-4, gradient_tolerance=1e-3),
    LayerCase(Conv2d(out_channels=6, groups=3, padding=1), (IMAGE,), value_tolerance=1e-4, gradient_tolerance=1e-3),
    LayerCase(Conv2d(out_channels=1, kernel=9, padding=4), ((1, 4, 6),), value_tolerance=1e-4, gradient_tolerance=1e-3),
    LayerCase(InstanceNorm2d(), (IMAGE,), value_tolerance=1e-4, gradient_tolerance=1e-3),
    LayerCase(InstanceNorm2d(eps=0.5), ((1, 2, 3),), value_tolerance=1e-4, gradient_tolerance=1e-3),
    LayerCase(BatchNorm2d(), (IMAGE,), positive=("running_var",), value_tolerance=1e-4, gradient_tolerance=1e-3),
    LayerCase(BatchNorm2d(eps=0.5), ((1, 2, 3),), positive=("running_var",), value_tolerance=1e-4, gradient_tolerance=1e-3),
    LayerCase(ReLU(), (IMAGE,), value_tolerance=0.0),
    LayerCase(Tanh(), (IMAGE,)),
    LayerCase(MaxPool2d(), (IMAGE,), value_tolerance=0.0),
    LayerCase(MaxPool2d(kernel=3, stride=2), ((2, 7, 8),), value_tolerance=0.0),
    LayerCase(Upsample2d(), (IMAGE,), value_tolerance=0.0),
    LayerCase(Upsample2d(mode="bilinear"), (IMAGE,)),
    LayerCase(Upsample2d(mode="bilinear_asymmetric"), (IMAGE,)),
    LayerCase(Upsample2d(factor=3, mode="bilinear_asymmetric"), ((1, 2, 3),)),
    LayerCase(UpsampledConv2d(out_channels=4), (IMAGE,), value_tolerance=1e-4, gradient_tolerance=1e-3),
    LayerCase(Add(), (IMAGE, IMAGE)),
    LayerCase(Concat(), (IMAGE, (1, 5, 6), (2, 5, 6)), value_tolerance=0.0),
    LayerCase(Pad(amount=1), (IMAGE,), value_tolerance=0.0),
    LayerCase(Pad(amount=4), (IMAGE,), value_tolerance=0.0),
    LayerCase(Pad(amount=2, mode="constant"), (IMAGE,), value_tolerance=0.0),
    LayerCase(PadToMultiple(), (IMAGE,), value_tolerance=0.0),
    LayerCase(PadToMultiple(multiple=3), ((2, 6, 4),), value_tolerance=0.0),
    LayerCase(CropLike(), ((3, 8, 8), (1, 5, 6)), value_tolerance=0.0),
    LayerCase(Normalize(**IMAGENET), (IMAGE,)),
    LayerCase(Moments(), (IMAGE, (1, 5, 1))),
    LayerCase(ScaleShift(), (IMAGE, (3, 1, 1), (3, 1, 1))),
    LayerCase(Normalize(low=0, high=255, mean=(0.5,), std=(2.0,)), ((1, 4, 3),)),
)
"""Every layer of the core, for every backend."""

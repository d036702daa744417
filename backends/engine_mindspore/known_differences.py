"""What MindSpore 2.10 computes wrongly or not at all on a CPU: tests of the backend contract that fail because of it, with the reason."""

from __future__ import annotations

_WITHOUT_BFLOAT16 = {
    "unfolding": (
        "conv2d out_channels=4 3x5x6",
        "conv2d out_channels=4 stride=2 padding=1 2x7x5",
        "conv2d out_channels=6 padding=1 groups=3 3x5x6",
    ),
    "matrix product": ("conv2d out_channels=2 kernel=1 bias=False 3x5x6", "conv2d out_channels=1 kernel=9 padding=4 1x4x6"),
    "relu": ("relu 3x5x6",),
    "tanh": ("tanh 3x5x6",),
    "max pool": ("max_pool2d 3x5x6", "max_pool2d kernel=3 2x7x8"),
    "nearest interpolation": ("upsample2d 3x5x6", "upsampled_conv2d out_channels=4 3x5x6"),
    "bilinear interpolation": ("upsample2d mode=bilinear 3x5x6",),
}
"""What a layer's reference is made of, and the layers."""


def without_bfloat16(what: str) -> str:
    """The reason why something fails in bfloat16."""
    return f"MindSpore 2.10 has no {what} of bfloat16 on a CPU"


ON_CPU = {
    "test_operator_gradient[tensor step]": "MindSpore 2.10 has no gradient of a slice with a step and a start, along one axis, on a CPU",
    "test_warp_of_reduced_precision[bfloat16]": without_bfloat16("gathering"),
} | {
    f"test_layer_of_reduced_precision[reference {layer}-bfloat16]": without_bfloat16(what)
    for what, layers in _WITHOUT_BFLOAT16.items()
    for layer in layers
}
"""By test and case. Only a loss that slices in steps can meet one: on a CPU the backend computes in float32."""

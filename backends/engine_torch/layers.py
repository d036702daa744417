"""Layers that PyTorch computes faster in a form of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from engine import KERNEL_SUMS, Conv2d, InstanceNorm2d, NativeLayers, UpsampledConv2d

LARGE = 2**20
"""Pixels of an image from which on statistics are taken apart: channels-last, group norm sums in plain float32 on a CPU (torch 2.13), and
at 3840x2160 it was off by 0.009 and a painting by 11 grey levels; this way by 2e-6."""


def _instance_norm(layer: InstanceNorm2d, weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    # One group a channel is the same function as F.instance_norm, whose kernel copies a channels-last input.
    # Forward it likes channels-last best, but its backward takes 30 times as long there (torch 2.13, CPU): train in NCHW.
    if x.requires_grad:
        x = x.contiguous()
    elif x.device.type == "cpu" and x.shape[2] * x.shape[3] >= LARGE:
        variance, mean = torch.var_mean(x.float(), (2, 3), correction=0, keepdim=True)
        scale = weights["weight"].view(1, -1, 1, 1) / torch.sqrt(variance + layer.eps)
        return torch.addcmul(weights["bias"].view(1, -1, 1, 1) - mean * scale, x, scale).to(x.dtype)
    return F.group_norm(x, x.shape[1], weights["weight"].to(x.dtype), weights["bias"].to(x.dtype), layer.eps)


FEW = 4
"""Output channels that are so few that two by two pixels are computed as one: a vector of the CPU holds 16 numbers."""


def _conv2d(layer: Conv2d, weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    bias = weights["bias"].to(x.dtype) if layer.bias else None
    weight = weights["weight"].to(x.dtype)
    few = layer.out_channels <= FEW and layer.kernel > 1 and layer.groups == 1 and layer.stride == 1
    if not few or x.device.type != "cpu" or x.requires_grad or weight.requires_grad:
        return F.conv2d(x, weight, bias, layer.stride, layer.padding, 1, layer.groups)
    # The kernel in its four places of a kernel one larger, two pixels a step; one pixel more below and right, for an odd last row.
    kernels = torch.stack([F.pad(weight, (right, 1 - right, below, 1 - below)) for below in (0, 1) for right in (0, 1)], 1).flatten(0, 1)
    p = layer.padding
    y = F.conv2d(F.pad(x, (p, p + 1, p, p + 1)), kernels, None if bias is None else bias.repeat_interleave(4), 2)
    h, w = (side + 2 * p - layer.kernel + 1 for side in x.shape[2:])
    return F.pixel_shuffle(y, 2)[:, :, :h, :w]


def _upsampled_conv2d(layer: UpsampledConv2d, weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    sums = torch.as_tensor(KERNEL_SUMS, dtype=torch.float32, device=x.device)
    kernel = (sums @ weights["weight"] @ sums.T).transpose(0, 1).to(x.dtype)
    bias = weights["bias"].to(x.dtype) if layer.bias else None
    return F.conv_transpose2d(F.pad(x, (1, 1, 1, 1), "replicate"), kernel, bias, 2, 3)


NATIVE: NativeLayers = {Conv2d: _conv2d, InstanceNorm2d: _instance_norm, UpsampledConv2d: _upsampled_conv2d}

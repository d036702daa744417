"""A network, losses and clips so small that the oracle can train on them: what a backend's training and painting are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from engine.contracts.backend import TrainingPlan
from engine.contracts.dataset import Batch
from engine.contracts.loss import Clip, Features, Loss, Needs, Prepared
from engine.layers import BatchNorm2d, Conv2d, CropLike, InstanceNorm2d, Pad, PadToMultiple, Tanh, Upsample2d
from engine.network import Network, Node, chain, residual
from engine.objective import BatchTensors, Objective
from engine.ops import Array, Ops, Tensor
from engine.optimiser import Adam
from engine.pixels import from_uint8, to_uint8
from engine.testing.cases import draw
from engine.testing.gradients import numerical_gradient
from engine.testing.oracle import OracleOps

STEPS = 2
BATCHES = 2
STATISTICS = ("norm.running_mean", "norm.running_var")
"""Weights that training must leave as they are."""


class StyleTerm(Loss):
    """Gram matrix of the painting against that of the style, from one layer of the encoder."""

    name = "contract_style"

    def needs(self) -> Needs:
        return Needs(encoder=("near",))

    def prepare(self, ops: Ops, style: Features) -> Prepared:
        return {"gram": _gram(ops, style["near"])}

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        return ops.mean(ops.square(_gram(ops, clip.encoded("output", "near", 0)) - prepared["gram"]))


class ContentTerm(Loss):
    """Encoder features of the painting against those of the frame."""

    name = "contract_content"

    def needs(self) -> Needs:
        return Needs(encoder=("near",), frame_encoder=("near",))

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        return ops.mean(ops.square(clip.encoded("output", "near", 0) - clip.encoded("frame", "near", 0)))


class TemporalTerm(Loss):
    """A painting against the one before along the flow, where the mask allows it, and a tap against that one's."""

    name = "contract_temporal"

    def needs(self) -> Needs:
        return Needs(frames=2, taps=("inside",), flow=True)

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        far = clip.mask(0, -1) * (clip.output(0) - ops.warp(clip.output(-1), clip.flow(0, -1)))
        return ops.mean(ops.square(far)) + ops.mean(ops.square(clip.tap("inside", 0) - clip.tap("inside", -1)))


def small_network() -> Network:
    """Halve, batch norm, a residual block with instance norm, double, mirror, crop: 3 channels in and out, any size from 2x2."""
    nodes = chain("image", {"even": PadToMultiple(multiple=2), "down": Conv2d(out_channels=2, kernel=2, stride=2)})
    nodes += chain("down", {"norm": BatchNorm2d(), "bent": Tanh()})
    block = [("conv", Conv2d(out_channels=2, kernel=1, bias=False)), ("norm", InstanceNorm2d())]
    nodes += residual("bent", "block", block)
    nodes += chain("block.add", {"up": Upsample2d(), "pad": Pad(amount=1), "last": Conv2d(out_channels=3), "tanh": Tanh()})
    return Network({"image": 3}, (*nodes, Node("crop", CropLike(), ("tanh", "image"))), ("crop",), {"inside": "block.add"})


def small_weights(network: Network) -> dict[str, Array]:
    """Weights that paint with contrast, and that no norm is trivial with."""
    weights = {name: x + np.float32(0.2) * draw(f"small {name}", x.shape) for name, x in network.initial_weights(5).items()}
    return {name: np.abs(x) + np.float32(0.5) if name == "norm.running_var" else x for name, x in weights.items()}


def pictures(count: int, height: int, width: int, seed: int = 0) -> Array:
    """Smooth colours, uint8 (count, height, width, 3), every picture another."""
    y, x, c, t = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), np.arange(count), indexing="ij")
    waves = np.sin(x * (0.5 + 0.2 * c) + y * (0.9 - 0.3 * c) + 1.3 * t + seed)
    frames: Array = np.moveaxis(127.5 + 127.4 * waves, 3, 0).round().astype(np.uint8)
    return frames


def painted(network: Network, weights: dict[str, Array], frames: Array) -> Array:
    """What the oracle paints, uint8 like ``frames``."""
    ops = OracleOps()
    image = from_uint8(ops, frames, network.low, network.high)
    made = network.apply(ops, {name: ops.asarray(x) for name, x in weights.items()}, {next(iter(network.inputs)): image})
    pixels: Array = to_uint8(ops, made[network.outputs[0]], network.low, network.high)
    return pixels


@cache
def small_plan() -> TrainingPlan:
    """Three losses that read all that a clip has, on :func:`small_network`; the learning rate falls linearly to zero."""
    network, near = small_network(), chain("image", {"conv": Conv2d(out_channels=2, stride=2), "bent": Tanh()})
    encoder = Network({"image": 3}, near, ("bent",), {"near": "bent"})
    losses: dict[str, Loss] = {"style": StyleTerm(weight=30), "content": ContentTerm(), "temporal": TemporalTerm(weight=3)}
    return TrainingPlan(
        network=network,
        weights=small_weights(network),
        losses=losses,
        encoder=encoder,
        encoder_weights=encoder.initial_weights(1),
        style=pictures(1, 7, 8, seed=3)[0],
        learning_rate=1e-2,
        betas=(0.8, 0.95),
        eps=1e-6,
        steps=STEPS,
        decay=1,
    )


@cache
def small_batch(number: int) -> Batch:
    """Two clips of two frames, 6 high and 8 wide, with flow and mask."""
    frames = pictures(4, 6, 8, seed=number).reshape(2, 2, 6, 8, 3)
    mask = (draw(f"mask {number}", (2, 1, 1, 6, 8)) > -0.8).astype(np.float32)
    return Batch(frames, draw(f"flow {number}", (2, 1, 2, 6, 8)), mask)


@dataclass(frozen=True)
class Step:
    """One update as the oracle makes it, from weights and state that are exact in float32."""

    batch: Batch
    weights: dict[str, Array]
    state: dict[str, Array]
    losses: dict[str, float]
    """Raw, by label, and ``total``."""
    gradients: dict[str, Array]
    """Of the total; 0 by what is no parameter."""


@cache
def reference_steps() -> tuple[Step, ...]:
    """:data:`STEPS` updates in a row in float64, the gradient by central differences."""
    plan, ops = small_plan(), OracleOps()
    objective = Objective(ops, plan, "float32", {})
    adam = Adam(plan.learning_rate, plan.betas, plan.eps, plan.steps, plan.decay)
    weights = dict(plan.weights)
    m, v = ({name: np.zeros_like(x) for name, x in weights.items()} for _ in range(2))
    steps = []
    for number in range(STEPS):
        batch = small_batch(number % BATCHES)
        tensors, names = BatchTensors.of(ops, batch), list(weights)

        def total(*x: Array, names: list[str] = names, tensors: BatchTensors = tensors) -> float:
            return float(objective(dict(zip(names, x, strict=True)), tensors)[0])

        gradients = dict(zip(names, numerical_gradient(total, *weights.values()), strict=True))
        gradients |= {name: 0 * gradients[name] for name in STATISTICS}
        value, raw = objective({name: ops.asarray(x) for name, x in weights.items()}, tensors)
        state = {f"adam.m.{name}": x for name, x in m.items()} | {f"adam.v.{name}": x for name, x in v.items()}
        state |= {"step": np.array(number, np.int64), "loss_scale": np.array([1, 0], np.float32)}
        losses = {label: float(x) for label, x in raw.items()} | {"total": float(value)}
        steps.append(Step(batch, dict(weights), state, losses, gradients))
        for name, gradient in gradients.items():
            weight, first, second = (np.float64(x[name]) for x in (weights, m, v))
            new = adam.update(ops, weight, gradient, first, second, *adam.factors(number + 1))
            weights[name], m[name], v[name] = (np.asarray(x, np.float32) for x in new)
    return tuple(steps)


def _gram(ops: Ops, x: Tensor) -> Tensor:
    n, c, h, w = ops.shape(x)
    flat = ops.reshape(x, (n, c, h * w))
    return ops.matmul(flat, ops.permute_dims(flat, (0, 2, 1))) / (c * h * w)

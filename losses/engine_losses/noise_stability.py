"""Paint a noisy frame as if it were clean, so that a camera's noise does not flicker."""

import math

import numpy as np

from engine import Clip, Features, Field, Loss, Needs, Ops, Prepared, Tensor

TILE = 128
"""Side of the noise in pixels; it is repeated over larger frames."""
PATTERNS = 4
"""Independent noises that a frame mixes its own from."""


class NoiseStabilityLoss(Loss):
    """sum((N(I + e) - N(I))^2) / (3 H W) on the newest frame, N the network, e noise of standard deviation ``noise``.

    Stability training (Zheng et al., Improving the Robustness of Deep Neural Networks via Stability Training, CVPR 2016),
    applied to video style transfer by Rainy and de Berker (Stabilizing neural style-transfer for video, 2018).
    Works on single pictures; costs one more run of the network a step. Gradients reach both paintings.

    A loss is a pure function of a clip, and the same one on every backend, so nothing is drawn while training runs: a few
    normal noises are drawn from ``seed`` once, and each frame mixes its own of them, by how much it resembles each:
    e = noise * sum_k a_k E_k with a_k = <I, E_k> / |<I, E>|. The same frame gets the same noise; frames
    that are alike get noises that are alike, since only so few patterns are mixed.
    """

    name = "noise_stability"
    weight: float = Field(default=1e6, ge=0, description="What its value is multiplied by in the total.")
    noise: float = Field(default=0.05, gt=0, le=1, description="Standard deviation of the noise; a frame ranges over 2, from -1 to 1.")
    seed: int = Field(default=0, ge=0, description="Other seeds draw other noise.")

    def needs(self) -> Needs:
        return Needs()

    def prepare(self, ops: Ops, style: Features) -> Prepared:
        """The noises, each (1, 3, 128, 128), of mean 0 and standard deviation 1."""
        drawn = np.random.default_rng(self.seed).normal(size=(PATTERNS, 1, 3, TILE, TILE)).astype(np.float32)
        return {str(k): ops.asarray(pattern) for k, pattern in enumerate(drawn)}

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        frame = clip.frame(0)
        noisy = ops.stop_gradient(frame + self.noise * noise_of(ops, frame, prepared))
        return ops.mean(ops.square(clip.paint(noisy) - clip.output(0)))  # (n, 3, h, w)


def noise_of(ops: Ops, frame: Tensor, patterns: Prepared) -> Tensor:
    """The noise that belongs to each frame, (n, 3, h, w), of standard deviation 1; none for a frame that is all zeros."""
    _, _, h, w = ops.shape(frame)
    tiled = [_tiled(ops, pattern, h, w) for pattern in patterns.values()]
    alike = [ops.mean(frame * pattern, axis=(1, 2, 3), keepdims=True) for pattern in tiled]  # (n, 1, 1, 1)
    length = ops.sqrt(sum(ops.square(a) for a in alike) + 1e-30)
    return sum(a / length * pattern for a, pattern in zip(alike, tiled, strict=True))


def _tiled(ops: Ops, pattern: Tensor, h: int, w: int) -> Tensor:
    wide = ops.concat([pattern] * math.ceil(w / TILE), 3)[:, :, :, :w]
    return ops.concat([wide] * math.ceil(h / TILE), 2)[:, :, :h, :]

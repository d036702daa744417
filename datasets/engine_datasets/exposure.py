"""Frames under light that changes, seen by a noisy camera."""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

import numpy as np

from engine import Array, relight


def expose(rng: np.random.Generator, frames: Array, illumination: float, noise: float) -> Array:
    """Frames uint8 (t, h, w, 3) under light that changes by up to ``illumination``, with noise of so many grey levels."""
    if not illumination and not noise:
        return frames
    seen = frames.astype(np.float32)
    if illumination:
        relight(rng, seen, illumination)
    if noise:
        drawn = np.frombuffer(rng.bytes(seen.size), np.uint8).reshape(seen.shape)
        seen += (_normal_quantiles() * noise).astype(np.float32).take(drawn)
    return np.clip(np.rint(seen, out=seen), 0, 255, out=seen).astype(np.uint8)


@lru_cache(1)
def _normal_quantiles() -> Array:
    """256 equally likely values of a normal distribution, deviation 1: much faster to draw from than the distribution."""
    values: Array = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])
    values /= values.std()
    return values

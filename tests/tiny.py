"""A recipe that trains in a second, without encoder weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.images import Picture, write_picture

TINY = """
format: 1
name: tiny
model: {name: reconet, width: 4, residual_blocks: 1}
style: {image: dots.png, size: 32}
losses:
  - {name: total_variation, weight: 1e-3}
  - {name: feature_temporal, weight: 1}
  - {name: output_temporal, weight: 10}
dataset: {name: moving_layers, width: 24, height: 20, length: 7, layers: 2}
backend: {name: torch, device: cpu, precision: float32}
optimiser: {learning_rate: 1e-3, decay: 0.5}
steps: 12
batch: 2
preview: {every: 5}
checkpoint: {every: 4}
"""


def write_tiny(folder: Path, **replaced: str) -> Path:
    """The recipe and its style image in ``folder``; each keyword is a text to replace and what with."""
    write_picture(folder / "dots.png", Picture(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)))
    text = TINY
    for old, new in replaced.items():
        assert f"{old}:" in text
        text = "\n".join(f"{old}: {new}" if line.startswith(f"{old}:") else line for line in text.splitlines())
    path = folder / "tiny.yaml"
    path.write_text(text)
    return path

"""What several test files share."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from engine import Array, EngineError
from engine.plugins import load_plugins
from engine.weights import load_weights

settings.register_profile("engine", deadline=None)  # how long an example takes depends on the machine
settings.load_profile("engine")


@pytest.fixture(scope="session")
def encoder_weights() -> dict[str, Array]:
    """VGG16's published weights, fetched into the user's cache by the engine itself; without them CI fails, others skip."""
    try:
        return load_weights(load_plugins().make_model("vgg16"))
    except EngineError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"no encoder weights: {error}")

"""The engine's contract of a backend, on JAX."""

from __future__ import annotations

import subprocess
import sys

import pytest
from engine_jax.backend import JaxBackend

from engine import EngineError
from engine.testing import BackendContract


class TestJax(BackendContract):
    """Every operator, every layer, painting and training."""

    component = JaxBackend


def test_importing_the_plugin_imports_no_jax() -> None:
    code = "import sys, engine_jax; assert 'jax' not in sys.modules and 'jaxlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_float16_is_refused() -> None:
    with pytest.raises(EngineError, match="does not compute in float16; allowed: auto, float32, bfloat16"):
        JaxBackend(device="cpu", precision="float16").describe()

"""The JAX backend: trains and paints on a CPU or a GPU, compiled by XLA."""

from __future__ import annotations

from engine import Backend, hookimpl
from engine_jax.backend import JaxBackend

ENGINE_API = "1"


@hookimpl
def engine_register_backends() -> list[type[Backend]]:
    """JAX."""
    return [JaxBackend]

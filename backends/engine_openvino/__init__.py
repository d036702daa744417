"""The OpenVINO backend: networks as OpenVINO graphs, painted on the CPU, several frames of a video at once."""

from __future__ import annotations

from engine import Backend, hookimpl
from engine_openvino.backend import OpenVinoBackend


@hookimpl
def engine_register_backends() -> list[type[Backend]]:
    """OpenVINO."""
    return [OpenVinoBackend]

"""The settings of the OpenVINO backend, and which precision they come to; openvino is imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from engine import Array, Backend, DType, EngineError, NativeLayers, Network, Painter

if TYPE_CHECKING:
    from engine_openvino.ops import OpenVinoOps
    from engine_openvino.session import SharedMemory

_CAPABILITIES = {"float32": "FP32", "bfloat16": "BF16"}
"""What OpenVINO calls them; it computes float16 on a CPU as float32, without a word."""


class OpenVinoBackend(Backend):
    """A network as one OpenVINO graph, on the CPU: painting at its fastest, and nothing else."""

    name = "openvino"
    package = "openvino"
    install = "pip install 'styleengine[openvino]'"
    priority = 20
    trains = False

    @cached_property
    def ops(self) -> OpenVinoOps:
        self._check_device()
        from engine_openvino.ops import OpenVinoOps

        return OpenVinoOps()

    @property
    def native(self) -> NativeLayers:
        self._check_device()
        from engine_openvino.layers import NATIVE

        return NATIVE

    def describe(self) -> dict[str, str]:
        self._check_device()
        from engine_openvino.session import VERSION

        return {"backend": self.name, "framework": "openvino", "version": VERSION, "device": "cpu", "precision": self._precision}

    @property
    def known_differences(self) -> Mapping[str, str]:
        from engine_openvino.known_differences import KNOWN

        return KNOWN

    def painter(self, network: Network, weights: Mapping[str, Array], *, batch: int = 1) -> Painter:
        self._check_device()
        from engine_openvino.painter import OpenVinoPainter

        return OpenVinoPainter(self.ops, network, weights, self._precision, self.native, self._memory)

    @cached_property
    def _memory(self) -> SharedMemory:
        from engine_openvino.session import SharedMemory

        return SharedMemory()

    def _check_device(self) -> None:
        if self.device not in ("auto", "cpu"):
            raise EngineError(f"the openvino backend has no device {self.device!r}", allowed="auto, cpu", remedy="Use --backend torch.")

    @cached_property
    def _precision(self) -> DType:
        from engine_openvino.session import capabilities

        there = [name for name, word in _CAPABILITIES.items() if word in capabilities()]
        if self.precision == "auto":
            # Listed where the CPU multiplies in it (AMX or AVX512_BF16). With the latter alone, at 640x360, it takes half the time of
            # float32 and its paintings of the shipped style are no farther from float32's than torch's bfloat16 is.
            return "bfloat16" if "bfloat16" in there else "float32"
        if self.precision not in there:
            raise EngineError(
                f"OpenVINO does not compute in {self.precision} on this CPU",
                allowed=", ".join(["auto", *there]),
                remedy="Use --precision float32, or --backend torch.",
            )
        return self.precision

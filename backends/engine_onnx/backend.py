"""The settings of the ONNX backend; onnx and onnxruntime are imported when they are used."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engine import Array, Backend, EngineError, Field, NativeLayers, Network, Painter

if TYPE_CHECKING:
    from engine_onnx.ops import OnnxOps


class OnnxBackend(Backend):
    """A network as one ONNX graph of free size: painted with onnxruntime on the CPU, and written to a file for others to run."""

    name = "onnx"
    package = "onnxruntime"
    further_packages = ("onnx",)
    install = "pip install 'styleengine[onnx]'"
    priority = 5
    trains = False
    exports = "onnx"
    export_input: Literal["uint8", "float32"] = Field(
        default="uint8",
        description="What an exported graph takes and gives: uint8 pictures (n, h, w, 3), or float32 (n, c, h, w) in the network's range.",
    )

    @cached_property
    def ops(self) -> OnnxOps:
        self._check()
        from engine_onnx.ops import OnnxOps

        return OnnxOps()

    @property
    def native(self) -> NativeLayers:
        self._check()
        from engine_onnx.layers import NATIVE

        return NATIVE

    def describe(self) -> dict[str, str]:
        self._check()
        import onnxruntime

        return {
            "backend": self.name,
            "framework": "onnxruntime",
            "version": onnxruntime.__version__,
            "device": "cpu",
            "precision": "float32",
        }

    def painter(self, network: Network, weights: Mapping[str, Array], *, batch: int = 1) -> Painter:
        self._check()
        from engine_onnx.painter import OnnxPainter

        return OnnxPainter(self.ops, network, weights, self.native)

    def export(self, network: Network, weights: Mapping[str, Array], path: Path, *, metadata: Mapping[str, str]) -> None:
        self._check()
        from engine_onnx.export import export

        export(self.ops, network, weights, self.native, path, pictures=self.export_input == "uint8", metadata=metadata)

    def _check(self) -> None:
        if self.device not in ("auto", "cpu"):
            raise EngineError(f"the onnx backend has no device {self.device!r}", allowed="auto, cpu", remedy="Use --backend torch.")
        if self.precision not in ("auto", "float32"):
            raise EngineError(
                f"onnxruntime computes in float32 on a CPU, not in {self.precision}",
                allowed="auto, float32",
                remedy="Use --precision float32, or --backend torch.",
            )

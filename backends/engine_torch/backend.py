"""The settings of the PyTorch backend, and which device and precision they come to; torch is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from engine import Array, Backend, DType, EngineError, NativeLayers, Network, Painter, Tensor, Trainer, TrainingPlan

if TYPE_CHECKING:
    import torch

    from engine_torch.ops import TorchOps


class TorchBackend(Backend):
    """PyTorch on a CPU, an NVIDIA or AMD card (CUDA, ROCm) or an Apple one (MPS)."""

    name = "torch"
    package = "torch"
    install = "pip install 'styleengine[torch]'"
    priority = 10
    devices = ("cpu", "gpu")

    @cached_property
    def ops(self) -> TorchOps:
        from engine_torch.ops import TorchOps

        return TorchOps(self._device)

    @property
    def native(self) -> NativeLayers:
        from engine_torch.layers import NATIVE

        return NATIVE

    def describe(self) -> dict[str, str]:
        import torch

        return {
            "backend": self.name,
            "framework": "torch",
            "version": torch.__version__,
            "device": str(self._device),
            "precision": self._precision,
        }

    def gradient(self, function: Callable[..., Tensor], *inputs: Array) -> tuple[float, list[Array]]:
        from engine_torch.gradients import gradients

        tensors = [self.ops.asarray(x).requires_grad_() for x in inputs]
        value = function(*tensors)
        return float(value.detach()), [self.ops.to_numpy(x) for x in gradients(value, tensors)]

    def trainer(self, plan: TrainingPlan) -> Trainer:
        from engine_torch.trainer import TorchTrainer

        return TorchTrainer(self.ops, plan, self._precision, self.native)

    def free_memory(self) -> int | None:
        import torch

        if self._device.type != "cuda":
            return None
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)  # torch's own, and free
        return int(torch.cuda.mem_get_info(self._device)[0]) + kept

    def painter(self, network: Network, weights: Mapping[str, Array], *, batch: int = 1) -> Painter:
        from engine_torch.painter import TorchPainter

        return TorchPainter(self.ops, network, weights, self._precision, self.native)

    @cached_property
    def _device(self) -> torch.device:
        import torch

        kind, _, number = self.device.partition(":")
        if kind == "ascend":
            raise EngineError("the torch backend has no Ascend device", allowed="auto, cpu, gpu[:n]", remedy="Use --backend mindspore.")
        cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
        apple = torch.backends.mps.is_available()
        if kind == "gpu" and not cards and not apple:
            raise EngineError("torch finds no GPU on this machine", allowed="auto, cpu", remedy="Is this torch a CUDA build?")
        if kind == "gpu" and cards and int(number or 0) >= cards:
            raise EngineError(f"torch finds no GPU number {number}", allowed=", ".join(f"gpu:{i}" for i in range(cards)))
        if kind != "cpu" and cards:
            # Only whoever asks for less than float32 gets less: cuDNN would multiply in TF32, of 10 bits, by default.
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
            return torch.device("cuda", int(number or 0))
        return torch.device("mps" if kind != "cpu" and apple else "cpu")

    @cached_property
    def _precision(self) -> DType:
        if self.precision != "auto":
            return self.precision
        # A CPU emulates bfloat16 slowly unless it multiplies in it; measured 1.7 times a training step with AVX512_BF16.
        return "bfloat16" if self._device.type == "cpu" and _multiplies_bfloat16() else "float32"


def _multiplies_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags

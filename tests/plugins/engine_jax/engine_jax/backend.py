"""The settings of the JAX backend, and which device and precision they come to; jax is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from engine import Array, Backend, DType, EngineError, Network, Painter, Tensor, Trainer, TrainingPlan

if TYPE_CHECKING:
    import jax

    from engine_jax.ops import JaxOps


class JaxBackend(Backend):
    """JAX on a CPU or on an NVIDIA or AMD card."""

    name = "jax"
    package = "jax"
    further_packages = ("jaxlib",)
    install = "pip install 'jax>=0.7,<0.8'"
    priority = 1
    devices = ("cpu", "gpu")

    @property
    def ops(self) -> JaxOps:
        return self._operators

    def describe(self) -> dict[str, str]:
        import jax

        return {
            "backend": self.name,
            "framework": "jax",
            "version": jax.__version__,
            "device": f"{self._device.platform}:{self._device.id}" if self._device.platform != "cpu" else "cpu",
            "precision": self._precision,
        }

    def gradient(self, function: Callable[..., Tensor], *inputs: Array) -> tuple[float, list[Array]]:
        import jax

        from engine_jax.compiling import compiled

        tensors = [self.ops.asarray(x) for x in inputs]
        # Compiled as one function: operator by operator XLA would compile each of them for each shape.
        value, gradients = compiled(jax.value_and_grad(function, tuple(range(len(tensors)))), *tensors)(*tensors)
        return float(value), [self.ops.to_numpy(x) for x in gradients]

    def trainer(self, plan: TrainingPlan) -> Trainer:
        from engine_jax.trainer import JaxTrainer

        return JaxTrainer(self.ops, plan, self._precision)

    def free_memory(self) -> int | None:
        stats = self._device.memory_stats()
        return int(stats["bytes_limit"] - stats["bytes_in_use"]) if stats and "bytes_limit" in stats else None

    def painter(self, network: Network, weights: Mapping[str, Array], *, batch: int = 1) -> Painter:
        from engine_jax.painter import JaxPainter

        return JaxPainter(self.ops, network, weights, self._precision)

    @cached_property
    def _operators(self) -> JaxOps:  # pyright takes no cached_property in the place of a property
        from engine_jax.ops import JaxOps

        return JaxOps(self._device)

    @cached_property
    def _device(self) -> jax.Device:
        import jax

        kind, _, number = self.device.partition(":")
        if kind == "ascend":
            raise EngineError("the jax backend has no Ascend device", allowed="auto, cpu, gpu[:n]", remedy="Use --backend mindspore.")
        cards: list[jax.Device] = []
        if kind != "cpu":
            try:
                cards = jax.devices("gpu")
            except RuntimeError:  # JAX's way to say that there are none
                cards = []
        if kind == "gpu" and not cards:
            raise EngineError("jax finds no GPU on this machine", allowed="auto, cpu", remedy="Is this jaxlib a CUDA or ROCm build?")
        if int(number or 0) >= max(len(cards), 1):
            raise EngineError(f"jax finds no GPU number {number}", allowed=", ".join(f"gpu:{i}" for i in range(len(cards))))
        return cards[int(number or 0)] if cards else jax.devices("cpu")[0]

    @cached_property
    def _precision(self) -> DType:
        if self.precision == "float16":
            raise EngineError("the jax backend does not compute in float16", allowed="auto, float32, bfloat16")
        # XLA emulates bfloat16 on a CPU; on a card too, only whoever asks for less than float32 gets less.
        return "float32" if self.precision == "auto" else self.precision

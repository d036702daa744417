"""The settings of the MindSpore backend, and which device and precision they come to; mindspore is imported when it is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from engine import Array, Backend, DType, EngineError, NativeLayers, Network, Painter, Tensor, Trainer, TrainingPlan

if TYPE_CHECKING:
    from engine_mindspore.compiled import RecentGraphs
    from engine_mindspore.ops import MindSporeOps

_TARGETS = {"cpu": "CPU", "gpu": "GPU", "ascend": "Ascend"}


class MindSporeBackend(Backend):
    """MindSpore on a CPU, an NVIDIA card or an Ascend one."""

    name = "mindspore"
    package = "mindspore"
    install = "pip install 'styleengine[mindspore]'"
    priority = 1
    devices = ("cpu", "gpu", "ascend")

    @cached_property
    def ops(self) -> MindSporeOps:
        target = self._target  # the device is set, and MindSpore told to be quiet, before anything else imports it
        from engine_mindspore.ops import MindSporeOps

        return MindSporeOps(target)

    @property
    def native(self) -> NativeLayers:
        target = self._target
        from engine_mindspore.layers import CARD, CPU

        return CPU if target == "CPU" else CARD

    def describe(self) -> dict[str, str]:
        ms = _mindspore()

        device = self._target.lower() + (f":{self._number}" if self._target != "CPU" else "")
        return {
            "backend": self.name,
            "framework": "mindspore",
            "version": ms.__version__,
            "device": device,
            "precision": self._precision,
        }

    @property
    def known_differences(self) -> Mapping[str, str]:
        from engine_mindspore.known_differences import ON_CPU

        return ON_CPU if self._target == "CPU" else {}

    def gradient(self, function: Callable[..., Tensor], *inputs: Array) -> tuple[float, list[Array]]:
        ms = _mindspore()

        tensors = [self.ops.asarray(x) for x in inputs]
        value, gradients = ms.value_and_grad(lambda *x: function(*x), tuple(range(len(tensors))))(*tensors)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)  # of one input MindSpore gives it bare
        return float(value.asnumpy()), [self.ops.to_numpy(x) for x in gradients]

    def trainer(self, plan: TrainingPlan) -> Trainer:
        ops = self.ops
        from engine_mindspore.trainer import MindSporeTrainer

        return MindSporeTrainer(ops, plan, self._precision, self.native)

    def painter(self, network: Network, weights: Mapping[str, Array], *, batch: int = 1) -> Painter:
        ops = self.ops
        from engine_mindspore.painter import MindSporePainter

        return MindSporePainter(ops, network, weights, self._precision, self.native, self._graphs)

    @cached_property
    def _graphs(self) -> RecentGraphs:
        """Those of all painters: what a network is compiled to, another one of its kind can use, and the same one again."""
        from engine_mindspore.compiled import RecentGraphs

        return RecentGraphs()

    @property
    def _number(self) -> int:
        return int(self.device.partition(":")[2] or 0)

    @cached_property
    def _target(self) -> str:
        ms = _mindspore()

        kind = self.device.partition(":")[0]
        counts = {} if kind == "cpu" else {target: _count(target) for target in ("Ascend", "GPU")}
        there = [target for target, count in counts.items() if count]
        target = _TARGETS[kind] if kind != "auto" else (there or ["CPU"])[0]
        if target != "CPU" and target not in there:
            allowed = ", ".join(["auto", "cpu", *(name for name, of in _TARGETS.items() if of in there)])
            remedy = "Is its plugin for that device installed?"
            raise EngineError(f"this MindSpore finds no {target} device", allowed=allowed, remedy=remedy)
        if target != "CPU" and self._number >= counts[target]:
            raise EngineError(f"MindSpore finds no {target} device number {self._number}", allowed=f"0 to {counts[target] - 1}")
        try:
            ms.set_device(target, self._number)
        except RuntimeError as error:
            raise EngineError(
                f"MindSpore uses one device in a process, and cannot change to {target}:{self._number} ({str(error).splitlines()[0]})",
                remedy="Paint or train on the other device in a process of its own.",
            ) from None
        return target

    @cached_property
    def _precision(self) -> DType:
        if self._target == "CPU" and self.precision not in ("auto", "float32"):
            raise EngineError(f"MindSpore has no {self.precision} on a CPU", allowed="auto, float32")
        return "float32" if self.precision == "auto" else self.precision


def _mindspore() -> Any:
    """MindSpore, told in time to keep the warnings of its compiler to itself; who sets ``GLOG_v`` sees what it asks for."""
    os.environ.setdefault("GLOG_v", "3")
    import mindspore

    return mindspore


def _count(target: str) -> int:
    """How many devices of that kind MindSpore can use."""
    ms = _mindspore()
    try:  # `is_available` would log two warnings about each kind that is missing
        return int(ms.hal.device_count(target))
    except (ValueError, RuntimeError):  # the plugin for it could not be loaded, or its driver does not answer
        return 0

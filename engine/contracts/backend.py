"""What a backend is, and the two things that it makes: a trainer from a plan, a painter from a network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol, SupportsFloat, TypeAlias

from pydantic import Field

from engine.components import Component
from engine.contracts.dataset import Batch
from engine.contracts.loss import Loss
from engine.errors import EngineError
from engine.network import NativeLayers, Network
from engine.ops import Array, Ops, Tensor

Precision: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
DEVICE = r"^(auto|cpu|(gpu|ascend)(:\d+)?)$"
"""The pattern of a device's name."""


@dataclass(frozen=True)
class TrainingPlan:
    """Everything a backend needs to train one style."""

    network: Network
    weights: Mapping[str, Array]
    losses: Mapping[str, Loss]
    """By label."""
    encoder: Network | None
    """Frozen; its taps are the layers that losses name. None where no loss needs one."""
    encoder_weights: Mapping[str, Array]
    style: Array
    """The style image, uint8 (h, w, 3) RGB at the size it is compared at."""
    learning_rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    steps: int = 0
    """Updates of the whole run, for the schedule."""
    decay: float = 0.0
    """Over this last share of the run the learning rate falls linearly to zero."""


class Trainer(Protocol):
    """A training run inside a backend. :class:`engine.Optimiser` is all of it but ``step`` and ``evaluate``."""

    def step(self, batch: Batch) -> Mapping[str, SupportsFloat]:
        """One update. Raw losses by label and ``total``; reading a value waits for the device."""

    def evaluate(self, batch: Batch) -> Mapping[str, SupportsFloat]:
        """The same values for a batch without learning from it."""

    def weights(self) -> dict[str, Array]:
        """A copy of the weights, float32."""

    def state(self) -> dict[str, Array]:
        """What must be kept beside the weights: ``adam.m.<weight>``, ``adam.v.<weight>``, ``step``, ``loss_scale``."""

    def restore(self, weights: Mapping[str, Array], state: Mapping[str, Array]) -> None:
        """Go on from there, exactly."""


class Painter(Protocol):
    """A network ready to run."""

    def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
        """uint8 RGB (n, h, w, 3) in, the same out, in order; reads ahead of what it yields where that is faster."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Float32 inputs (n, c, h, w) by name to the outputs by node name, float32."""


class Backend(Component):
    """A framework: its operators, how it differentiates and how it streams."""

    kind: ClassVar[str] = "backend"
    package: ClassVar[str] = ""
    """The import name of the framework; the engine looks whether it is installed without importing it."""
    further_packages: ClassVar[tuple[str, ...]] = ()
    """The import names of what it needs beside its framework, looked for in the same way."""
    install: ClassVar[str] = ""
    """The command that installs it."""
    priority: ClassVar[int] = 0
    """``auto`` takes, of the installed backends that can do the work, the one of the highest number.

    Where the machine has a card and no device was named, those that serve cards come first.
    """
    trains: ClassVar[bool] = True
    """Whether it has :meth:`trainer` and :meth:`gradient`; other backends only paint."""
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    """The kinds of device that it can serve: ``cpu``, ``gpu``, ``ascend``."""
    exports: ClassVar[str] = ""
    """The format that :meth:`export` writes: ``onnx``; empty where it writes none.

    What the exported graph takes can be chosen where the backend has a setting ``export_input``.
    """
    device: str = Field(default="auto", pattern=DEVICE, description="auto, cpu, gpu[:n] or ascend[:n].")
    precision: Precision = Field(default="auto", description="What networks compute in; weights, losses and sums stay float32.")

    @property
    @abstractmethod
    def ops(self) -> Ops:
        """Operators on the device."""

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """``framework``, ``version``, ``device``, ``precision`` as they are in use; an :class:`EngineError` where it cannot run."""

    @property
    def native(self) -> NativeLayers:
        """Its own forms of layers; empty where the reference is good."""
        return {}

    @property
    def known_differences(self) -> Mapping[str, str]:
        """Tests of :class:`engine.testing.BackendContract` that must fail on this device, each with the reason.

        By name, ``test_x`` or ``test_x[case]``; ``engine plugins check`` lists them as expected. Only for what the framework itself
        computes wrongly or not at all.
        """
        return {}

    def gradient(self, function: Callable[..., Tensor], *inputs: Array) -> tuple[float, list[Array]]:
        """The value of ``function(*tensors)``, a scalar, and its gradient by each input."""
        raise EngineError(f"the backend {self.name!r} only paints")

    def trainer(self, plan: TrainingPlan) -> Trainer:
        """A training run from the plan's weights."""
        raise EngineError(f"the backend {self.name!r} only paints")

    def free_memory(self) -> int | None:
        """Bytes that the device has free; None where it computes in the machine's own memory, or does not tell."""
        return None

    @abstractmethod
    def painter(self, network: Network, weights: Mapping[str, Array], *, batch: int = 1) -> Painter:
        """A painter for batches of at most so many frames."""

    def export(self, network: Network, weights: Mapping[str, Array], path: Path, *, metadata: Mapping[str, str]) -> None:
        """Write the network and its weights to ``path`` in the format ``exports``, with ``metadata`` in the file.

        The engine hands over a temporary name and renames it, so that the file is there whole or not at all.
        """
        raise EngineError(f"the backend {self.name!r} exports nothing")

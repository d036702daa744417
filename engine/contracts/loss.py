"""What a loss is, what it needs and what it sees."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeAlias

from pydantic import Field

from engine.components import Component
from engine.ops import Ops, Tensor

Features: TypeAlias = Mapping[str, Tensor]
"""The style image's encoder features by layer, each (1, c, h, w), float32."""
Prepared: TypeAlias = Mapping[str, Tensor]
"""What a loss made of the style once, handed back to it at every step."""


@dataclass(frozen=True)
class Needs:
    """What a loss reads; nothing else is computed."""

    frames: int = 1
    """Consecutive frames of a clip."""
    encoder: tuple[str, ...] = ()
    """Encoder layers of the painted frames, of images given to :meth:`Clip.encode`, and of the style image."""
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
        """(n, 2, h, w) in pixels: from a pixel of frame t to where it was in the older frame ``to``.

        Further back than one frame, the flows of consecutive frames are chained. With ``size`` = (height, width), resized
        bilinearly and scaled by w'/w and h'/h.
        """

    def mask(self, t: int, to: int, size: tuple[int, int] | None = None) -> Tensor:
        """(n, 1, h, w), 1 where the pixel can be traced from frame t to the older frame ``to``, through all between.

        With ``size`` the nearest pixel's.
        """

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

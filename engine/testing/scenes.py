"""Small clips of which flow and mask are known exactly, and the :class:`engine.Clip` that a loss is tried on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from engine.contracts.dataset import Sample
from engine.contracts.loss import Clip, Features, Needs
from engine.ops import Array, Ops, Tensor
from engine.testing.cases import draw
from engine.testing.clips import GivenClip

HEIGHT, WIDTH = 16, 24
CHANNELS = 4
"""Of every encoder layer and every tap."""
MOTIONS = ((2, -1), (-1, 1))
"""(right, down) in pixels a frame, of the two clips of a batch."""
EVERYTHING = Needs(frames=3, encoder=("relu1_2", "relu2_2"), frame_encoder=("relu1_2", "relu2_2"), taps=("features",), flow=True)


def moving_sample(
    frames: int = 2, motion: tuple[int, int] = (2, -1), name: str = "a texture", size: tuple[int, int] = (HEIGHT, WIDTH)
) -> Sample:
    """A texture of ``size`` = (height, width) that moves by ``motion`` = (right, down) whole pixels a frame: flow and mask are exact."""
    (dx, dy), (height, width) = motion, size
    reach_x, reach_y = abs(dx) * (frames - 1), abs(dy) * (frames - 1)
    noise = np.pad(draw(name, (height + 2 * reach_y, width + 2 * reach_x, 3)), ((1, 1), (1, 1), (0, 0)), mode="wrap")
    soft = (noise[1:-1, 1:-1] + noise[1:-1, :-2] + noise[:-2, 1:-1] + noise[:-2, :-2]) / 2
    texture = np.clip(np.rint(127.5 + 50 * soft), 0, 255).astype(np.uint8)
    starts = [(reach_y - k * dy, reach_x - k * dx) for k in range(frames)]
    shown = np.stack([texture[top : top + height, left : left + width] for top, left in starts])
    flow = np.broadcast_to(np.array([-dx, -dy], np.float32).reshape(1, 2, 1, 1), (frames - 1, 2, height, width)).copy()
    rows, columns = np.arange(height)[:, None] - dy, np.arange(width) - dx
    mask = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return Sample(shown, flow, np.broadcast_to(mask, (frames - 1, 1, height, width)).astype(np.float32))


@dataclass
class Reads:
    """What a loss has read of a clip and of the style's features."""

    encoder: set[str] = field(default_factory=set)
    frame_encoder: set[str] = field(default_factory=set)
    taps: set[str] = field(default_factory=set)
    flow: bool = False
    style: bool = False
    oldest: int = 0
    """The oldest frame, 0 for the newest."""


class NeedsClip:
    """A :class:`engine.Clip` of two moving textures that gives what ``needs`` names and refuses the rest.

    The painted frames are the first of the variables, newest first, each (2, 3, h, w); what is made of a painted frame (its encoder
    features, taps) is a fixed function of it. The last variable, (3, 3, 3, 3), is the network that :meth:`paint` runs.
    """

    def __init__(
        self, ops: Ops, needs: Needs, *variables: Tensor, still: bool = False, clips: tuple[int, ...] = (0, 1), style: str = "a style image"
    ) -> None:
        self.ops, self.needs, self.reads, self._style = ops, needs, Reads(), style
        *painted, self._network = variables
        outputs = painted if len(clips) == 2 else [x[clips[0] : clips[0] + 1] for x in painted]
        self.times = tuple(-k for k in range(len(outputs)))
        _, _, h, w = ops.shape(outputs[0])
        samples = [moving_sample(len(outputs), motion, f"texture {motion}", (h, w)) for motion in (MOTIONS[i] for i in clips)]
        if still:
            samples = [Sample(0 * s.frames, 0 * _given(s.flow), 0 * _given(s.mask)) for s in samples]
        frames = np.stack([s.frames for s in samples]).transpose(1, 0, 4, 2, 3)[::-1] / np.float32(127.5) - 1  # (t, n, 3, h, w)
        flows, masks = (np.stack(x, axis=1)[::-1] for x in zip(*((_given(s.flow), _given(s.mask)) for s in samples), strict=True))
        tensors = [[ops.asarray(x) for x in parts] for parts in (frames, flows, masks)]
        self._given = GivenClip(ops, tensors[0], outputs, tensors[1], tensors[2])

    def frame(self, t: int) -> Tensor:
        return self._at(self._given.frames, t)

    def output(self, t: int) -> Tensor:
        return self._at(self._given.outputs, t)

    def tap(self, name: str, t: int) -> Tensor:
        self._allow(name in self.needs.taps, f"clip.tap({name!r}, {t})", f"taps=({name!r},)")
        self.reads.taps.add(name)
        return features(self.ops, name, self.output(t), 1)

    def encoded(self, what: Literal["output", "frame"], layer: str, t: int) -> Tensor:
        key = "encoder" if what == "output" else "frame_encoder"
        self._allow(layer in getattr(self.needs, key), f"clip.encoded({what!r}, {layer!r}, {t})", f"{key}=({layer!r},)")
        getattr(self.reads, key).add(layer)
        return features(self.ops, layer, self.output(t) if what == "output" else self.frame(t))

    def flow(self, t: int, to: int, size: tuple[int, int] | None = None) -> Tensor:
        self._allow(self.needs.flow, f"clip.flow({t}, {to})", "flow=True")
        self.reads.flow = True
        return self._given.flow(self._time(t), self._time(to), size)

    def mask(self, t: int, to: int, size: tuple[int, int] | None = None) -> Tensor:
        self._allow(self.needs.flow, f"clip.mask({t}, {to})", "flow=True")
        self.reads.flow = True
        return self._given.mask(self._time(t), self._time(to), size)

    def paint(self, x: Tensor) -> Tensor:
        return self.ops.tanh(self.ops.conv2d(x, self._network, padding=1))

    def encode(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        for layer in layers:
            known = layer in (*self.needs.encoder, *self.needs.frame_encoder)
            self._allow(known, f"clip.encode(x, [{layer!r}])", f"encoder=({layer!r},)")
            self.reads.encoder.add(layer)
        return {layer: features(self.ops, layer, x) for layer in layers}

    def style(self) -> Features:
        """The features of a style image for :meth:`engine.Loss.prepare`; which of them are read is noted."""
        image = self.ops.asarray(np.tanh(draw(self._style, (1, 3, 20, 20))))
        return _Noted(self, {layer: features(self.ops, layer, image) for layer in self.needs.encoder})

    def _at(self, tensors: Sequence[Tensor], t: int) -> Tensor:
        return tensors[-self._time(t)]

    def _time(self, t: int) -> int:
        self._allow(t in self.times, f"frame {t} of the clip", f"frames={1 - t if t <= 0 else 1}")
        self.reads.oldest = min(self.reads.oldest, t)
        return t

    def _allow(self, allowed: bool, what: str, key: str) -> None:
        assert allowed, f"the loss reads {what}, which its needs() does not name; let needs() return Needs({key}, ...)"


class _Noted(dict[str, Tensor]):
    """The style's features by layer."""

    def __init__(self, clip: NeedsClip, values: dict[str, Tensor]) -> None:
        super().__init__(values)
        self._clip = clip

    def __getitem__(self, layer: str) -> Tensor:
        self._clip._allow(layer in self, f"style[{layer!r}]", f"encoder=({layer!r},)")
        self._clip.reads.encoder.add(layer)
        self._clip.reads.style = True
        return super().__getitem__(layer)

    def items(self):  # type: ignore[no-untyped-def]  # dict's own view type cannot be made
        self._read_all()
        return super().items()

    def values(self):  # type: ignore[no-untyped-def]  # as above
        self._read_all()
        return super().values()

    def _read_all(self) -> None:
        self._clip.reads.encoder.update(self)
        self._clip.reads.style = bool(self)


def variables(frames: int, *, still: bool = False, size: tuple[int, int] = (HEIGHT, WIDTH)) -> list[Array]:
    """What a :class:`NeedsClip` is differentiated by: the painted frames in (-1, 1), newest first, and the network; float32."""
    painted = [np.tanh(draw(f"painted {k}", (2, 3, *size))) for k in range(frames)]
    if still:
        painted = [np.full_like(x, -1) for x in painted]
    return [*painted, draw("a network", (3, 3, 3, 3)) * np.float32(0.2)]


def features(ops: Ops, name: str, image: Tensor, depth: int | None = None) -> Tensor:
    """relu(3x3 convolution of the image halved ``depth`` times): ``relu3_3`` is halved twice, as in VGG; (n, 4, h', w').

    Never under 8 pixels a side, so that a loss may look at neighbours in the deepest layer too.
    """
    number = re.search(r"\d", name)
    halvings = depth if depth is not None else min(int(number[0]), 5) - 1 if number and number[0] != "0" else 1
    _, _, h, w = ops.shape(image)
    small = ops.resize(image, (max(h >> halvings, min(h, 8)), max(w >> halvings, min(w, 8))), "bilinear")
    weight, bias = draw(f"{name} weight", (CHANNELS, 3, 3, 3)), draw(f"{name} bias", (CHANNELS,))
    return ops.relu(ops.conv2d(small, ops.asarray(weight), ops.asarray(bias), padding=1))


@dataclass(frozen=True)
class ExampleClip:
    """A dataset's sample and the clip that a loss would see of such ones."""

    sample: Sample
    """Three frames of 24x16 pixels that move 2 to the right and 1 up, with exact flow and mask."""

    def on(self, ops: Ops, needs: Needs = EVERYTHING) -> Clip:
        """Two clips of whole-pixel motion, as a batch on a backend: what ``needs`` names and nothing else."""
        return NeedsClip(ops, needs, *(ops.asarray(x) for x in variables(needs.frames)))


def _given(x: Array | None) -> Array:
    assert x is not None
    return x

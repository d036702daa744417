"""The clip that one loss sees: what its needs() names, and nothing that another loss has asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from engine.contracts.loss import Clip, Needs
from engine.errors import LossFailed
from engine.ops import Tensor


class AskedClip:
    """A :class:`engine.Clip` for the loss of that label; reading what ``needs`` does not name is a :class:`LossFailed`."""

    def __init__(self, clip: Clip, label: str, needs: Needs) -> None:
        self._clip, self._label, self._needs = clip, label, needs

    @property
    def times(self) -> tuple[int, ...]:
        return self._clip.times

    def frame(self, t: int) -> Tensor:
        return self._clip.frame(t)

    def output(self, t: int) -> Tensor:
        return self._clip.output(t)

    def tap(self, name: str, t: int) -> Tensor:
        self._allow(name in self._needs.taps, f"clip.tap({name!r}, {t})", f"taps=({name!r},)")
        return self._clip.tap(name, t)

    def encoded(self, what: Literal["output", "frame"], layer: str, t: int) -> Tensor:
        key = "encoder" if what == "output" else "frame_encoder"
        self._allow(layer in getattr(self._needs, key), f"clip.encoded({what!r}, {layer!r}, {t})", f"{key}=({layer!r},)")
        return self._clip.encoded(what, layer, t)

    def flow(self, t: int, to: int, size: tuple[int, int] | None = None) -> Tensor:
        self._allow(self._needs.flow, f"clip.flow({t}, {to})", "flow=True")
        return self._clip.flow(t, to, size)

    def mask(self, t: int, to: int, size: tuple[int, int] | None = None) -> Tensor:
        self._allow(self._needs.flow, f"clip.mask({t}, {to})", "flow=True")
        return self._clip.mask(t, to, size)

    def paint(self, x: Tensor) -> Tensor:
        return self._clip.paint(x)

    def encode(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        for layer in layers:
            known = layer in (*self._needs.encoder, *self._needs.frame_encoder)
            self._allow(known, f"clip.encode(x, [{layer!r}])", f"encoder=({layer!r},)")
        return self._clip.encode(x, layers)

    def _allow(self, allowed: bool, what: str, key: str) -> None:
        if not allowed:
            raise LossFailed(
                f"the loss {self._label} reads {what}, which its needs() does not name",
                remedy=f"Let needs() return Needs({key}, ...) in the class of that loss.",
            )

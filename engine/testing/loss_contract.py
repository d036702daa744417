"""What every loss must do."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import ValidationError

from engine.contracts.backend import Backend
from engine.contracts.loss import Loss, Needs
from engine.ops import Ops, Tensor
from engine.testing.contract import Contract
from engine.testing.gradients import detached_slopes, directions
from engine.testing.guarded import Bare, GuardedOps, Unseen
from engine.testing.oracle import OracleOps
from engine.testing.scenes import NeedsClip, variables

ODD = (17, 23)
"""Height and width of pictures that halve into no whole numbers."""


class LossContract(Contract):
    """The tests that every loss passes, on two clips of 24x16 pixels with whole-pixel motion.

    Values and gradients are compared with the same loss on the float64 oracle: values to 1e-4, gradients by directional
    derivatives to 1e-3 of the largest.
    """

    component: ClassVar[type[Loss]]
    kind = Loss

    def test_construction(self) -> None:
        """It can be built from ``settings``, and says what it needs."""
        needs = self._loss().needs()
        assert isinstance(needs, Needs), f"needs() returns {needs!r}; let it return engine.Needs(...)"
        for key in ("encoder", "frame_encoder", "taps"):
            names = getattr(needs, key)
            assert not isinstance(names, str), f"needs() says {key}={names!r}; let it be a tuple of names: {key}=({names!r},)"
        assert needs.frames > 1 or not needs.flow, "needs() asks for flow in clips of one frame; let it return Needs(frames=2, flow=True)"

    def test_value(self, training_backend: Backend) -> None:
        """A finite float32 scalar, the same at every call, and what the float64 oracle gives."""
        loss, ops = self._loss(), training_backend.ops
        wanted, again = (_number(OracleOps(), *_evaluate(loss, OracleOps())) for _ in range(2))
        assert wanted == again, f"two calls on one clip give {wanted} and {again}; a loss is a pure function of its clip"
        value = _number(ops, *_evaluate(loss, ops))
        assert value == pytest.approx(wanted, rel=1e-4, abs=1e-6), f"{value} in float32 on {ops.name}, {wanted} in float64"

    def test_gradient(self, training_backend: Backend) -> None:
        """It reaches what the network painted, and is right."""
        loss, given = self._loss(), variables(self._loss().needs().frames)
        _, gradients = training_backend.gradient(lambda *x: _evaluate(loss, training_backend.ops, *x)[0], *given)
        assert all(np.isfinite(x).all() for x in gradients), _not_finite("its gradient is", training_backend.name)
        assert any(x.any() for x in gradients), (
            "its gradient is zero everywhere, so it teaches the network nothing; it must depend on clip.output, "
            "clip.encoded('output', ...), clip.tap or clip.paint, and not through ops.stop_gradient, ops.round or a comparison"
        )
        along = [directions(x, 4) for x in given]
        wanted = detached_slopes(lambda ops, *x: _evaluate(loss, ops, *x)[0], given, along)
        largest = max(np.abs(x).max() for x in wanted)
        for i, (gradient, lines, exact) in enumerate(zip(gradients, along, wanted, strict=True)):
            found = np.array([float((gradient * line).sum(dtype=np.float64)) for line in lines])
            of = f"painted frame {-i}" if i < len(given) - 1 else "network that clip.paint runs"
            assert np.abs(found - exact).max() <= 1e-3 * max(np.abs(exact).max(), 1e-3 * largest), (
                f"its gradient by the {of} on {training_backend.name} is {found} along four directions, "
                f"and {exact} by differences of the float64 oracle"
            )

    def test_flat_frames(self, training_backend: Backend) -> None:
        """Value and gradient stay finite for black pictures without a traceable pixel, which real clips have."""
        loss, given = self._loss(), variables(self._loss().needs().frames, still=True)
        value, gradients = training_backend.gradient(lambda *x: _evaluate(loss, training_backend.ops, *x, still=True)[0], *given)
        assert np.isfinite(value), _not_finite(f"of black frames and an empty mask it is {value},", training_backend.name)
        assert all(np.isfinite(x).all() for x in gradients), _not_finite(
            "of black frames and an empty mask its gradient is", training_backend.name
        )

    def test_reads_only_what_it_needs(self) -> None:
        """What needs() does not name is not there in training: other frames, layers, taps, flow."""
        _evaluate(self._loss(), OracleOps())

    def test_needs_only_what_it_reads(self) -> None:
        """What needs() names is computed at every step, so it must be read."""
        needs, reads = self._loss().needs(), _evaluate(self._loss(), OracleOps())[1].reads
        for key in ("encoder", "frame_encoder", "taps"):
            unread = [name for name in getattr(needs, key) if name not in getattr(reads, key)]
            assert not unread, f"needs() names {key}={unread}, which the loss never reads: take it out, it costs time at every step"
        frames = 1 - reads.oldest
        assert frames == needs.frames, f"needs() asks for {needs.frames} frames, of which the loss reads {frames}: ask for no more"
        assert reads.flow or not needs.flow, "needs() asks for flow, which the loss never reads: take it out, not every dataset has flow"

    def test_decides_nothing_by_numbers(self) -> None:
        """Its path through Python depends on shapes and settings alone: a backend may compile a step once for all batches."""
        _evaluate(self._loss(), GuardedOps(Unseen))

    def test_computes_by_operators_alone(self) -> None:
        """And by Python's arithmetic, comparison and slices: all else that a framework's tensors can do, another's cannot."""
        _evaluate(self._loss(), GuardedOps(Bare))

    def test_another_size_and_style(self, training_backend: Backend) -> None:
        """It is right on pictures of odd sides too, and where it reads the style, another one costs something else."""
        loss, ops = self._loss(), training_backend.ops
        _, before = _evaluate(loss, OracleOps())  # what it may have kept must not come back
        wanted, other = (_number(OracleOps(), *_elsewhere(loss, OracleOps(), style)) for style in ("another style", "a third style"))
        value = _number(ops, *_elsewhere(loss, ops, "another style"))
        assert value == pytest.approx(wanted, rel=1e-4, abs=1e-6), f"{value} in float32 on {ops.name}, {wanted} in float64, of 23x17 pixels"
        assert wanted != other or not before.reads.style, (
            f"two style images cost the same, {wanted}; keep nothing but what prepare() returns"
        )

    def test_batch_is_averaged(self) -> None:
        """Two clips together cost the mean of what each costs alone, so that a weight means the same at every batch size."""
        loss, oracle = self._loss(), OracleOps()
        given = [oracle.asarray(x) for x in variables(loss.needs().frames)]
        whole, *parts = (_number(oracle, *_evaluate(loss, oracle, *given, clips=clips)) for clips in ((0, 1), (0,), (1,)))
        assert whole == pytest.approx(sum(parts) / 2, rel=1e-6, abs=1e-9), (
            f"two clips cost {whole} together, {parts[0]} and {parts[1]} alone; average over the batch, the first axis"
        )

    def test_weight_is_left_to_the_engine(self) -> None:
        """``weight`` and ``label`` can be set; the raw value does not know them."""
        weighted = self.component.model_validate({**self.settings, "weight": 3.0, "label": "mine"})
        assert (weighted.weight, weighted.label) == (3.0, "mine"), "the settings weight and label are the engine's; do not change them"
        value, raw = (_number(OracleOps(), *_evaluate(loss, OracleOps())) for loss in (weighted, self._loss()))
        assert value == raw, "its value changes with weight; the engine multiplies by it, so leave self.weight alone"
        with pytest.raises(ValidationError):
            self.component.model_validate({**self.settings, "weight": -1.0})

    def _loss(self) -> Loss:
        built: Loss = self.build()
        return built


def _evaluate(loss: Loss, ops: Ops, *tensors: Tensor, **settings: Any) -> tuple[Tensor, NeedsClip]:
    needs = loss.needs()
    clip = NeedsClip(ops, needs, *(tensors or (ops.asarray(x) for x in variables(needs.frames))), **settings)
    return loss(ops, clip, loss.prepare(ops, clip.style())), clip


def _elsewhere(loss: Loss, ops: Ops, style: str) -> tuple[Tensor, NeedsClip]:
    return _evaluate(loss, ops, *(ops.asarray(x) for x in variables(loss.needs().frames, size=ODD)), style=style)


def _number(ops: Ops, value: Tensor, clip: NeedsClip) -> float:
    """The value of a loss, once it is what a loss returns."""
    kind = type(clip.frame(0))
    assert isinstance(value, (kind, np.floating)), f"it returns {value!r}; let it return a tensor, made of the clip's by ops"
    assert ops.shape(value) == (), f"it returns a tensor of shape {ops.shape(value)}; reduce it to one number, as ops.mean(x) does"
    dtype = "float64" if ops.name == "oracle" else "float32"
    assert ops.dtype(value) == dtype, f"it returns {ops.dtype(value)}; let it return float32"
    number = float(ops.to_numpy(value))
    assert np.isfinite(number), _not_finite(f"it is {number},", ops.name)
    return number


def _not_finite(what: str, backend: str) -> str:
    return (
        f"{what} not finite on {backend}; look for a division by what can be 0 (a mask's sum), and for ops.sqrt of what can be 0 or below: "
        "add a small number inside"
    )

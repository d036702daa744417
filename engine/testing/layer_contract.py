"""What every layer must do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pytest

from engine.contracts.backend import Backend
from engine.errors import EngineError
from engine.layers import Layer, make_layer
from engine.ops import Array, Ops, Shape, Tensor
from engine.testing.cases import LayerCase, draw
from engine.testing.contract import Contract
from engine.testing.gradients import detached_slopes, directions
from engine.testing.guarded import Bare, GuardedOps, Unseen
from engine.testing.oracle import OracleOps


class LayerContract(Contract):
    """The tests that every layer passes, on two images a batch.

    Values on every backend agree with the float64 oracle to 1e-4, gradients to 1e-3 of the largest.
    """

    component: ClassVar[type[Layer]]
    kind = Layer
    inputs: ClassVar[Sequence[Shape]] = ((3, 8, 9),)
    """(channels, height, width) of each input."""

    def test_construction(self) -> None:
        """It has a name, can be built from ``settings``, and takes as many inputs as the test gives."""
        assert isinstance(getattr(self.component, "name", None), str), (
            f"{self.component.__name__} has no name; a style finds its layers by it: name = 'soft_edges'"
        )
        arity = self._case().layer.arity
        assert arity is None or arity == len(self.inputs), f"arity is {arity}, and the test gives {len(self.inputs)} inputs"

    def test_description_finds_it(self) -> None:
        """A network's description names it: ``make_layer`` builds it again."""
        layer = self._case().layer
        again = make_layer(layer.name, layer.model_dump(mode="json"))
        same = type(again) is type(layer) and again.model_dump() == layer.model_dump()
        assert same, f"the description of a network builds another layer: {again!r}, not {layer!r}"

    def test_shape(self) -> None:
        """``shape()`` is what ``apply()`` returns, also one pixel larger."""
        for more in (0, 1):
            case = self._case(more)
            try:
                said = case.layer.shape(*case.shapes)
            except EngineError:
                assert more, f"shape() refuses the inputs {case.shapes}; give others: inputs = [(channels, height, width)]"
                continue  # not every layer takes every size
            assert case.value.shape == (2, *said), f"shape{case.shapes} says {said}; apply() returns {case.value.shape[1:]}"

    def test_weights(self) -> None:
        """``initial()`` makes what ``weights()`` says, in float32, the same for the same seed."""
        layer, channels = self._case().layer, [shape[0] for shape in self.inputs]
        said = layer.weights(*channels)
        made, again = (layer.initial(np.random.default_rng(7), *channels) for _ in range(2))
        shapes = {key: x.shape for key, x in made.items()}
        assert shapes == said, f"weights() says {said}; initial() makes {shapes}"
        for key, x in made.items():
            assert x.dtype == np.float32, f"initial() makes {key} in {x.dtype}; let it return float32"
            assert np.isfinite(x).all(), f"initial() makes {key} with numbers that are not finite"
            np.testing.assert_array_equal(
                x, again[key], f"initial() draws {key} otherwise from the same rng; draw from the rng it is given"
            )
        assert set(layer.statistics) <= set(said), f"statistics names {set(layer.statistics) - set(said)}, which weights() does not"

    def test_reads_every_weight(self) -> None:
        """What ``weights()`` counts, ``apply()`` reads; a weight that nothing reads is trained, stored and counted for nothing."""
        case, ops = self._case(), OracleOps()
        read = _Read({key: ops.asarray(x) for key, x in case.weights.items()})
        case.layer.apply(ops, read, *(ops.asarray(x) for x in case.inputs))
        unread = sorted(set(case.weights) - read.keys_read)
        assert not unread, f"apply() never reads the weight {', '.join(unread)}; take it out of weights()"

    def test_value(self, backend: Backend) -> None:
        """The reference form, and the backend's native one where it has one, give what the oracle gives."""
        case, ops = self._case(), backend.ops
        for said, form in self._forms(backend):
            result = case.run(ops, form)
            assert ops.dtype(result) == "float32", f"the {said} form returns {ops.dtype(result)} of float32 inputs"
            np.testing.assert_allclose(
                ops.to_numpy(result), case.value, rtol=1e-4, atol=1e-4 * np.abs(case.value).max(), err_msg=f"{said} form on {backend.name}"
            )

    def test_decides_nothing_by_numbers(self) -> None:
        """Its path through Python depends on shapes and settings alone: a backend compiles it once for all pictures."""
        self._apply(GuardedOps(Unseen))

    def test_computes_by_operators_alone(self) -> None:
        """And by Python's arithmetic, comparison and slices: all else that a framework's tensors can do, another's cannot."""
        self._apply(GuardedOps(Bare))

    def _apply(self, ops: Ops) -> None:
        case = self._case()
        case.layer.apply(ops, {key: ops.asarray(x) for key, x in case.weights.items()}, *(ops.asarray(x) for x in case.inputs))

    def test_pictures_of_a_batch_are_apart(self) -> None:
        """One picture comes out the same whatever else is in its batch: painters choose the batch."""
        case = self._case()
        apart = float(np.abs(case.of(*(x[:1] for x in case.inputs)) - case.value[:1]).max())
        assert apart < 1e-9, f"a picture comes out up to {apart:.2g} away when another one is in its batch; reduce over axes 2 and 3, not 0"

    def test_gradient(self, training_backend: Backend) -> None:
        """By weights and inputs, of both forms; what the layer calls statistics has none, nor has what it detaches."""
        case = self._case()
        along = [directions(x, 4) for x in case.variables]
        wanted = detached_slopes(lambda ops, *x: case.scalar(ops, None, *x), case.variables, along)
        names = [*case.weights, *(f"input {i}" for i in range(len(case.inputs)))]
        for said, form in self._forms(training_backend):
            _, found = training_backend.gradient(lambda *x, form=form: case.scalar(training_backend.ops, form, *x), *case.variables)
            for name, gradient, lines, exact in zip(names, found, along, wanted, strict=True):
                expected = 0 * exact if name in case.layer.statistics else exact
                got = [float((gradient * line).sum(dtype=np.float64)) for line in lines]
                np.testing.assert_allclose(
                    got,
                    expected,
                    atol=1e-3 * max(np.abs(x).max() for x in wanted),
                    err_msg=f"gradient by {name} along four directions, {said} form on {training_backend.name}, and the oracle's",
                )

    def test_window(self) -> None:
        """Where it says which rows a row of its output is made of, it is so: large pictures are painted in stripes by it."""
        case = self._case()
        if (window := case.layer.window()) is None:
            pytest.skip("it states no window, so networks with it are painted whole")
        for axis, word in ((2, "row"), (3, "column")):
            for i, x in enumerate(case.inputs):
                for at in range(x.shape[axis]):
                    changed = x.copy()
                    np.moveaxis(changed, axis, 0)[at] += 100
                    differs = np.moveaxis(case.of(*case.inputs[:i], changed, *case.inputs[i + 1 :]) != case.value, axis, 0)
                    for r in np.flatnonzero(differs.any(axis=(1, 2, 3))):
                        first, last = window.reads(int(r), int(r) + 1, x.shape[axis])
                        assert first <= at < last, (
                            f"{word} {r} of its output changes with {word} {at} of input {i}; by window() it reads {first} to {last - 1}"
                        )

    def test_window_moves_with_the_input(self) -> None:
        """An input that begins further down gives the output that begins further down, away from the upper edge."""
        case = self._case()
        if (window := case.layer.window()) is None or min(x.shape[2] for x in case.inputs) < 4:
            pytest.skip("it states no window, or an input has under four rows")
        step = next(n for n in range(window.multiple, 10**6, window.multiple) if (n * window.scale).denominator == 1)
        try:
            moved = case.of(*(x[:, :, step:] for x in case.inputs))
        except (EngineError, ValueError, IndexError):
            pytest.skip(f"the inputs are too small to begin {step} rows further down")
        whole = case.value[:, :, int(step * window.scale) :]
        height = case.inputs[0].shape[2] - step
        inside = [r for r in range(moved.shape[2]) if r // window.scale >= window.before and r // window.scale + window.after < height]
        np.testing.assert_allclose(
            moved[:, :, inside],
            whole[:, :, inside],
            rtol=1e-9,
            atol=1e-9,
            err_msg=f"inputs that begin {step} rows down do not give an output that begins {step * window.scale} down: see engine.Window",
        )

    def _case(self, more: int = 0) -> _Case:
        return _Case(self.build(), tuple((c, h + more, w + more) if h > 1 and w > 1 else (c, h, w) for c, h, w in self.inputs))

    def _forms(self, backend: Backend) -> list[tuple[str, Callable[..., Tensor] | None]]:
        native = backend.native.get(self.component)
        return [("reference", None), *([("native", native)] if native else [])]


class _Case(LayerCase):
    """A layer near the weights that it starts with, so that a variance stays positive."""

    @cached_property
    def weights(self) -> dict[str, Array]:
        initial = self.layer.initial(np.random.default_rng(7), *(shape[0] for shape in self.shapes))
        return {key: x + np.float32(0.1) * draw(f"{self.name} {key}", x.shape) for key, x in initial.items()}

    def of(self, *inputs: Array) -> Any:
        """The oracle's result for other inputs, float64."""
        return self.layer.apply(OracleOps(), {k: x.astype(float) for k, x in self.weights.items()}, *(x.astype(float) for x in inputs))


class _Read(Mapping[str, Tensor]):
    """Weights that note which of them were asked for."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self.keys_read: set[str] = set()

    def __getitem__(self, key: str) -> Tensor:
        self.keys_read.add(key)
        return self._weights[key]

    def __contains__(self, key: object) -> bool:
        return key in self._weights  # asking whether a weight is there reads nothing

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

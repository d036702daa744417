"""What every model must do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np

from engine.contracts.backend import Backend
from engine.contracts.model import Model
from engine.errors import EngineError
from engine.network import Network
from engine.ops import Array, Ops, Tensor
from engine.testing.cases import draw
from engine.testing.contract import Contract
from engine.testing.gradients import detached_slopes, directions
from engine.testing.guarded import Bare, GuardedOps, Unseen
from engine.testing.oracle import OracleOps

SEED = 7


class ModelContract(Contract):
    """The tests that every model passes, with its initial weights; give ``settings`` that make a small network.

    On every backend the outputs agree with the float64 oracle to 1e-3 of the largest value (normalisation divides by small
    deviations), gradients to 1e-2 of the largest.
    """

    component: ClassVar[type[Model]]
    kind = Model
    sizes: ClassVar[Sequence[tuple[int, int]]] = ((16, 24), (17, 23))
    """(height, width) of the pictures that it is tried on; the last is odd, because videos are, and what backends paint."""

    def test_construction(self) -> None:
        """It can be built from ``settings``, and reads pictures of three channels."""
        network = self._network
        assert isinstance(network, Network), f"network() returns {network!r}; let it return engine.Network(...)"
        assert list(network.inputs.values())[:1] == [3], f"its first input has to be a picture of 3 channels; inputs are {network.inputs}"

    def test_shapes(self) -> None:
        """``shapes()`` is what comes out, for odd sizes too; what paints keeps the picture's size."""
        for size in self.sizes:
            said = self._network.shapes(*size)
            for name, value in self._values(*size).items():
                assert value.shape == (2, *said[name]), f"{name} is {value.shape[1:]} of {size}; its layers' shape() says {said[name]}"
                assert said[name][0] != 3 or said[name][1:] == size, (
                    f"a picture of {size} is painted in {said[name][1:]}; pad with PadToMultiple and undo it with CropLike, both layers"
                )

    def test_small_pictures(self) -> None:
        """A picture that is too small is refused with an EngineError, by a layer's ``shape()``."""
        for side in (1, 2, 3, 5):
            try:
                shapes = self._network.shapes(side, side)
            except EngineError:
                continue
            assert all(min(shape) > 0 for shape in shapes.values()), f"of {side}x{side} pixels nothing is left: {shapes}"

    def test_parameters(self) -> None:
        """``parameters()`` counts what training changes, and every weight has an initial value of its shape in float32."""
        network, weights = self._network, self._network.initial_weights(SEED)
        made, said = {name: x.shape for name, x in weights.items()}, network.weight_shapes()
        assert made == said, f"initial_weights() makes {made}, and weight_shapes() says {said}"
        types = {str(x.dtype) for x in weights.values()}
        assert types <= {"float32"}, f"initial weights are {', '.join(sorted(types))}; let initial() return float32"
        constant = {f"{node.name}.{key}" for node in network.nodes for key in node.layer.statistics}
        count = sum(math.prod(x.shape) for name, x in weights.items() if name not in constant)
        assert network.parameters() == count, f"parameters() says {network.parameters()}; there are {count} numbers to train"

    def test_initial_weights(self) -> None:
        """They are finite and come from the seed alone."""
        first, again = self._network.initial_weights(SEED), self.build().network().initial_weights(SEED)
        for name, x in first.items():
            assert np.isfinite(x).all(), f"the initial weight {name} is not finite"
            np.testing.assert_array_equal(x, again[name], f"the seed {SEED} gives two different weights {name}; draw from the rng alone")

    def test_description(self) -> None:
        """A style keeps its network as text: from_json(to_json()) is the same network."""
        text = self._network.to_json()
        again = Network.from_json(text).to_json()
        assert again == text, f"read from its description, the network describes itself as {again}, not {text}"

    def test_value(self, backend: Backend) -> None:
        """The backend's painter, with its native forms, gives what the oracle gives."""
        size = self.sizes[-1]
        painter = backend.painter(self._network, self._network.initial_weights(SEED), batch=2)
        self._compare(painter.run(self._inputs(*size)), size, f"painted by {backend.name}")

    def test_native_form(self, backend: Backend) -> None:
        """``apply`` gives the same with the backend's native layers and without."""
        size = self.sizes[-1]
        for native, said in ((None, "without"), (backend.native, "with")):
            ops = backend.ops
            weights = {name: ops.asarray(x) for name, x in self._network.initial_weights(SEED).items()}
            values = self._network.apply(ops, weights, {name: ops.asarray(x) for name, x in self._inputs(*size).items()}, native=native)
            self._compare({name: ops.to_numpy(x) for name, x in values.items()}, size, f"{said} native layers on {backend.name}")

    def test_decides_nothing_by_numbers(self) -> None:
        """Its layers' path through Python depends on shapes and settings alone: a backend compiles it once for all pictures."""
        self._apply(GuardedOps(Unseen))

    def test_computes_by_operators_alone(self) -> None:
        """And by Python's arithmetic, comparison and slices: all else that a framework's tensors can do, another's cannot."""
        self._apply(GuardedOps(Bare))

    def _apply(self, ops: Ops) -> None:
        weights = {name: ops.asarray(x) for name, x in self._network.initial_weights(SEED).items()}
        self._network.apply(ops, weights, {name: ops.asarray(x) for name, x in self._inputs(*self.sizes[0]).items()})

    def test_pictures_of_a_batch_are_apart(self) -> None:
        """One picture comes out the same whatever else is in its batch: painters choose the batch."""
        size, ops = self.sizes[0], OracleOps()
        weights = {name: x.astype(float) for name, x in self._network.initial_weights(SEED).items()}
        alone = self._network.apply(ops, weights, {name: x[:1].astype(float) for name, x in self._inputs(*size).items()})
        for name, whole in self._values(*size).items():
            apart = float(np.abs(alone[name] - whole[:1]).max())
            assert apart < 1e-9, (
                f"{name} of a picture is up to {apart:.2g} away when another one is in its batch; let no layer reduce over axis 0"
            )

    def test_gradient(self, training_backend: Backend) -> None:
        """By the weights, on every backend that trains; by those of batch norms' statistics it is zero."""
        network, size = self._network, self.sizes[0]
        weights = network.initial_weights(SEED)
        constant = {f"{node.name}.{key}" for node in network.nodes for key in node.layer.statistics}

        def scalar(ops: Ops, *tensors: Tensor) -> Tensor:
            inputs = {name: ops.asarray(x) for name, x in self._inputs(*size).items()}
            values = network.apply(ops, dict(zip(weights, tensors, strict=True)), inputs)
            return sum(ops.sum(x * ops.asarray(draw(f"{name} cotangent", ops.shape(x)))) for name, x in values.items())

        given = list(weights.values())
        along = [directions(x, 1) for x in given]
        wanted = detached_slopes(scalar, given, along)
        _, gradients = training_backend.gradient(lambda *x: scalar(training_backend.ops, *x), *given)
        largest = max(np.abs(x).max() for x in wanted)
        for name, gradient, lines, exact in zip(weights, gradients, along, wanted, strict=True):
            found = float((gradient * lines[0]).sum(dtype=np.float64))
            expected = 0.0 if name in constant else float(exact[0])
            assert abs(found - expected) <= 1e-2 * largest, (
                f"the gradient by {name} on {training_backend.name} is {found} along one direction, {expected} by the oracle's differences"
            )

    @cached_property
    def _network(self) -> Network:
        network: Network = self.build().network()
        return network

    def _inputs(self, height: int, width: int) -> dict[str, Array]:
        span = (self._network.high - self._network.low) / 2
        drawn = {name: np.tanh(draw(f"{name} {height}x{width}", (2, c, height, width))) for name, c in self._network.inputs.items()}
        return {name: ((x + 1) * span + self._network.low).astype(np.float32) for name, x in drawn.items()}

    def _values(self, height: int, width: int) -> dict[str, Array]:
        weights = {name: x.astype(float) for name, x in self._network.initial_weights(SEED).items()}
        return self._network.apply(OracleOps(), weights, {name: x.astype(float) for name, x in self._inputs(height, width).items()})

    def _compare(self, found: dict[str, Array], size: tuple[int, int], said: str) -> None:
        for name, wanted in self._values(*size).items():
            limit = 1e-3 * float(np.abs(wanted).max())
            worst = float(np.abs(found[name] - wanted).max())
            assert worst <= limit, (
                f"{name} of a picture of {size}, {said}, is {worst:.2g} away from the float64 oracle; allowed is {limit:.2g}"
            )

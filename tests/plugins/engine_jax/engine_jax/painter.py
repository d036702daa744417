"""Painting in JAX: one compiled function for each shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import jax

from engine import Array, DType, Network, from_uint8, to_uint8
from engine_jax.ops import JaxOps


class JaxPainter:
    """See :class:`engine.Painter`."""

    def __init__(self, ops: JaxOps, network: Network, weights: Mapping[str, Array], precision: DType) -> None:
        self._ops, self._network, self._precision = ops, network, precision
        self._weights = {name: ops.asarray(x) for name, x in weights.items()}
        self._input = next(iter(network.inputs))
        self._painted, self._applied = jax.jit(self._paint), jax.jit(self._apply)

    def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
        before: jax.Array | None = None
        for frames in batches:
            n, h, w, c = frames.shape
            self._network.check_inputs({self._input: (n, c, h, w)})
            painted = self._painted(self._weights, self._ops.asarray(frames, "uint8"))
            if before is not None:  # JAX returns before it has computed: the next frame is under way while this one is fetched
                yield self._ops.to_numpy(before)
            before = painted
        if before is not None:
            yield self._ops.to_numpy(before)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self._network.check_inputs({name: x.shape for name, x in inputs.items()})
        exact = self._network.exact_inputs
        tensors = {name: self._ops.asarray(x, "float32" if name in exact else self._precision) for name, x in inputs.items()}
        return {name: self._ops.to_numpy(x) for name, x in self._applied(self._weights, tensors).items()}

    def _apply(self, weights: dict[str, jax.Array], inputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return self._network.apply(self._ops, weights, inputs)

    def _paint(self, weights: dict[str, jax.Array], frames: jax.Array) -> jax.Array:
        network = self._network
        image = from_uint8(self._ops, frames, network.low, network.high, self._precision)
        outputs = network.apply(self._ops, weights, {self._input: image})
        painted: jax.Array = to_uint8(self._ops, outputs[network.outputs[0]], network.low, network.high)
        return painted

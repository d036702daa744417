"""What one comparison with the oracle is: a function over ``ops``, its inputs, and how near a backend must come."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from engine.layers import Layer, Weights
from engine.ops import Array, DType, Ops, Shape, Tensor
from engine.testing.gradients import numerical_gradient
from engine.testing.oracle import OracleOps


@dataclass(frozen=True)
class OpCase:
    """One operator with one setting."""

    op: str
    """A method of :class:`engine.Ops`, or ``tensor`` for what Python's own operators do."""
    setting: str
    function: Callable[..., Tensor]
    """Called as ``function(ops, *tensors)``."""
    inputs: tuple[Array, ...]
    """float32, uint8, int32 or bool."""
    differentiable: tuple[int, ...]
    """Which of the inputs it has a gradient by."""
    dtype: DType = "float32"
    """What the result must have."""
    value_tolerance: float = 1e-5
    """Relative and absolute, in float32; 0 where the result is exact."""
    gradient_tolerance: float = 1e-4
    gradient: Callable[..., Array] | None = field(default=None, repr=False)
    """``gradient(cotangent, *inputs)`` by the one differentiable input, where central differences do not give it."""

    @property
    def name(self) -> str:
        """``op setting``, unique in the table."""
        return f"{self.op} {self.setting}"

    def run(self, ops: Ops) -> Tensor:
        """The result on a backend."""
        return self.function(ops, *(ops.asarray(x, dtype_of(x)) for x in self.inputs))

    @cached_property
    def value(self) -> Array:
        """The oracle's result: float64, uint8, int32 or bool."""
        return OracleOps().to_numpy(self.run(OracleOps()))

    @property
    def variables(self) -> tuple[Array, ...]:
        """The differentiable inputs."""
        return tuple(self.inputs[i] for i in self.differentiable)

    def scalar(self, ops: Ops, *variables: Tensor) -> Tensor:
        """sum(result * cotangent), a function of the differentiable inputs: what gradients are compared by."""
        tensors = [None if i in self.differentiable else ops.asarray(x, dtype_of(x)) for i, x in enumerate(self.inputs)]
        for i, variable in zip(self.differentiable, variables, strict=True):
            tensors[i] = variable
        result = ops.cast(self.function(ops, *tensors), "float32")
        return ops.sum(result * ops.asarray(self.cotangent))

    @cached_property
    def cotangent(self) -> Array:
        """Fixed random numbers in the shape of the result, float32."""
        return draw(f"{self.name} cotangent", self.value.shape)

    def gradients(self) -> list[Array]:
        """The gradient of :meth:`scalar` by each of :attr:`variables`, float64."""
        if self.gradient is not None:
            return [self.gradient(self.cotangent, *self.inputs)]
        return numerical_gradient(lambda *x: float(self.scalar(OracleOps(), *x)), *self.variables)


@dataclass(frozen=True)
class LayerCase:
    """One layer with its settings on images of the given shapes, (channels, height, width) each; two images a batch."""

    layer: Layer
    shapes: tuple[Shape, ...]
    value_tolerance: float = 1e-5
    gradient_tolerance: float = 1e-4
    positive: tuple[str, ...] = ()
    """Weights that are drawn from 0.5 up, such as a variance."""

    @property
    def name(self) -> str:
        """The layer, its settings and the shapes."""
        settings = " ".join(f"{key}={value}" for key, value in self.layer.model_dump(exclude_defaults=True).items())
        return " ".join(filter(None, [self.layer.name, settings, " ".join("x".join(map(str, shape)) for shape in self.shapes)]))

    @cached_property
    def inputs(self) -> tuple[Array, ...]:
        """(2, c, h, w) each, float32."""
        return tuple(draw(f"{self.name} input {i}", (2, *shape)) for i, shape in enumerate(self.shapes))

    @cached_property
    def weights(self) -> dict[str, Array]:
        """Random weights, float32."""
        shapes = self.layer.weights(*(shape[0] for shape in self.shapes))
        drawn = {key: draw(f"{self.name} {key}", shape) for key, shape in shapes.items()}
        return {key: np.abs(x) + np.float32(0.5) if key in self.positive else x for key, x in drawn.items()}

    @property
    def variables(self) -> tuple[Array, ...]:
        """Weights, then inputs."""
        return (*self.weights.values(), *self.inputs)

    def run(self, ops: Ops, form: Callable[..., Tensor] | None = None, *variables: Tensor) -> Tensor:
        """The result of the reference form, or of a native ``form(layer, weights, *x)``; without variables, of the case's own."""
        tensors = variables or tuple(ops.asarray(x) for x in self.variables)
        weights: Weights = dict(zip(self.weights, tensors, strict=False))
        x = tensors[len(self.weights) :]
        return form(self.layer, weights, *x) if form else self.layer.apply(ops, weights, *x)

    @cached_property
    def value(self) -> Array:
        """The oracle's result, float64."""
        return OracleOps().to_numpy(self.run(OracleOps()))

    def scalar(self, ops: Ops, form: Callable[..., Tensor] | None, *variables: Tensor) -> Tensor:
        """sum(result * cotangent), a function of the variables."""
        return ops.sum(self.run(ops, form, *variables) * ops.asarray(draw(f"{self.name} cotangent", self.value.shape)))

    @cached_property
    def gradients(self) -> list[Array]:
        """The gradient of :meth:`scalar` by each of :attr:`variables`, float64; 0 by what the layer calls statistics."""
        found = numerical_gradient(lambda *x: float(self.scalar(OracleOps(), None, *x)), *self.variables)
        constant = [key in self.layer.statistics for key in self.weights] + [False] * len(self.inputs)
        return [0 * x if still else x for x, still in zip(found, constant, strict=True)]


def op_case(
    op: str, setting: str, function: Callable[..., Tensor], *inputs: Shape | Array, fixed: tuple[int, ...] = (), **more: Any
) -> OpCase:
    """A case; an input given as a shape is drawn. Every float32 input is differentiable unless ``fixed`` names it."""
    arrays = tuple(x if isinstance(x, np.ndarray) else draw(f"{op} {setting} {i}", x) for i, x in enumerate(inputs))
    differentiable = tuple(i for i, x in enumerate(arrays) if x.dtype == np.float32 and i not in fixed)
    return OpCase(op, setting, function, arrays, differentiable, **more)


def draw(name: str, shape: Shape) -> Array:
    """Normally distributed numbers, float32; the same for the same name."""
    return np.random.default_rng(zlib.crc32(name.encode())).normal(size=shape).astype(np.float32)


def dtype_of(x: Array) -> DType:
    """The name that ``ops`` know the array's type by."""
    return str(x.dtype)

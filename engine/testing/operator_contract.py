"""The part of :class:`engine.testing.BackendContract` that compares operators and layers with the float64 oracle, case by case."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import pytest

from engine.contracts.backend import Backend
from engine.moments import Moments
from engine.ops import Array, Ops, Tensor
from engine.testing.cases import LayerCase, OpCase, draw
from engine.testing.contract import Contract
from engine.testing.layer_cases import LAYER_CASES

OPERATORS = tuple(name for name in vars(Ops) if not name.startswith("_") and name != "name")
"""The methods of :class:`engine.Ops`."""
RETURNED = {"bfloat16": "float32", "float16": "float32"}
"""What reduced precision is in NumPy."""


class OperatorChecks(Contract):
    """Every operator: its signature, and its value, type, shape and gradient in every setting of :data:`engine.testing.OP_CASES`."""

    @pytest.mark.parametrize("operator", OPERATORS)
    def test_signature(self, operator: str, backend: Backend) -> None:
        """Parameters have the protocol's names, order, kinds and defaults."""
        method = getattr(type(backend.ops), operator, None)
        assert method is not None, f"the operators of {backend.name!r} have no {operator}"
        wanted, found = (list(inspect.signature(of).parameters.values()) for of in (getattr(Ops, operator), method))
        assert not (said := signature_faults(wanted, found)), f"{operator}: {'; '.join(said)}"

    def test_no_other_operators(self, backend: Backend) -> None:
        """A network or a loss that used one more would run on this backend alone; what only the backend calls begins with _."""
        more = sorted(key for key in dir(type(backend.ops)) if not key.startswith("_") and key not in (*OPERATORS, "name"))
        assert not more, f"public, but not in the protocol: {', '.join(more)}"

    def test_operators_say_their_name(self, backend: Backend) -> None:
        """The backend's own, which messages show."""
        assert backend.ops.name == backend.name

    def test_operator(self, op_case: OpCase, backend: Backend) -> None:
        """Shape, type and value are the oracle's."""
        ops = backend.ops
        result = op_case.run(ops)
        shape = ops.shape(result)
        assert shape == op_case.value.shape, f"shape {shape}, not {op_case.value.shape}"
        assert isinstance(shape, tuple), f"ops.shape gives a {type(shape).__name__}, not a tuple"
        assert all(type(size) is int for size in shape), f"ops.shape gives sizes that are no int: {shape}"
        assert ops.dtype(result) == op_case.dtype, f"ops.dtype is {ops.dtype(result)!r}, not {op_case.dtype!r}"
        found = ops.to_numpy(result)
        assert found.shape == op_case.value.shape, f"to_numpy gives shape {found.shape}, not {op_case.value.shape}"
        wanted = RETURNED.get(op_case.dtype, op_case.dtype)
        assert str(found.dtype) == wanted, f"to_numpy gives {found.dtype}, not {wanted}"
        near(found, op_case.value, op_case.value_tolerance, f"{op_case.name}: the value")

    def test_operator_gradient(self, op_gradient: OpCase, backend: Backend) -> None:
        """Through :meth:`engine.Backend.gradient`, by every input that has one; float32."""
        case = op_gradient
        value, gradients = backend.gradient(lambda *x: case.scalar(backend.ops, *x), *case.variables)
        shapes, wanted = [x.shape for x in gradients], [x.shape for x in case.variables]
        assert shapes == wanted, f"gradients have shapes {shapes}, their inputs {wanted}"
        assert {str(x.dtype) for x in gradients} == {"float32"}, "gradients are float32"
        total, size = float(np.sum(case.value * case.cotangent)), float(np.sum(np.abs(case.value * case.cotangent)))
        assert abs(value - total) <= case.gradient_tolerance * max(1.0, size), f"gradient() gives the value {value}, not {total}"
        for number, (found, expected) in enumerate(zip(gradients, case.gradients(), strict=True)):
            near(found, expected, case.gradient_tolerance, f"{case.name}: the gradient by input {case.differentiable[number]}")

    def test_cast_to_its_own_type_copies_nothing(self, backend: Backend) -> None:
        """The tensor itself comes back."""
        x = backend.ops.asarray(np.zeros(3))
        assert backend.ops.cast(x, "float32") is x, "cast(x, 'float32') of a float32 tensor is another one"

    def test_arrays_are_copied_in_and_out(self, backend: Backend) -> None:
        """No tensor shares memory with an array of the caller's."""
        array = np.ones((2, 3), np.float32)
        x = backend.ops.asarray(array)
        array[:] = 2
        assert (backend.ops.to_numpy(x) == 1).all(), "asarray shares its array's memory"
        backend.ops.to_numpy(x)[:] = 3
        assert (backend.ops.to_numpy(x) == 1).all(), "to_numpy shares the tensor's memory"

    def test_whole_shifts_are_exact(self, backend: Backend) -> None:
        """``warp`` by every whole number of pixels from -9 to 9 in x and y, bit for bit."""
        shifts = [(dx, dy) for dy in range(-9, 10) for dx in range(-9, 10)]
        x = draw("shifted", (len(shifts), 2, 6, 8)) * np.float32(1e3)
        flow = np.broadcast_to(np.array(shifts, np.float32)[:, :, None, None], (len(shifts), 2, 6, 8))
        expected = np.zeros_like(x)
        for image, (dx, dy) in enumerate(shifts):
            rows, columns = slice(max(0, -dy), max(0, 6 - dy)), slice(max(0, -dx), max(0, 8 - dx))
            from_rows, from_columns = slice(max(0, dy), max(0, 6 + dy)), slice(max(0, dx), max(0, 8 + dx))
            expected[image, :, rows, columns] = x[image, :, from_rows, from_columns]
        found = backend.ops.to_numpy(backend.ops.warp(backend.ops.asarray(x), backend.ops.asarray(flow)))
        wrong = [shift for shift, a, b in zip(shifts, found, expected, strict=True) if not np.array_equal(a, b)]
        assert not wrong, f"of {len(shifts)} shifts (dx, dy) {len(wrong)} are not exact, the first {wrong[0]}"

    def test_zero_flow_is_the_identity_at_full_size(self, backend: Backend) -> None:
        """Bit for bit at 640x360."""
        ops, x = backend.ops, draw("a wide image", (1, 3, 360, 640))
        found = ops.to_numpy(ops.warp(ops.asarray(x), ops.asarray(np.zeros((1, 2, 360, 640)))))
        assert found.tobytes() == x.tobytes(), f"{int((found != x).sum())} pixels of {x.size} changed"

    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    def test_warp_of_reduced_precision(self, precision: str, backend: Backend) -> None:
        """It keeps the picture's type and reads the right pixel: 640 is beyond what bfloat16 counts to."""
        ops, x = backend.ops, np.round(draw("a wide image", (1, 1, 2, 640)) * 8) / 8
        flow = np.zeros((1, 2, 2, 640), np.float32)
        flow[:, 0] = 1
        found = ops.warp(ops.asarray(x, precision), ops.asarray(flow))
        assert ops.dtype(found) == precision, f"ops.dtype is {ops.dtype(found)!r}, not {precision!r}"
        near(ops.to_numpy(found)[..., :-1], x[..., 1:], 0.0, "moved by one pixel")


class LayerChecks(Contract):
    """Every layer of :attr:`layer_cases`, as its reference computes it over the operators and in the backend's native form."""

    layer_cases: ClassVar[Sequence[LayerCase]] = LAYER_CASES
    """What layers are compared on; a backend with a native form of another layer adds its cases."""

    def test_every_native_form_has_cases(self, backend: Backend) -> None:
        """A form that nothing compares is a form that nobody knows; a layer of one's own wants its cases in ``layer_cases``."""
        missing = {cls.__name__ for cls in backend.native} - {type(case.layer).__name__ for case in self.layer_cases}
        assert not missing, f"native forms without a case: {', '.join(sorted(missing))}"

    def test_layer(self, layer_form: tuple[bool, LayerCase], backend: Backend) -> None:
        """The value is the oracle's, float32."""
        native, case = layer_form
        result = case.run(backend.ops, _form(backend, native, case))
        assert backend.ops.dtype(result) == "float32", f"ops.dtype is {backend.ops.dtype(result)!r}, not 'float32'"
        near(backend.ops.to_numpy(result), case.value, case.value_tolerance, f"{case.name}: the value")

    def test_layer_gradient(self, layer_gradient: tuple[bool, LayerCase], backend: Backend) -> None:
        """By every weight and input."""
        native, case = layer_gradient
        form = _form(backend, native, case)
        _, gradients = backend.gradient(lambda *x: case.scalar(backend.ops, form, *x), *case.variables)
        _near_gradients(case, gradients, case.gradients)

    def test_layer_of_images_whose_channels_lie_last(self, layer_gradient: tuple[bool, LayerCase], backend: Backend) -> None:
        """Frames come as (n, h, w, c) and are only seen as (n, c, h, w); a form that minds the difference has the same value."""
        native, case = layer_gradient
        ops, form, count = backend.ops, _form(backend, native, case), len(case.weights)

        def seen(x: Sequence[Tensor]) -> list[Tensor]:
            return [*x[:count], *(ops.permute_dims(image, (0, 3, 1, 2)) for image in x[count:])]

        stored = [*case.weights.values(), *(np.ascontiguousarray(image.transpose(0, 2, 3, 1)) for image in case.inputs)]
        result = ops.to_numpy(case.run(ops, form, *seen([ops.asarray(x) for x in stored])))
        near(result, case.value, case.value_tolerance, f"{case.name}: the value")
        _, gradients = backend.gradient(lambda *x: case.scalar(ops, form, *seen(x)), *stored)
        _near_gradients(case, gradients, [*case.gradients[:count], *(g.transpose(0, 2, 3, 1) for g in case.gradients[count:])])

    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    def test_layer_of_reduced_precision(self, precision: str, layer_form: tuple[bool, LayerCase], backend: Backend) -> None:
        """Inputs of reduced precision, weights float32 as in training: the result has the inputs' type (moments float32) and is near."""
        native, case = layer_form
        ops = backend.ops
        weights = [ops.asarray(x) for x in case.weights.values()]
        result = case.run(ops, _form(backend, native, case), *weights, *(ops.asarray(x, precision) for x in case.inputs))
        wanted = "float32" if isinstance(case.layer, Moments) else precision
        assert ops.dtype(result) == wanted, f"ops.dtype is {ops.dtype(result)!r}, not {wanted!r}"
        share = 2**-6 if precision == "bfloat16" else 2**-9
        np.testing.assert_allclose(ops.to_numpy(result), case.value, atol=2 * share * np.abs(case.value).max(), rtol=share)


def near(found: Array, wanted: Array, tolerance: float, what: str) -> None:
    """An :class:`AssertionError` that says how far they are apart, by more than the tolerance, relative and absolute."""
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance, err_msg=f"{what} is not the oracle's")


def signature_faults(wanted: Sequence[inspect.Parameter], found: Sequence[inspect.Parameter]) -> list[str]:
    """What differs from the protocol, each in words."""
    names, own = [p.name for p in wanted], [p.name for p in found]
    if names != own:
        return [f"its parameters are ({', '.join(own)}), the protocol's ({', '.join(names)})"]
    faults = []
    for theirs, ours in zip(wanted, found, strict=True):
        if ours.kind != theirs.kind:
            faults.append(f"{ours.name} is {ours.kind.description}, in the protocol {theirs.kind.description}")
        if ours.default != theirs.default:
            faults.append(f"{ours.name} has {_default(ours)}, in the protocol {_default(theirs)}")
    return faults


def _default(parameter: inspect.Parameter) -> str:
    return "no default" if parameter.default is inspect.Parameter.empty else f"the default {parameter.default!r}"


def _form(backend: Backend, native: bool, case: LayerCase) -> Callable[..., Tensor] | None:
    return backend.native[type(case.layer)] if native else None


def _near_gradients(case: LayerCase, found: Sequence[Array], wanted: Sequence[Array]) -> None:
    names = [*case.weights, *(f"input {i}" for i in range(len(case.inputs)))]
    for name, one, other in zip(names, found, wanted, strict=True):
        near(one, other, case.gradient_tolerance, f"{case.name}: the gradient by {name}")

"""An ONNX model of values: what they are computed from, written down in order under names that clash with nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import helper, numpy_helper

from engine import Array, EngineError
from engine_onnx.graph import ELEMENTS, IR_VERSION, OPSET, Value

MOST_BYTES = 2**31 - 1
"""What protobuf, which an ONNX file is written in, can hold."""
_FRAME = 64
"""More than protobuf spends on a tensor, a node or a text beside its content: its kind, sizes and lengths."""


@dataclass(frozen=True)
class Port:
    """An input or output as the file declares it."""

    value: Value
    sizes: Sequence[int | str | None]
    """A number, the name of a free size, or None where nothing is known."""
    about: str = ""


def write_model(inputs: Mapping[str, Port], outputs: Mapping[str, Port], *, metadata: Mapping[str, str] = {}) -> onnx.ModelProto:
    """The model that computes ``outputs`` of ``inputs``, self-contained.

    An :class:`EngineError` where it needs another input, or is more than a model can hold.
    """
    writer = _Writer({id(port.value): name for name, port in inputs.items()}, {*inputs, *outputs})
    for name, port in outputs.items():
        writer.write_output(name, port.value)
    taken, given = ([_declared(*item) for item in ports.items()] for ports in (inputs, outputs))
    texts = [*writer.constants, *(text for pair in metadata.items() for text in pair)]
    sizes = [array.nbytes for array in writer.constants.values()] + [len(text.encode()) for text in texts]
    sizes += [made.ByteSize() for made in writer.nodes] + [port.ByteSize() for port in (*taken, *given)]
    check_size(sum(sizes) + _FRAME * (1 + len(sizes)))
    constants = [numpy_helper.from_array(array, name) for name, array in writer.constants.items()]
    graph = helper.make_graph(writer.nodes, "network", taken, given, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="styleengine")
    helper.set_model_props(model, dict(metadata))
    return model


def check_size(size: int) -> None:
    """Refuse a model of so many bytes where no file of it can be."""
    if size > MOST_BYTES:
        raise EngineError(
            f"this network's ONNX graph has {size / 1e9:.3g} GB",
            allowed=f"up to {MOST_BYTES / 1e9:.3g} GB, the limit of the format",
            remedy="Export it as pth; to paint with it, use another backend.",
        )


def _declared(name: str, port: Port) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, ELEMENTS[port.value.dtype], list(port.sizes), doc_string=port.about)


@dataclass
class _Writer:
    names: dict[int, str]
    """Of values that are written, by id."""
    taken: set[str]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    def write_output(self, name: str, value: Value) -> None:
        if value.op and id(value) not in self.names:
            self._write_sources(value)
            self._write(value, name)
        else:  # an input, a constant, or an output under another name already
            self.nodes.append(helper.make_node("Identity", [self._write(value)], [name], name=name))

    def _write_sources(self, value: Value) -> None:
        # Depth first without recursion: a description may hold thousands of nodes in a row.
        waiting = [(x, False) for x in value.inputs if x is not None]
        while waiting:
            x, ready = waiting.pop()
            if ready:
                self._write(x)
            elif id(x) not in self.names:
                waiting.append((x, True))
                waiting.extend((source, False) for source in x.inputs if source is not None)

    def _write(self, value: Value, name: str = "") -> str:
        if id(value) in self.names:
            return self.names[id(value)]
        name = name or self._free_name(value.name or value.op or "constant")
        self.names[id(value)] = name
        if value.op:
            read = ["" if x is None else self.names[id(x)] for x in value.inputs]
            self.nodes.append(helper.make_node(value.op, read, [name], name=name, **value.attributes))
        elif value.array is not None:
            self.constants[name] = value.array
        else:
            raise EngineError(f"this value depends on the graph's input {value.name!r}, which has no numbers yet")
        return name

    def _free_name(self, wanted: str) -> str:
        name, number = wanted, 0
        while name in self.taken:
            number += 1
            name = f"{wanted}_{number}"
        self.taken.add(name)
        return name

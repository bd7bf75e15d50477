"""The columns of a merged ONNX export: its nodes are held to what the encoders' own code makes.

Those nodes stand before the model and have the names that the export gives them. Without them, what is left
is a graph that begins with encoded columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from vflc_common.words import ONNX_TABLES, PRECISIONS

from vflc.importing.tables import DescribedTables
from vflc.onnx_file import Numbers, OnnxGraph, OnnxNode, OnnxPort
from vflc.translation.graph import Value, refuse

if TYPE_CHECKING:
    from vflc_runtime.export.raw import RawFeature

AGAIN = "export the model again: `vflc export RUN --merged -o FOLDER`"
EncoderNodes = tuple[dict[str, OnnxNode], dict[str, Numbers]]
"""Nodes by their first outputs, and constants by their names."""


class OnnxTables(DescribedTables):
    """The parties and their columns, of a graph whose metadata describes them.

    Args:
        graph: of the file.

    Raises:
        Refused: VFL0712, the description does not hold together, or is not of the graph.
    """

    def __init__(self, graph: OnnxGraph) -> None:
        content = graph.metadata[ONNX_TABLES]
        super().__init__(content, ONNX_TABLES, AGAIN)
        about = json.loads(content)
        compiled, fixed = about.get("compile"), about.get("fixed")
        self.compiled: Mapping[str, Any] = compiled if isinstance(compiled, Mapping) else {}
        self._fixed = fixed if isinstance(fixed, list) else []
        self.given: dict[str, Value] = {}
        self.rest = self._without_encoders(graph)

    def _without_encoders(self, graph: OnnxGraph) -> OnnxGraph:
        """The graph after the columns' encoders; `given` gets what their names stand for there."""
        from vflc_runtime.export.onnx_encoders import encoded

        nodes = {next(iter(node.outputs), ""): node for node in graph.nodes}
        constants, ports, inner = dict(graph.constants), list[OnnxPort](), set[str]()
        for port in graph.inputs:
            raw = self._raw.get(port.name)
            if raw is None:
                text = f"the file does not say of which column its input `{port.name[:80]}` is made"
                refuse("VFL0712", text, AGAIN)
            made, held = self._encoders(raw, port, nodes, constants)
            for name in made:
                del nodes[name]
            for name in held:
                del constants[name]
            inner |= {port.name, *made, *held} - {encoded(port.name)}
            value = self.given[encoded(port.name)] = self._encoded(port.name)
            kind = "float32" if raw.shape == "number" else "int32"
            ports.append(OnnxPort(encoded(port.name), kind, (None, *value.shape)))
        for node in nodes.values():
            read = next((name for name in node.inputs if name in inner), None)
            if read is not None:
                self._another(read.partition("/")[0])
        kinds = {
            name: "BUFFER" if name in self._fixed else "PARAMETER" for name in constants if "/" not in name
        }
        return replace(graph, inputs=ports, nodes=list(nodes.values()), constants=constants, kinds=kinds)

    def _encoders(
        self, raw: RawFeature, port: OnnxPort, nodes: Mapping[str, OnnxNode],
        constants: Mapping[str, Numbers],
    ) -> EncoderNodes:  # fmt: skip
        """What encodes a column in the graph, cut in one of the ways that an export tries."""
        for cut in [*raw.cuts(), raw.all_before()]:
            for precision in PRECISIONS:
                parts = _built(cut, precision, port)
                if parts is not None and _is_there(parts, nodes, constants):
                    return parts
        self._another(raw.id)


def _built(cut: RawFeature, precision: str, port: OnnxPort) -> EncoderNodes | None:
    """The nodes that encode a column; None where an export does not cut there, or takes another input."""
    from onnx import helper
    from vflc_common.encoding import NotExpressed
    from vflc_runtime.export.description import signature
    from vflc_runtime.export.onnx import ELEMENTS, IR_VERSION, OPSETS
    from vflc_runtime.export.onnx_encoders import Encoding, encoded

    encoding = Encoding(cut, precision)
    try:
        if not cut.encoded:
            cut.check()
        encoding.build()
    except NotExpressed:
        return None
    kind, shape = signature(cut, precision)
    if port.shape is None or (kind, len(shape)) != (port.type, len(port.shape)):
        return None
    ports = [helper.make_tensor_value_info(cut.id, ELEMENTS[kind], shape)]
    made = [helper.make_empty_tensor_value_info(encoded(cut.id))]
    made[0].type.tensor_type.elem_type = 1
    graph = helper.make_graph(encoding.nodes, "encoders", ports, made, encoding.initializers)
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return _parts(model.SerializeToString())


def _parts(content: bytes) -> EncoderNodes:
    from vflc_common.onnx_file import read_onnx

    from vflc.onnx_file import graph_of

    graph = graph_of(read_onnx(content))
    return {node.outputs[0]: node for node in graph.nodes}, dict(graph.constants)


def _is_there(parts: EncoderNodes, nodes: Mapping[str, OnnxNode], constants: Mapping[str, Numbers]) -> bool:
    """Whether a graph has exactly these nodes and constants."""
    mine, held = parts
    return all(name in nodes and _same_node(node, nodes[name]) for name, node in mine.items()) and all(
        name in constants and _same(numbers, constants[name]) for name, numbers in held.items()
    )


def _same_node(node: OnnxNode, other: OnnxNode) -> bool:
    alike = (node.op, node.domain, node.inputs, node.outputs) == (
        other.op,
        other.domain,
        other.inputs,
        other.outputs,
    )
    return (
        alike
        and node.attrs.keys() == other.attrs.keys()
        and all(_same(value, other.attrs[name]) for name, value in node.attrs.items())
    )


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, Numbers) and isinstance(other, Numbers):
        return (value.kind, value.shape) == (other.kind, other.shape) and _same_elements(
            value.elements, other.elements
        )
    return type(value) is type(other) and bool(value == other)


def _same_elements(values: Sequence[Any], others: Sequence[Any]) -> bool:
    """By their bits: what is no number is the same as itself."""
    return values == others if isinstance(values, list) else bytes(values) == bytes(others)

"""An ONNX graph as a model: its inputs as columns, its nodes one by one, its weights by their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from vflc.diagnostics import Diagnostic, Refused
from vflc.onnx_file import OnnxGraph, OnnxNode, OnnxPort
from vflc.translation import columns
from vflc.translation.graph import InputColumn, Value, refuse
from vflc.translation.onnx_call import NodeCall
from vflc.translation.onnx_columns import COLUMNS, DOMAIN
from vflc.translation.onnx_fold import COMPUTED, LAYOUT, folded
from vflc.translation.onnx_layers import LAYERS
from vflc.translation.onnx_many import step
from vflc.translation.onnx_ops import OPS
from vflc.translation.onnx_parts import OnnxParts
from vflc.translation.onnx_shapes import SHAPES
from vflc.translation.onnx_values import (
    HAND,
    NodeValue,
    OnnxConstant,
    ShapeSizes,
)

TABLE: dict[str, Callable[[NodeCall], Any]] = {**OPS, **SHAPES, **LAYERS}
"""Every operator that is read, by its name; `docs/importing.md` lists them."""
UNREAD = (
    "The file does not read its input `{}`. `torch.onnx.export` merges inputs that are given as one tensor:"
    " give each its own."
)
MOST_AXIS = 10_000


class OnnxModelReader(OnnxParts):
    """Reads a graph node by node.

    Args:
        graph: a checked one.
        given: what inputs stand for, by name; columns where it says nothing.

    Raises:
        Refused: VFL0703, VFL0707 or VFL0709; each operator without a counterpart is named.
    """

    def __init__(self, graph: OnnxGraph, given: dict[str, Value] | None = None) -> None:
        super().__init__(graph)
        self.columns: list[InputColumn] = []
        nodes = self._needed()
        _check_known(nodes)
        self._known: dict[str, NodeValue] = {
            name: OnnxConstant(numbers, name) for name, numbers in graph.constants.items()
        }
        for port in graph.inputs:
            if not self._readers[port.name]:
                self.notes.append(UNREAD.format(port.name))
            self._known[port.name] = (given or {}).get(port.name) or self._column(port)
        for node in nodes:
            self._run(node)
        self.outputs = [(port.name, self._output(port)) for port in graph.outputs]
        self.share([value for _, value in self.outputs])

    # --- inputs and outputs -----------------------------------------------------------------------------

    def _needed(self) -> list[OnnxNode]:
        """Nodes that an output depends on."""
        wanted, found = {port.name for port in self.graph.outputs}, list[OnnxNode]()
        for node in reversed(self.graph.nodes):
            if wanted & set(node.outputs):
                wanted |= set(node.inputs)
                found.append(node)
        return found[::-1]

    def _column(self, port: OnnxPort) -> Value:
        if not port.shape:
            refuse(
                "VFL0703",
                f"the input `{port.name}` has no axis for the rows",
                "give it the shape [batch] or [batch, n]",
            )
        rest = tuple(size or 0 for size in port.shape[1:])
        if not all(1 <= size <= MOST_AXIS for size in rest):
            refuse(
                "VFL0703",
                f"the input `{port.name}` has axes of no fixed size: {list(port.shape[1:])}",
                "fix the sizes of all axes but the first when you export the model",
            )
        kind = "string" if port.type == "string" else "float" if port.type.startswith("float") else "int"
        if len(rest) == 1 and rest[0] > 1 and self._taken_apart(port.name):
            members = [
                InputColumn(f"{port.name}{i + 1}", kind, (), part_of=port.name) for i in range(rest[0])
            ]
            self.columns += members
            return Value("raws", tuple(map(columns.raw, members)), rest)
        column = InputColumn(port.name, kind, rest)
        self.columns.append(column)
        return columns.raw(column)

    def _taken_apart(self, name: str) -> bool:
        """Whether a node reads some columns of a vector by themselves, or shifts the ids of each."""
        same = {name}
        for node in self.graph.nodes:
            read = same.intersection(node.inputs)
            if read and node.op in ("Cast", "Identity"):
                same.add(node.outputs[0])
            elif same.intersection(node.inputs[:1]) and (
                node.op in ("Slice", "Split", "Gather") or node.domain == DOMAIN
            ):
                return True
            elif read and node.op == "Add":
                others = (self.graph.constants.get(each) for each in node.inputs if each not in same)
                if any(other is not None and other.whole for other in others):
                    return True
        return False

    def _output(self, port: OnnxPort) -> Value:
        found = self._known[port.name]
        if isinstance(found, Value) and found.op not in ("weight", "number"):
            value = self.joined(found, port.name) if found.op == "raws" else columns.numeric(found, port.name)
            while value.op == "reshape" and prod(value.shape) == 1:
                value = value.inputs[0]
            return value
        refuse("VFL0709", f"the output `{port.name}` does not depend on the rows", "export the model alone")

    def _run(self, node: OnnxNode) -> None:
        call = NodeCall(node, [self._known[name] if name else None for name in node.inputs], self)
        trained = self._computes_of_weights(call)
        made: Any = None if trained or node.domain else folded(call)
        if made is None:
            if not trained:
                self._only_known(call)
            made = None if node.domain else step(call)
        if made is None:
            table = COLUMNS if node.domain == DOMAIN else TABLE
            if node.op not in table:
                call.fail("computes with the rows, for which it has no counterpart")
            made = table[node.op](call)
        found = made if isinstance(made, list) else [made]
        for name, value in zip(node.outputs, found, strict=False):
            if isinstance(value, OnnxConstant) and not value.source:
                value = OnnxConstant(value.numbers, name)
            elif isinstance(value, OnnxConstant) and node.op == "Identity" and value.numbers.uniform():
                value = OnnxConstant(value.numbers, name)  # torch merges weights that start equal
            self._known[name] = value
        for name in node.outputs[len(found) :]:
            if self._readers[name]:
                call.fail(f"has an output {name[:40]!r} that is not known here")

    def _computes_of_weights(self, call: NodeCall) -> bool:
        """Whether a node of an export of vflc computes with weights alone: these stay what they are."""
        given = [each for each in call.inputs if each is not None]
        return (
            self.graph.producer == "vflc"
            and call.node.op in COMPUTED
            and all(isinstance(each, OnnxConstant) for each in given)
            and any(isinstance(each, OnnxConstant) and each.source in self.graph.kinds for each in given)
        )

    def _only_known(self, call: NodeCall) -> None:
        known = call.node.op in ("Constant", "Shape", "ConstantOfShape")
        if not known and not any(isinstance(each, (Value, ShapeSizes)) for each in call.inputs):
            call.fail("computes with constants alone", "let the export fold constants")


def _check_known(nodes: Sequence[OnnxNode]) -> None:
    """Names every operator without a counterpart at once; VFL0709."""
    known = TABLE.keys() | LAYOUT.keys() | COMPUTED.keys()
    found = [
        Diagnostic("VFL0709", f"{node.shown} has no counterpart", None, HAND)
        for node in nodes
        if node.op not in {"": known, DOMAIN: COLUMNS}.get(node.domain, ())
    ]
    if found:
        raise Refused(found)

"""Replaces regions of elementwise nodes of an ONNX graph by nodes of our operator `Fused`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING

import numpy as np

from vflc_kernels import DOMAIN
from vflc_kernels.graphs import Kind, in_order, put, reads
from vflc_kernels.programs import JOINED, MEANINGS, Instruction, Program
from vflc_kernels.regions import MOST_NODES, Regions

if TYPE_CHECKING:
    import onnx

FLOAT, BOOL, DOUBLE = 1, 9, 11
OPERATORS = {FLOAT: "Fused", DOUBLE: "FusedDouble"}
COMPARE = {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"}
APPROXIMATED = {"Exp", "Log", "Sigmoid", "Tanh"}
"""What onnxruntime computes in other bits than we do."""
LOGIC = {"And": "Mul", "Or": "Max"}
"""What stands for them where truth is the numbers one and zero."""
PRODUCTS = frozenset({"Gemm", "MatMul", "Conv"})
"""Of whose bias and activation onnxruntime makes one operator with them."""


def fuse(graph: onnx.GraphProto, kinds: Mapping[str, Kind], products: Set[str] = PRODUCTS) -> list[str]:
    """Replaces in place, and says what, one text a region; what belongs to `products` is left to them.

    A region computes its values in all its outputs' shape or for one element, whatever the shapes are at a
    run. Nodes that are likely to have other shapes do not join, as their work would be repeated.
    """
    if len(graph.node) > MOST_NODES:
        return []
    nodes = in_order(graph.node)
    found = _Finder(nodes, kinds, products)
    outputs = {each.name for each in graph.output}
    readers = dict[str, set[int]]()
    for index, node in enumerate(nodes):
        for name in reads(node):
            readers.setdefault(name, set()).add(index)
    texts = list[str]()
    made: list[onnx.NodeProto] = []
    gone = set[int]()
    for members in found.regions():
        own = {nodes[index].output[0] for index in members}
        wanted = {name for name in own if name in outputs or not readers.get(name, set()) <= {*members}}
        maker = _Maker(nodes, sorted(members), found.kinds, wanted, len(made))
        if not maker.results:
            continue  # truth alone, which stays as it is
        node, constants, kept = maker.make()
        made.append(node)
        graph.initializer.extend(constants)
        gone |= {*members} - kept
        counted = Counter(nodes[index].op_type for index in sorted(members))
        texts.append("Fused: " + ", ".join(f"{count} {name}" for name, count in counted.items()))
    if made:
        put(graph, in_order([*(node for index, node in enumerate(nodes) if index not in gone), *made]))
    return texts


class _Finder:
    """Which regions there are."""

    def __init__(
        self, nodes: Sequence[onnx.NodeProto], kinds: Mapping[str, Kind], products: Set[str]
    ) -> None:
        self.nodes, self.kinds, self._products = nodes, kinds, products
        self._made = {name: index for index, node in enumerate(nodes) for name in node.output if name}

    def regions(self) -> list[list[int]]:
        """Nodes by number of each region that is worth it."""
        regions, shapes = Regions(), list[tuple[int, ...] | None]()
        able = list[bool]()
        for index, node in enumerate(self.nodes):
            able.append(self._able(node))
            kind = self.kinds.get(node.output[0]) if node.output else None
            shapes.append(kind.shape if kind else None)
            read = [self._made[name] for name in reads(node) if name in self._made]

            def joins(region: int, index: int = index) -> bool:
                if not (able[index] and able[region]):
                    return False
                return self._alike(shapes[index], self._shape(regions.members[region], shapes))

            regions.add(read, joins)
        return [
            members
            for members in regions.members.values()
            if self._worth(members) and all(self._whole(index, members) for index in members)
        ]

    def _worth(self, members: Sequence[int]) -> bool:
        """Several nodes, or one whose bits must not depend on what stands beside it."""
        return len(members) > 1 or self.nodes[members[0]].op_type in APPROXIMATED

    def _able(self, node: onnx.NodeProto) -> bool:
        if node.domain or len(node.output) != 1 or not self._has_operands(node):
            return False
        found = [self.kinds.get(name) for name in (*node.input, *node.output)]
        elements = [kind.element if kind else 0 for kind in found]
        inside = {*elements[:-1]}
        if node.op_type in COMPARE:
            return len(inside) == 1 and inside <= OPERATORS.keys()
        if node.op_type in LOGIC:
            return inside == {BOOL}
        if node.op_type == "Cast":
            return inside == {BOOL} and elements[-1] in OPERATORS
        if node.op_type == "Where":
            return elements[0] == BOOL and elements[1] == elements[2] and elements[1] in OPERATORS
        if len({*elements}) != 1 or elements[0] not in OPERATORS:
            return False
        return not self._belongs_to_product(node)

    @staticmethod
    def _has_operands(node: onnx.NodeProto) -> bool:
        """Whether it is an operator of ours, with as many operands as that has."""
        name, count = LOGIC.get(node.op_type, node.op_type), len(node.input)
        if name not in MEANINGS or name in JOINED or not all(node.input):
            return False
        if node.op_type in ("Max", "Min"):
            return count > 0
        return count == (1 if name == "HardSigmoid" else MEANINGS[name][0])

    def _belongs_to_product(self, node: onnx.NodeProto) -> bool:
        if node.op_type not in ("Relu", "Add"):
            return False
        makers = [self.nodes[self._made[name]].op_type for name in node.input if name in self._made]
        return len(makers) == 1 and makers[0] in self._products

    def _shape(
        self, members: Sequence[int], shapes: Sequence[tuple[int, ...] | None]
    ) -> tuple[int, ...] | None:
        """A region's: that of a member that is no single element."""
        known = [shapes[index] for index in members]
        return next((shape for shape in known if shape is None or _count(shape) != 1), known[0])

    @staticmethod
    def _alike(a: tuple[int, ...] | None, b: tuple[int, ...] | None) -> bool:
        return a == b or (a is not None and _count(a) == 1) or (b is not None and _count(b) == 1)

    def _whole(self, index: int, members: Sequence[int]) -> bool:
        """Whether what a node reads of truth comes from the region itself, as numbers."""
        return all(
            self._made.get(name) in members
            for name in self.nodes[index].input
            if (kind := self.kinds.get(name)) is not None and kind.element == BOOL
        )


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


class _Maker:
    """Makes the node of one region."""

    def __init__(
        self,
        nodes: Sequence[onnx.NodeProto],
        members: Sequence[int],
        kinds: Mapping[str, Kind],
        wanted: set[str],
        number: int,
    ) -> None:
        self._nodes, self._members, self._kinds = nodes, members, kinds
        self._name = f"fused.{number}"
        made = [nodes[index].output[0] for index in members]
        self._kept = {
            index for index in members
            if kinds[nodes[index].output[0]].element == BOOL and nodes[index].output[0] in wanted
        }  # fmt: skip
        self.results = [
            name for name in made
            if kinds[name].element != BOOL
            and (name in wanted or any(name in nodes[index].input for index in self._kept))
        ]  # fmt: skip
        self._element = kinds[self.results[0]].element if self.results else FLOAT
        own = {*made}
        read = [name for index in members for name in nodes[index].input if name not in own]
        self._inputs = list(dict.fromkeys(read))
        self._constants: list[onnx.TensorProto] = []

    def make(self) -> tuple[onnx.NodeProto, list[onnx.TensorProto], set[int]]:
        """The node, the constants that it reads beside the graph's, and members that stay beside it."""
        from onnx import helper

        steps = list[tuple[str, list[str], str]]()
        for index in self._members:
            steps += self._steps(self._nodes[index])
        numbers = {name: index for index, name in enumerate(self._inputs)}
        instructions = []
        for name, operands, result in steps:
            instructions.append(Instruction(name, tuple(numbers[each] for each in operands)))
            numbers[result] = len(numbers)
        program = Program(
            len(self._inputs), tuple(instructions), tuple(numbers[name] for name in self.results)
        )
        node = helper.make_node(
            OPERATORS[self._element], self._inputs, self.results, self._name, domain=DOMAIN,
            **program.paired().attributes(),
        )  # fmt: skip
        return node, self._constants, self._kept

    def _steps(self, node: onnx.NodeProto) -> list[tuple[str, list[str], str]]:
        """Instructions: name, operands, result."""
        name, result, operands = LOGIC.get(node.op_type, node.op_type), node.output[0], [*node.input]
        if name == "HardSigmoid":
            given = {attribute.name: attribute.f for attribute in node.attribute}
            slope, offset = given.get("alpha", float(np.float32(0.2))), given.get("beta", 0.5)
            operands += [self._constant(slope), self._constant(offset)]
        if name not in ("Max", "Min"):
            return [(name, operands, result)]
        if len(operands) == 1:
            return [("Cast", operands, result)]
        steps = []
        for index, other in enumerate(operands[1:]):
            to = result if index == len(operands) - 2 else f"{result}.{index}"
            before = operands[0] if index == 0 else f"{result}.{index - 1}"
            steps.append((name, [before, other], to))
        return steps

    def _constant(self, value: float) -> str:
        from onnx import numpy_helper

        kind = np.float32 if self._element == FLOAT else np.float64
        name = f"{self._name}.{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.array(value, kind), name))
        self._inputs.append(name)
        return name

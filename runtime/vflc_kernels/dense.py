"""Replaces the nodes of dense layers of an ONNX graph by our operators `Dense` and `DenseBackward`.

A layer's products take its bias and its ReLU along, and those of its gradient the mask that the ReLU
leaves and the sums for the bias: what was a pass over memory each becomes a part of the product's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vflc_kernels import DOMAIN
from vflc_kernels.graphs import Kind, copied, drop_unread, in_order, put, reads

if TYPE_CHECKING:
    import onnx

FLOAT = 1
STEEP = 1e38
"""From this slope on a `HardSigmoid` of a ReLU's result is the ReLU's derivative: zero or one."""


def dense(graph: onnx.GraphProto, kinds: dict[str, Kind], bfloat16: bool) -> list[str]:
    """Replaces in place, and says what, one text a node.

    Layers with one output stay as they are: reading their input is all their work.

    Args:
        graph: in which nodes stand in any order.
        kinds: of the graph's values.
        bfloat16: factors of products may be rounded to it.
    """
    nodes = in_order(graph.node)
    found = _Layers(nodes, kinds, {each.name for each in graph.output}, bfloat16)
    for index in range(len(nodes)):
        found.forward(index)
        found.backward(index)
    changed = found.result()
    if changed is None:
        return []
    put(graph, changed)
    drop_unread(graph)
    return found.texts


@dataclass
class _Layers:
    """Looks for layers, and collects what replaces them."""

    nodes: Sequence[onnx.NodeProto]
    kinds: dict[str, Kind]
    outputs: set[str]
    bfloat16: bool

    def __post_init__(self) -> None:
        self.gone, self.made, self.texts = set[int](), list[Any](), list[str]()
        self.alike = dict[str, str]()  # values that are gone, and one of their shape
        self._made = {name: index for index, node in enumerate(self.nodes) for name in node.output if name}
        self._readers = dict[str, list[int]]()
        for index, node in enumerate(self.nodes):
            for name in dict.fromkeys(reads(node)):
                self._readers.setdefault(name, []).append(index)

    def forward(self, index: int) -> None:
        """A product by a weight, with bias and ReLU where they follow."""
        node = self.nodes[index]
        if not self._product(node, 0, 0):
            return
        shapes = [self._shape(name) for name in (*node.input, node.output[0])]
        if len(shapes[0]) != 2 or len(shapes[1]) != 2 or shapes[1][1] == 1:
            return
        if len(node.input) > 2 and shapes[2] != shapes[1][1:]:
            return
        output, gone = node.output[0], {index}
        after = self._only_reader(output)
        relu = after is not None and self.nodes[after].op_type == "Relu" and not self.nodes[after].domain
        if after is not None and relu:
            output = self.nodes[after].output[0]
            gone.add(after)
        self._replace("Dense", [*node.input], [output], gone, relu=int(relu))

    def backward(self, index: int) -> None:
        """A weight's gradient, with those of the input and of the bias that are made of the same."""
        node = self.nodes[index]
        if not self._product(node, 1, 0) or len(node.input) > 2:
            return
        x, gradient = node.input
        shape, width = self._shape(x), self._shape(gradient)
        if len(shape) != 2 or len(width) != 2 or width[1] == 1:
            return
        inputs, outputs, gone = [x, gradient], [node.output[0]], {index}
        to_x = self._to_x(gradient, (shape[1], width[1]))
        to_b = next((each for each in self._readers[gradient] if self._sums(each, gradient)), None)
        mask = self._mask(gradient, {index, to_x, to_b})
        if mask is not None:
            inputs = [x, *mask[1]]
            gone |= mask[0]
        if to_x is not None:
            inputs.append(self.nodes[to_x].input[1])
        for each in (to_x, to_b):
            if each is not None:
                outputs.append(self.nodes[each].output[0])
                gone.add(each)
        asked = {"masked": mask is not None, "to_x": to_x is not None, "to_b": to_b is not None}
        self._replace(
            "DenseBackward", inputs, outputs, gone, **{name: int(is_) for name, is_ in asked.items()}
        )

    def result(self) -> list[onnx.NodeProto] | None:
        """The nodes in order; None where nothing is replaced, or nodes would wait for each other."""
        if not self.made:
            return None
        left = [copied(node) for index, node in enumerate(self.nodes) if index not in self.gone]
        for node in left:
            if node.op_type == "Shape":
                node.input[0] = self._known(node.input[0])
        try:
            return in_order([*left, *self.made])
        except ValueError:
            return None

    def _known(self, name: str) -> str:
        while name in self.alike:
            name = self.alike[name]
        return name

    def _to_x(self, gradient: str, shape: tuple[int, ...]) -> int | None:
        """The product of a gradient and the transpose of a weight of a shape."""
        for index in self._readers[gradient]:
            node = self.nodes[index]
            fits = self._product(node, 0, 1) and len(node.input) == 2 and node.input[0] == gradient
            if fits and index not in self.gone and self._shape(node.input[1]) == shape:
                return index
        return None

    def _sums(self, index: int, gradient: str) -> bool:
        """Whether a node is the product of a row of ones and a gradient."""
        node = self.nodes[index]
        if node.op_type != "MatMul" or node.domain or node.input[1] != gradient or index in self.gone:
            return False
        ones = self._maker(node.input[0], "ConstantOfShape")
        shape = ones and self._maker(ones.input[0], "Shape")
        if not ones or not shape or _given(shape, "start", 0) != 0 or _given(shape, "end", None) != 1:
            return False
        value = _given(ones, "value", None)
        from onnx import numpy_helper

        return value is not None and numpy_helper.to_array(value).tolist() == [1.0]

    def _mask(self, gradient: str, readers: set[int | None]) -> tuple[set[int], list[str]] | None:
        """Where a gradient is one masked by a ReLU for `readers` alone: nodes of that, gradient and ReLU.

        Who else asks for its shape may ask for that of the gradient which is not masked.
        """
        others = {*self._readers[gradient]} - readers
        if gradient in self.outputs or any(self.nodes[each].op_type != "Shape" for each in others):
            return None
        node = self._maker(gradient, "Mul")
        for slope, before in (node.input, node.input[::-1]) if node else ():
            step = self._maker(slope, "HardSigmoid")
            if step is None or _given(step, "alpha", 0.2) < STEEP or _given(step, "beta", 0.5) != 0:
                continue
            if self._shape(before) != self._shape(gradient):
                continue
            gone = {self._made[gradient]}
            if slope not in self.outputs and len(self._readers[slope]) == 1:
                gone.add(self._made[slope])
            self.alike[gradient] = before
            return gone, [before, step.input[0]]
        return None

    def _product(self, node: onnx.NodeProto, *transposed: int) -> bool:
        """Whether a node is a plain product of float32 matrices."""
        if node.op_type != "Gemm" or node.domain:
            return False
        flags = tuple(_given(node, name, 0) for name in ("transA", "transB"))
        plain = all(_given(node, name, 1.0) == 1.0 for name in ("alpha", "beta"))
        floats = all(
            (kind := self.kinds.get(name)) is not None and kind.element == FLOAT for name in node.input
        )
        return plain and floats and flags == transposed

    def _shape(self, name: str) -> tuple[int, ...]:
        kind = self.kinds.get(name)
        return kind.shape if kind is not None and kind.shape is not None else ()

    def _maker(self, name: str, op: str) -> onnx.NodeProto | None:
        index = self._made.get(name)
        node = None if index is None else self.nodes[index]
        return node if node is not None and node.op_type == op and not node.domain else None

    def _only_reader(self, name: str) -> int | None:
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def _replace(self, op: str, inputs: list[str], outputs: list[str], gone: set[int], **asked: int) -> None:
        from onnx import helper

        if not gone.isdisjoint(self.gone):
            return
        self.gone |= gone
        attributes: dict[str, Any] = {**asked, "bfloat16": int(self.bfloat16)}
        name = f"dense.{len(self.made)}"
        self.made.append(helper.make_node(op, inputs, outputs, name, domain=DOMAIN, **attributes))
        self.texts.append(f"{op}: " + ", ".join(sorted(self.nodes[index].op_type for index in gone)))


def _given(node: onnx.NodeProto, name: str, otherwise: Any) -> Any:
    from onnx import helper

    found = [helper.get_attribute_value(each) for each in node.attribute if each.name == name]
    return found[0] if found else otherwise

"""Replaces the reading of tables' rows by our operator `GatherRows`; rows that are missing are zeros."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vflc_kernels import DOMAIN
from vflc_kernels.graphs import Kind, drop_unread

if TYPE_CHECKING:
    import onnx

OPERATORS = {1: "GatherRows", 11: "GatherRowsDouble"}
"""By the type of elements as ONNX numbers it."""
NUMBERS = {6: False, 7: True}
"""Types of numbers of rows, and whether they are of eight bytes."""


def gathers(graph: onnx.GraphProto, kinds: Mapping[str, Kind]) -> list[str]:
    """Replaces in place, and says what, one text a node."""
    read = _Reader(graph, kinds)
    found = [(node, read.plain(node) or read.with_zeros(node)) for node in graph.node]
    texts = list[str]()
    for node, made in found:
        if made is not None:
            texts.append(f"{made.op_type}: {'Gather' if node.op_type == 'Gather' else 'Gather, Mul'}")
            node.CopyFrom(made)
    if texts:
        drop_unread(graph)  # what told which rows are missing
    return texts


class _Reader:
    """Makes operators of nodes of a graph that it does not change."""

    def __init__(self, graph: onnx.GraphProto, kinds: Mapping[str, Kind]) -> None:
        from onnx import numpy_helper

        self._kinds = kinds
        self._makers = {name: node for node in graph.node for name in node.output}
        self._constants = {
            each.name: numpy_helper.to_array(each).reshape(-1).tolist()
            for each in graph.initializer
            if len(each.dims) < 2 and sum(each.dims) <= 1
        }

    def plain(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """Where it reads a matrix along its first axis."""
        if node.op_type != "Gather" or node.domain or any(each.i for each in node.attribute):
            return None
        return self._made(node, node.input[0], node.input[1], missing=False)

    def with_zeros(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """Where it multiplies rows by whether their numbers, cut at 0, are none below 0."""
        if node.op_type != "Mul" or node.domain:
            return None
        for rows, present in (node.input, node.input[::-1]):
            gather = self._maker(rows, "Gather")
            if gather is None or self.plain(gather) is None:
                continue
            numbers = self._beside_zero(gather.input[1], "Max")
            if numbers is not None and numbers in self._kinds and numbers == self._compared(present, numbers):
                return self._made(node, gather.input[0], numbers, missing=True)
        return None

    def _made(self, node: onnx.NodeProto, table: str, numbers: str, missing: bool) -> onnx.NodeProto | None:
        from onnx import helper

        of_table, of_numbers = self._kinds.get(table), self._kinds.get(numbers)
        if of_table is None or of_numbers is None or len(of_table.shape or ()) != 2:
            return None
        if of_numbers.shape is None or of_table.element not in OPERATORS or of_numbers.element not in NUMBERS:
            return None
        return helper.make_node(
            OPERATORS[of_table.element], [numbers, table], node.output, node.name, domain=DOMAIN,
            wide=int(NUMBERS[of_numbers.element]), missing=int(missing),
        )  # fmt: skip

    def _compared(self, present: str, numbers: str) -> str | None:
        """Of what is 1 where a number is at least 0, and else 0, for a row each: the numbers."""
        column = self._maker(present, "Unsqueeze")
        rank = len(self._kinds[numbers].shape or ())
        if column is None or self._constants.get(column.input[1]) not in ([-1], [rank]):
            return None
        cast = self._maker(column.input[0], "Cast")
        return None if cast is None else self._beside_zero(cast.input[0], "GreaterOrEqual")

    def _beside_zero(self, name: str, operator: str) -> str | None:
        """What an operator has as its first operand, where its second is 0."""
        node = self._maker(name, operator)
        if node is None or len(node.input) != 2 or self._constants.get(node.input[1]) != [0]:
            return None
        return str(node.input[0])

    def _maker(self, name: str, operator: str) -> onnx.NodeProto | None:
        node = self._makers.get(name)
        return None if node is None or node.domain or node.op_type != operator else node

"""Replaces the reading of tables' rows by our operator `GatherRows`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vflc_kernels import DOMAIN
from vflc_kernels.graphs import Kind

if TYPE_CHECKING:
    import onnx

OPERATORS = {1: "GatherRows", 11: "GatherRowsDouble"}
"""By the type of elements as ONNX numbers it."""
NUMBERS = {6: False, 7: True}
"""Types of numbers of rows, and whether they are of eight bytes."""


def gathers(graph: onnx.GraphProto, kinds: Mapping[str, Kind]) -> list[str]:
    """Replaces in place, and says what, one text a node."""
    from onnx import helper

    texts = list[str]()
    for node in graph.node:
        if node.op_type != "Gather" or node.domain or any(each.i for each in node.attribute):
            continue  # along another axis than the first
        table, numbers = (kinds.get(name) for name in node.input)
        if table is None or numbers is None or len(table.shape or ()) != 2 or numbers.shape is None:
            continue
        if table.element not in OPERATORS or numbers.element not in NUMBERS:
            continue
        made = helper.make_node(
            OPERATORS[table.element], [node.input[1], node.input[0]], node.output, node.name, domain=DOMAIN,
            wide=int(NUMBERS[numbers.element]),
        )  # fmt: skip
        node.CopyFrom(made)
        texts.append(f"{made.op_type}: Gather")
    return texts

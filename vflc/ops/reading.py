"""How a graph reads the rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.registry import OPS

if TYPE_CHECKING:
    from vflc.ir.graph import Node
    from vflc.ir.model import Update
    from vflc.ir.stages import Optimized


def reads_rows(node: Node) -> bool:
    """Whether it reads rows of its first input by the ids in its second."""
    return OPS[node.op].by_id == "reads"


def rows_read(model: Optimized, update: Update) -> tuple[str, ...] | None:
    """The ids by which training reads the rows of a table; None where something in it reads all of it."""
    (table,) = update.arrays
    graph = model.graph
    needed = graph.ancestors(model.roots("train"))
    readers = [node for node in graph if table in node.inputs and node.id in needed]
    if any(not reads_rows(node) or node.place != update.place for node in readers):
        return None
    return tuple(dict.fromkeys(node.inputs[1] for node in readers))

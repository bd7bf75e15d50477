"""What edges are called: a value by its id, and one that nobody named by the column that it is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from vflc.ir.graph import Graph, Node
from vflc.ops import OPS
from vflc.ops.source import COLUMNS


def edge_names(crossing: Mapping[str, Graph]) -> dict[str, str]:
    """A name for each value that crosses, which no other has.

    What `e = embed(…)` makes of MovieID, `e.gather_2` among the values, is `e.MovieID`, and its gradient
    `e.MovieID.gradient`. Where another party has a column of that name, the second is `e.bob.MovieID`.

    Args:
        crossing: a graph that has the value, by its id.
    """
    taken, found = set(crossing), dict[str, str]()
    for node_id, graph in crossing.items():
        names = _names(graph[node_id], graph, found)
        found[node_id] = next((name for name in names if name not in taken), node_id)
        taken.add(found[node_id])
    return found


def _names(node: Node, graph: Graph, known: Mapping[str, str]) -> Iterator[str]:
    of = node.attrs.get("of")
    if isinstance(of, str) and of in graph and node.id.startswith(f"{of}."):
        names = [known[of]] if of in known else _names(graph[of], graph, known)
        yield from (f"{name}{node.id[len(of) :]}" for name in names)
    scope, _, last = node.id.rpartition(".")
    if scope and re.fullmatch(rf"{node.op}(_\d+)?", last) and not _of_one(node):
        column = _column(node, scope, graph)
        if column is not None:
            yield f"{scope}.{column.rpartition('.')[2]}"
            yield f"{scope}.{column}"


def _of_one(node: Node) -> bool:
    """Whether it is what a function makes of another value, element by element."""
    return OPS[node.op].elementwise and len(node.inputs) == 1


def _column(node: Node, scope: str, graph: Graph) -> str | None:
    """The column of which a binding makes a value; None where it reads several, or other bindings."""
    found, waiting = set[str](), [node]
    while waiting:
        for given in graph.inputs(waiting.pop()):
            if given.op in COLUMNS:
                found.add(given.id)
            elif given.id.startswith(f"{scope}.") or given.type.dtype == "int":
                waiting.append(given)  # ids that two fused tables read are computed once, wherever that is
            elif given.sources:
                return None
    return found.pop() if len(found) == 1 else None

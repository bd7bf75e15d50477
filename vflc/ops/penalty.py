"""What penalties on weights have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ir.build import LossTerm
from vflc.ops.embedding import is_table
from vflc.ops.layers import pick
from vflc.ops.registry import OpError
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

PENALTIES = {"l1": "abs", "l2": "square"}
"""Penalties, with the op of each weight's part."""
ROWS = ("batch", "all")


def touched(b: Build, weight: Node) -> Node:
    """The rows of a table that the batch reads, each once; any other weight whole.

    So neither the cost nor the result depends on how large a table is.
    """
    readers = (
        [n for n in b.graph if n.op == "gather" and n.inputs[0] == weight.id] if is_table(weight) else []
    )
    ids = list(dict.fromkeys(n.inputs[1] for n in readers if b.graph[n.inputs[1]].op != "unique"))
    if not ids:
        return weight
    return b.op("gather", weight, b.op("unique", *(b.graph[name] for name in ids)), missing=False)


def penalty(b: Build, kind: str, coefficient: float, weights: list[Node], rows: str) -> Node:
    """A penalty of a `kind` in `PENALTIES` on the rows that the batch reads, or on all.

    Raises:
        OpError: VFL0107, no weights; VFL0203, values that are no weights; VFL0205, a coefficient below 0.
    """
    pick("choice of rows", rows, ROWS)
    if not weights:
        raise OpError(f"{kind} of no weights", f"name them: `{kind}(1e-5, a.deep.tables)`", "VFL0107")
    if coefficient < 0:
        raise OpError(
            f"{kind} with the coefficient {coefficient:g}", "the coefficient must be at least 0", "VFL0205"
        )
    total: Node | None = None
    for weight in weights:
        if weight.op != "weight":
            raise OpError(f"{kind} of a computed value {weight.type}", "give it weights", "VFL0203")
        values = b.op(PENALTIES[kind], weight if rows == "all" else touched(b, weight))
        term = b.op("sum", values, axes=tuple(range(values.type.rank)), keep=False)
        total = term if total is None else b.op("add", total, term)
    assert total is not None
    made = b.op("mul", number(b, coefficient / 2 if kind == "l2" else coefficient), total)
    whole = tuple(weight.id for weight in weights) if rows == "all" else ()
    b.losses.append(LossTerm(made.id, kind, whole=whole, strength=coefficient))
    return made

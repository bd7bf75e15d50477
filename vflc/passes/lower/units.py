"""From what a label's encoders made back to the units of its table, in the ops of the graph.

What an encoder is fitted to, a mean say, is known to the label's party alone, and only when it
trains. It is a weight there that is not trained: it is saved, loaded and exported like any other,
and lies at the party, so that the inverse can be computed there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from vflc.ir.build import Build, Init
from vflc.ir.graph import Node
from vflc.ir.model import ColumnInfo
from vflc.ir.types import Axis, TensorType

CHANGING = ("standardize", "minmax", "log1p", "scale")
"""Encoders after which a number has another unit; `clip` and `missing` keep it."""
FITTED = {"standardize": {"mean": 0.0, "std": 1.0}, "minmax": {"low": 0.0, "high": 1.0}}
"""Parameters that a run fits where the spec does not give them, and what leaves a number as it is."""


def changes_units(column: ColumnInfo) -> bool:
    """Whether the graph has other numbers than the column."""
    return any(encoder["name"] in CHANGING for encoder in column.encoders)


def is_fitted(column: ColumnInfo) -> bool:
    """Whether only a run at the label's party knows how to get back."""
    return any(
        encoder.get(name) is None for encoder in column.encoders for name in FITTED.get(encoder["name"], ())
    )


def undone(b: Build, value: Node, label: Node, column: ColumnInfo) -> Node:
    """`value`, which is in the units of the encoded `label`, in the units of its column."""
    for position, encoder in reversed(list(enumerate(column.encoders))):
        parameters = {
            name: b.constant(float(encoder[name]))
            if encoder.get(name) is not None
            else _fitted(b, label, column, position, name, start)
            for name, start in FITTED.get(encoder["name"], {}).items()
        }
        match encoder["name"]:
            case "standardize":
                value = b.op("add", b.op("mul", value, parameters["std"]), parameters["mean"])
            case "minmax":
                width = b.op("sub", parameters["high"], parameters["low"])
                value = b.op("add", b.op("mul", value, width), parameters["low"])
            case "log1p":
                size = b.op("sub", b.op("exp", b.op("abs", value)), b.constant(1.0))
                value = b.op("mul", b.op("sign", value), size)
            case "scale":
                value = b.op("div", value, b.constant(float(encoder["factor"])))
    return value


def _fitted(b: Build, label: Node, column: ColumnInfo, position: int, name: str, start: float) -> Node:
    """The weight that holds one fitted parameter of one encoder."""
    alike = [i for i, e in enumerate(column.encoders) if e["name"] == column.encoders[position]["name"]]
    node_id = f"{label.id}.{name}" + ("" if len(alike) == 1 else f".{alike.index(position)}")
    if node_id in b.graph:
        return b.graph[node_id]
    attrs = {
        "name": node_id,
        "init": Init("constant", start),
        "trainable": False,
        "table": False,
        "fitted": {"input": label.id, "encoder": position, "parameter": name},
    }
    type_ = TensorType((Axis(None, 1),))
    return b.graph.add(
        Node(node_id, "weight", (), attrs, type_, label.sources, label.place, "forward", label.span)
    )


# --- classes --------------------------------------------------------------------------------------


def classes_of(column: ColumnInfo, count: int) -> tuple[str | int | float, ...]:
    """What the table holds for each of `count` classes; none where ids stand for nothing in it.

    A class for unknown values is called `other`; one beyond the encoder's, by its number
    in brackets.
    """
    encoder = next((e for e in reversed(column.encoders) if e["name"] in _NAMED), None)
    if encoder is None:
        return ()
    names = _NAMED[encoder["name"]](encoder)
    if encoder.get("default") == "other":
        names = ["other" if "other" not in names else "(other)", *names]
    return tuple([*names, *(f"({number})" for number in range(len(names), count))][:count])


def _ranges(encoder: Mapping[str, Any]) -> list[str]:
    """Of `bucketize(18, 25)`: `<18`, `18..25`, `>=25`."""
    edges = [f"{edge:g}" for edge in encoder["edges"]]
    between = [f"{low}..{high}" for low, high in pairwise(edges)]
    return [f"<{edges[0]}", *between, f">={edges[-1]}"]


_NAMED: dict[str, Callable[[Mapping[str, Any]], list[Any]]] = {
    "vocab": lambda encoder: list(encoder["values"]),
    "index": lambda encoder: list(range(encoder["n"])),
    "bucketize": _ranges,
}

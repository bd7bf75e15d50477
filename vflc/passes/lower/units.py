"""From what a label's encoders made back to the units of its table, in the ops of the graph.

What an encoder is fitted to, a mean say, is known to the label's party alone, and only when it
trains. It is a weight there that is not trained: it is saved, loaded and exported like any other,
and lies at the party, so that the inverse can be computed there and nowhere else.
"""

from __future__ import annotations

from vflc_common.encoder import DEFAULT, OTHER
from vflc_common.encoders import ENCODERS, record
from vflc_common.text import text

from vflc.ir.budget import TooLarge
from vflc.ir.build import Build, Initializer
from vflc.ir.graph import Node
from vflc.ir.model import ColumnInfo
from vflc.ir.types import Axis, TensorType
from vflc.ops.rules import as_node


def changes_units(column: ColumnInfo) -> bool:
    """Whether the graph has other numbers than the column."""
    return any(record(encoder).changes_units for encoder in column.encoders)


def no_way_back(column: ColumnInfo) -> str | None:
    """The encoder from which no inverse leads back to the units of the column."""
    records = map(record, column.encoders)
    return next((encoder.name for encoder in records if encoder.changes_units and not encoder.undo), None)


def undone(b: Build, value: Node, label: Node, column: ColumnInfo) -> Node:
    """`value`, which is in the units of the encoded `label`, in the units of its column.

    Raises:
        BrokenPlugin: an encoder of another package cannot do it.
    """
    for position, encoder in reversed(list(enumerate(column.encoders))):
        found = record(encoder)
        if found.undo is not None:
            parameters = {
                parameter.name: _parameter(b, label, column, position, parameter.name)
                for parameter in found.parameters
                if encoder.get(parameter.name) is not None or found.fit is not None
            }
            with ENCODERS.using(found.name, TooLarge):
                value = as_node(found.undo(b, value, parameters))
    return value


def _parameter(b: Build, label: Node, column: ColumnInfo, position: int, name: str) -> Node:
    """A parameter of an encoder as it stands in the spec, or as a run fits it."""
    encoder = column.encoders[position]
    if encoder.get(name) is not None:
        return b.constant(float(encoder[name]))
    fit = record(encoder).fit
    assert fit is not None, "what is not given is fitted"
    start = fit.neutral[name]
    assert isinstance(start, float), "what has a way back is fitted to numbers"
    return _fitted(b, label, column, position, name, start)


def _fitted(b: Build, label: Node, column: ColumnInfo, position: int, name: str, start: float) -> Node:
    """The weight that holds one fitted parameter of one encoder."""
    alike = [i for i, e in enumerate(column.encoders) if e["name"] == column.encoders[position]["name"]]
    node_id = f"{label.id}.{name}" + ("" if len(alike) == 1 else f".{alike.index(position)}")
    if node_id in b.graph:
        return b.graph[node_id]
    attrs = {
        "name": node_id,
        "init": Initializer("constant", start),
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
    encoder = next((e for e in reversed(column.encoders) if record(e).count(e) is not None), None)
    if encoder is None:
        return ()
    found = record(encoder)
    listed = found.lookup.values if found.lookup is not None else found.classes
    if listed is None:
        return ()
    names = [text(name) if isinstance(name, bool) else name for name in listed(encoder)[:count]]
    if encoder.get(DEFAULT) == OTHER:
        names = [OTHER if OTHER not in names else f"({OTHER})", *names]
    return tuple([*names, *(f"({number})" for number in range(len(names), count))][:count])

"""Labels that not every row has, and labels whose classes count alike: `-> masked` and `-> balanced`.

Neither changes the label. Each makes a weight of the label's party beside it, computed from the label's own
column, by which losses of the label count rows.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from vflc_common.encoders import record
from vflc_common.encoders.balanced import ENCODER, by_class
from vflc_common.encoders.missing import filling

from vflc.ir.model import ColumnInfo
from vflc.passes.lower.evaluate import Evaluator
from vflc.syntax import tree

MASKED, BALANCED = "masked", ENCODER.name


def marks(ev: Evaluator, column: tree.Column, population: bool) -> tuple[tree.Column, frozenset[str]] | None:
    """A column without the marks at the end of its chain, and these; None after a mistake."""
    names = (MASKED, BALANCED) if column.kind == "label" else (MASKED,)
    found = [link for link in column.encoders if link.name.text in names]
    if not found:
        return column, frozenset()
    for link in found:
        name = link.name.text
        after = column.encoders[column.encoders.index(link) + 1 :]
        help = f"write it at the end of a label: label rating: float -> {name}"
        if column.kind != "label":
            ev.error("VFL0222", f"only a label can be `{name}`", link.span, help)
        elif link.arguments:
            ev.error("VFL0107", f"`{name}` takes no arguments", link.span, f"write -> {name}")
        elif any(other.name.text not in names for other in after):
            ev.error("VFL0222", f"`{name}` stands before other encoders", link.span, help)
        elif [other.name.text for other in found].count(name) > 1:
            ev.error("VFL0222", f"the label is `{name}` twice", link.span, "leave one out")
        elif population:
            text = f"a label of a population cannot be `{name}` in this version"
            ev.error("VFL0502", text, link.span, "leave it out; a query can leave rows out")
        else:
            continue
        return None
    plain = tuple(link for link in column.encoders if link not in found)
    return replace(column, encoders=plain), frozenset(link.name.text for link in found)


def marked(column: ColumnInfo, with_: frozenset[str], text: bool) -> list[ColumnInfo]:
    """A label with what its marks ask for: itself, and the weights beside it.

    `text` says whether its chain starts from text.
    """
    if not with_:
        return [column]
    source = column.value if column.value is not None else {"column": column.name}
    weights, label = [], column
    beside = ColumnInfo("", "weight", None, source, (), "number", None, column.span)
    if BALANCED in with_:
        gaps = (filling(0),) if MASKED in with_ else ()
        name = f"even_{column.name}"
        weights.append(replace(beside, name=name, encoders=(*column.encoders, by_class(), *gaps)))
        label = replace(label, evens=name)
    if MASKED in with_:
        name, absent = f"has_{column.name}", {"call": "is_missing", "args": [source]}
        weights.insert(0, replace(beside, name=name, value={"op": "not", "args": [absent]}))
        chain = column.encoders
        fill = filling(_any_value(column, text))
        chain = (*chain, fill) if column.shape == "number" else (fill, *chain)
        label = replace(label, encoders=chain, present=name)
    return [label, *weights]


def _any_value(column: ColumnInfo, text: bool) -> Any:
    """A value that the label's encoders take; it stands where there is none and counts nothing."""
    lookups = ((e, lookup) for e in column.encoders if (lookup := record(e).lookup) is not None)
    listed = next((values[0] for e, lookup in lookups if (values := lookup.values(e))), None)
    return listed if listed is not None else "" if text else 0

"""What lies inside a value: columns of a party, fields of a record, items of a list, weights below a name."""

from __future__ import annotations

from typing import Any

from vflc_common.encoder import IDS

from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.graph import Node
from vflc.ops import FUNCTIONS
from vflc.passes.lower.values import POISON, Evaluating, PartyValue, Poison, Record, Scope, describe
from vflc.syntax import tree


def attribute(ev: Evaluating, expr: tree.Attribute, scope: Scope) -> Any:
    """`value.name`: a field, a column or group of columns, or the weights made under a name."""
    value = ev.evaluate(expr.value, scope)
    name = expr.name.text
    if isinstance(value, Poison):
        return POISON
    if isinstance(value, Record) and name in value.fields:
        return value.fields[name]
    if isinstance(value, PartyValue):
        return _column(ev, value, name, expr)
    if name in ("tables", "weights") and isinstance(value, (Record, Node)):
        return _weights_below(ev, expr, scope, tables=name == "tables")
    known = list(value.fields) if isinstance(value, Record) else []
    near = did_you_mean(name, known)
    help = f"did you mean `{near}`?" if near else (f"use one of: {', '.join(known)}" if known else None)
    if isinstance(value, Node):
        text = " ".join(expr.value.span.text.split())
        help = f"call it as a function: {name}({text})" if name in FUNCTIONS else help
        help = f"size({text}) is the size of its last axis" if name in ("shape", "size", "dim") else help
    return ev.error("VFL0105", f"{describe(value)} has no `{name}`", expr.name.span, help)


def _column(ev: Evaluating, party: PartyValue, name: str, expr: tree.Attribute) -> Any:
    for columns in (party.features, party.labels, party.weights):
        if name in columns:
            return columns[name]
    features = list(party.features.values())
    groups = {
        "features": features,
        "categories": [f for f in features if f.attrs["kind"] in IDS],
        "numbers": [f for f in features if f.attrs["kind"] not in IDS],
    }
    if name in party.broken or (name in groups and (party.broken or ev.collector.left_out)):
        return POISON
    if name in groups:
        if not groups[name]:
            return ev.error("VFL0105", f"{party.name} has no {name}", expr.span)
        return groups[name]
    if name in party.plain:
        return ev.error("VFL0111", f"`{name}` is a `column` of {party.name}, which the graph cannot read",
                        expr.name.span, use_of(name))  # fmt: skip
    columns = party.features | party.labels | party.weights
    near = did_you_mean(name, [*columns, *party.plain, *groups])
    help = f"did you mean `{near}`?" if near else f"{party.name} has {', '.join(columns) or 'no columns'}"
    return ev.error("VFL0105", f"{party.name} has no feature or label `{name}`", expr.name.span, help)


def use_of(column: str) -> str:
    """What to declare so that the graph has a column that is only computed with."""
    return (
        f"say in the party what it is for: `weight w = {column}` weights the rows of a loss, "
        f"`label y = {column}` is learned, `feature x = {column}` enters the model"
    )


def _weights_below(ev: Evaluating, expr: tree.Attribute, scope: Scope, tables: bool) -> Any:
    """`l.deep.tables`: what was made under the path that the user wrote."""
    below: list[str] = []
    part: tree.Expr = expr.value
    while isinstance(part, tree.Attribute):
        below.insert(0, part.name.text)
        part = part.value
    if not isinstance(part, tree.Ref):
        return ev.error(
            "VFL0105", f"`.{expr.name.text}` must follow a name", expr.span, "bind the value to a name first"
        )
    found = scope.find(part.name)
    assert found
    prefix = ".".join((*found[1].path, part.name, *below))
    fitted = {fit.weight for fit in ev.build.fits}  # no penalty moves these
    weights = [
        node
        for node in ev.build.graph
        if node.op == "weight"
        and (node.id + ".").startswith(prefix + ".")
        and (node.attrs["table"] or not tables)
        and node.id not in fitted
    ]
    if not weights:
        return ev.error("VFL0105", f"`{prefix}` has no {expr.name.text}", expr.span)
    return weights


def family(ev: Evaluating, expr: tree.Family, scope: Scope) -> Any:
    """`party.C{8..26}`: the features, or the labels, of a family, in order."""
    if expr.value is None:
        return ev.error(
            "VFL0101", "a family of columns must belong to a party", expr.span, "write party.C{1..3}"
        )
    party = ev.evaluate(expr.value, scope)
    if isinstance(party, Poison):
        return POISON
    if not isinstance(party, PartyValue):
        return ev.error("VFL0203", f"a family must belong to a party; this is {describe(party)}", expr.span)
    names = [f"{expr.prefix.text}{i}" for i in range(expr.low, expr.high + 1)]
    if party.broken.intersection(names):
        return POISON
    if all(name in party.labels for name in names):
        return [party.labels[name] for name in names]
    missing = [name for name in names if name not in party.features]
    if missing:
        return _no_family(ev, party, missing[0], expr)
    return [party.features[name] for name in names]


def _no_family(ev: Evaluating, party: PartyValue, name: str, expr: tree.Family) -> Poison:
    if name in party.labels:
        text = f"`{name}` of {party.name} is a label; a family names features, or labels alone"
        help = f"name each label by itself in a loss: bce(logit, {party.name}.{name})"
        return ev.error("VFL0110", text, expr.span, help)
    if name in party.weights:
        text = f"`{name}` of {party.name} is a weight; a family can only name features"
        help = f"give it to a loss: bce(logit, label, weight = {party.name}.{name})"
        return ev.error("VFL0110", text, expr.span, help)
    if name in party.plain:
        text = f"`{name}` of {party.name} is a `column`, which the graph cannot read"
        return ev.error("VFL0111", text, expr.span, use_of(name))
    near = did_you_mean(name, party.features)
    text = f"{party.name} has no feature `{name}`"
    return ev.error("VFL0105", text, expr.span, f"did you mean `{near}`?" if near else None)


def index_of(ev: Evaluating, expr: tree.Index, scope: Scope) -> Any:
    """`list[2]` or `list[1..3]`, counted from 0, negative from the end."""
    value = ev.evaluate(expr.value, scope)
    index = ev.evaluate(expr.index, scope)
    if isinstance(value, Poison) or isinstance(index, Poison):
        return POISON
    if not isinstance(value, list):
        help = "to cut a value, use slice(x, axis, start, stop)" if isinstance(value, Node) else None
        return ev.error("VFL0203", f"only a list has items; this is {describe(value)}", expr.span, help)
    try:
        if isinstance(index, list):
            return [value[i] for i in index]
        if isinstance(index, int) and not isinstance(index, bool):
            return value[index]
    except IndexError:
        return ev.error("VFL0205", f"the list has {len(value)} items, counted from 0", expr.index.span)
    return ev.error("VFL0203", f"an index must be a whole number; this is {describe(index)}", expr.index.span)

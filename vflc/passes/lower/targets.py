"""What `protect` and `accept` speak of: values by name, or the gradients to a party."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.graph import Node
from vflc.ir.release import Target
from vflc.passes.lower.evaluate import Evaluator
from vflc.passes.lower.values import Record, Scope
from vflc.syntax import tree

IdsOfValue = Callable[[str], str]
"""From the id of a value while lowering to the one it ends up with."""


def lower_target(
    ev: Evaluator, target: tree.EdgeTarget, scope: Scope, places: tuple[str, ...], ids: IdsOfValue
) -> Target | None:
    """The target with the values it names; None after a mistake.

    A path that names no value of the spec may be the id of an edge, as the manifest has it: what
    the compiler made inside a block has such ids. Passes look it up when the edges are known.
    """
    if target.gradients_to is not None:
        party = target.gradients_to.text
        if not _is_party(ev, target.gradients_to, places):
            return None
        return Target((), party, f"gradients to {party}", target.span)
    assert target.value is not None
    text = path_text(target.value)
    value = look_up(ev, target.value, scope)
    return Target(tuple(dict.fromkeys(ids(node.id) for node in nodes_in(value))), None, text, target.span)


def lower_weights(ev: Evaluator, target: tree.WeightsTarget, places: tuple[str, ...]) -> Target | None:
    """The weights at a party; None where there is no such party."""
    if not _is_party(ev, target.at, places):
        return None
    patterns = tuple(pattern.text for pattern in target.patterns)
    shown = f"weights {', '.join(patterns)} at" if patterns else "weights at"
    return Target((), None, f"{shown} {target.at.text}", target.span, target.at.text, patterns)


def _is_party(ev: Evaluator, party: tree.Name, places: tuple[str, ...]) -> bool:
    """Whether a party of this name is there; reports where not."""
    if party.text in places:
        return True
    near = did_you_mean(party.text, places)
    help = f"did you mean `{near}`?" if near else f"use one of: {', '.join(places)}"
    ev.error("VFL0403", f"there is no party `{party.text}`", party.span, help)
    return False


def path_text(expr: tree.Expr) -> str:
    """`a.deep` as it is written."""
    if isinstance(expr, tree.Attribute):
        return f"{path_text(expr.value)}.{expr.name.text}"
    assert isinstance(expr, tree.Ref), "a target is a path"
    return expr.name


def look_up(ev: Evaluator, expr: tree.Expr, scope: Scope) -> Any:
    """The value at the end of a path of names and fields; None where there is none, without a word."""
    if isinstance(expr, tree.Attribute):
        value = look_up(ev, expr.value, scope)
        return value.fields.get(expr.name.text) if isinstance(value, Record) else None
    assert isinstance(expr, tree.Ref), "a target is a path"
    found = scope.find(expr.name)
    return ev.force(*found) if found else None


def nodes_in(value: Any, seen: set[int] | None = None) -> Iterator[Node]:
    """All graph values in a value, each part once: the fields of a record, the items of a list."""
    seen = set() if seen is None else seen
    if id(value) in seen:  # lists of one list twice, of two such lists, …: no number of steps would do
        return
    seen.add(id(value))
    if isinstance(value, Node):
        yield value
    elif isinstance(value, (Record, list)):
        for part in value.fields.values() if isinstance(value, Record) else value:
            yield from nodes_in(part, seen)

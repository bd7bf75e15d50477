"""What pushing down has changed, value by value: what crosses, and what would have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from vflc.diagnostics import DiagnosticCollector, Refused, Span
from vflc.ir.stages import Lowered
from vflc.passes.place import Placement
from vflc.passes.push_down.choose import attempt, choose
from vflc.passes.push_down.cost import crossing

Crossings = Mapping[tuple[str, str], float]
"""Bytes a row in a step of training, forward and backward, by value and place that it crosses to."""


class Explained(Struct, frozen=True):
    """One decision of the pass.

    Args:
        value: what is not put together before it is read; empty for terms of sums that are added first.
        spans: the user's text.
        crosses: what crosses because of it.
        instead: what would cross without it.
        refused: why the model would be refused without it, if it would.
    """

    value: str
    spans: tuple[Span, ...]
    crosses: Crossings
    instead: Crossings
    refused: str | None = None

    @property
    def saved(self) -> float:
        """Bytes a row."""
        return sum(self.instead.values()) - sum(self.crosses.values())


def explain(model: Lowered) -> tuple[list[Explained], list[str]]:
    """What was decided, and the joined values that are left as written, as this is no dearer.

    Args:
        model: before the pass.
    """
    choice = choose(model)
    if not choice.model.pushed:
        return [], list(choice.joined)
    found = []
    chosen = [name for name in choice.joined if name not in choice.left]
    for name in chosen:
        other = attempt(model, choice.joined, choice.left | {name}).model
        found.append(_compared(name, _spans(model, [name]), choice.model, other, model.graph[name].inputs))
    sums = attempt(model, choice.joined, frozenset(choice.joined)).model
    compared = _compared("", (), sums, model)
    if compared.saved > 0:
        texts = _spans(sums, [name for name, _ in compared.crosses])
        found.append(Explained("", texts, compared.crosses, compared.instead, compared.refused))
    return found, [name for name in choice.joined if name in choice.left]


def _compared(
    value: str, spans: tuple[Span, ...], model: Lowered, other: Lowered, parts: Sequence[str] = ()
) -> Explained:
    """Two ways beside each other. Where the other one is refused, what crosses is what is made of `parts`."""
    (here, _), (there, refused) = _placed(model), _placed(other)
    if refused:
        graph = model.graph
        made = {key: size for key, size in here.items() if not graph.ancestors([key[0]]).isdisjoint(parts)}
        return Explained(value, spans, made, {}, refused)
    crosses = {key: size for key, size in here.items() if key not in there}
    instead = {key: size for key, size in there.items() if key not in here}
    return Explained(value, spans, crosses, instead)


def _placed(model: Lowered) -> tuple[Crossings, str | None]:
    collector = DiagnosticCollector()
    try:
        placed = Placement(unsplit=False)(model, collector)
        collector.refuse_errors()
    except Refused as refused:
        first = refused.diagnostics[0]
        return {}, f"{first.message} ({first.code})"
    return crossing(placed), None


def _spans(model: Lowered, names: list[str]) -> tuple[Span, ...]:
    found = [model.graph[name].span for name in names if name in model.graph]
    return tuple(dict.fromkeys(span for span in found if span is not None))

"""Findings about activations: raw values, few values, single features, maps that can be solved."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from math import isinf

from vflc.diagnostics import Label, Span
from vflc.ir.graph import Source
from vflc.ir.model import Edge, Model
from vflc.passes.disclosure.analysis import Analysis
from vflc.passes.disclosure.found import Found
from vflc.passes.disclosure.values import Way
from vflc.passes.place import raw_code

FEW = 256
"""Values of an edge that can be told by heart: at most eight bits."""


def raw_findings(analysis: Analysis) -> Iterator[Found]:
    """Data that crosses without a weight between, in any program and phase."""
    for edge in analysis.model.edges:
        if not analysis.raw(edge):
            continue
        node = analysis.node(edge)
        names = ", ".join(sorted(map(str, node.sources)))
        yield Found(
            raw_code(node), (edge,), f"{names} reaches {edge.target} raw", node.span,
            f"put a trained layer between, at {edge.source}",
        )  # fmt: skip


def label_findings(analysis: Analysis) -> Iterator[Found]:
    """Activations that were computed from a label, at places that may not have it."""
    for edge in _forward(analysis.model):
        fact, node = analysis.fact(edge), analysis.node(edge)
        labels = [s for s in fact.ways if s.label and s.party != edge.target]
        if not labels or analysis.raw(edge) or analysis.private(edge):
            continue
        names = ", ".join(sorted(map(str, labels)))
        yield Found(
            "VFL0310", (edge,),
            f"`{edge.id}` is computed from the label {names} and goes to {edge.target}: "
            f"{_few(2.0 if isinf(fact.distinct) else fact.distinct)} tells it row by row",
            node.span,
            f"leave the label out of what leaves {edge.source}, or compute this there",
            (_declared(analysis.model, labels[0]),),
        )  # fmt: skip


def activation_findings(analysis: Analysis) -> Iterator[Found]:
    """What a single edge gives away of the features of others."""
    for edge in _forward(analysis.model):
        ways = _foreign(analysis, edge)
        features = [source for source in ways if not source.label]
        known = analysis.private(edge) or analysis.raw(edge) or any(source.label for source in ways)
        if known or not features:
            continue
        fact, node = analysis.fact(edge), analysis.node(edge)
        if fact.distinct <= FEW:
            yield Found(
                "VFL0322", (edge,),
                f"`{edge.id}` can take {fact.distinct:.0f} different values: whoever sees a few rows "
                f"with their features reads {_names(features)} off it",
                node.span, "let more features flow into it, or protect it with noise",
                (_declared(analysis.model, features[0]),),
            )  # fmt: skip
        elif len(features) == 1:
            way = ways[features[0]]
            how = "a one-to-one function" if way.injective else "a function"
            yield Found(
                "VFL0321", (edge,), f"`{edge.id}` is {how} of {features[0]} alone", node.span,
                "join it with other features before it leaves, or protect it with noise",
                (_declared(analysis.model, features[0]),),
            )  # fmt: skip


def solvable_findings(analysis: Analysis) -> Iterator[Found]:
    """Linear activations that are, all together, at least as many as the numbers they are made of."""
    edges = sorted(_forward(analysis.model), key=lambda e: (e.source, e.target))
    for (source, target), group in groupby(edges, key=lambda e: (e.source, e.target)):
        members = [e for e in group if _is_linear(analysis, e)]
        features = {s for e in members for s in _foreign(analysis, e) if not s.label}
        needed = sum(_dimension(analysis.model, feature) for feature in features)
        width = sum(analysis.node(edge).type.row_size or 0 for edge in members)
        if features and width >= needed:
            names = _names(sorted(features, key=str))
            spans = [analysis.node(edge).span for edge in members]
            yield Found(
                "VFL0323", tuple(members),
                f"{target} gets {width} linear combinations of {needed:.0f} numbers a row of {source}: "
                f"with the weights, or enough known rows, they can be solved for {names}",
                spans[0], "send fewer numbers, or put a nonlinear layer before the cut",
                tuple(Label(s, "and this") for s in spans[1:] if s is not None),
            )  # fmt: skip


def _is_linear(analysis: Analysis, edge: Edge) -> bool:
    ways = _foreign(analysis, edge)
    hidden = analysis.private(edge) or analysis.raw(edge)
    return bool(ways) and not hidden and all(way.linear for way in ways.values())


def _dimension(model: Model, feature: Source) -> float:
    """Numbers that a feature stands for: 1, or an indicator of each of its ids."""
    party = model.party(feature.party)
    column = party.column(feature.name) if party else None
    return float(column.rows) if column is not None and column.rows else 1.0


def _forward(model: Model) -> list[Edge]:
    return [edge for edge in model.edges if edge.phase == "forward"]


def _foreign(analysis: Analysis, edge: Edge) -> dict[Source, Way]:
    """Secrets in an edge that its receiver does not own."""
    return {s: way for s, way in analysis.fact(edge).ways.items() if s.party != edge.target}


def _few(distinct: float) -> str:
    return f"each of its {distinct:.0f} values"


def _names(features: list[Source]) -> str:
    shown = ", ".join(map(str, features[:4]))
    return f"{shown} and {len(features) - 4} more" if len(features) > 4 else shown


def _declared(model: Model, source: Source) -> Label:
    return Label(_span(model, source), f"{source} comes from here")


def _span(model: Model, source: Source) -> Span:
    party = model.party(source.party)
    column = party.column(source.name) if party else None
    assert party is not None and column is not None, "a source is a declared column"
    return column.span

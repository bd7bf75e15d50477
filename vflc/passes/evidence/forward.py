"""What activations give away: raw values, few values, single features, maps that can be solved."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from math import isinf

from vflc.ir.graph import SecretSource
from vflc.ir.learn import Evidence
from vflc.ir.model import Edge
from vflc.ir.stages import Partitioned
from vflc.passes.evidence.analysis import Analysis
from vflc.passes.evidence.found import Found
from vflc.passes.evidence.values import Dependence
from vflc.passes.learn.bounds import declared
from vflc.passes.raw import raw_code

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


def labels_told(analysis: Analysis) -> Iterator[Evidence]:
    """Activations that were computed from a label of another."""
    for edge in _forward(analysis.model):
        fact = analysis.fact(edge)
        labels = tuple(s for s in fact.ways if s.label and s.party != edge.target)
        if labels and not analysis.raw(edge) and not analysis.private(edge):
            count = 2.0 if isinf(fact.distinct) else fact.distinct
            says = f"`{edge.id}` is computed from {_names(labels)}: each of its {count:.0f} values tells it"
            yield Evidence("label", edge.target, labels, (edge.id,), says)


def single_edges(analysis: Analysis) -> Iterator[Evidence]:
    """What a single edge gives away of the features of others."""
    for edge in _forward(analysis.model):
        ways = _foreign(analysis, edge)
        features = tuple(source for source in ways if not source.label)
        known = analysis.private(edge) or analysis.raw(edge) or any(source.label for source in ways)
        if known or not features:
            continue
        fact = analysis.fact(edge)
        if fact.distinct <= FEW:
            says = (
                f"`{edge.id}` can take {fact.distinct:.0f} different values: a few rows with their "
                "features reveal which is which"
            )
            yield Evidence("few values", edge.target, features, (edge.id,), says)
        elif len(features) == 1:
            (feature,) = features
            how = "a one-to-one function" if ways[feature].injective else "a function"
            says = f"`{edge.id}` is {how} of it alone"
            yield Evidence("one column", edge.target, features, (edge.id,), says)


def solvable_edges(analysis: Analysis) -> Iterator[Evidence]:
    """Linear activations that are, all together, at least as many as the numbers they are made of."""
    columns = declared(analysis.model)
    edges = sorted(_forward(analysis.model), key=lambda e: (e.source, e.target))
    for (source, target), group in groupby(edges, key=lambda e: (e.source, e.target)):
        members = [e for e in group if _is_linear(analysis, e)]
        features = {s for e in members for s in _foreign(analysis, e) if not s.label}
        needed = sum(columns[f.party, f.name].rows or 1 for f in features)  # of an id an indicator of each
        width = sum(analysis.node(edge).type.row_size or 0 for edge in members)
        if features and width >= needed:
            says = (
                f"{width} linear combinations of {needed} numbers a row of {source}: with the weights, "
                f"or enough known rows, they can be solved"
            )
            ids = tuple(edge.id for edge in members)
            yield Evidence("solvable", target, tuple(sorted(features, key=str)), ids, says)


def _is_linear(analysis: Analysis, edge: Edge) -> bool:
    ways = _foreign(analysis, edge)
    hidden = analysis.private(edge) or analysis.raw(edge)
    return bool(ways) and not hidden and all(way.linear for way in ways.values())


def _forward(model: Partitioned) -> list[Edge]:
    return [edge for edge in model.edges if edge.phase == "forward"]


def _foreign(analysis: Analysis, edge: Edge) -> dict[SecretSource, Dependence]:
    """Secrets in an edge that its receiver does not own."""
    return {s: way for s, way in analysis.fact(edge).ways.items() if s.party != edge.target}


def _names(sources: tuple[SecretSource, ...]) -> str:
    return ", ".join(map(str, sources))

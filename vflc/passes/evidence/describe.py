"""What the analysis knows of each edge, as the manifest has it."""

from __future__ import annotations

from collections.abc import Mapping
from math import isinf
from typing import Any

from vflc.ir.model import Edge
from vflc.passes.evidence.analysis import Analysis

EXACT = 2.0**53
"""Counts of values up to this are exact, here and in JSON; more are told by their bits alone."""


def describe(analysis: Analysis) -> dict[str, Mapping[str, Any]]:
    """By edge id: for activations what of each secret, for gradients what of each label."""
    return {
        edge.id: _activation(analysis, edge) if edge.phase == "forward" else _gradient(analysis, edge)
        for edge in analysis.model.edges
    }


def _activation(analysis: Analysis, edge: Edge) -> dict[str, Any]:
    fact = analysis.fact(edge)
    bits = fact.bits(analysis.node(edge))
    return {
        "values": None if fact.distinct > EXACT else int(fact.distinct),
        "bits_per_row": None if isinf(bits) else round(bits, 3),
        "range": [None if isinf(bound) else bound for bound in (fact.range.low, fact.range.high)],
        "secrets": {
            str(source): {
                "width": None if isinf(way.width) else int(way.width),
                "linear": way.linear,
                "injective": way.injective,
            }
            for source, way in sorted(fact.ways.items(), key=lambda item: str(item[0]))
        },
    }


def _gradient(analysis: Analysis, edge: Edge) -> dict[str, Any]:
    """The coefficient of each loss's derivative; none where the receiver owns the labels."""
    leaks = [leak for leak in analysis.leaks if edge.id in leak.edges]
    return {
        "slopes": {
            leak.score.loss.name: {
                "labels": list(map(str, leak.score.labels)),
                "coefficient": leak.edges[edge.id].words,
            }
            for leak in leaks
        }
    }

"""What every edge of a model gives away, and what each place can make of all that it receives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from msgspec import Struct
from vflc_common.words import PROGRAMS

from vflc.ir.graph import Node, SecretSource
from vflc.ir.model import Edge
from vflc.ir.release import Guard
from vflc.ir.stages import Partitioned
from vflc.ops.loss import rule_of
from vflc.passes.evidence.coefficients import Backward, Coefficient
from vflc.passes.evidence.scores import ScoreBesideLabels, scores
from vflc.passes.evidence.values import Fact, facts
from vflc.passes.raw import asked_for, raw_values

SEEDED = frozenset({"constant", "random"})
"""Values that every place can make for itself: from the spec, or from the seed that all share."""


class Leak(Struct, frozen=True):
    """What one receiver's gradients tell of one term of the objective.

    Args:
        receiver: a place that does not own the labels.
        edges: the backward edges that carry it, with the coefficient of each.
        paths: for every value on the way, the coefficient with which δ arrives there.
        width: numbers a row in the edges whose coefficient is known.
        slopes: how many numbers δ has a row: as many as classes for `cce`, else 1.
    """

    receiver: str
    score: ScoreBesideLabels
    edges: Mapping[str, Coefficient]
    paths: Mapping[str, Coefficient]
    width: int
    slopes: int

    @property
    def exact(self) -> bool:
        """Whether the label follows from the joint row; slopes of classes add up to 0, so one may lack."""
        return self.width >= max(1, self.slopes - 1)


class Analysis(Struct, frozen=True, dict=True):
    """All that the findings and the manifest are made from; what takes long is found when first asked for.

    Args:
        guards: the mechanism that an edge's value came out of, by edge id.
        bare: ids of edges whose value no weight stands before, and no spec asks for as it is.
    """

    model: Partitioned
    guards: Mapping[str, tuple[Guard, ...]]
    bare: frozenset[str]

    @cached_property
    def train(self) -> Mapping[str, Fact]:
        """Facts about forward values in training."""
        return facts(self.model, self.model.graph)

    @cached_property
    def inference(self) -> Mapping[str, Fact]:
        """The same outside of it."""
        model = self.model
        both = {id(node): self.train[node.id] for node in model.graph if node.id in self.train}
        return facts(model, model.inference, both)

    @cached_property
    def scores(self) -> tuple[ScoreBesideLabels, ...]:
        """Where terms of the objective judge the model."""
        return tuple(scores(self.model))

    @cached_property
    def leaks(self) -> tuple[Leak, ...]:
        """Of every place that receives gradients and every term of the objective."""
        return tuple(leak for score in self.scores for leak in _leaks(self, score))

    def fact(self, edge: Edge) -> Fact:
        """Of a forward edge, in training where it crosses there."""
        known = self.inference if "train" not in edge.programs else self.train
        return known[edge.node]

    def node(self, edge: Edge) -> Node:
        return self.model.graph_of(edge.programs[0])[edge.node]

    def raw(self, edge: Edge) -> bool:
        """Whether no weight stands between the data and the edge."""
        return edge.id in self.bare

    def private(self, edge: Edge) -> bool:
        """Whether a mechanism that counts as privacy stands before the edge."""
        return any(guard.private for guard in self.guards.get(edge.id, ()))


def analyse(model: Partitioned) -> Analysis:
    """Runs on a placed, differentiated, protected and cut model."""
    guards = {edge.id: model.guards_of(edge.node) for edge in model.edges}
    raw = {program: raw_values(model.graph_of(program)) for program in PROGRAMS}
    bare = frozenset(
        edge.id
        for edge in model.edges
        if edge.node in raw[edge.programs[0]]
        and not asked_for(model.graph_of(edge.programs[0]), edge.node, edge.target)
    )
    return Analysis(model, guards, bare)


def owners(labels: tuple[SecretSource, ...]) -> set[str]:
    return {label.party for label in labels}


def _leaks(analysis: Analysis, score: ScoreBesideLabels) -> Iterator[Leak]:
    """What each receiver of gradients learns of a loss; owners of all its labels know them."""
    model = analysis.model
    receivers = dict.fromkeys(e.target for e in model.edges if e.phase == "backward" and e.gradient_of)
    for receiver in receivers:
        if owners(score.labels) <= {receiver}:
            continue
        several = _slopes(analysis, score) > 1
        backward = Backward(model.graph, analysis.train, _known(model, receiver), several)
        paths = backward.run(score.node)
        edges: dict[str, Coefficient] = {}
        for edge in model.edges:
            if edge.phase == "backward" and edge.target == receiver and edge.gradient_of:
                coefficient = _coefficient(backward, paths, score, edge)
                if coefficient is not None:
                    edges[edge.id] = coefficient
        if edges:
            yield _leak(analysis, score, receiver, edges, paths)


def _leak(
    analysis: Analysis,
    score: ScoreBesideLabels,
    receiver: str,
    edges: Mapping[str, Coefficient],
    paths: Mapping[str, Coefficient],
) -> Leak:
    model = analysis.model
    slopes = _slopes(analysis, score)
    # of a δ of several numbers, what is left of a row with zeros may not tell its direction
    telling = [e for e in model.edges if e.id in edges and not (slopes > 1 and edges[e.id].zeros)]
    width = sum(analysis.node(e).type.row_size or 1 for e in telling if not edges[e.id].unknown)
    return Leak(receiver, score, edges, paths, width, slopes)


def _slopes(analysis: Analysis, score: ScoreBesideLabels) -> int:
    """How many numbers δ has a row."""
    classes = rule_of(score.loss.kind).predicted == "multiclass"
    size = analysis.model.graph[score.node].type.row_size if classes else 1
    return size or 1


def _coefficient(
    backward: Backward, paths: Mapping[str, Coefficient], score: ScoreBesideLabels, edge: Edge
) -> Coefficient | None:
    """Of the gradient that an edge carries: the part of those readers that are at its source."""
    assert edge.gradient_of is not None
    value = backward.graph[edge.gradient_of]
    if not value.type.batched:
        return None  # a sum over the batch
    if value.id == score.node:
        return paths[value.id]
    return backward.at(value, paths, lambda reader: reader.place == edge.source)


def _known(model: Partitioned, receiver: str) -> frozenset[str]:
    """What a place computes, receives in training before gradients, or can compute from that."""
    graph = model.graph
    received = {
        edge.node
        for edge in model.edges
        if edge.target == receiver and edge.phase == "forward" and "train" in edge.programs
    }
    known: set[str] = set()
    for node in graph:
        if node.phase != "forward":
            continue
        own = node.place == receiver or node.id in received or node.op in SEEDED
        if own or (node.inputs and all(name in known for name in node.inputs)):
            known.add(node.id)
    return frozenset(known)

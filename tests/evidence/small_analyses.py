"""Analyses of a few edges between four parties, put together by hand."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from types import SimpleNamespace
from typing import Any

from vflc_common.words import PROGRAMS

from vflc.diagnostics import SourceText as Text
from vflc.diagnostics import Span
from vflc.ir.graph import Graph, Node, SecretSource
from vflc.ir.model import ColumnInfo, Edge, Loss, PartyInfo
from vflc.ir.release import Guard
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.passes.evidence.analysis import Analysis, Leak
from vflc.passes.evidence.coefficients import Coefficient
from vflc.passes.evidence.scores import ScoreBesideLabels
from vflc.passes.evidence.values import Dependence, Fact

SPAN = Span(Text("spec.vfl", "x"), 0, 1)
AGE, CITY, PAY = SecretSource("alice", "Age"), SecretSource("alice", "City"), SecretSource("alice", "Pay")
ITEM, LIKED, OWED = (
    SecretSource("bob", "Item"),
    SecretSource("bob", "liked", True),
    SecretSource("carol", "owed", True),
)


def column(name: str, rows: int | None = None, kind: str = "feature") -> ColumnInfo:
    return ColumnInfo(name, kind, "float", None, (), "id" if rows else "number", rows, SPAN)


PARTIES = (
    PartyInfo("alice", "ID", (column("Age"), column("City", 3), column("Pay")), SPAN, SPAN),
    PartyInfo("bob", "ID", (column("Item", 9), column("liked", kind="label")), SPAN, SPAN),
    PartyInfo("carol", "ID", (column("owed", kind="label"),), SPAN, SPAN),
    PartyInfo("hub", None, (), SPAN, SPAN),
)


def row(size: int | None = 1) -> TensorType:
    return TensorType((ROWS, Axis(None, size)))


def node(id: str, op: str = "neg", *inputs: str, type: TensorType | None = None, **more: Any) -> Node:
    return Node(id, op, inputs, {}, type or row(), **more)


def edge(id: str, target: str = "bob", phase: Any = "forward", **more: Any) -> Edge:
    given = {"source": "bob" if target == "alice" else "alice", "programs": PROGRAMS} | more
    return Edge(id, given.pop("node", id), given.pop("source"), target, phase, given.pop("programs"), **given)


class Case:
    """An analysis of some edges: what is known of their values, and what stands before them."""

    def __init__(self, *edges: Edge, nodes: tuple[Node, ...] = (), batch: int = 8) -> None:
        known = {each.id for each in nodes}
        nodes += tuple(node(e.node) for e in edges if e.node not in known)
        graph = Graph({each.id: each for each in nodes})
        parties = {party.name: party for party in PARTIES}
        self.model: Any = SimpleNamespace(
            edges=edges, graph=graph, inference=graph, graph_of=lambda program: graph, parties=PARTIES,
            party=parties.get, train=SimpleNamespace(batch=batch), acceptances=(),
        )  # fmt: skip

    def known(
        self,
        train: Mapping[str, Fact] | None = None,
        inference: Mapping[str, Fact] | None = None,
        guards: Mapping[str, tuple[Guard, ...]] | None = None,
        leaks: tuple[Leak, ...] = (),
        bare: tuple[str, ...] = (),
    ) -> Analysis:
        facts = train or {}
        found = Analysis(self.model, guards or {}, frozenset(bare))
        scores = tuple(leak.score for leak in leaks)
        found.__dict__.update(train=facts, inference=inference or facts, leaks=leaks, scores=scores)
        return found


def guard(privacy: Any = "proven") -> Guard:
    return Guard("noise", "alice", "forward", ("a",), ("b",), privacy, "")


NOISY, PARTIAL, COMPRESSED = (guard(),), (guard("partial"),), (guard("none"),)


def fact(*sources: SecretSource, distinct: float = inf, linear: bool = True, injective: bool = False) -> Fact:
    return Fact({source: Dependence(1, linear, injective) for source in sources}, distinct)


def back(id: str, **more: Any) -> Edge:
    return edge(f"{id}.gradient", "alice", "backward", gradient_of=id, **more)


def loss(kind: str = "bce") -> Loss:
    return Loss("liked", "loss", 1.0, kind, None, None, SPAN)


def leak(
    edges: Mapping[str, Coefficient],
    kind: str = "bce",
    receiver: str = "alice",
    labels: tuple[SecretSource, ...] = (LIKED,),
    guarded: bool = False,
    score: str = "logit",
    width: int = 4,
    slopes: int = 1,
) -> Leak:
    return Leak(receiver, ScoreBesideLabels(loss(kind), score, labels, guarded), edges, {}, width, slopes)

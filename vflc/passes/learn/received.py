"""Which secrets reach a place, by which edges and control messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct
from vflc_common.metrics import LOSS, metric_use
from vflc_common.words import FIT, PROGRAMS, Program

from vflc.ir.graph import SecretSource
from vflc.ir.stages import Partitioned
from vflc.passes.learn.flow import FlowAnalysis, Secret

NAMED = 64
"""Edges that are named of all that depend on the same secrets in a program."""
WATCHED = "control best, loss"
"""What places tell each other where a metric decides which epoch is the best."""

HELD_OUT = "control validation"
"""What the party tells all others whose columns decide which rows are kept for validation."""


class Route(Struct, frozen=True):
    """One crossing that depends on a secret: an edge's id, and the program that it crosses in.

    What crosses to fit tables, before the first step, does so in training.
    """

    edge: str
    program: Program


Received = Mapping[Secret, tuple[Route, ...]]
"""Secrets of others that reach a place, in the order in which they first do."""


def received(model: Partitioned) -> dict[str, Received]:
    """For every place, what reaches it of the secrets of others.

    Runs on a placed, differentiated, protected and cut model.
    """
    flow = FlowAnalysis(model)
    return {place: _at(model, flow, place) for place in model.places}


def _at(model: Partitioned, flow: FlowAnalysis, place: str) -> Received:
    by_set: dict[int, dict[Route, None]] = defaultdict(dict)
    for members, way in _crossings(model, flow, place):
        by_set[members][way] = None
    found: dict[Secret, dict[Route, None]] = defaultdict(dict)
    for members, ways in by_set.items():
        named = _named(ways)
        for secret in flow.secrets.of(members):
            if secret.source.party != place:
                found[secret] |= named
    return {secret: tuple(ways) for secret, ways in found.items()}


def _named(ways: Iterable[Route]) -> dict[Route, None]:
    """The first of each program: thousands of edges by thousands of columns are no list for anybody."""
    left = dict.fromkeys(PROGRAMS, NAMED)
    found: dict[Route, None] = {}
    for way in ways:
        if left[way.program]:
            left[way.program] -= 1
            found[way] = None
    return found


def _crossings(model: Partitioned, flow: FlowAnalysis, place: str) -> Iterator[tuple[int, Route]]:
    """Everything that a place is told, with the set of secrets that it depends on."""
    for edge in model.edges:
        if edge.target == place:
            for program in edge.programs:
                value = flow.graph(program)[edge.node]
                open_ended = model.graph_of(program)[edge.node].type.row_size is None
                yield (
                    value.row | value.mixed | (value.sizes if open_ended else 0),
                    Route(edge.id, PROGRAMS[0] if program == FIT else program),
                )
    if (kept := model.train.held_out) is not None and kept.party != place:
        yield flow.secrets.bit(SecretSource(kept.party, kept.column)), Route(HELD_OUT, "train")
    if model.train.patience is not None or model.train.best:
        for program in PROGRAMS[:2]:
            yield _watched(model, flow, program), Route(WATCHED, program)


def _watched(model: Partitioned, flow: FlowAnalysis, program: Program) -> int:
    """What any metric or loss depends on: more than the one that is watched, and simple to see."""
    graph, together = flow.graph(program), 0
    measured = [loss.node for loss in model.losses]
    measured += [name for p in model.predictions for name in (p.node, p.label, p.weight) if name]
    group = metric_use(model.train.monitor or LOSS).by  # no other metric reads it
    measured += [p.groups[group] for p in model.predictions if group is not None and group in p.groups]
    for name in measured:
        together |= graph[name].all if name in graph else 0
    return together


def together(reaching: Mapping[str, Received], places: tuple[str, ...]) -> dict[str, Received]:
    """What reaches places that put together all that they are sent, under their names joined by `+`."""
    found: dict[Secret, dict[Route, None]] = defaultdict(dict)
    for place in places:
        for secret, ways in reaching[place].items():
            if secret.source.party not in places:
                found[secret] |= dict.fromkeys(ways)
    return {"+".join(places): {secret: tuple(ways) for secret, ways in found.items()}}

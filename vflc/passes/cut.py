"""Edges between places, and the messages they travel in.

In: a differentiated graph with its updates. Out: `edges` and `messages` for every program.
Edges of the same two places, phase and level travel as one message.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import ClassVar

from msgspec import Struct
from vflc_common.words import Program

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.graph import PLACELESS, Graph, Node
from vflc.ir.model import Edge, Message
from vflc.ir.stages import Optimized, Partitioned
from vflc.passes.edge_names import edge_names
from vflc.passes.levels import levels
from vflc.passes.once import once
from vflc.passes.properties import CUT, GRAPH, PLACED, UPDATED
from vflc.passes.stand_in import check_alone


class Crossing(Struct, frozen=True):
    """A value and the place that reads it from elsewhere."""

    node: str
    target: str


class Cut:
    """The pass."""

    name: ClassVar = "cut"
    requires: ClassVar = (*GRAPH, PLACED, UPDATED)
    ensures: ClassVar = (*GRAPH, CUT)

    def __call__(self, model: Optimized, collector: DiagnosticCollector) -> Partitioned:
        used: dict[tuple[str, str, str], list[Program]] = defaultdict(list)
        crossing_in = {program: crossings(model, program) for program in model.programs}
        for program in model.programs:
            for crossing in crossing_in[program]:
                node = model.graph_of(program)[crossing.node]
                used[crossing.node, crossing.target, node.phase].append(program)
        targets: dict[str, set[str]] = defaultdict(set)
        for node_id, target, _ in used:
            targets[node_id].add(target)
        graphs = {node_id: model.graph_of(programs[0]) for (node_id, _, _), programs in used.items()}
        names = edge_names(graphs)
        edges = []
        for (node_id, target, _), programs in used.items():
            node = graphs[node_id][node_id]
            assert node.place is not None
            name = names[node_id] if len(targets[node_id]) == 1 else f"{names[node_id]}->{target}"
            of = node.attrs.get("of")
            edges.append(Edge(name, node_id, node.place, target, node.phase, tuple(programs), of))
        messages = _messages(model, edges, crossing_in)
        places = once(model, edges)
        check_alone(model, places, collector)
        return Partitioned.of(model, edges=tuple(edges), messages=messages, once=places)


def crossings(model: Optimized, program: Program) -> list[Crossing]:
    """Every value of a program that is read at another place, in order of execution."""
    graph = model.graph_of(program)
    needed = graph.ancestors(model.roots(program))
    readers: dict[str, list[str]] = defaultdict(list)
    for source, reader in graph.once("reading from elsewhere", lambda: _elsewhere(graph)):
        if reader.id in needed and reader.place is not None:
            readers[source].append(reader.place)
    if program == "train":
        for update in model.updates:  # the gradient of a table's rows may come from elsewhere as it is
            for _, gradient in update.pairs:
                if graph[gradient].place != update.place:
                    readers[gradient].append(update.place)
    if program == "evaluate":
        for prediction in model.predictions:
            if prediction.label and graph[prediction.label].place != graph[prediction.node].place:
                readers[prediction.node].append(graph[prediction.label].place or "")
    return [Crossing(n.id, place) for n in graph for place in dict.fromkeys(readers.get(n.id, ()))]


def _elsewhere(graph: Graph) -> list[tuple[str, Node]]:
    """Values, each with one that reads it at another place."""
    return [
        (source.id, node)
        for node in graph
        for source in graph.inputs(node)
        if source.place != node.place and source.op not in PLACELESS
    ]


def _messages(
    model: Optimized, edges: Sequence[Edge], crossing_in: Mapping[Program, list[Crossing]]
) -> tuple[Message, ...]:
    by_key = {(edge.node, edge.target, edge.phase): edge for edge in edges}
    grouped: dict[tuple[str, str, str, tuple[str, ...]], list[Program]] = defaultdict(list)
    for program in model.programs:
        graph = model.graph_of(program)
        depth = levels(graph)
        batches: dict[tuple[int, str, str, str], list[str]] = defaultdict(list)
        for crossing in crossing_in[program]:
            node = graph[crossing.node]
            edge = by_key[crossing.node, crossing.target, node.phase]
            batches[depth[node.id], edge.source, edge.target, edge.phase].append(edge.id)
        for (_, source, target, phase), members in sorted(batches.items()):
            grouped[source, target, phase, tuple(members)].append(program)
    taken: dict[str, int] = defaultdict(int)
    messages = []
    for (source, target, phase, ids), programs in grouped.items():
        base = f"{source}>{target}.{phase}"
        taken[base] += 1
        name = base if taken[base] == 1 else f"{base}.{taken[base]}"
        messages.append(Message(name, source, target, phase, tuple(programs), ids))  # type: ignore[arg-type]
    return tuple(messages)

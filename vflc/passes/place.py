"""Where every value is computed.

In: a graph with demanded places only. Out: every node but constants has a place.

Features and labels lie at their party, a `fuse at` and an `at` are demands, what depends on one
party's data alone runs at that party, and several parties' values first meet at the owner of the
labels that they are learned for. What is left goes where the fewest bytes a row cross, by a
minimum cut: exact for two places; for more, the isolation heuristic (Dahlhaus et al., "The
Complexity of Multiterminal Cuts", SIAM J. Comput. 23, 1994), within twice the least.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.budget import MOST_FREE
from vflc.ir.graph import PLACELESS, Graph, Node
from vflc.ir.model import UNSPLIT
from vflc.ir.stages import Lowered, Placed
from vflc.ops import OPS
from vflc.ops.traits import NONE
from vflc.passes.apart import apart
from vflc.passes.properties import GRAPH, NEEDED, PLACED
from vflc.passes.raw import raw_values, refuse_raw

if TYPE_CHECKING:
    import networkx

FORBIDDEN = 1e15
"""Bytes a row that no model has."""


class Placement(Struct, frozen=True):
    """The pass; `unsplit` puts everything at one place, to compare with."""

    unsplit: bool
    name: ClassVar = "place"
    requires: ClassVar = (*GRAPH, NEEDED)
    ensures: ClassVar = (*GRAPH, PLACED)

    def __call__(self, model: Lowered, collector: DiagnosticCollector) -> Placed:
        graph = model.graph
        if self.unsplit:
            places = {node.id: UNSPLIT for node in graph}
            return Placed.of(model, graph=_moved(graph, places), places=(UNSPLIT,))
        places = _owned(graph)
        _meet(model, places)
        _follow(graph, places)
        _cut(model, places, collector)
        collector.refuse_errors()
        _follow(graph, places)
        placed = _moved(graph, places)
        demanded = {node.id for node in graph if node.place is not None}
        clipped = model.train.push_down and model.train.clip_norm is not None
        refuse_raw(placed, demanded, model.acceptances, collector, clipped)
        return apart(Placed.of(model, graph=placed, places=tuple(party.name for party in model.parties)))


def _moved(graph: Graph, places: Mapping[str, str]) -> Graph:
    return Graph({n.id: n if n.op in PLACELESS else n.moved(places[n.id]) for n in graph})


def _owned(graph: Graph) -> dict[str, str]:
    """Demanded places, and those of values that depend on one party's data alone."""
    places = {node.id: node.place for node in graph if node.place is not None and node.op not in PLACELESS}
    for node in graph:
        if node.id in places or not node.sources or len(node.owners) != 1:
            continue
        (owner,) = node.owners
        if all(places.get(name, owner) == owner for name in node.inputs):
            places[node.id] = owner
    return places


def _meet(model: Lowered, places: dict[str, str]) -> None:
    """Values that lie with their parties meet at the owner of the labels: no other gets the end of its model.

    It is left to the cut where the labels have several owners or none, and where raw data would have to go
    there. Who has placed values has split the model: what they lead to, and what leads to them, is left to
    the cut as well.
    """
    raw = raw_values(model.graph)
    for node, home in _meetings(model, places):
        if all(s.id not in raw or places[s.id] == home for s in model.graph.inputs(node) if s.owners):
            places[node.id] = home


def astray(model: Lowered, placed: Placed) -> bool:
    """Whether values of several parties had to meet elsewhere than at the labels' owner, as some are raw."""
    places = _owned(model.graph)
    return any(placed.graph[node.id].place != home for node, home in _meetings(model, places))


def _meetings(model: Lowered, places: Mapping[str, str]) -> Iterator[tuple[Node, str]]:
    """Where values that lie with their parties first meet, and the one owner of what they are learned for."""
    homes = _homes(model)
    for node in model.graph:
        if node.id in places or len(node.owners) < 2 or len(homes.get(node.id, ())) != 1:
            continue
        if all({places.get(s.id)} == s.owners for s in model.graph.inputs(node) if s.owners):
            (home,) = homes[node.id]
            yield node, home


def _homes(model: Lowered) -> dict[str, set[str]]:
    """Whose labels each value is learned for."""
    homes: dict[str, set[str]] = {}
    for loss in model.losses:
        if loss.label:
            homes.setdefault(loss.node, set()).update(model.graph[loss.label].owners)
    for node in reversed(list(model.graph)):
        for name in node.inputs if node.place is None and node.id in homes else ():
            homes.setdefault(name, set()).update(homes[node.id])
    return homes


def _follow(graph: Graph, places: dict[str, str]) -> None:
    """Puts what depends on no data, weights first of all, where it is read, if that is one place."""
    users = graph.users()
    for node in reversed(list(graph)):
        if node.sources or node.id in places or node.op in PLACELESS:
            continue
        readers = {places.get(user.id) for user in users[node.id]}
        if len(readers) == 1 and (place := readers.pop()) is not None:
            places[node.id] = place


# --- minimum cut ----------------------------------------------------------------------------------


def _cut(model: Lowered, places: dict[str, str], collector: DiagnosticCollector) -> None:
    """Places what is free, one connected piece after another: pieces do not bear on each other."""
    free = [node.id for node in model.graph if node.id not in places and node.op not in PLACELESS]
    readers = _readers(model) if free else {}
    for piece in _pieces(model.graph, readers, places, free):
        around = [places[name] for name in _around(model.graph, readers, piece) if name in places]
        parties = [party.name for party in model.parties]
        candidates = [name for name in parties if name in around] or parties[:1]
        if len(candidates) == 1:
            places.update(dict.fromkeys(piece, candidates[0]))
            continue
        if len(piece) > MOST_FREE:
            message = f"more than {MOST_FREE:,} values may be computed at {_or(candidates)}"
            help = "say where: put `fuse at PARTY { … }` around them, or `at PARTY` after some of them"
            collector.error("VFL0206", message, model.graph[piece[0]].span, help)
            return
        cuts = sorted(
            (_isolate(model, readers, piece, places, candidate) for candidate in candidates),
            key=lambda cut: (cut.cost, candidates.index(cut.place)),
        )
        for name in piece:
            places[name] = next((cut.place for cut in cuts[:-1] if name in cut.inside), cuts[-1].place)


def _or(places: list[str]) -> str:
    return f"{', '.join(places[:-1])} or {places[-1]}"


def _readers(model: Lowered) -> dict[str, list[str]]:
    """Who reads each value. The label's owner measures a prediction, so it reads it too."""
    readers = {name: [user.id for user in users] for name, users in model.graph.users().items()}
    for prediction in model.predictions:
        if prediction.label:
            readers[prediction.node].append(prediction.label)
    return readers


def _around(graph: Graph, readers: Mapping[str, list[str]], names: Iterable[str]) -> list[str]:
    """What is next to any of the values: their inputs, their readers, and who else reads their inputs."""
    found: list[str] = []
    for name in names:
        inputs = [source for source in graph[name].inputs if graph[source].op not in PLACELESS]
        found += [*inputs, *readers[name], *(other for source in inputs for other in readers[source])]
    return found


def _pieces(
    graph: Graph, readers: Mapping[str, list[str]], places: Mapping[str, str], free: list[str]
) -> list[list[str]]:
    """Values without a place, all that are `free`, in connected pieces, each in order of the graph."""
    piece_of: dict[str, int] = {}
    for index, start in enumerate(free):
        stack = [start]
        while stack:
            name = stack.pop()
            if name not in piece_of and name not in places:
                piece_of[name] = index
                stack.extend(_around(graph, readers, [name]))
    return [[n for n in free if piece_of[n] == index] for index in dict.fromkeys(piece_of.values())]


class _Isolated(Struct, frozen=True):
    place: str
    cost: float
    inside: frozenset[str]


def _isolate(
    model: Lowered, readers: Mapping[str, list[str]], piece: list[str], places: Mapping[str, str], place: str
) -> _Isolated:
    """The cheapest way to part `place` from all other places around a piece."""
    import networkx

    network: networkx.DiGraph[str] = networkx.DiGraph()
    network.add_nodes_from(("source", "sink"))

    def terminal(node_id: str) -> str:
        fixed = places.get(node_id)
        return f"n:{node_id}" if fixed is None else "source" if fixed == place else "sink"

    graph = model.graph
    raw = raw_values(graph)
    learning = trainable_below(graph)
    near = {*piece, *_around(graph, readers, piece)}
    for node in graph:
        others = sorted({terminal(reader) for reader in readers[node.id]} - {terminal(node.id)})
        if node.op in PLACELESS or node.id not in near or not others:
            continue
        cost = bytes_a_row(node, model.train.batch) * (1 + (node.id in learning))
        if node.id in raw:  # too dear for any cut that has a choice; `refuse_raw` refuses what has none
            cost = FORBIDDEN
        _connect(network, terminal(node.id), f"o:{node.id}", f"i:{node.id}", others, cost)
    # of several cheapest cuts all ways find the same, and this one in a third of the time
    way = networkx.algorithms.flow.dinitz
    value, (inside, _) = networkx.minimum_cut(network, "source", "sink", capacity="bytes", flow_func=way)
    return _Isolated(place, value, frozenset(name[2:] for name in inside if name.startswith("n:")))


def _connect(
    network: networkx.DiGraph[str], node: str, out: str, back: str, readers: list[str], cost: float
) -> None:
    """A value crosses once, however many read it on the other side."""
    network.add_edge(node, out, bytes=cost)
    network.add_edge(back, node, bytes=cost)
    for reader in readers:
        network.add_edge(out, reader)
        network.add_edge(reader, back)


def bytes_a_row(node: Node, batch: int) -> float:
    """Bytes a row; what crosses once a step counts by its share of a batch."""
    size = 4.0
    for axis in node.type.row_axes:
        size *= axis.size or 1
    return size if node.type.batched else size / batch


def trainable_below(graph: Graph) -> set[str]:
    """Values that depend on a trainable weight, so that a gradient may come back for them."""
    found: set[str] = set()
    for node in graph:
        trainable = node.op == "weight" and node.attrs["trainable"]
        op = OPS[node.op]
        if trainable or any(name in found and op.slope(i) != NONE for i, name in enumerate(node.inputs)):
            found.add(node.id)
    return found

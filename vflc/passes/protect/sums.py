"""Values that enter nothing but a sum of several parties' values travel masked.

The graph stays as it is: masks go on when a value leaves and cancel in the sum where it is received
(Bonawitz et al., "Practical secure aggregation for privacy-preserving machine learning", 2017).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace
from vflc_common.words import PROGRAMS

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.graph import Graph, Node
from vflc.ir.model import Prediction
from vflc.ir.release import Guard, Offer, Protection
from vflc.ir.stages import Placed
from vflc.ops import OPS


class GuardedSum(Struct, frozen=True):
    """A sum at a place: its id, and the values from elsewhere that enter it and nothing else."""

    root: str
    place: str
    leaves: tuple[str, ...]


def guard_sum(
    model: Placed, protection: Protection, values: Sequence[str], collector: DiagnosticCollector
) -> Placed:
    """The model with a guard at each place that adds to the sums that the values enter."""
    from vflc.passes.protect.joint import guard_of  # few specs need it

    graph, users = model.graph, _readers(model.graph, model.predictions)
    sums: dict[str, GuardedSum] = {}
    for name in values:
        found = find_sum(graph, users, name)
        if found is None or not _fits(graph, found, name):
            _refuse(graph, protection, found, name, collector)
            return model
        sums[found.root] = found
    guards = []
    for found in sums.values():
        for place in dict.fromkeys(str(graph[name].place) for name in found.leaves):
            own = tuple(name for name in found.leaves if graph[name].place == place)
            others = sorted({str(graph[n].place) for n in found.leaves} - {place})
            guard = f"{protection.id}.{place}" if len(sums) == 1 else f"{protection.id}.{found.root}.{place}"
            guards.append(
                guard_of(
                    protection, guard, place, "forward", own, own,
                    f"{found.place} gets the sum with {' and '.join(others)} and none of its terms; together "
                    f"with {' or '.join(others)}, it has the sum without that part; no bound on what a sum "
                    "tells",
                    {"sum": found.root, "members": list(found.leaves)}, programs=PROGRAMS,
                )
            )  # fmt: skip
    return replace(model, guards=(*model.guards, *guards))


def measured_elsewhere(graph: Graph, predictions: Iterable[Prediction]) -> Iterator[tuple[str, str]]:
    """Predictions that cross to the owner of the label they are measured by, with that label."""
    for prediction in predictions:
        if prediction.label and graph[prediction.label].place != graph[prediction.node].place:
            yield prediction.node, prediction.label


def _readers(graph: Graph, predictions: Iterable[Prediction]) -> dict[str, list[Node]]:
    """Who reads each value: of a prediction that is measured elsewhere its label, too."""
    found = {name: [*readers] for name, readers in graph.users().items()}
    for value, label in measured_elsewhere(graph, predictions):
        found[value].append(graph[label])
    return found


def find_sum(graph: Graph, users: Mapping[str, Sequence[Node]], name: str) -> GuardedSum | None:
    """The sum that a value enters at the one other place that reads it; None where it enters more."""
    place = graph[name].place
    top = _above(users, name, str(place))
    if top is None:
        return None
    while (above := _above(users, top.id, None)) is not None:
        top = above
    return GuardedSum(top.id, str(top.place), tuple(_leaves(graph, users, top)))


def offered(
    graph: Graph, guards: Sequence[Guard], predictions: Iterable[Prediction] = ()
) -> tuple[Offer, ...]:
    """Sums of several parties' values that could travel masked and do not."""
    users = _readers(graph, predictions)
    masked = {name for guard in guards if guard.masks for name in guard.before}
    sums: dict[str, GuardedSum] = {}
    for node in graph:
        crosses = node.type.batched and node.sources and any(u.place != node.place for u in users[node.id])
        found = find_sum(graph, users, node.id) if crosses else None
        if found is not None and _fits(graph, found, node.id) and not masked.intersection(found.leaves):
            sums[found.root] = found
    if not sums:
        return ()
    from vflc.ops.mechanisms import MECHANISMS  # few specs need any

    name = next(mechanism.name for mechanism in MECHANISMS if mechanism.role == "sum")
    return tuple(
        Offer(
            found.place,
            found.leaves,
            f"{found.place} reads {_list(found.leaves)} only as a sum: `protect {found.leaves[0]} with "
            f"{name}` would show it the sum alone",
        )
        for found in sums.values()
    )


def _list(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _passes(node: Node) -> bool:
    """Whether a sum that enters it is a part of a sum still."""
    return OPS[node.op].adds or OPS[node.op].differs == "names"


def _above(users: Mapping[str, Sequence[Node]], name: str, home: str | None) -> Node | None:
    """The one reader of a value, where it adds; readers at `home` do not count."""
    readers = [user for user in users[name] if user.place != home]
    if len(readers) != 1 or not _passes(readers[0]) or readers[0].inputs.count(name) > 1:
        return None
    return readers[0]


def _leaves(graph: Graph, users: Mapping[str, Sequence[Node]], top: Node) -> list[str]:
    found = []
    for source in graph.inputs(top):
        if source.place != top.place:
            if _above(users, source.id, source.place) is top:
                found.append(source.id)
        elif _passes(source) and len(users[source.id]) == 1:
            found += _leaves(graph, users, source)
    return found


def _fits(graph: Graph, found: GuardedSum, name: str) -> bool:
    sizes = {graph[leaf].type.sizes for leaf in found.leaves}
    return name in found.leaves and len(sizes) == 1 and len({graph[n].place for n in found.leaves}) > 1


def _refuse(
    graph: Graph, protection: Protection, found: GuardedSum | None, name: str, collector: DiagnosticCollector
) -> None:
    if found is None or name not in found.leaves:
        text = f"`{name}` is not used in exactly one sum at one other place, so masks would not cancel"
    elif len({graph[leaf].type.sizes for leaf in found.leaves}) > 1:
        text = f"the values added to `{name}` do not all have its shape"
    else:
        text = f"at {found.place} no other party's value is added to `{name}`, so the sum would reveal it"
    collector.error(
        "VFL0335",
        text,
        protection.span,
        f"add values of two or more other parties: {protection.mechanism} hides a value among them",
    )

"""Which of the values put together from several parties stay as they are written: for the lowest price."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from msgspec import Struct

from vflc.ir.graph import Graph
from vflc.ir.model import names_of
from vflc.ir.stages import Lowered
from vflc.passes.push_down.cost import REFUSED, Price, cost
from vflc.passes.push_down.join_site import joins_parties
from vflc.passes.push_down.rewrite import rewritten

MOST_TRIED = 32
"""So many kinds of joined values are decided one by one."""


class Choice(Struct, frozen=True):
    """A way to write a model.

    Args:
        joined: values put together from several parties whose readers may work on their pieces.
        left: those of them that are put together as written, as that is cheaper.
        price: what a step of training costs.
    """

    model: Lowered
    joined: tuple[str, ...]
    left: frozenset[str]
    price: Price


def choose(model: Lowered) -> Choice:
    """The cheapest way that is found by leaving one joined value after another as it is written.

    Those that are alike are decided together: trying a way takes as long as the whole model is large.
    """
    joined = tuple(node.id for node in model.graph if joins_parties(node))
    written = Choice(model, joined, frozenset(joined), cost(model))
    best = attempt(model, joined, frozenset())
    for names in _groups(model.graph, joined):
        other = attempt(model, joined, best.left.union(names))
        best = other if other.price <= best.price else best
    cheaper = best.price < written.price
    saves = best.price[:2] < written.price[:2] or best.price.sent <= written.price.sent
    return best if cheaper and saves else written


def _groups(graph: Graph, joined: Iterable[str]) -> list[list[str]]:
    """Joined values by what they are made of and what reads them; beyond `MOST_TRIED`, all others."""
    alike: dict[object, list[str]] = defaultdict(list)
    for name in joined:
        node, readers = graph[name], graph.users()[name]
        parts = tuple((part.owners, part.type) for part in graph.inputs(node))
        alike[node.op, node.type, parts, tuple((each.op, each.type) for each in readers)].append(name)
    groups = list(alike.values())
    others = [name for group in groups[MOST_TRIED:] for name in group]
    return [*groups[:MOST_TRIED], *([others] if others else [])]


def attempt(model: Lowered, joined: tuple[str, ...], left: frozenset[str]) -> Choice:
    """The model with all rewrites, but of the values in `left`.

    It has no price where a weight got lost that nothing but a value that is cut off depends on.
    """
    made = rewritten(model, left)
    return Choice(made, joined, left, cost(made) if _weights(made) == _weights(model) else REFUSED)


def _weights(model: Lowered) -> set[str]:
    return {name for node in model.graph if node.op == "weight" for name in names_of(node)}

"""A penalty on weights at several places is a term of the objective at each, so that nothing crosses for it.

The terms keep the penalty's name: what is reported of it is their sum.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from msgspec.structs import replace

from vflc.ir.build import Build
from vflc.ir.graph import PLACELESS, Graph, Node
from vflc.ir.model import Loss
from vflc.ir.stages import Placed
from vflc.ops import OPS, infer
from vflc.ops.penalty import PENALTIES
from vflc.passes.prune import pruned

Factors = tuple[str, ...]
"""Ids of constants that a part of a sum is multiplied by, the outermost first."""


def apart(model: Placed) -> Placed:
    """The model with each such penalty in parts."""
    build = Build(Graph(dict(model.graph.nodes)), infer)
    losses = [part for loss in model.losses for part in _terms(build, loss)]
    if len(losses) == len(model.losses):
        return model
    return pruned(replace(model, graph=build.graph, losses=tuple(losses)))


def _terms(build: Build, loss: Loss) -> list[Loss]:
    parts = list(_parts(build.graph, build.graph[loss.node], ())) if loss.kind in PENALTIES else []
    places = list(dict.fromkeys(node.place for node, _ in parts))
    if len(places) < 2:
        return [loss]
    made = []
    for place in places:
        with build.within(scope=(loss.node,), place=place, span=loss.span):
            own = [part for part in parts if part[0].place == place]
            made.append(replace(loss, node=_sum(build, str(place), own).id))
    return made


def _parts(graph: Graph, node: Node, factors: Factors) -> Iterator[tuple[Node, Factors]]:
    """What a sum is made of, each with the constants that it is multiplied by."""
    inputs = graph.inputs(node)
    constants = [each for each in inputs if each.op in PLACELESS]
    op = OPS[node.op]
    if op.adds:
        for each in inputs:
            yield from _parts(graph, each, factors)
    elif op.multiplies and len(constants) == 1:
        (other,) = (each for each in inputs if each.op not in PLACELESS)
        yield from _parts(graph, other, (*factors, constants[0].id))
    else:
        yield node, factors


def _sum(build: Build, label: str, parts: list[tuple[Node, Factors]]) -> Node:
    groups: dict[Factors, list[Node]] = defaultdict(list)
    for node, factors in parts:
        groups[factors].append(node)
    products = []
    for factors, nodes in groups.items():
        product = _added(build, label, nodes)
        for factor in reversed(factors):
            product = build.called(label, "mul", (build.graph[factor], product), {})
        products.append(product)
    return _added(build, label, products)


def _added(build: Build, label: str, nodes: list[Node]) -> Node:
    total = nodes[0]
    for node in nodes[1:]:
        total = build.called(label, "add", (total, node), {})
    return total

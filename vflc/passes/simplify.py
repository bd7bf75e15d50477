"""Removes detours that gradients and expansions leave behind, without changing any value.

In: graphs with their updates. Out: the same values by fewer nodes: what is computed twice at a
place is computed once, shapes that are undone at once are never made, and values are not copied
out to a shape that an elementwise op would give them anyway. Besides the time, it is memory: a
value whose shape alone is needed is not kept from forward to backward.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from msgspec.structs import replace

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.graph import Graph, Node
from vflc.ir.model import Gradient, Update
from vflc.ir.stages import Optimized
from vflc.ops import OPS, OpError
from vflc.ops.source import INPUTS
from vflc.passes.properties import GRAPH, PLACED, UPDATED


class Simplify:
    """The pass."""

    name: ClassVar = "simplify"
    requires: ClassVar = (*GRAPH, PLACED, UPDATED)
    ensures: ClassVar = (*GRAPH, PLACED, UPDATED)

    def __call__(self, model: Optimized, collector: DiagnosticCollector) -> Optimized:
        fixed = _named(model)
        graph, same = _simplified(model.graph, fixed)
        inference, _ = _simplified(model.inference, fixed)
        return replace(
            model,
            graph=graph,
            inference=inference,
            gradients=tuple(_gradient(gradient, same) for gradient in model.gradients),
            updates=tuple(_update(update, same) for update in model.updates),
        )


def _named(model: Optimized) -> frozenset[str]:
    """Values that are known by their ids outside the graph."""
    names = {loss.node for loss in model.losses} | {p.node for p in model.predictions}
    names |= {value for _, value in model.assigns} | {fit.counts for fit in model.fits}
    for guard in model.guards:
        names |= {*guard.before, *guard.after, *(value for _, value in guard.keeps)}
    return frozenset(names)


def _gradient(gradient: Gradient, same: dict[str, str]) -> Gradient:
    rows = tuple((same.get(ids, ids), same.get(values, values)) for ids, values in gradient.rows)
    dense = gradient.dense and same.get(gradient.dense, gradient.dense)
    return replace(gradient, dense=dense, rows=rows)


def _update(update: Update, same: dict[str, str]) -> Update:
    pairs = tuple((same.get(ids, ids), same.get(values, values)) for ids, values in update.pairs)
    gradient = update.gradient and same.get(update.gradient, update.gradient)
    return replace(update, gradient=gradient, pairs=pairs)


def _simplified(graph: Graph, fixed: frozenset[str]) -> tuple[Graph, dict[str, str]]:
    """The graph, and for every value that went the one that stands for it."""
    result = Graph()
    same: dict[str, str] = {}
    known: dict[tuple[Any, ...], str] = {}
    kept = fixed | _crossing(graph)
    for node in graph:
        if not same.keys().isdisjoint(node.inputs):
            node = replace(node, inputs=tuple(same.get(name, name) for name in node.inputs))
        node = _without_copies(result, _short_chain(result, node))
        if node.op not in INPUTS:  # which are each their own
            attrs = repr(sorted(node.attrs.items(), key=lambda item: item[0])) if node.attrs else ""
            key = (node.op, node.inputs, attrs, node.place)
            twin = node.inputs[0] if _is_nothing(result, node) else known.get(key)
            if twin is not None and node.id not in kept:
                same[node.id] = twin
                continue
            known.setdefault(key, node.id)
        result.add(node)
    return result, same


def _crossing(graph: Graph) -> frozenset[str]:
    """Values that another place reads: their ids stand in the manifest."""
    return frozenset(s.id for node in graph for s in graph.inputs(node) if s.place != node.place)


def _is_nothing(graph: Graph, node: Node) -> bool:
    """A reshape to the shape that the value has already."""
    return _reshapes(node) and _home(graph, node) and graph[node.inputs[0]].type.sizes == node.type.sizes


def _reshapes(node: Node) -> bool:
    return OPS[node.op].differs == "shape"


def _home(graph: Graph, node: Node) -> bool:
    return graph[node.inputs[0]].place == node.place


def _short_chain(graph: Graph, node: Node) -> Node:
    """A reshape of a reshape is one, where at most the batch axis has an unknown size."""
    if not _reshapes(node) or not _home(graph, node):
        return node
    source = graph[node.inputs[0]]
    if not _reshapes(source) or not _home(graph, source):
        return node
    first = graph[source.inputs[0]]
    rows = node.type.row_axes
    unknown = any(axis.size is None for axis in (*rows, *first.type.row_axes))
    if unknown or first.type.batched != node.type.batched:
        return node
    attrs = {"sizes": tuple(axis.size for axis in rows), "names": tuple(axis.name for axis in rows)}
    return replace(node, op="reshape", inputs=(first.id,), attrs=attrs)


def _without_copies(graph: Graph, node: Node) -> Node:
    """An elementwise op broadcasts by itself what was copied out to its shape."""
    if not OPS[node.op].uncopied:
        return node
    inputs = list(node.inputs)
    for index in range(len(inputs)):
        while (shorter := _before_copy(graph, graph[inputs[index]], node)) is not None:
            trial = [*inputs[:index], shorter, *inputs[index + 1 :]]
            if not _gives(graph, node, trial):
                break
            inputs = trial
    return node if tuple(inputs) == node.inputs else replace(node, inputs=tuple(inputs))


def _before_copy(graph: Graph, source: Node, node: Node) -> str | None:
    copied = OPS[source.op].broadcasts(source.attrs) and source.place == node.place
    return source.inputs[0] if copied else None


def _gives(graph: Graph, node: Node, inputs: Iterable[str]) -> bool:
    try:
        type_ = OPS[node.op].infer([graph[name].type for name in inputs], node.attrs)
    except OpError:
        return False
    return type_.sizes == node.type.sizes

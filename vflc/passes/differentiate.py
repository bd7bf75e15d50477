"""Reverse mode over the graph, by each op's own rule, in the graph's own ops.

In: a placed training graph. Out: the same graph with backward nodes, and `gradients`, one for
every trainable weight that the objective depends on. The gradient of a value is made at the
places that read it: each adds up its own part, and only sums cross. Gradients that reach no
weight are never made, so never sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import ClassVar

from msgspec import Struct, field
from msgspec.structs import replace

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.model import Gradient, Loss
from vflc.ir.stages import ByMode, Differentiated
from vflc.ops import OPS, infer
from vflc.passes.place import trainable_below
from vflc.passes.properties import DIFFERENTIATED, GRAPH, ONE_MODE, PLACED


class Differentiate:
    """The pass."""

    name: ClassVar = "differentiate"
    requires: ClassVar = (*GRAPH, PLACED, ONE_MODE)
    ensures: ClassVar = (*GRAPH, PLACED, DIFFERENTIATED)

    def __call__(self, model: ByMode, collector: DiagnosticCollector) -> Differentiated:
        graph, gradients = differentiated(model.graph, model.losses)
        return Differentiated.of(model, graph=graph, gradients=gradients)


def differentiated(forward: Graph, losses: Iterable[Loss]) -> tuple[Graph, tuple[Gradient, ...]]:
    """The graph with backward values, and the gradients of the objective in the order of their weights."""
    graph = Graph(dict(forward.nodes))
    reverse = _Reverse(Build(graph, infer, phase="backward"), trainable_below(graph))
    reverse.seed(losses)
    nodes = list(forward)
    gradients = [found for node in reversed(nodes) if (found := reverse.visit(node)) is not None]
    order = {node.id: index for index, node in enumerate(nodes)}
    return graph, tuple(sorted(gradients, key=lambda gradient: order[gradient.weight]))


class _Reverse(Struct):
    build: Build
    learning: set[str]
    parts: dict[str, dict[str, list[Node]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    """For each value, what each place that reads it contributes to its gradient."""

    def seed(self, losses: Iterable[Loss]) -> None:
        """The derivative of the objective with respect to each of its terms: a coefficient."""
        for loss in losses:
            place = self.build.graph[loss.node].place
            assert place is not None
            self.parts[loss.node][place].append(self.build.constant(loss.coefficient))

    def visit(self, node: Node) -> Gradient | None:
        """Passes a node's gradient on to its inputs; for a weight, returns it."""
        parts = self.parts.pop(node.id, None)
        if parts is None or node.id not in self.learning:
            return None
        if node.op == "weight":
            return self._weight(node, parts)
        if not any(name in self.learning for name in node.inputs):
            return None
        total = self._total(node, parts)
        rule = OPS[node.op].vjp
        if rule is None:
            return None
        inputs = self.build.graph.inputs(node)
        with self.build.within(scope=(node.id, "gradient"), place=node.place, span=node.span):
            for source, part in zip(inputs, rule(self.build, node, inputs, total), strict=True):
                if part is not None and source.id in self.learning:
                    assert node.place is not None
                    self.parts[source.id][node.place].append(part)
        return None

    def _weight(self, node: Node, parts: dict[str, list[Node]]) -> Gradient | None:
        if not node.attrs["trainable"]:
            return None
        every = [part for place in parts.values() for part in place]
        if self._by_rows(node, every):
            pairs = [(self._here(node, part.inputs[0]), self._here(node, part.inputs[1])) for part in every]
            return Gradient(node.id, rows=tuple(pairs))
        return Gradient(node.id, dense=self._total(node, parts).id)

    def _by_rows(self, table: Node, parts: list[Node]) -> bool:
        """Whether a table is updated by the rows that ids of one party touch.

        That is a matter of the spec, not of places: a table that two parties read by their own
        ids is updated as a whole also where all of it lies in one place.
        """
        graph = self.build.graph
        ids = [graph[part.inputs[0]] for part in parts if OPS[part.op].by_id == "sums"]
        owners: set[str] = set().union(*(value.owners for value in ids))
        return len(ids) == len(parts) and len(owners) <= 1

    def _here(self, weight: Node, value: str) -> str:
        """The value at the weight's place: an update reads it, and a value that crosses needs a reader."""
        found = self.build.graph[value]
        if found.place == weight.place:
            return value
        with self.build.within(scope=(weight.id, "gradient"), place=weight.place, span=weight.span):
            return self.build.op("rename", found, names=tuple(axis.name for axis in found.type.axes)).id

    def _total(self, node: Node, parts: dict[str, list[Node]]) -> Node:
        """The whole gradient of a value, at the value's place."""
        sums: list[Node] = []
        for place, contributions in parts.items():
            with self.build.within(scope=(), place=place, span=node.span):
                label = f"{node.id}.gradient" if place != node.place else f"{node.id}.gradient.own"
                sums.append(self._named_sum(contributions, label, node, remote=place != node.place))
        with self.build.within(scope=(node.id, "gradient"), place=node.place, span=node.span):
            return _add(self.build, sums)

    def _named_sum(self, parts: list[Node], label: str, node: Node, remote: bool) -> Node:
        """One place's part; where it crosses it gets a name of its own: `a.deep.gradient`."""
        with self.build.within(scope=(node.id, "gradient")):
            total = _add(self.build, parts)
        if not remote:
            return total
        axes = tuple(axis.name for axis in node.type.axes)
        crossing = replace(
            total,
            id=self.build.fresh(label),
            op="rename",
            inputs=(total.id,),
            attrs={"names": axes, "of": node.id},
            type=node.type,
            place=self.build.place,
            phase="backward",
            span=node.span,
        )
        return self.build.graph.add(crossing)


def _add(build: Build, parts: list[Node]) -> Node:
    """The sum; of stretches of an axis, whose gradients are padded with zeros, the stretches side by side."""
    parts = _joined(build, parts)
    total = parts[0]
    for part in parts[1:]:
        total = build.op("add", total, part)
    return total


def _joined(build: Build, parts: list[Node]) -> list[Node]:
    """The parts, where those that are padded along one axis, and do not overlap, are put together.

    A value of rows that is read step by step would else be added up as often as it has steps, all of it each
    time. Gradients of weights stay sums, which `protect weights` can take apart by rows.
    """
    along: dict[int, list[Node]] = defaultdict(list)
    for part in parts:
        if OPS[part.op].places == "padded" and part.type.batched:
            along[part.attrs["axis"]].append(part)
    padded = max(along.values(), key=len, default=[])
    if len(padded) < 2:
        return parts
    axis = padded[0].attrs["axis"]
    padded.sort(key=lambda part: part.attrs["before"])
    pieces, end = [], padded[0].attrs["before"]
    for part in padded:
        (piece,) = build.graph.inputs(part)
        gap = part.attrs["before"] - end
        if gap < 0:
            return parts
        pieces.append(build.op(part.op, piece, axis=axis, before=gap, after=0) if gap else piece)
        end = part.attrs["before"] + (piece.type.axes[axis].size or 0)
    whole = build.op("concat", *pieces, axis=axis)
    margins = padded[0].attrs["before"], padded[-1].attrs["after"]
    if any(margins):
        whole = build.op(padded[0].op, whole, axis=axis, before=margins[0], after=margins[1])
    return [whole, *(part for part in parts if part not in padded)]

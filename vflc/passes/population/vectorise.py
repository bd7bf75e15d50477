"""Gives the graph of one user a leading axis of users, so that a cohort runs as arrays.

In: a placed graph of a population. Out: `client`: the same values for many users at once. A value of
one row, [batch, …], becomes [user, example, …]; one of no row, a weight say, becomes [user, …].
Users have batches of different sizes: they are filled up, and means over a batch go by a mask.
A table is read by ids of its copies at the users, which lie one after another in one array, so
that neither a table nor a gradient has a row that no user touches.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from msgspec import Struct, field
from msgspec.structs import replace

from vflc.diagnostics import DiagnosticCollector, Refused
from vflc.diagnostics.diagnostic import in_order
from vflc.ir.build import Build
from vflc.ir.graph import PLACELESS, Graph, Node
from vflc.ir.model import ClientGraphs, UserIds
from vflc.ir.stages import Housed, Vectorised
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops import OPS, infer
from vflc.ops.reading import reads_rows
from vflc.ops.registry import OpError
from vflc.ops.users import EXAMPLE, rule_for
from vflc.passes.properties import GRAPH, PLACED, VECTORISED


class Vectorise:
    """The pass."""

    name: ClassVar = "vectorise"
    requires: ClassVar = (*GRAPH, PLACED)
    ensures: ClassVar = (*GRAPH, VECTORISED)

    def __call__(self, model: Housed, collector: DiagnosticCollector) -> Vectorised:
        lift = _Lift(model, Build(Graph(), infer, place=model.population.place))
        for node in model.graph:
            try:
                lift.visit(node)
            except OpError as refused:
                text = f"this cannot run for many users at once: {refused.message}"
                collector.error("VFL0502", text, node.span, refused.help or "write it another way")
                raise Refused(in_order(collector.diagnostics)) from refused
        losses = tuple(lift._made[loss.node].id for loss in model.losses)
        predictions = {p.name: lift._made[p.node].id for p in model.predictions}
        graph = lift.build.graph
        client = ClientGraphs(graph, lift.mask, tuple(lift.ids.values()), losses, predictions)
        return Vectorised.of(model, client=client)


class _Lift(Struct):
    model: Housed
    build: Build
    _made: dict[str, Node] = field(default_factory=dict)
    alone: set[str] = field(default_factory=set)
    """Values that are the same for every user: constants and what is made of them."""
    ids: dict[tuple[str, tuple[str, ...]], UserIds] = field(default_factory=dict)
    mask: str = ""

    def visit(self, node: Node) -> None:
        with self.build.within(scope=(node.id,), span=node.span):
            if node.op in PLACELESS or (node.inputs and all(name in self.alone for name in node.inputs)):
                self.alone.add(node.id)
                self._made[node.id] = self.build.op(node.op, *self._inputs(node), **node.attrs)
            elif node.op in ("feature", "label"):
                self._made[node.id] = self._given(replace(node, type=_lifted(node.type)))
            elif node.op == "weight":
                self._made[node.id] = self._weight(node)
            elif OPS[node.op].by_id != "distinct":  # is made where a table is read by it
                self._made[node.id] = self._rule(node)(node)

    def _inputs(self, node: Node) -> list[Node]:
        return [self._made[name] for name in node.inputs]

    def _given(self, node: Node) -> Node:
        return self.build.graph.add(node)

    def _weight(self, node: Node) -> Node:
        place = self.build.place
        if not node.attrs["table"]:
            return self._given(replace(node, type=_lifted(node.type), place=place))
        copies = TensorType((Axis("row", None), *node.type.axes[1:]))
        return self._given(replace(node, type=copies, place=place))

    def _rule(self, node: Node) -> Callable[[Node], Node]:
        graph = self.model.graph
        table = next((name for name in node.inputs if _is_table(graph[name])), None)
        if table is not None and (not reads_rows(node) or node.inputs[0] != table):
            raise OpError(f"the table `{table}` is read whole", "read its rows: lookup(table, feature)")
        return self._reads if reads_rows(node) else partial(rule_for(OPS[node.op]), self)

    # --- what rules of ops use -----------------------------------------------------------------------

    def op(self, op: str, *inputs: Node, **attrs: Any) -> Node:
        return self.build.op(op, *inputs, **attrs)

    def constant(self, value: float) -> Node:
        return self.build.constant(value)

    def inputs(self, node: Node) -> tuple[Node, ...]:
        return self.model.graph.inputs(node)

    def made(self, node: Node) -> Node:
        return self._made[node.id]

    def same_for_all(self, node: Node) -> bool:
        return node.id in self.alone

    def level(self, node: Node, rank: int) -> Node:
        """The value with axes of size 1 after the users, as if its rank for one user were `rank`."""
        value = self._made[node.id]
        if node.id in self.alone:
            return value
        for _ in range(rank - node.type.rank):
            value = self.build.op("unsqueeze", value, axis=1, name=None)
        return value

    def masked(self, value: Node) -> Node:
        mask = self._mask()
        for _ in range(value.type.rank - 2):
            mask = self.build.op("unsqueeze", mask, axis=2, name=None)
        return self.build.op("mul", value, mask)

    def rows(self) -> Node:
        rows = self.build.op("sum", self._mask(), axes=(1,), keep=False)
        return self.build.op("maximum", rows, self.build.constant(1.0))

    # --- tables --------------------------------------------------------------------------------------

    def _reads(self, node: Node) -> Node:
        table, ids = self.model.graph.inputs(node)
        if OPS[ids.op].by_id == "distinct":  # users have different numbers of them: they are filled up
            read = self._ids(table, ids.inputs, True)
            return self.build.op("gather", self._made[table.id], read, missing=True)
        read = self._ids(table, (ids.id,), False)
        return self.build.op(node.op, self._made[table.id], read, **node.attrs)

    def _ids(self, table: Node, features: tuple[str, ...], distinct: bool) -> Node:
        """The input that reads the copies of a table by these features."""
        key = table.id, features if not distinct else ("distinct", *features)
        if key not in self.ids:
            end = "distinct" if distinct else features[0].split(".")[-1]
            self.ids[key] = UserIds(f"{table.id}#{end}", table.id, features, distinct)
            type_ = _lifted(self.model.graph[features[0]].type)
            if distinct:
                type_ = TensorType((ROWS, Axis("distinct", None)), "int")
            sources = frozenset().union(*(self.model.graph[name].sources for name in features))
            attrs = {"table": table.id}
            place = self.build.place
            self._given(Node(self.ids[key].id, "feature", (), attrs, type_, sources, place))
        return self.build.graph[self.ids[key].id]

    def _mask(self) -> Node:
        if not self.mask:
            self.mask = f"{self.build.place}#mask"
            type_ = TensorType((ROWS, EXAMPLE))
            self._given(Node(self.mask, "feature", (), {}, type_, frozenset(), self.build.place))
        return self.build.graph[self.mask]


def _lifted(type_: TensorType) -> TensorType:
    axes: tuple[Any, ...] = (EXAMPLE, *type_.axes[1:]) if type_.batched else type_.axes
    return TensorType((ROWS, *axes), type_.dtype)


def _is_table(node: Node) -> bool:
    return node.op == "weight" and bool(node.attrs["table"])

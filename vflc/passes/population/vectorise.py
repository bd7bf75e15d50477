"""Gives the graph of one user a leading axis of users, so that a cohort runs as arrays.

In: a placed graph of a population. Out: `visit`: the same values for many users at once. A value of
one row, [batch, …], becomes [user, example, …]; one of no row, a weight say, becomes [user, …].
Users have batches of different sizes: they are filled up, and means over a batch go by a mask.
A table is read by ids of its copies at the users, which lie one after another in one array, so
that neither a table nor a gradient has a row that no user touches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from vflc.diagnostics import Collector
from vflc.ir.build import Build
from vflc.ir.graph import PLACELESS, Graph, Node
from vflc.ir.model import Model, UserIds, Visit
from vflc.ir.types import BATCH, ROWS, Axis, TensorType
from vflc.ops import infer
from vflc.ops.registry import OpError

EXAMPLE = Axis("examples of a user", None)
"""A name that no axis of a spec can have."""
ELEMENTWISE = frozenset((
    "add", "sub", "mul", "div", "pow", "minimum", "maximum", "neg", "exp", "log", "sqrt", "square", "abs",
    "sign", "floor", "cos", "clip", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
    "logical_and", "logical_or", "logical_not", "where", "cast", "relu", "leaky_relu", "erf", "gelu",
    "sigmoid", "tanh", "softplus", "stop_gradient", "bce_terms", "expand_like",
))  # fmt: skip
ALONG_AN_AXIS = frozenset(
    ("softmax", "log_softmax", "unsqueeze", "squeeze", "concat", "stack", "slice", "pad")
)


@dataclass(frozen=True, slots=True)
class Vectorise:
    """The pass."""

    name: str = "vectorise"

    def __call__(self, model: Model, collector: Collector) -> Model:
        assert model.population is not None
        lift = _Lift(model, Build(Graph(), infer, place=model.population.place))
        for node in model.graph:
            try:
                lift.visit(node)
            except OpError as refused:
                text = f"this cannot run for many users at once: {refused.message}"
                collector.error("VFL0502", text, node.span, refused.help or "write it another way")
                return model
        losses = tuple(lift.made[loss.node].id for loss in model.losses)
        predictions = {p.name: lift.made[p.node].id for p in model.predictions}
        graph = lift.build.graph
        return replace(model, visit=Visit(graph, lift.mask, tuple(lift.ids.values()), losses, predictions))


@dataclass(slots=True)
class _Lift:
    model: Model
    build: Build
    made: dict[str, Node] = field(default_factory=dict)
    alone: set[str] = field(default_factory=set)
    """Values that are the same for every user: constants and what is made of them."""
    ids: dict[tuple[str, tuple[str, ...]], UserIds] = field(default_factory=dict)
    mask: str = ""

    def visit(self, node: Node) -> None:
        with self.build.within(scope=(node.id,), span=node.span):
            if node.op in PLACELESS or (node.inputs and all(name in self.alone for name in node.inputs)):
                self.alone.add(node.id)
                self.made[node.id] = self.build.op(node.op, *self._inputs(node), **node.attrs)
            elif node.op in ("feature", "label"):
                self.made[node.id] = self._given(replace(node, type=_lifted(node.type)))
            elif node.op == "weight":
                self.made[node.id] = self._weight(node)
            elif node.op != "unique":  # is made where a table is read by it
                self.made[node.id] = self._rule(node)(node)

    def _inputs(self, node: Node) -> list[Node]:
        return [self.made[name] for name in node.inputs]

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
        if table is not None and (node.op != "gather" or node.inputs[0] != table):
            raise OpError(f"the table `{table}` is read whole", "read its rows: lookup(table, feature)")
        if node.op in ELEMENTWISE:
            return self._elementwise
        if node.op in ALONG_AN_AXIS:
            return self._along
        found: Callable[[Node], Node] | None = getattr(self, f"_{node.op}", None)
        if found is None:
            raise OpError(f"`{node.op}` is not supported in a population in this version")
        return found

    # --- one rule a kind of op ---------------------------------------------------------------------

    def _level(self, node: Node, rank: int) -> Node:
        """The value with axes of size 1 after the users, as if its rank for one user were `rank`."""
        value = self.made[node.id]
        if node.id in self.alone:
            return value
        for _ in range(rank - node.type.rank):
            value = self.build.op("unsqueeze", value, axis=1, name=None)
        return value

    def _elementwise(self, node: Node) -> Node:
        inputs = self.model.graph.inputs(node)
        rank = max(source.type.rank for source in inputs)
        return self.build.op(node.op, *(self._level(source, rank) for source in inputs), **node.attrs)

    def _along(self, node: Node) -> Node:
        if any(name in self.alone for name in node.inputs):
            raise OpError(f"`{node.op}` of a constant and a value of a user", "add the constant instead")
        attrs = {**node.attrs, "axis": node.attrs["axis"] + 1}
        return self.build.op(node.op, *self._inputs(node), **attrs)

    def _rename(self, node: Node) -> Node:
        names = [EXAMPLE.name if name == BATCH else name for name in node.attrs["names"]]
        return self.build.op("rename", *self._inputs(node), names=(BATCH, *names))

    def _reshape(self, node: Node) -> Node:
        sizes, names = tuple(node.attrs["sizes"]), tuple(node.attrs["names"])
        if node.type.batched:
            sizes, names = (None, *sizes), (EXAMPLE.name, *names)
        return self.build.op("reshape", *self._inputs(node), sizes=sizes, names=names)

    def _transpose(self, node: Node) -> Node:
        perm = (0, *(axis + 1 for axis in node.attrs["perm"]))
        return self.build.op("transpose", *self._inputs(node), perm=perm)

    def _one_hot(self, node: Node) -> Node:
        return self.build.op("one_hot", *self._inputs(node), **node.attrs)

    def _cce_terms(self, node: Node) -> Node:
        return self.build.op("cce_terms", *self._inputs(node))

    def _matmul(self, node: Node) -> Node:
        inputs = self.model.graph.inputs(node)
        rank = max(source.type.rank for source in inputs)
        return self.build.op("matmul", *(self._level(source, rank) for source in inputs), **node.attrs)

    def _linear(self, node: Node) -> Node:
        x, kernel, *bias = self.model.graph.inputs(node)
        rank = x.type.rank
        product = self.build.op(
            "matmul", self._level(x, rank), self._level(kernel, rank), transpose_x=False, transpose_y=False
        )
        return self.build.op("add", product, self._level(bias[0], rank)) if bias else product

    def _gather(self, node: Node) -> Node:
        table, ids = self.model.graph.inputs(node)
        if ids.op == "unique":
            return self.build.op(
                "gather", self.made[table.id], self._ids(table, ids.inputs, True), missing=True
            )
        read = self._ids(table, (ids.id,), False)
        return self.build.op("gather", self.made[table.id], read, missing=node.attrs["missing"])

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

    def _sum(self, node: Node) -> Node:
        (x,) = self.model.graph.inputs(node)
        value, axes = self.made[x.id], tuple(axis + 1 for axis in node.attrs["axes"])
        if x.type.batched and 0 in node.attrs["axes"]:
            value = self._masked(value)
        return self.build.op("sum", value, axes=axes, keep=node.attrs["keep"])

    def _max(self, node: Node) -> Node:
        (x,) = self.model.graph.inputs(node)
        if x.type.batched and 0 in node.attrs["axes"]:
            raise OpError("the largest value of a batch")
        axes = tuple(axis + 1 for axis in node.attrs["axes"])
        return self.build.op("max", self.made[x.id], axes=axes, keep=node.attrs["keep"])

    def _mean(self, node: Node) -> Node:
        (x,) = self.model.graph.inputs(node)
        axes = tuple(axis + 1 for axis in node.attrs["axes"])
        if not (x.type.batched and 0 in node.attrs["axes"]):
            return self.build.op("mean", self.made[x.id], axes=axes, keep=node.attrs["keep"])
        total = self.build.op("sum", self._masked(self.made[x.id]), axes=axes, keep=node.attrs["keep"])
        others = prod(x.type.axes[axis].size or 0 for axis in node.attrs["axes"] if axis)
        if not others:
            raise OpError("a mean over an axis of unknown size and the batch")
        rows = self.build.op("sum", self._mask(), axes=(1,), keep=False)
        rows = self.build.op("maximum", rows, self.build.constant(1.0))
        for _ in range(total.type.rank - 1):
            rows = self.build.op("unsqueeze", rows, axis=1, name=None)
        if others > 1:
            rows = self.build.op("mul", rows, self.build.constant(float(others)))
        return self.build.op("div", total, rows)

    def _masked(self, value: Node) -> Node:
        mask = self._mask()
        for _ in range(value.type.rank - 2):
            mask = self.build.op("unsqueeze", mask, axis=2, name=None)
        return self.build.op("mul", value, mask)

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

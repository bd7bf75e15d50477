"""The gradient of a weight, taken apart into what each row of the batch adds to it.

A weight's gradient is a sum over the batch, made at the end of backward: of the outer products of a
layer's inputs and gradients, of rows, of what goes to the rows of a table. What follows it is linear. So
each row's own summand is the same expression with the batch axis kept, and where its size can be had
without it, as that of an outer product can, it is never made. What an op does to many at once it says in
its record.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.model import Gradient
from vflc.ops import OPS, OpError
from vflc.ops.summands import Each, Looked, Outer, Summands
from vflc.ops.users import rule_for


class NoSum(Exception):
    """A gradient that no rows add up to, each by itself: `why`, of which value."""

    def __init__(self, node: Node, why: str) -> None:
        super().__init__(why)
        self.node, self.why = node, why


SplitGradient = tuple[Node | None, Summands | None]
"""What does not depend on the batch, a penalty say, and what each row adds."""


class Parting(Struct):
    """Takes gradients apart at one place.

    Args:
        build: grows by what the parts are made of.
        place: where the weights are.
    """

    build: Build
    place: str
    _parts: dict[str, SplitGradient] = field(default_factory=dict)
    _of_rows: set[str] = field(default_factory=set)
    """Values that depend on rows of the batch."""
    _of_own: set[str] = field(default_factory=set)
    """The same, where what other places send without a row is taken as given."""

    def __post_init__(self) -> None:
        for node in self.build.graph:
            sources = {source.id for source in _read(self.build.graph, node)}
            if node.type.batched or sources & self._of_rows:
                self._of_rows.add(node.id)
            if node.type.batched or (node.place == self.place and sources & self._of_own):
                self._of_own.add(node.id)

    def of(self, gradient: Gradient) -> SplitGradient:
        """The parts of a gradient.

        Raises:
            NoSum: rows meet before the sum, or an op on the way is none that is known here.
        """
        graph = self.build.graph
        if gradient.dense is not None:
            return self._value(graph[gradient.dense])
        pairs = tuple((graph[ids], graph[values]) for ids, values in gradient.rows)
        return None, self._looked(graph[gradient.weight], pairs)

    # --- values of no row ---------------------------------------------------------------------------

    def _value(self, node: Node) -> SplitGradient:
        for each in self._chain(node):
            if each.id not in self._parts:
                self._parts[each.id] = self._part(each)
        return self._parts[node.id]

    def _chain(self, node: Node) -> list[Node]:
        """The value and what it is made of since the sums over the batch, inputs before users."""
        graph = self.build.graph
        found, stack = {node.id}, [node]
        while stack:
            at = stack.pop()
            if at.id in self._of_rows and at.id not in self._parts:
                fresh = [s for s in graph.inputs(at) if not s.type.batched and s.id not in found]
                found |= {source.id for source in fresh}
                stack += fresh
        return [each for each in graph if each.id in found]

    def _part(self, node: Node) -> SplitGradient:
        graph = self.build.graph
        if node.id not in self._of_rows:
            return node, None
        if node.place != self.place:
            raise NoSum(node, f"a part of it is made at {node.place}, summed over the rows there")
        inputs = graph.inputs(node)
        try:
            if any(source.type.batched for source in inputs):
                return None, self._sum(node, inputs)
            return self._linear(node, inputs)
        except OpError as refused:
            raise NoSum(node, refused.message) from refused

    def _sum(self, node: Node, inputs: tuple[Node, ...]) -> Summands:
        """A sum over the batch."""
        if OPS[node.op].by_id == "sums":
            return self._looked(node, ((inputs[0], inputs[1]),))
        self._check_rows(inputs)
        rule = OPS[node.op].summands
        if rule is None:
            raise NoSum(node, f"`{node.op}` of values of a batch is not a sum over its rows")
        return rule(self.build, node, inputs)

    def _looked(self, table: Node, pairs: tuple[tuple[Node, Node], ...]) -> Looked:
        for ids, values in pairs:
            if not (ids.type.batched and values.type.batched):
                raise NoSum(values, "a penalty on the rows that a batch reads reveals which rows these are")
            self._check_rows((ids, values))
        return Looked(table, pairs)

    def _linear(self, node: Node, inputs: tuple[Node, ...]) -> SplitGradient:
        """What comes after sums over the batch: a linear op does to each row's share what it does to all."""
        parts = [self._parts[source.id] for source in inputs]
        if len(OPS[node.op].signs) == 2:
            return self._added(node, *parts)
        at, *more = [index for index, (_, rows) in enumerate(parts) if rows is not None]
        free, rows = parts[at]
        if more:
            raise NoSum(node, f"`{node.op}` of two sums over the batch is not a sum over its rows")
        assert rows is not None
        if OPS[node.op].differs == "names" and free is None:
            return None, rows
        each = Each(self._moved(node, at, self._each(rows).leaf))
        if free is None:
            return None, each
        whole = [part for part, _ in parts if part is not None]
        return self.build.op(node.op, *whole, **node.attrs), each

    def _moved(self, node: Node, at: int, each: Node) -> Node:
        """The op of each row's share, its input `at`; the others depend on no row."""
        op = OPS[node.op]
        if not op.linear_in(at, len(node.inputs) - op.shape_only):
            raise NoSum(node, f"`{node.op}` of a sum over the batch is not supported in this version")
        b, shares = self.build, _Shares(self.build, node.inputs[at], each)
        if op.shape_only and op.broadcasts(node.attrs):
            shape = b.graph[node.inputs[-1]]
            share = shares.level(b.graph[node.inputs[at]], shape.type.rank)
            return b.op("mul", share, b.op("expand_like", b.constant(1.0), shape))
        return rule_for(op)(shares, node)

    def _added(self, node: Node, first: SplitGradient, second: SplitGradient) -> SplitGradient:
        """The sum or difference of two gradients."""
        b, (free, left), (rest, right), adds = self.build, first, second, OPS[node.op].adds
        if rest is not None:
            signed = rest if adds else b.op("neg", rest)
            free = signed if free is None else b.op("add", free, signed)
        if right is None:
            return free, left
        if left is None and adds:
            return free, right
        if isinstance(left, Looked) and isinstance(right, Looked) and adds:
            return free, replace(left, pairs=(*left.pairs, *right.pairs))
        other = self._each(right).leaf
        if left is None:
            return free, Each(b.op("neg", other))
        return free, Each(b.op(node.op, self._each(left).leaf, other))

    def _each(self, found: Summands) -> Each:
        if isinstance(found, Outer):
            return found.each(self.build)
        if isinstance(found, Each):
            return found
        raise NoSum(found.leaf, "its rows are read by id, but it is also read in another way")

    # --- values of rows -----------------------------------------------------------------------------

    def _check_rows(self, values: Iterable[Node]) -> None:
        """Refuses values in which a row at this place meets others: all that they are made of here."""
        graph, seen, stack = self.build.graph, set[str](), list(values)
        while stack:
            node = stack.pop()
            if node.id in seen or node.place != self.place or not node.type.batched:
                continue
            seen.add(node.id)
            if OPS[node.op].mixes_rows:
                raise NoSum(node, "what runs as it is may compute a row from all rows of a batch")
            for source in _read(graph, node):
                if not source.type.batched and source.id in self._of_own:
                    raise NoSum(source, "this is computed from all rows of a batch, and used in every row")
                stack.append(source)


class _Shares(Struct, frozen=True):
    """Runs an op for all rows of a batch at once: one value is each row's own, all others are the same."""

    build: Build
    name: str
    each: Node

    def op(self, op: str, *inputs: Node, **attrs: Any) -> Node:
        return self.build.op(op, *inputs, **attrs)

    def inputs(self, node: Node) -> tuple[Node, ...]:
        return self.build.graph.inputs(node)

    def made(self, node: Node) -> Node:
        return self.each if node.id == self.name else node

    def level(self, node: Node, rank: int) -> Node:
        value = self.made(node)
        for _ in range(rank - node.type.rank if node.id == self.name else 0):
            value = self.build.op("unsqueeze", value, axis=1, name=None)
        return value

    def same_for_all(self, node: Node) -> bool:
        return node.id != self.name

    def constant(self, value: float) -> Node:
        return self.build.constant(value)

    def masked(self, value: Node) -> Node:
        return value  # a share has no batch that is filled up

    def rows(self) -> Node:
        return self.build.constant(1.0)


def _read(graph: Graph, node: Node) -> tuple[Node, ...]:
    """The inputs whose values, not only whose shapes, are read."""
    inputs = graph.inputs(node)
    return inputs[: len(inputs) - OPS[node.op].shape_only]

"""The gradient of a weight, taken apart into what each row of the batch adds to it.

A weight's gradient is a sum over the batch, made at the end of backward: `contract` of a layer's
inputs and gradients, a `sum` over rows, the `rows` of a table. What follows it is linear. So each
row's own summand is the same expression with the batch axis kept, and where its size can be had
without it, as that of an outer product can, it is never made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Protocol

from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.model import Gradient
from vflc.ir.types import Axis
from vflc.ops import OpError
from vflc.ops.source import SHAPES

SHAPING = {
    "neg": (), "rename": (), "reshape": (), "squeeze": ("axis",), "unsqueeze": ("axis",), "slice": ("axis",),
    "pad": ("axis",), "transpose": ("perm",), "sum": ("axes",),
}  # fmt: skip
"""Linear ops of one input, with their attributes that count axes."""


class NoSum(Exception):
    """A gradient that no rows add up to, each by itself: `why`, of which value."""

    def __init__(self, node: Node, why: str) -> None:
        super().__init__(why)
        self.node, self.why = node, why


class Summands(Protocol):
    """What each row adds."""

    def square(self, b: Build) -> Node:
        """[batch, 1]: at least the squared L2 norm of each row's summand."""
        ...

    def total(self, b: Build, factor: Node) -> tuple[Node, ...]:
        """Sums over the batch that add up to that of all summands, each times its `factor` [batch, 1]."""
        ...

    @property
    def leaf(self) -> Node:
        """A value of the batch."""
        ...


@dataclass(frozen=True, slots=True)
class Each:
    """The summands themselves, [batch, …]."""

    leaf: Node

    def square(self, b: Build) -> Node:
        return _square(b, self.leaf, 1)

    def total(self, b: Build, factor: Node) -> tuple[Node, ...]:
        return (b.op("sum", _times(b, self.leaf, factor), axes=(0,), keep=False),)


@dataclass(frozen=True, slots=True)
class Outer:
    """Outer products of `leaf` [batch, m] and `right` [batch, n], whose norm is that of both, multiplied."""

    leaf: Node
    right: Node

    def square(self, b: Build) -> Node:
        return b.op("mul", _square(b, self.leaf, 1), _square(b, self.right, 1))

    def total(self, b: Build, factor: Node) -> tuple[Node, ...]:
        return (b.op("contract", self.leaf, _times(b, self.right, factor)),)

    def each(self, b: Build) -> Each:
        left = b.op("unsqueeze", self.leaf, axis=2, name=None)
        return Each(b.op("mul", left, b.op("unsqueeze", self.right, axis=1, name=None)))


@dataclass(frozen=True, slots=True)
class Looked:
    """Rows of a table: pairs of ids [batch, …] and what goes to the rows that they name.

    One row of the batch may name a row of the table several times. Its share is then at most as long as
    the parts are together: that holds in floating point too, where a norm of their sum would cancel.
    """

    table: Node
    pairs: tuple[tuple[Node, Node], ...]

    @property
    def leaf(self) -> Node:
        return self.pairs[0][0]

    def square(self, b: Build) -> Node:
        found: Node | None = None
        named = [(self._ids(b, ids), self._lengths(b, ids, values)) for ids, values in self.pairs]
        for ids, lengths in named:
            for others, other_lengths in named:
                same = b.op(
                    "equal",
                    b.op("unsqueeze", ids, axis=2, name=None),
                    b.op("unsqueeze", others, axis=1, name=None),
                )
                both = b.op(
                    "mul",
                    b.op("unsqueeze", lengths, axis=2, name=None),
                    b.op("unsqueeze", other_lengths, axis=1, name=None),
                )
                part = b.op("mul", both, b.op("cast", same, dtype="float"))
                part = b.op("sum", b.op("sum", part, axes=(2,), keep=False), axes=(1,), keep=True)
                found = part if found is None else b.op("add", found, part)
        assert found is not None
        return found

    def total(self, b: Build, factor: Node) -> tuple[Node, ...]:
        axes = self.table.type.axes
        return tuple(b.op("rows", ids, _times(b, values, factor), axes=axes) for ids, values in self.pairs)

    def _ids(self, b: Build, ids: Node) -> Node:
        if ids.type.rank == 1:
            return b.op("unsqueeze", ids, axis=1, name=None)
        if ids.type.rank == 2:
            return _unnamed(b, ids)
        return b.op("reshape", ids, sizes=(_whole(ids.type.row_axes),), names=(None,))

    def _lengths(self, b: Build, ids: Node, values: Node) -> Node:
        """[batch, ids]: how long the part of each id is; 0 for -1, which names no row."""
        rank = ids.type.rank
        square = b.op("square", values)
        if values.type.rank > rank:
            square = b.op("sum", square, axes=tuple(range(rank, values.type.rank)), keep=False)
        present = b.op("cast", b.op("greater_equal", ids, b.constant(0, "int")), dtype="float")
        return self._ids(b, b.op("mul", b.op("sqrt", square), present))


Parts = tuple[Node | None, Summands | None]
"""What does not depend on the batch, a penalty say, and what each row adds."""


@dataclass(slots=True)
class Parting:
    """Takes gradients apart at one place.

    Args:
        build: grows by what the parts are made of.
        place: where the weights are.
    """

    build: Build
    place: str
    _parts: dict[str, Parts] = field(default_factory=dict)
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

    def of(self, gradient: Gradient) -> Parts:
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

    def _value(self, node: Node) -> Parts:
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

    def _part(self, node: Node) -> Parts:
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
        b = self.build
        if node.op == "rows":
            return self._looked(node, ((inputs[0], inputs[1]),))
        self._check_rows(inputs)
        if node.op == "contract":
            x, y = inputs
            if x.type.rank == 2:
                return Outer(x, y)
            x, y = (_matrix(b, value) for value in inputs)
            return Each(b.op("matmul", x, y, transpose_x=True, transpose_y=False))
        if node.op == "sum":
            (x,) = inputs
            rest = tuple(axis for axis in node.attrs["axes"] if axis)
            return Each(_shaped(b, b.op("sum", x, axes=rest, keep=False) if rest else x, node))
        raise NoSum(node, f"`{node.op}` of values of a batch is no sum over its rows")

    def _looked(self, table: Node, pairs: tuple[tuple[Node, Node], ...]) -> Looked:
        for ids, values in pairs:
            if not (ids.type.batched and values.type.batched):
                raise NoSum(values, "a penalty on the rows that a batch reads tells which these are")
            self._check_rows((ids, values))
        return Looked(table, pairs)

    def _linear(self, node: Node, inputs: tuple[Node, ...]) -> Parts:
        """What comes after sums over the batch: a linear op does to each row's share what it does to all."""
        parts = [self._parts[source.id] for source in inputs]
        if node.op in ("add", "sub"):
            return self._added(node, *parts)
        at, *more = [index for index, (_, rows) in enumerate(parts) if rows is not None]
        free, rows = parts[at]
        if more:
            raise NoSum(node, f"`{node.op}` of two sums over the batch is no sum over its rows")
        assert rows is not None
        if node.op == "rename" and free is None:
            return None, rows
        each = Each(self._moved(node, at, self._each(rows).leaf, [part for part, _ in parts]))
        if free is None:
            return None, each
        whole = [part for part, _ in parts if part is not None]
        return self.build.op(node.op, *whole, **node.attrs), each

    def _moved(self, node: Node, at: int, each: Node, free: list[Node | None]) -> Node:
        """The op of each row's share, its input `at`; the others depend on no row."""
        b = self.build
        if node.op in SHAPING:
            return b.op(node.op, each, **_one_axis_on(node))
        other = free[1 - at] if len(free) == 2 else None
        if node.op == "expand_like" and other is not None and at == 0:
            ones = b.op("expand_like", b.constant(1.0), other)
            return self._moved(replace(node, op="mul"), at, each, [None, ones])
        if other is not None and node.op in ("mul", "div") and (node.op == "mul" or at == 0):
            if other.type.rank < each.type.rank:
                return b.op(node.op, each, other)
        elif other is not None and other.type.rank == 2 and node.op in ("matmul", "contract"):
            flips = {"transpose_x": True, "transpose_y": False} if node.op == "contract" else node.attrs
            return b.op("matmul", *((each, other) if at == 0 else (other, each)), **flips)
        raise NoSum(node, f"`{node.op}` of a sum over the batch is not taken apart in this version")

    def _added(self, node: Node, first: Parts, second: Parts) -> Parts:
        """The sum or difference of two gradients."""
        b, (free, left), (rest, right) = self.build, first, second
        if rest is not None:
            signed = b.op("neg", rest) if node.op == "sub" else rest
            free = signed if free is None else b.op("add", free, signed)
        if right is None:
            return free, left
        if left is None and node.op == "add":
            return free, right
        if isinstance(left, Looked) and isinstance(right, Looked) and node.op == "add":
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
        raise NoSum(found.leaf, "rows of it are read by ids, and it is read in another way, too")

    # --- values of rows -----------------------------------------------------------------------------

    def _check_rows(self, values: Iterable[Node]) -> None:
        """Refuses values in which a row at this place meets others: all that they are made of here."""
        graph, seen, stack = self.build.graph, set[str](), list(values)
        while stack:
            node = stack.pop()
            if node.id in seen or node.place != self.place or not node.type.batched:
                continue
            seen.add(node.id)
            for source in _read(graph, node):
                if not source.type.batched and source.id in self._of_own:
                    raise NoSum(source, "this is computed from all rows of a batch, and every row reads it")
                stack.append(source)


def _read(graph: Graph, node: Node) -> tuple[Node, ...]:
    """The inputs whose values, not only whose shapes, are read."""
    inputs = graph.inputs(node)
    return inputs[: len(inputs) - SHAPES.get(node.op, 0)]


def _one_axis_on(node: Node) -> dict[str, Any]:
    """The attributes of a linear op one axis further on; the sizes of a reshape leave the batch as it is."""
    attrs = dict(node.attrs)
    for name in SHAPING[node.op]:
        value = attrs[name]
        attrs[name] = value + 1 if isinstance(value, int) else tuple(axis + 1 for axis in value)
    if node.op == "transpose":
        attrs["perm"] = (0, *attrs["perm"])
    elif node.op == "rename":
        attrs["names"] = ("batch", *attrs["names"])
    return attrs


def _times(b: Build, value: Node, factor: Node) -> Node:
    """[batch, …] times [batch, 1]."""
    if value.type.rank == 1:
        return b.op("mul", value, b.op("squeeze", factor, axis=1))
    for _ in range(value.type.rank - 2):
        factor = b.op("unsqueeze", factor, axis=1, name=None)
    return b.op("mul", value, factor)


def _square(b: Build, value: Node, start: int) -> Node:
    """[batch, 1]: the sum of squares of each row."""
    if value.type.rank == 1:
        return b.op("unsqueeze", b.op("square", value), axis=1, name=None)
    square = b.op("square", value)
    for _ in range(value.type.rank - 2):
        square = b.op("sum", square, axes=(2,), keep=False)
    return b.op("sum", square, axes=(1,), keep=True)


def _matrix(b: Build, value: Node) -> Node:
    """[batch, …, n] as [batch, all in between, n]."""
    if value.type.rank == 3:
        return value
    *between, last = value.type.row_axes
    return b.op("reshape", value, sizes=(_whole(between), last.size), names=(None, None))


def _whole(axes: Sequence[Axis]) -> int | None:
    """How many values there are along these axes."""
    sizes = [axis.size for axis in axes]
    return None if None in sizes else prod(size for size in sizes if size is not None)


def _unnamed(b: Build, value: Node) -> Node:
    return b.op("rename", value, names=("batch", None))


def _shaped(b: Build, value: Node, like: Node) -> Node:
    """Each row in the shape of a value of no row."""
    sizes, names = like.type.sizes, tuple(axis.name for axis in like.type.axes)
    if value.type.sizes[1:] == sizes:
        return value
    return b.op("reshape", value, sizes=sizes, names=names)

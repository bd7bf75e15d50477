"""What each row of a batch adds to a sum, and its length, without making it where that can be had.

The summands of a layer's kernel are outer products, whose norm is the product of norms; those of a
table are the rows that its ids name.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Protocol

from msgspec import Struct

from vflc.ir.build import Build
from vflc.ir.graph import Node
from vflc.ir.types import Axis


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


class Each(Struct, frozen=True):
    """The summands themselves, [batch, …]."""

    leaf: Node

    def square(self, b: Build) -> Node:
        return _square(b, self.leaf)

    def total(self, b: Build, factor: Node) -> tuple[Node, ...]:
        return (b.op("sum", _times(b, self.leaf, factor), axes=(0,), keep=False),)


class Outer(Struct, frozen=True):
    """Outer products of `leaf` [batch, m] and `right` [batch, n], whose norm is that of both, multiplied."""

    leaf: Node
    right: Node

    def square(self, b: Build) -> Node:
        return b.op("mul", _square(b, self.leaf), _square(b, self.right))

    def total(self, b: Build, factor: Node) -> tuple[Node, ...]:
        return (b.op("contract", self.leaf, _times(b, self.right, factor)),)

    def each(self, b: Build) -> Each:
        left = b.op("unsqueeze", self.leaf, axis=2, name=None)
        return Each(b.op("mul", left, b.op("unsqueeze", self.right, axis=1, name=None)))


class Looked(Struct, frozen=True):
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


def _times(b: Build, value: Node, factor: Node) -> Node:
    """[batch, …] times [batch, 1]."""
    if value.type.rank == 1:
        return b.op("mul", value, b.op("squeeze", factor, axis=1))
    for _ in range(value.type.rank - 2):
        factor = b.op("unsqueeze", factor, axis=1, name=None)
    return b.op("mul", value, factor)


def _square(b: Build, value: Node) -> Node:
    """[batch, 1]: the sum of squares of each row."""
    if value.type.rank == 1:
        return b.op("unsqueeze", b.op("square", value), axis=1, name=None)
    square = b.op("square", value)
    for _ in range(value.type.rank - 2):
        square = b.op("sum", square, axes=(2,), keep=False)
    return b.op("sum", square, axes=(1,), keep=True)


def matrix(b: Build, value: Node) -> Node:
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


def shaped(b: Build, value: Node, like: Node) -> Node:
    """Each row in the shape of a value of no row."""
    sizes, names = like.type.sizes, tuple(axis.name for axis in like.type.axes)
    if value.type.sizes[1:] == sizes:
        return value
    return b.op("reshape", value, sizes=sizes, names=names)

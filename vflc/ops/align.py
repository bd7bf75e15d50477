"""How values of a row fit together: by name of axis, then by position from the right."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from vflc.ir.types import BATCH, Axis, TensorType
from vflc.ops.registry import OpError
from vflc.ops.rules import merge_axes

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def numeric(b: Build, x: Node) -> Node:
    """The value as floats with at least one row axis; truth values become 1 and 0.

    Raises:
        OpError: VFL0203, ids of categories, of which no arithmetic makes sense.
    """
    if x.type.dtype == "int":
        name = str(x.attrs.get("name", x.id))
        raise OpError(
            f"`{name}` holds ids of categories, not numbers",
            f"give each id a vector with `embed({name}, dim = …)`, or use `one_hot({name})`",
            "VFL0203",
        )
    if x.type.dtype == "bool":
        x = b.op("cast", x, dtype="float")
    return b.op("unsqueeze", x, axis=1, name=None) if x.type.batched and x.type.rank == 1 else x


def align(b: Build, x: Node, y: Node) -> tuple[Node, Node]:
    """Two values in shapes that broadcast as numpy's do.

    In order: equal positions from the right, where sizes fit and no two different names meet (a
    named axis wins over an unnamed one; a size of 1 fits everything); else by name, where every
    named axis of one is in the other: `[expert 3]` and `[expert 3, unit 16]`.

    Raises:
        OpError: the shapes do not fit either way.
    """
    if 0 in (x.type.rank, y.type.rank):
        return x, y
    ranks = len(x.type.row_axes), len(y.type.row_axes)
    if ranks[0] < ranks[1]:
        pairs = [(x, y)]
    else:
        pairs = [(y, x), (x, y)] if ranks[0] == ranks[1] else [(y, x)]
    for find in (_from_the_right, _by_name):
        for small, big in pairs:
            few, many = small.type.row_axes, big.type.row_axes
            places = find(few, many)
            if places is not None and _fits(few, many, places):
                moved = spread(b, small, places, len(many))
                return (moved, big) if small is x else (big, moved)
    raise _misfit(x.type, y.type)


def spread(b: Build, x: Node, places: Sequence[int], rank: int) -> Node:
    """The value with its row axes at these positions of `rank` row axes, size 1 in all others."""
    batch = int(x.type.batched)
    order = sorted(range(len(places)), key=places.__getitem__)
    if any(i > j for i, j in pairwise(order)):
        x = b.op("transpose", x, perm=(*range(batch), *(i + batch for i in order)))
    first = min(places, default=rank)
    for position in range(rank):
        if position not in places and (x.type.batched or position > first):
            x = b.op("unsqueeze", x, axis=position + batch if batch else position - first, name=None)
    return x


def find_axis(b: Build, x: Node, name: str | None, op: str) -> tuple[Node, int]:
    """The position of the axis `name`, or of the last axis where no name is given.

    Where a row has one axis and that has no name, it gets this one. With more axes a name that is
    not there is a mistake: taking the unnamed one would reduce over the wrong axis in silence.

    Raises:
        OpError: VFL0202, there is no such axis.
    """
    if not x.type.row_axes:
        raise OpError(f"{op} over an axis of a single number")
    if name is None:
        return x, x.type.rank - 1
    if name == BATCH:
        raise OpError(
            f"{op} over the batch", "name an axis of the row: only losses average over the batch", "VFL0202"
        )
    position = x.type.position(name)
    if position is not None:
        return x, position
    if len(x.type.row_axes) == 1 and x.type.axes[-1].name is None:
        names = [axis.name for axis in x.type.axes[:-1]]
        return b.op("rename", x, names=(*names, name)), x.type.rank - 1
    there = ", ".join(f"`{axis.name}`" for axis in x.type.row_axes if axis.name) or "none with a name"
    raise OpError(
        f"{op}: there is no axis `{name}` in {x.type}",
        f"use one of the axes: {there}",
        "VFL0202",
    )


def _fits(few: Sequence[Axis], many: Sequence[Axis], places: Sequence[int]) -> bool:
    merged = list(many)
    for axis, place in zip(few, places, strict=True):
        both = merge_axes(axis, many[place])
        if both is None or _conflict(axis, many[place]):
            return False
        merged[place] = both
    names = [axis.name for axis in merged if axis.name]
    return len(set(names)) == len(names)


def _conflict(x: Axis, y: Axis) -> bool:
    """Two different names for what would be one axis."""
    return None not in (x.name, y.name) and x.name != y.name and 1 not in (x.size, y.size)


def _from_the_right(few: Sequence[Axis], many: Sequence[Axis]) -> tuple[int, ...]:
    return tuple(range(len(many) - len(few), len(many)))


def _by_name(few: Sequence[Axis], many: Sequence[Axis]) -> tuple[int, ...] | None:
    """Where the axes of `few` stand in `many`: named ones by name, the others from the right."""
    names = {axis.name: place for place, axis in enumerate(many) if axis.name}
    if not any(axis.name for axis in few) or any(axis.name and axis.name not in names for axis in few):
        return None
    free = [place for place, axis in enumerate(many) if axis.name is None]
    if sum(axis.name is None for axis in few) > len(free):
        return None
    places = [names[axis.name] if axis.name else free.pop() for axis in reversed(few)]
    return tuple(reversed(places))


def _misfit(x: TensorType, y: TensorType) -> OpError:
    for one, other in zip(reversed(x.row_axes), reversed(y.row_axes), strict=False):
        if _conflict(one, other) and one.size == other.size:
            return OpError(
                f"the shapes {x} and {y} are incompatible: `{one.name}` meets `{other.name}`",
                f"if they are the same axis, rename one: `rename(x, {one.name}, to = {other.name})`",
            )
    return OpError(
        f"the shapes {x} and {y} are incompatible",
        "axes must have equal names or equal sizes, or one must have size 1",
    )

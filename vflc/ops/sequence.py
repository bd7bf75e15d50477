"""Functions of the language over a row's sequence of ids: which are there, their order, attention."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from vflc.ir.build import Initializer
from vflc.ops.align import align, find_axis, numeric
from vflc.ops.kinds import AxisName
from vflc.ops.layers import layer
from vflc.ops.registry import OpError, function
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

NEVER = -1e9
"""The score of what is masked: its share is 0 in either precision, and a row of nothing has no NaN."""


def present(b: Build, feature: Node) -> Node:
    """A mask of a many-valued feature: 1 at its ids, 0 at the padding after them: [value]."""
    if feature.op not in ("feature", "label") or feature.type.dtype != "int":
        raise OpError(f"present of {feature.type}", "give it a categorical feature: `present(bob.History)`")
    ids = feature if feature.type.rank > 1 else b.op("unsqueeze", feature, axis=1, name="value")
    return b.op("cast", b.op("greater_equal", ids, b.constant(0, "int")), dtype="float")


def expand(b: Build, x: Node, like: Node) -> Node:
    """The value, repeated along the axes of `like` that it lacks: `expand(candidate, like = history)`."""
    x, like = numeric(b, x), numeric(b, like)
    spread, whole = align(b, x, like)
    if whole is not like:
        raise OpError(f"{x.type} has axes that {like.type} lacks", "expand the smaller value like the larger")
    return b.op("expand_like", spread, like)


def positions(b: Build, x: Node, axis: AxisName = "value", scale: float = 0.05) -> Node:
    """The value plus a learned vector for each position of an axis, initially uniform in ±`scale`."""
    x, position = find_axis(b, numeric(b, x), axis, "positions")
    kept = x.type.axes[position:]
    if None in (a.size for a in kept):
        raise OpError(f"positions of {x.type}", "fix the length: `-> sequence(max = 20)` after the encoders")
    with b.within(scope=layer(b, "positions")):
        return b.op("add", x, b.weight("vectors", kept, Initializer("uniform", float(scale))))


def attention(b: Build, query: Node, key: Node, value: Node, mask: Node | None = None) -> Node:
    """Scaled dot-product attention (Vaswani et al. 2017): [n, d], [m, d], [m, e] give [n, e].

    A query [d] gives [e]. Keys at which the mask [m] is 0 are ignored.
    """
    query, key, value = numeric(b, query), numeric(b, key), numeric(b, value)
    single = len(query.type.row_axes) == 1
    if single:
        query = b.op("unsqueeze", query, axis=int(query.type.batched), name=None)
    if {len(x.type.row_axes) for x in (query, key, value)} != {2}:
        shown = f"{query.type}, {key.type}, {value.type}"
        raise OpError(f"attention over {shown}", "give keys and values two axes: positions and units")
    width = query.type.axes[-1].size
    if width is None or width != key.type.axes[-1].size:
        raise OpError(
            f"attention of a query {query.type} on keys {key.type}", "give both the same number of units"
        )
    scores = b.op("matmul", query, key, transpose_x=False, transpose_y=True)
    scores = b.op("mul", scores, number(b, 1 / sqrt(width)))
    if mask is not None:
        there = b.op("greater", numeric(b, mask), number(b, 0))
        there = b.op("rename", there, names=(*[a.name for a in there.type.axes[:-1]], None))
        there = b.op("unsqueeze", there, axis=there.type.rank - 1, name=None)
        scores = b.op("where", there, scores, number(b, NEVER))
    shares = b.op("softmax", scores, axis=scores.type.rank - 1)
    mixed = b.op("matmul", shares, value, transpose_x=False, transpose_y=False)
    return b.op("squeeze", mixed, axis=mixed.type.rank - 2) if single else mixed


for _function in (present, expand, positions, attention):
    function(_function)

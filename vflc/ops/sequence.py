"""Functions of the language over a row's sequence of ids: which are there, their order, attention."""

from __future__ import annotations

from math import prod, sqrt
from typing import TYPE_CHECKING

from vflc.ir.build import Initializer
from vflc.ir.types import Axis
from vflc.ops.align import align, find_axis, numeric
from vflc.ops.kinds import AxisName
from vflc.ops.layers import dropout_, layer, positive
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


def attention(
    b: Build, query: Node, key: Node, value: Node, mask: Node | None = None, causal: bool = False
) -> Node:
    """Scaled dot-product attention (Vaswani et al. 2017): [n, d], [m, d], [m, e] give [n, e].

    A query [d] gives [e]. Keys at which the mask [m] is 0 are ignored. With `causal = true`, a query ignores
    the keys at later positions than its own.
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
    mixed = b.op("matmul", _shares(b, query, key, mask, causal), value, transpose_x=False, transpose_y=False)
    return b.op("squeeze", mixed, axis=mixed.type.rank - 2) if single else mixed


def _shares(b: Build, query: Node, key: Node, mask: Node | None, causal: bool) -> Node:
    """How much each query [.., n, d] takes of each key [.., m, d]: [.., n, m]."""
    width = query.type.axes[-1].size or 1
    scores = b.op("matmul", query, key, transpose_x=False, transpose_y=True)
    scores = b.op("mul", scores, number(b, 1 / sqrt(width)))
    for there in (_there(b, mask, scores), _before(b, scores) if causal else None):
        scores = scores if there is None else b.op("where", there, scores, number(b, NEVER))
    return b.op("softmax", scores, axis=scores.type.rank - 1)


def _there(b: Build, mask: Node | None, scores: Node) -> Node | None:
    """The keys that a mask [m] leaves, for scores [.., n, m]."""
    if mask is None:
        return None
    there = b.op("greater", numeric(b, mask), number(b, 0))
    if there.type.axes[-1].size != scores.type.axes[-1].size or len(there.type.row_axes) != 1:
        raise OpError(
            f"a mask {mask.type} for {scores.type.axes[-1].size} keys", "give it a number for each key"
        )
    there = b.op("rename", there, names=(*[a.name for a in there.type.axes[:-1]], None))
    for _ in range(scores.type.rank - there.type.rank):
        there = b.op("unsqueeze", there, axis=there.type.rank - 1, name=None)
    return there


def _before(b: Build, scores: Node) -> Node:
    """For scores [.., n, m], the keys that are not after the query: [n, m]."""
    queries, keys = (axis.size for axis in scores.type.axes[-2:])
    if queries is None or keys is None:
        raise OpError("causal attention over a sequence of any length", "fix it: `-> sequence(max = 20)`")
    places = b.constant([[float(i)] for i in range(queries)])
    return b.op("greater_equal", places, b.constant([float(i) for i in range(keys)]))


def multi_head_attention(
    b: Build,
    query: Node,
    value: Node,
    heads: int,
    dim: int | None = None,
    mask: Node | None = None,
    causal: bool = False,
    dropout: float = 0.0,
) -> Node:
    """Attention by several heads at once (Vaswani et al. 2017): [n, d] and [m, e] give [n, d].

    `multi_head_attention(x, x, heads = 4)` is self-attention. Each head projects to `dim` units (d over
    `heads` unless given). Values at which the mask [m] is 0 are ignored; with `causal = true`, so are those
    at later positions. As Keras's `MultiHeadAttention`.
    """
    query, value = numeric(b, query), numeric(b, value)
    ranks = {(x.type.batched, len(x.type.row_axes)) for x in (query, value)}
    if ranks != {(True, 2)} or query.type.axes[-1].size is None:
        raise OpError(
            f"multi_head_attention of {query.type} over {value.type}",
            "give both two axes, positions and units: `lookup(items, bob.History)`",
        )
    width = query.type.axes[-1].size
    each = positive("`dim`", width // positive("`heads`", heads) if dim is None else dim)
    with b.within(scope=layer(b, "multi_head_attention")):
        q, k, v = (
            _split(b, _projected(b, name, x, (x.type.axes[-1].size or 0, heads, each), 1), heads, each)
            for name, x in (("query", query), ("key", value), ("value", value))
        )
        shares = dropout_(b, _shares(b, q, k, mask, causal), dropout)
        mixed = b.op("matmul", shares, v, transpose_x=False, transpose_y=False)
        mixed = b.op("transpose", mixed, perm=(0, 2, 1, 3))
        place = query.type.axes[1]
        flat = b.op("reshape", mixed, sizes=(place.size, heads * each), names=(place.name, None))
        return _projected(b, "output", flat, (heads, each, width), 2)


def _projected(b: Build, name: str, x: Node, sizes: tuple[int, int, int], summed: int) -> Node:
    """The last axis by a kernel of these sizes, of which the first `summed` meet it, and a bias."""
    axes = tuple(Axis(None, size) for size in sizes)
    with b.within(scope=(*b.scope, name)):
        kernel = b.weight("kernel", axes, Initializer("glorot_uniform"))
        bias = b.weight("bias", axes[summed:], Initializer("zeros"))
        flat = prod(sizes[:summed]), prod(sizes[summed:])
        kernel = b.op("reshape", kernel, sizes=flat, names=(None, None))
        if len(sizes) - summed > 1:
            bias = b.op("reshape", bias, sizes=flat[1:], names=(None,))
        return b.op("linear", x, kernel, bias)


def _split(b: Build, x: Node, heads: int, each: int) -> Node:
    """[n, heads times each] as [heads, n, each]."""
    size = x.type.axes[1].size
    x = b.op("reshape", x, sizes=(size, heads, each), names=(None, None, None))
    return b.op("transpose", x, perm=(0, 2, 1, 3))


for _function in (present, expand, positions, attention, multi_head_attention):
    function(_function)

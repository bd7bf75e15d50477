"""What works element by element works on pieces: each with the same stretch of whatever else it reads."""

from __future__ import annotations

from vflc.ir.graph import PLACELESS, Node
from vflc.passes.push_down.forms import Pieces, Rewriting, length


def elementwise(rewriting: Rewriting, node: Node) -> Pieces | None:
    """`square`, `relu`, `x * y`, …: piece by piece, if every input has pieces that fit, or one for all."""
    cut = next((p for p in map(rewriting.pieces, node.inputs) if p is not None), None)
    if cut is None:
        return None
    rank = cut.pieces[0].node.type.rank
    axis = node.type.rank - (rank - cut.axis)
    if axis < 0 or node.type.axes[axis].size != sum(cut.sizes):
        return None
    columns = [_stretches(rewriting, name, cut, rank - cut.axis) for name in node.inputs]
    if any(column is None for column in columns):
        return None
    made = []
    for piece, *inputs in zip(cut.pieces, *(column or [] for column in columns), strict=True):
        made.append(rewriting.at_owner(piece.owner, node.op, *inputs, **node.attrs))
    return cut.mapped(axis, made)


def _stretches(rewriting: Rewriting, name: str, cut: Pieces, from_right: int) -> list[Node] | None:
    """What each piece meets of an input; None where that lies elsewhere."""
    node, known = rewriting.old[name], rewriting.pieces(name)
    if known is not None:
        rank = known.pieces[0].node.type.rank
        alike = rank - known.axis == from_right and known.sizes == cut.sizes
        alike = alike and all(p.owner == q.owner for p, q in zip(known.pieces, cut.pieces, strict=True))
        return [piece.node for piece in known.pieces] if alike else None
    axis = node.type.rank - from_right
    whole = rewriting.whole
    if axis < 0 or length(node, axis) == 1:  # one value for all pieces, which may go to where these lie
        return [whole(name)] * len(cut.pieces)
    if node.op not in PLACELESS:
        slices = rewriting.slices(name, cut, axis)
        return None if slices is None else [piece.node for piece in slices.pieces]
    found, start = [], 0
    for size in cut.sizes:
        found.append(rewriting.build.op("slice", whole(name), axis=axis, start=start, stop=start + size))
        start += size
    return found

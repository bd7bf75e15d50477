"""What treats all along an axis alike works on pieces along it; axes may be moved, merged, and cut."""

from __future__ import annotations

from math import prod

from vflc.ir.graph import Node
from vflc.ops import OPS
from vflc.passes.push_down.forms import Pieces, Rewriting, SplitForm, length


def along(rewriting: Rewriting, node: Node) -> Pieces | None:
    """Piece by piece, where the op treats each stretch of the joined axis by itself; weights meet all."""
    pieces = rewriting.pieces(node.inputs[0])
    x, *others = rewriting.old.inputs(node)
    if pieces is None or x.type.batched != node.type.batched or any(other.sources for other in others):
        return None
    types = [each.type for each in (x, *others)]
    axis = OPS[node.op].parts.along(types, node.attrs, pieces.axis)
    if axis is None:
        return None
    rest = [rewriting.whole(other.id) for other in others]
    made = [rewriting.at_owner(p.owner, node.op, p.node, *rest, **node.attrs) for p in pieces.pieces]
    return pieces.mapped(axis, made)


def reshape(rewriting: Rewriting, node: Node) -> Pieces | None:
    """What stands before the joined axis stays, and that axis may take in what follows it: `flatten`."""
    pieces, x = rewriting.pieces(node.inputs[0]), rewriting.old[node.inputs[0]]
    if pieces is None or x.type.batched != node.type.batched:
        return None
    batch = int(node.type.batched)
    before = x.type.sizes[batch : pieces.axis]
    sizes = tuple(size for size in node.type.sizes[batch:] if size is not None)
    names = tuple(axis.name for axis in node.type.row_axes)
    at = len(before)
    if len(sizes) < len(names) or sizes[:at] != before or len(sizes) <= at or sizes[at] % sum(pieces.sizes):
        return None
    more = sizes[at] // sum(pieces.sizes)
    if prod(sizes[at + 1 :]) * more != prod(length(pieces.pieces[0].node, axis) for axis in _after(pieces)):
        return None
    made = []
    for piece, size in zip(pieces.pieces, pieces.sizes, strict=True):
        own = (*sizes[:at], size * more, *sizes[at + 1 :])
        made.append(rewriting.at_owner(piece.owner, "reshape", piece.node, sizes=own, names=names))
    return pieces.mapped(batch + at, made)


def _after(pieces: Pieces) -> range:
    return range(pieces.axis + 1, pieces.pieces[0].node.type.rank)


def cut(rewriting: Rewriting, node: Node) -> SplitForm | Node | None:
    """A stretch of the joined axis: of the pieces that lie inside, what does."""
    pieces, cuts = rewriting.pieces(node.inputs[0]), OPS[node.op].parts.cuts
    if pieces is None or cuts is None:
        return None
    axis, first, last = cuts(node.attrs)
    if axis != pieces.axis:
        return None
    inside, start = [], 0
    for piece, size in zip(pieces.pieces, pieces.sizes, strict=True):
        low, high = max(first - start, 0), min(last - start, size)
        if low < high:
            inside.append((piece, low, high))
        start += size
    if len(inside) == 1:
        ((piece, low, high),) = inside
        return rewriting.finish(node, "slice", piece.node, axis=axis, start=low, stop=high)
    found = Pieces(axis, tuple(piece for piece, _, _ in inside))
    return found.mapped(
        axis,
        [
            rewriting.at_owner(piece.owner, "slice", piece.node, axis=axis, start=low, stop=high)
            for piece, low, high in inside
        ],
    )

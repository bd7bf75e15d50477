"""Axes that are moved, merged, named and cut: piece by piece, as long as no piece is torn apart."""

from __future__ import annotations

from math import prod

from vflc.ir.graph import Node
from vflc.passes.push_down.forms import Pieces, Rewriting, SplitForm, length


def reshape(rewriting: Rewriting, node: Node) -> Pieces | None:
    """What stands before the joined axis stays, and that axis may take in what follows it: `flatten`."""
    pieces = rewriting.pieces(node.inputs[0])
    if pieces is None:
        return None
    batch = int(node.type.batched)
    before = rewriting.old[node.inputs[0]].type.sizes[batch : pieces.axis]
    sizes = node.attrs["sizes"]
    at = len(before)
    if None in sizes or tuple(sizes[:at]) != before or len(sizes) <= at or sizes[at] % sum(pieces.sizes):
        return None
    more = sizes[at] // sum(pieces.sizes)
    if prod(sizes[at + 1 :]) * more != prod(length(pieces.pieces[0].node, axis) for axis in _after(pieces)):
        return None
    made = []
    for piece, size in zip(pieces.pieces, pieces.sizes, strict=True):
        own = (*sizes[:at], size * more, *sizes[at + 1 :])
        names = node.attrs["names"]
        made.append(rewriting.at_owner(piece.owner, "reshape", piece.node, sizes=own, names=names))
    return pieces.mapped(batch + at, made)


def _after(pieces: Pieces) -> range:
    return range(pieces.axis + 1, pieces.pieces[0].node.type.rank)


def unsqueeze(rewriting: Rewriting, node: Node) -> Pieces | None:
    """A new axis of size 1."""
    return _moved(rewriting, node, lambda pieces: pieces.axis + (node.attrs["axis"] <= pieces.axis))


def squeeze(rewriting: Rewriting, node: Node) -> Pieces | None:
    """An axis of size 1 less."""
    return _moved(rewriting, node, lambda pieces: pieces.axis - (node.attrs["axis"] < pieces.axis))


def rename(rewriting: Rewriting, node: Node) -> Pieces | None:
    """Other names of axes."""
    return _moved(rewriting, node, lambda pieces: pieces.axis)


def transpose(rewriting: Rewriting, node: Node) -> Pieces | None:
    """Axes in another order."""
    return _moved(rewriting, node, lambda pieces: node.attrs["perm"].index(pieces.axis))


def _moved(rewriting: Rewriting, node: Node, axis: object) -> Pieces | None:
    pieces = rewriting.pieces(node.inputs[0])
    if pieces is None:
        return None
    assert callable(axis)
    made = [rewriting.at_owner(p.owner, node.op, p.node, **node.attrs) for p in pieces.pieces]
    return pieces.mapped(axis(pieces), made)


def slice_(rewriting: Rewriting, node: Node) -> SplitForm | Node | None:
    """Along the joined axis the stretches that lie inside; along another axis the same of each piece."""
    pieces = rewriting.pieces(node.inputs[0])
    if pieces is None:
        return None
    axis, first, last = node.attrs["axis"], node.attrs["start"], node.attrs["stop"]
    if axis != pieces.axis:
        return _moved(rewriting, node, lambda pieces: pieces.axis)
    inside, start = [], 0
    for piece, size in zip(pieces.pieces, pieces.sizes, strict=True):
        low, high = max(first - start, 0), min(last - start, size)
        if low < high:
            inside.append((piece, low, high))
        start += size
    if len(inside) == 1:
        ((piece, low, high),) = inside
        return rewriting.finish(node, "slice", piece.node, axis=axis, start=low, stop=high)
    cut = Pieces(axis, tuple(piece for piece, _, _ in inside))
    return cut.mapped(
        axis,
        [
            rewriting.at_owner(piece.owner, "slice", piece.node, axis=axis, start=low, stop=high)
            for piece, low, high in inside
        ],
    )

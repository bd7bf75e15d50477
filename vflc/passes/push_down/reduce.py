"""Sums, means and maxima: over the joined axis of partial results, over another axis piece by piece."""

from __future__ import annotations

from vflc.ir.graph import Node
from vflc.passes.push_down.forms import Pieces, Rewriting, SplitForm, SumTerms, gathered


def reduce(rewriting: Rewriting, node: Node) -> SplitForm | Node | None:
    """`sum`, `mean` and `max` of a value in pieces."""
    (name,) = node.inputs
    axes, batched = node.attrs["axes"], rewriting.old[name].type.batched
    if batched and 0 in axes:
        return None
    pieces = rewriting.pieces(name)
    if pieces is None:
        return None
    if pieces.axis not in axes:
        made = [rewriting.at_owner(p.owner, node.op, p.node, **node.attrs) for p in pieces.pieces]
        gone = 0 if node.attrs["keep"] else sum(axis < pieces.axis for axis in axes)
        return pieces.mapped(pieces.axis - gone, made)
    return _largest(rewriting, node, pieces) if node.op == "max" else _partial(rewriting, node, pieces)


def _partial(rewriting: Rewriting, node: Node, pieces: Pieces) -> SumTerms:
    """A mean is the sum of each piece's mean times its share of the axis."""
    terms = []
    for piece, size in zip(pieces.pieces, pieces.sizes, strict=True):
        part = rewriting.at_owner(piece.owner, node.op, piece.node, **node.attrs)
        if node.op == "mean":
            share = rewriting.build.constant(size / sum(pieces.sizes))
            part = rewriting.at_owner(piece.owner, "mul", part, share)
        terms.append((piece.owner, part))
    return gathered(rewriting, terms)


def _largest(rewriting: Rewriting, node: Node, pieces: Pieces) -> Node | None:
    """The largest of each owner's largest. Owners share the gradient of equal ones as two values do."""
    by_owner: dict[str, Node] = {}
    for piece in pieces.pieces:
        part = rewriting.at_owner(piece.owner, "max", piece.node, **node.attrs)
        if piece.owner in by_owner:
            part = rewriting.at_owner(piece.owner, "maximum", by_owner[piece.owner], part)
        by_owner[piece.owner] = part
    parts = list(by_owner.values())
    total = parts[0]
    for part in parts[1:-1]:
        total = rewriting.build.op("maximum", total, part)
    return rewriting.finish(node, "maximum", total, parts[-1]) if len(parts) > 1 else None

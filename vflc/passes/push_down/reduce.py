"""Sums, means and maxima over the joined axis, of partial results."""

from __future__ import annotations

from vflc.ir.graph import Node
from vflc.ops import OPS
from vflc.passes.push_down.forms import Pieces, Rewriting, SplitForm, SumTerms, gathered

EXTREMES = {"max": "maximum", "min": "minimum"}


def reduce(rewriting: Rewriting, node: Node) -> SplitForm | Node | None:
    """`sum`, `mean`, `max` and their like of a value in pieces."""
    reduces = OPS[node.op].parts.reduces
    pieces = rewriting.pieces(node.inputs[0])
    if pieces is None or pieces.axis not in node.attrs["axes"]:
        return None
    if rewriting.old[node.inputs[0]].type.batched and 0 in node.attrs["axes"]:
        return None
    if reduces in EXTREMES:
        return _extreme(rewriting, node, pieces, EXTREMES[reduces])
    return _partial(rewriting, node, pieces, reduces == "mean")


def _partial(rewriting: Rewriting, node: Node, pieces: Pieces, mean: bool) -> SumTerms:
    """A mean is the sum of each piece's mean times its share of the axis."""
    terms = []
    for piece, size in zip(pieces.pieces, pieces.sizes, strict=True):
        part = rewriting.at_owner(piece.owner, node.op, piece.node, **node.attrs)
        if mean:
            share = rewriting.build.constant(size / sum(pieces.sizes))
            part = rewriting.at_owner(piece.owner, "mul", part, share)
        terms.append((piece.owner, part))
    return gathered(rewriting, terms)


def _extreme(rewriting: Rewriting, node: Node, pieces: Pieces, of_two: str) -> Node | None:
    """The largest of each owner's largest. Owners share the gradient of equal ones as two values do."""
    by_owner: dict[str, Node] = {}
    for piece in pieces.pieces:
        part = rewriting.at_owner(piece.owner, node.op, piece.node, **node.attrs)
        if piece.owner in by_owner:
            part = rewriting.at_owner(piece.owner, of_two, by_owner[piece.owner], part)
        by_owner[piece.owner] = part
    parts = list(by_owner.values())
    total = parts[0]
    for part in parts[1:-1]:
        total = rewriting.build.op(of_two, total, part)
    return rewriting.finish(node, of_two, total, parts[-1]) if len(parts) > 1 else None

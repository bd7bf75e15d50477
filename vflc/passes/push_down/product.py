"""Layers over the joined axis: each party's part of the product."""

from __future__ import annotations

from vflc.ir.graph import Node
from vflc.ops import OPS
from vflc.passes.push_down.forms import REST, Rewriting, SumTerms, gathered


def product(rewriting: Rewriting, node: Node) -> SumTerms | None:
    """`dense(x, units)` of x in pieces: the kernel's rows lie with the pieces that they multiply."""
    if len(node.inputs) < 2:
        return None
    x, kernel, *bias = rewriting.old.inputs(node)
    pieces = rewriting.pieces(x.id)
    if pieces is None or pieces.axis != x.type.rank - 1 or kernel.sources:
        return None
    types = [each.type for each in (x, kernel, *bias)]
    if not OPS[node.op].parts.product(types, node.attrs):
        return None
    slices = rewriting.slices(kernel.id, pieces, 0)
    if slices is None:
        return None
    terms = [
        (piece.owner, rewriting.at_owner(piece.owner, node.op, piece.node, rows.node, **node.attrs))
        for piece, rows in zip(pieces.pieces, slices.pieces, strict=True)
    ]
    return gathered(rewriting, [*terms, *((REST, rewriting.whole(each.id)) for each in bias)])

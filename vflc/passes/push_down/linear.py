"""A layer over a joined axis: each party's part of the product, added where they meet."""

from __future__ import annotations

from vflc.ir.graph import Node
from vflc.passes.push_down.forms import REST, Rewriting, Terms, gathered


def linear(rewriting: Rewriting, node: Node) -> Terms | None:
    """`dense(x, units)` of x in pieces: the kernel's rows lie with the pieces that they multiply."""
    x, kernel, *bias = node.inputs
    pieces = rewriting.pieces(x)
    if pieces is None or pieces.axis != rewriting.old[x].type.rank - 1:
        return None
    slices = rewriting.slices(kernel, pieces, 0)
    if slices is None:
        return None
    terms = [
        (piece.owner, rewriting.at_owner(piece.owner, "linear", piece.node, rows.node))
        for piece, rows in zip(pieces.pieces, slices.pieces, strict=True)
    ]
    return gathered(rewriting, [*terms, *((REST, rewriting.whole(name)) for name in bias)])


def matmul(rewriting: Rewriting, node: Node) -> Terms | None:
    """The product of x in pieces along its last axis and a weight [n, m]."""
    x, kernel = node.inputs
    pieces = rewriting.pieces(x)
    if (
        pieces is None
        or pieces.axis != rewriting.old[x].type.rank - 1
        or rewriting.old[kernel].type.rank != 2
    ):
        return None
    if node.attrs["transpose_x"] or node.attrs["transpose_y"]:
        return None
    slices = rewriting.slices(kernel, pieces, 0)
    if slices is None:
        return None
    return gathered(
        rewriting,
        [
            (piece.owner, rewriting.at_owner(piece.owner, "matmul", piece.node, rows.node, **node.attrs))
            for piece, rows in zip(pieces.pieces, slices.pieces, strict=True)
        ],
    )

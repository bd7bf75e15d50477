"""Layers: over the joined axis each party's part of the product, over another axis piece by piece."""

from __future__ import annotations

from vflc.ir.graph import Node
from vflc.passes.push_down.forms import REST, Pieces, Rewriting, SplitForm, gathered


def linear(rewriting: Rewriting, node: Node) -> SplitForm | None:
    """`dense(x, units)` of x in pieces: the kernel's rows lie with the pieces that they multiply."""
    x, kernel, *bias = node.inputs
    pieces = rewriting.pieces(x)
    if pieces is None:
        return None
    return _over_others(rewriting, node, pieces) or _product(rewriting, node, pieces, kernel, bias)


def matmul(rewriting: Rewriting, node: Node) -> SplitForm | None:
    """The product of x in pieces and a weight [n, m], or what is made of weights alone."""
    x, kernel = node.inputs
    pieces, right = rewriting.pieces(x), rewriting.old[kernel]
    turned = node.attrs["transpose_x"] or node.attrs["transpose_y"]
    if pieces is None or turned or right.sources or right.type.rank != 2:
        return None
    return _over_others(rewriting, node, pieces) or _product(rewriting, node, pieces, kernel, [])


def _over_others(rewriting: Rewriting, node: Node, pieces: Pieces) -> Pieces | None:
    """Where the joined axis is none that is summed over, all pieces meet one kernel."""
    rank = rewriting.old[node.inputs[0]].type.rank
    if pieces.axis == rank - 1:
        return None
    weights = [rewriting.whole(name) for name in node.inputs[1:]]
    made = [rewriting.at_owner(p.owner, node.op, p.node, *weights, **node.attrs) for p in pieces.pieces]
    return pieces.mapped(pieces.axis, made)


def _product(
    rewriting: Rewriting, node: Node, pieces: Pieces, kernel: str, bias: list[str]
) -> SplitForm | None:
    slices = rewriting.slices(kernel, pieces, 0)
    if slices is None:
        return None
    terms = [
        (piece.owner, rewriting.at_owner(piece.owner, node.op, piece.node, rows.node, **node.attrs))
        for piece, rows in zip(pieces.pieces, slices.pieces, strict=True)
    ]
    return gathered(rewriting, [*terms, *((REST, rewriting.whole(name)) for name in bias)])

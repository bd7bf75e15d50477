"""Values of several parties side by side: they stay in pieces, a party's neighbours together."""

from __future__ import annotations

from itertools import groupby

from vflc.ir.graph import Node
from vflc.ops import OPS
from vflc.passes.push_down.forms import Piece, Pieces, Rewriting


def join(rewriting: Rewriting, node: Node) -> Pieces | None:
    """`concat` and `stack` of what different parties have."""
    axis, stacks = node.attrs["axis"], OPS[node.op].places == "stacked"
    if any(source.type.batched != node.type.batched for source in rewriting.old.inputs(node)):
        return None
    parts: list[Piece] = []
    for name in node.inputs:
        known = rewriting.pieces(name)
        if not stacks and known is not None and known.axis == axis:
            parts += known.pieces
        else:
            whole = rewriting.whole(name)
            parts.append(Piece(rewriting.owner(whole), whole))
    pieces = []
    for owner, neighbours in groupby(parts, key=lambda piece: piece.owner):
        nodes = [piece.node for piece in neighbours]
        if stacks or len(nodes) > 1:
            pieces.append(Piece(owner, rewriting.at_owner(owner, node.op, *nodes, **node.attrs)))
        else:
            pieces.append(Piece(owner, nodes[0]))
    return Pieces(axis, tuple(pieces)) if len(pieces) > 1 else None

"""Where values of several parties meet in a way that a rewrite may start from."""

from __future__ import annotations

from vflc.ir.graph import Node
from vflc.ops import OPS


def joins_parties(node: Node) -> bool:
    """Whether it puts values of several parties side by side, and nobody said where."""
    return OPS[node.op].joins and _is_free(node)


def is_join_site(node: Node) -> bool:
    """Whether it joins values of several parties, or adds them, and nobody said where."""
    return (OPS[node.op].joins or bool(OPS[node.op].signs)) and _is_free(node)


def _is_free(node: Node) -> bool:
    return node.place is None and len(node.owners) > 1

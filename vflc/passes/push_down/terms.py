"""Sums of what several parties have: each adds up its own before it leaves."""

from __future__ import annotations

from vflc.ir.graph import PLACELESS, Node
from vflc.ops import OPS
from vflc.passes.push_down.forms import REST, Rewriting, SumTerms, gathered


def add(rewriting: Rewriting, node: Node) -> SumTerms | None:
    """`x + y` and `x - y` of values of one shape, or with a weight or constant that is copied out."""
    found: list[tuple[str, Node]] = []
    for name, sign in zip(node.inputs, OPS[node.op].signs, strict=True):
        terms = _terms(rewriting, node, name)
        if terms is None:
            return None
        found += terms if sign > 0 else [(o, rewriting.at_owner(o, "neg", term)) for o, term in terms]
    return gathered(rewriting, found) if len({owner for owner, _ in found} - {REST}) > 1 else None


def _terms(rewriting: Rewriting, node: Node, name: str) -> list[tuple[str, Node]] | None:
    """What a side of a sum consists of; None where it would have to be copied out to the sum's shape."""
    side = rewriting.old[name]
    if side.type.sizes != node.type.sizes and side.sources:
        return None
    if (terms := sum_of(rewriting, name)) is not None:
        return terms
    whole = rewriting.whole(name)
    owner = rewriting.owner(whole)
    others = (reader for reader in rewriting.readers(name) if reader.id != node.id)
    stays = name not in rewriting.kept and all(reader.owners == whole.owners for reader in others)
    return [(owner if stays else REST, whole)]


def scale(rewriting: Rewriting, node: Node) -> SumTerms | None:
    """A sum times or divided by a constant: every term is."""
    if len(node.inputs) != 2:
        return None
    x, y = (rewriting.old[name] for name in node.inputs)
    constant, other = (y, x) if y.op in PLACELESS else (x, y)
    if constant.op not in PLACELESS or constant.type.axes or not OPS[node.op].linear_in(int(other is y), 2):
        return None
    terms = sum_of(rewriting, other.id)
    if terms is None:
        return None
    factor = rewriting.whole(constant.id)
    made = []
    for owner, term in terms:
        inputs = (factor, term) if constant is x else (term, factor)
        made.append((owner, rewriting.at_owner(owner, node.op, *inputs)))
    return gathered(rewriting, made)


def each_term(rewriting: Rewriting, node: Node) -> SumTerms | None:
    """What is linear, and turns no number of axes into another by copying: `unsqueeze`, `neg`, `sum`, …"""
    if len(node.inputs) != 1:
        return None
    terms = sum_of(rewriting, node.inputs[0])
    sizes = rewriting.old[node.inputs[0]].type.sizes
    if terms is None or any(term.type.sizes != sizes for _, term in terms):
        return None  # a bias has fewer axes: it would be counted once where the sum has it often
    return gathered(rewriting, [(o, rewriting.at_owner(o, node.op, t, **node.attrs)) for o, t in terms])


def sum_of(rewriting: Rewriting, name: str) -> list[tuple[str, Node]] | None:
    """The terms of a sum that has not been put together and that nothing else needs."""
    known = rewriting.forms.get(name)
    if not isinstance(known, SumTerms) or name in rewriting.build.graph or not rewriting.alone(name):
        return None
    return list(known.terms.items())

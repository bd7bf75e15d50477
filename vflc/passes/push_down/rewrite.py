"""A graph written anew: every rewrite that fits is made, one value after another."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.stages import Lowered
from vflc.ops import OPS, infer
from vflc.ops.registry import Op
from vflc.passes.prune import pruned
from vflc.passes.push_down.along import along, cut, reshape
from vflc.passes.push_down.elementwise import elementwise
from vflc.passes.push_down.forms import Pieces, Rewriting, SplitForm, SumTerms
from vflc.passes.push_down.join import join
from vflc.passes.push_down.join_site import is_join_site
from vflc.passes.push_down.product import product
from vflc.passes.push_down.reduce import reduce
from vflc.passes.push_down.softmax import softmax
from vflc.passes.push_down.terms import add, each_term, scale

Rewrite = Callable[[Rewriting, Node], SplitForm | Node | None]

REWRITES: tuple[tuple[Callable[[Op], object], Rewrite], ...] = (
    (lambda op: op.elementwise, elementwise),
    (lambda op: True, along),
    (lambda op: op.differs == "shape", reshape),
    (lambda op: op.parts.cuts, cut),
    (lambda op: op.parts.reduces, reduce),
    (lambda op: True, product),
    (lambda op: op.parts.shares, softmax),
    (lambda op: op.joins, join),
    (lambda op: op.signs, add),
    (lambda op: op.elementwise, scale),
    (lambda op: op.linear_in(0, 1), each_term),
)
"""What is tried, one after another, of the ops that say what it takes."""


def rewritten(model: Lowered, left: frozenset[str]) -> Lowered:
    """The model with all rewrites, but of the values in `left`, which are put together as written."""
    kept = _kept(model)
    sliced = model.train.clip_norm is None
    rewriting = Rewriting(model.graph, Build(Graph(), infer), _named(model), frozenset(kept), sliced)
    for node in model.graph:
        if node.op == "weight":  # may become slices: whoever reads it says
            continue
        made = None
        if node.place is None and node.id not in left and node.id not in rewriting.named:
            made = _form(rewriting, node)
        if isinstance(made, (Pieces, SumTerms)):
            rewriting.forms[node.id] = made
        elif made is None:
            rewriting.whole(node.id)
    for name in kept:
        rewriting.whole(name)
    return pruned(replace(model, graph=rewriting.build.graph, pushed=True))


def _form(rewriting: Rewriting, node: Node) -> SplitForm | Node | None:
    if not (is_join_site(node) or any(name in rewriting.forms for name in node.inputs)):
        return None
    op = OPS[node.op]
    fitting = (rewrite for says, rewrite in REWRITES if says(op))
    with rewriting.near(node):
        return next((made for rewrite in fitting if (made := rewrite(rewriting, node)) is not None), None)


def _kept(model: Lowered) -> tuple[str, ...]:
    """What losses, predictions and running statistics read, in their order."""
    found = [name for loss in model.losses for name in (loss.node, loss.logit, loss.label, loss.weight)]
    found += [name for prediction in model.predictions for name in (prediction.node, *prediction.measured)]
    found += [name for pair in model.assigns for name in pair]
    found += [name for fit in model.fits for name in (fit.weight, fit.counts)]
    return tuple(dict.fromkeys(name for name in found if name and name in model.graph))


def _named(model: Lowered) -> frozenset[str]:
    """What the spec speaks of outside the model, so that it must be there as it is written."""
    targets = [each.target for each in model.protections] + [each.target for each in model.acceptances]
    found = [name for target in targets for name in target.values]
    for release in model.releases:
        found += [name for limit in release.limits for values in limit.values for name in values]
    return frozenset(found)

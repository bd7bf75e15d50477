"""A graph written anew: every rewrite that fits is made, one value after another."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.stages import Lowered
from vflc.ops import OPS, infer
from vflc.passes.prune import pruned
from vflc.passes.push_down.elementwise import elementwise
from vflc.passes.push_down.forms import Pieces, Rewriting, SplitForm, SumTerms
from vflc.passes.push_down.join import join
from vflc.passes.push_down.linear import linear, matmul
from vflc.passes.push_down.meeting import meets
from vflc.passes.push_down.reduce import reduce
from vflc.passes.push_down.shape import rename, reshape, slice_, squeeze, transpose, unsqueeze
from vflc.passes.push_down.softmax import softmax
from vflc.passes.push_down.terms import add, each_term, scale

Rewrite = Callable[[Rewriting, Node], SplitForm | Node | None]

REWRITES: dict[str, tuple[Rewrite, ...]] = {
    "add": (add,),
    "concat": (join,),
    "div": (scale,),
    "linear": (linear,),
    "log_softmax": (softmax,),
    "matmul": (matmul,),
    "max": (reduce,),
    "mean": (reduce,),
    "mul": (scale,),
    "rename": (rename,),
    "reshape": (reshape,),
    "slice": (slice_,),
    "softmax": (softmax,),
    "squeeze": (squeeze,),
    "stack": (join,),
    "sub": (add,),
    "sum": (reduce,),
    "transpose": (transpose,),
    "unsqueeze": (unsqueeze,),
}
"""By op. Besides, what works element by element is tried on pieces first, and a linear op on terms last."""


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
    rewrites = REWRITES.get(node.op, ())
    if OPS[node.op].elementwise:
        rewrites = (elementwise, *rewrites)
    if OPS[node.op].linear and len(node.inputs) == 1:
        rewrites = (*rewrites, each_term)
    if not rewrites or not (meets(node) or any(name in rewriting.forms for name in node.inputs)):
        return None
    with rewriting.near(node):
        return next((made for rewrite in rewrites if (made := rewrite(rewriting, node)) is not None), None)


def _kept(model: Lowered) -> tuple[str, ...]:
    """What losses, predictions and running statistics read, in their order."""
    found = [name for loss in model.losses for name in (loss.node, loss.logit, loss.label, loss.weight)]
    found += [name for prediction in model.predictions for name in (prediction.node, *prediction.measured)]
    found += [name for pair in model.assigns for name in pair]
    return tuple(dict.fromkeys(name for name in found if name and name in model.graph))


def _named(model: Lowered) -> frozenset[str]:
    """What the spec speaks of outside the model, so that it must be there as it is written."""
    targets = [each.target for each in model.protections] + [each.target for each in model.acceptances]
    found = [name for target in targets for name in target.values]
    for release in model.releases:
        found += [name for limit in release.limits for values in limit.values for name in values]
    return frozenset(found)

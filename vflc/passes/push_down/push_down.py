"""A model that is written as if all tables lay in one gets its split: what can be reduced is, at its owner.

In: a graph with demanded places only. Out: the same values, gradients and steps of optimizers. Values of
several parties that nobody placed wait for their readers in pieces or as terms of a sum (`forms`), and the
rewrites, one a file, work on these. Values with a place are left as they are: there, the user has split.

Whether the readers of a value put together from several parties work on its pieces is decided value by
value, for fewer bytes a row. A graph that is no cheaper than what was written is not taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from vflc.diagnostics import Collector
from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.stages import Lowered
from vflc.ops import OPS, infer
from vflc.passes.place import FORBIDDEN
from vflc.passes.properties import GRAPH, NEEDED
from vflc.passes.prune import Prune
from vflc.passes.push_down.cost import cost
from vflc.passes.push_down.elementwise import elementwise
from vflc.passes.push_down.forms import Form, Pieces, Rewriting, Terms
from vflc.passes.push_down.join import join
from vflc.passes.push_down.linear import linear, matmul
from vflc.passes.push_down.reduce import reduce
from vflc.passes.push_down.shape import rename, reshape, slice_, squeeze, transpose, unsqueeze
from vflc.passes.push_down.softmax import softmax
from vflc.passes.push_down.terms import add, each_term, scale

Rewrite = Callable[[Rewriting, Node], Form | Node | None]

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


class PushDown:
    """The pass."""

    name: ClassVar = "push-down"
    requires: ClassVar = (*GRAPH, NEEDED)
    ensures: ClassVar = (*GRAPH, NEEDED)

    def __call__(self, model: Lowered, collector: Collector) -> Lowered:
        return choose(model).model if model.train.push_down else model


class Choice(Struct, frozen=True):
    """A way to write a model.

    Args:
        joined: values put together from several parties whose readers may work on their pieces.
        left: those of them that are put together as written, as that is cheaper.
        price: bytes a row that cross.
    """

    model: Lowered
    joined: tuple[str, ...]
    left: frozenset[str]
    price: float


def choose(model: Lowered) -> Choice:
    """The cheapest way that is found by leaving one joined value after another as it is written."""
    meeting = [node for node in model.graph if _meets(node)]
    joined = tuple(node.id for node in meeting if OPS[node.op].places == "joined")
    written = Choice(model, joined, frozenset(joined), FORBIDDEN)
    if not meeting:
        return written
    best = attempt(model, joined, frozenset())
    for name in joined:
        other = attempt(model, joined, best.left | {name})
        best = other if other.price <= best.price else best
    return best if best.price < cost(model) else written


def attempt(model: Lowered, joined: tuple[str, ...], left: frozenset[str]) -> Choice:
    """The model with all rewrites, but of the values in `left`."""
    made = _rewritten(model, left)
    return Choice(made, joined, left, cost(made))


def _meets(node: Node) -> bool:
    """Where values of several parties meet in a way that a rewrite may start from."""
    starts = OPS[node.op].places == "joined" or node.op in ("add", "sub")
    return starts and node.place is None and len(node.owners) > 1


def _rewritten(model: Lowered, left: frozenset[str]) -> Lowered:
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
        if isinstance(made, (Pieces, Terms)):
            rewriting.forms[node.id] = made
        elif made is None:
            rewriting.whole(node.id)
    for name in kept:
        rewriting.whole(name)
    return Prune()(replace(model, graph=rewriting.build.graph, pushed=True), Collector())


def _form(rewriting: Rewriting, node: Node) -> Form | Node | None:
    rewrites = REWRITES.get(node.op, ())
    if OPS[node.op].elementwise:
        rewrites = (elementwise, *rewrites)
    if OPS[node.op].linear and len(node.inputs) == 1:
        rewrites = (*rewrites, each_term)
    if not rewrites or not (_meets(node) or any(name in rewriting.forms for name in node.inputs)):
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

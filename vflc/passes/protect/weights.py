"""Noise on the gradients of weights of a place, put where their gradients are summed over the batch.

In: a differentiated graph. Out: gradients in which each row's share, over all weights protected
together, is at most `clip` long, with noise on every number of their sum (Abadi et al., "Deep
learning with differential privacy", 2016). Lengths are those of the gradient of a row's own
loss: a mean over a batch of n has divided it by n.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.model import Gradient, matches, names_of
from vflc.ir.release import Protection
from vflc.ir.stages import Differentiated
from vflc.ops import infer
from vflc.ops.mechanisms import MECHANISMS
from vflc.ops.protection import Draw, shrinking
from vflc.ops.summands import Summands
from vflc.passes.protect.joint import called, draw_node, fresh, guard_of
from vflc.passes.protect.row_gradients import NoSum, Parting


def protected(model: Differentiated, collector: DiagnosticCollector) -> Differentiated:
    """The model with what protects the gradients of weights."""
    for protection in model.protections:
        if MECHANISMS[protection.mechanism].role == "weights":
            _refuse_rounding(model, protection, collector)
            model = _guarded(model, protection, collector)
    return model


def _refuse_rounding(model: Differentiated, protection: Protection, collector: DiagnosticCollector) -> None:
    """Rows' gradients are clipped inside of products: rounded factors would make them longer than `clip`."""
    if model.train.precision != "float32":
        collector.error(
            "VFL0338",
            f"`{protection.mechanism}` bounds what a row adds to a product, and `precision "
            f"{model.train.precision}` rounds what is multiplied",
            protection.span,
            "remove `precision` from `train`",
        )


class _Part(Struct, frozen=True):
    """The gradient of one weight: what no row enters, and what each row adds."""

    weight: str
    free: Node | None
    rows: Summands


def _guarded(model: Differentiated, protection: Protection, collector: DiagnosticCollector) -> Differentiated:
    """The model with one guard more; the same one after a mistake."""
    gradients = _chosen(model, protection, collector)
    place = protection.target.weights_at
    assert place is not None
    graph = Graph(dict(model.graph.nodes))
    b = Build(graph, infer, (protection.id,), place, "backward", protection.span)
    parts: list[_Part] = []
    for gradient in gradients:
        try:
            free, rows = Parting(b, place).of(gradient)
        except NoSum as found:
            _refuse(model, protection, gradient, found, collector)
            return model
        if rows is not None:  # a penalty alone tells nothing of the rows
            parts.append(_Part(gradient.weight, free, rows))
    if not parts:
        return model
    options = MECHANISMS[protection.mechanism].filled(protection.options)
    count = b.op("count", parts[0].rows.leaf, axes=(0,))
    factor = _factor(b, parts, count, options["clip"])
    summed: list[str] = []
    after: dict[str, str] = {}
    for part in parts:
        sums = part.rows.total(b, factor)
        summed += [each.id for each in sums]
        after[part.weight] = _noisy(b, part, sums, count, options).id
    guard = guard_of(
        protection, protection.id, place, "backward", tuple(summed), tuple(after.values()),
        weights=tuple(after),
    )  # fmt: skip
    changed = tuple(Gradient(g.weight, after[g.weight]) if g.weight in after else g for g in model.gradients)
    return replace(model, graph=graph, gradients=changed, guards=(*model.guards, guard))


def _factor(b: Build, parts: list[_Part], count: Node, clip: float) -> Node:
    """[batch, 1]: what scales each row's gradient, of all weights together, to a length of `clip` at most."""
    square = parts[0].rows.square(b)
    for part in parts[1:]:
        square = b.op("add", square, part.rows.square(b))
    return shrinking(b, square, clip, count)


def _noisy(b: Build, part: _Part, sums: tuple[Node, ...], count: Node, options: Mapping[str, Any]) -> Node:
    """The mean of the clipped rows' gradients with noise on every number, and then what no row enters."""
    graph = b.graph
    weight = graph[part.weight]
    total = sums[0]
    for each in sums[1:]:
        total = b.op("add", total, each)
    width = weight.type.row_size
    assert width is not None, "weights have sizes"
    noise, clip = options["noise"], options["clip"]
    draw = Draw("normal", None if noise is None else noise * clip)
    drawn = draw_node(b, b.scope[0], draw, weight, width, once=True)
    sizes, names = weight.type.sizes, tuple(axis.name for axis in weight.type.axes)
    shaped = b.op("reshape", b.op("div", drawn, count), sizes=sizes, names=names)
    noisy = b.op("add", total, shaped)
    if part.free is not None:
        noisy = b.op("add", noisy, part.free)
    return called(b, noisy, fresh(graph, f"{part.weight}.gradient.private"))


def _chosen(model: Differentiated, protection: Protection, collector: DiagnosticCollector) -> list[Gradient]:
    """The gradients of the weights that are meant; none after a mistake."""
    target, graph = protection.target, model.graph
    here = [g for g in model.gradients if graph[g.weight].place == target.weights_at]
    names = {g.weight: names_of(graph[g.weight]) for g in here}
    every = [name for own in names.values() for name in own]
    unmatched = [p for p in target.patterns if not any(matches(p, name) for name in every)]
    if not here or unmatched:
        what = f"`{unmatched[0]}` matches no weight" if here else "no weight is trained"
        collector.error(
            "VFL0345",
            f"{what} at {target.weights_at}, so there is nothing to protect",
            protection.span,
            f"the weights that are trained there are {_listed(every)}" if every else
            "name another party: a weight is kept where it is used, and frozen weights are not trained",
        )  # fmt: skip
        return []
    chosen = [
        g for g in here
        if not target.patterns or any(matches(p, name) for p in target.patterns for name in names[g.weight])
    ]  # fmt: skip
    twice = [g.weight for g in chosen if any(g.weight in guard.weights for guard in model.guards)]
    if twice:
        collector.error(
            "VFL0336",
            f"`{twice[0]}` is already protected with `{protection.mechanism}`",
            protection.span,
            "name all weights in one protection, which clips their gradients together",
        )
        return []
    return chosen


def _refuse(
    model: Differentiated,
    protection: Protection,
    gradient: Gradient,
    found: NoSum,
    collector: DiagnosticCollector,
) -> None:
    collector.error(
        "VFL0346",
        f"`{protection.mechanism}` cannot separate the rows in the gradient of `{gradient.weight}`: "
        f"{found.why}",
        found.node.span or protection.span,
        "remove it, or protect only the weights that it does not affect: "
        f"protect weights NAME, … at {protection.target.weights_at} with …",
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:8])
    return f"{shown} …" if len(names) > 8 else shown

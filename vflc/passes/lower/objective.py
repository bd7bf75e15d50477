"""The objective as weighted terms, and which label each prediction predicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vflc.diagnostics import Span
from vflc.ir.graph import Graph, Node
from vflc.ir.model import Loss, Prediction
from vflc.passes.lower.evaluate import Evaluator
from vflc.passes.lower.values import Bound, Poison, Scope, describe
from vflc.syntax import tree

KINDS = {"bce": "binary", "cce": "multiclass"}


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of the objective and the number before it."""

    expr: tree.Expr
    coefficient: float


def terms(ev: Evaluator, expr: tree.Expr, scope: Scope, coefficient: float = 1.0) -> Iterator[Term]:
    """Splits sums and products with numbers, so that each party computes its own terms."""
    match expr:
        case tree.Binary(operator="+" | "-"):
            yield from terms(ev, expr.left, scope, coefficient)
            yield from terms(ev, expr.right, scope, coefficient if expr.operator == "+" else -coefficient)
        case tree.Unary(operator="-"):
            yield from terms(ev, expr.value, scope, -coefficient)
        case tree.Binary(operator="*") if (factor := _factor(ev, expr.left, scope)) is not None:
            yield from terms(ev, expr.right, scope, coefficient * factor)
        case tree.Binary(operator="*") if (factor := _factor(ev, expr.right, scope)) is not None:
            yield from terms(ev, expr.left, scope, coefficient * factor)
        case tree.Binary(operator="/") if factor := _factor(ev, expr.right, scope):
            yield from terms(ev, expr.left, scope, coefficient / factor)
        case tree.Call(function=tree.Ref(name="l1" | "l2")) if len(expr.arguments) > 2:
            first, *weights = expr.arguments  # a term for each, which may be at another party each
            for weight in weights:
                yield Term(replace(expr, arguments=(first, weight)), coefficient)
        case _:
            yield Term(expr, coefficient)


def _factor(ev: Evaluator, expr: tree.Expr, scope: Scope) -> float | None:
    """The value of an expression that is a number without computing any graph value."""
    match expr:
        case tree.Number():
            return float(expr.value)
        case tree.Ref(name=name) if (found := scope.find(name)) and isinstance(
            found[0].expr, tree.Number | tree.Unary
        ):
            return _factor(ev, found[0].expr, scope)
        case tree.Unary(operator="-") if (value := _factor(ev, expr.value, scope)) is not None:
            return -value
    return None


def lower_objectives(ev: Evaluator, objectives: list[tree.Objective], scope: Scope) -> tuple[Loss, ...]:
    """Every term of the objective as a scalar node with its coefficient."""
    losses: list[Loss] = []
    for objective in objectives:
        for term in terms(ev, objective.value, scope):
            loss = _loss(ev, term, scope, {loss.name for loss in losses})
            if loss is not None:
                losses.append(loss)
    return tuple(losses)


def _loss(ev: Evaluator, term: Term, scope: Scope, taken: set[str]) -> Loss | None:
    known = len(ev.build.losses)
    label = _label(term.expr)
    path = ("objective", label)
    with ev.build.within(scope=path):
        node = ev.evaluate(term.expr, scope)
    if isinstance(node, Poison):
        return None
    if not isinstance(node, Node):
        ev.error("VFL0203", f"the objective is a loss, and this is {describe(node)}", term.expr.span)
        return None
    if node.type.axes:
        ev.error(
            "VFL0201",
            f"the objective is one number, and this has shape {node.type}",
            term.expr.span,
            "use a loss such as bce(logit, label); mse(x, 0) is the mean of the squares of x",
        )
        return None
    name = next(n for n in (label, *(f"{label}_{i}" for i in range(2, len(taken) + 2))) if n not in taken)
    made = [loss for loss in ev.build.losses[:known] + ev.build.losses[known:] if loss.node_id == node.id]
    if made:
        return Loss(
            name, node.id, term.coefficient, made[0].kind, made[0].logit_id, made[0].label_id, term.expr.span
        )
    return Loss(name, node.id, term.coefficient, "penalty", None, None, term.expr.span)


def _label(expr: tree.Expr) -> str:
    if isinstance(expr, tree.Call) and isinstance(expr.function, tree.Ref):
        return expr.function.name
    return expr.name if isinstance(expr, tree.Ref) else "loss"


def lower_predict(ev: Evaluator, item: tree.Predict, scope: Scope) -> tuple[str, Node, Span] | None:
    """The value of `predict NAME = …`, named after it."""
    name = item.name.text
    path = (name,) if name not in scope.names else ("predict", name)
    bound = Bound(name, item.name.span, item.value, item.at.text if item.at else None)
    with ev.build.within(scope=path, place=bound.place, span=item.value.span):
        value = ev.evaluate(item.value, scope, direct=True)
        ev.name(value, path)
    if isinstance(value, Poison):
        return None
    if (
        not isinstance(value, Node)
        or not value.type.batched
        or value.type.rank != 2
        or value.type.dtype == "int"
    ):
        axes = isinstance(value, Node) and value.type.batched and value.type.rank > 2
        help = "it has one axis: predict one of its parts, or compute with flatten(x)" if axes else None
        message = f"a prediction is a value a row, and this is {describe(value)}"
        ev.error("VFL0203", message, item.value.span, help)
        return None
    return name, value, item.span


def match_label(graph: Graph, name: str, node: Node, losses: tuple[Loss, ...], span: Span) -> Prediction:
    """A prediction belongs to the label whose loss reads the logit that it is computed from."""
    above = graph.ancestors([node.id])
    fitting = [loss for loss in losses if loss.logit in above and loss.label is not None]
    best = next((loss for loss in fitting if loss.label and loss.label.split(".")[-1] == name), None)
    loss = best or (fitting[0] if fitting else None)
    if loss is None:
        return Prediction(name, node.id, None, "number", span)
    kind = KINDS.get(loss.kind, "number")
    return Prediction(name, node.id, loss.label, kind, span)  # type: ignore[arg-type]

"""The objective as weighted terms, each named after what it learns from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from vflc.ir.budget import MOST_TERMS
from vflc.ir.build import LossTerm
from vflc.ir.graph import Node
from vflc.ir.model import Loss
from vflc.ops.loss import BY_HAND, by_hand, rule_of
from vflc.ops.penalty import PENALTIES
from vflc.passes.lower.evaluate import Evaluator, Stop
from vflc.passes.lower.families import spread
from vflc.passes.lower.values import Poison, Scope, describe
from vflc.syntax import tree


class Term(Struct, frozen=True):
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
        case tree.Call(function=tree.Ref(name=name)) if name in PENALTIES:
            given = [argument for argument in expr.arguments if argument.name is None]
            named = [argument for argument in expr.arguments if argument.name is not None]
            for weight in given[1:]:  # a term for each, which may be at another party each
                yield Term(replace(expr, arguments=(given[0], weight, *named)), coefficient)
            if not given[1:]:
                yield Term(expr, coefficient)
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
    for number, (term, inner) in enumerate(_each(ev, objectives, scope)):
        if number == MOST_TERMS:
            message = f"the objective has more than {MOST_TERMS} terms"
            ev.error("VFL0206", message, term.expr.span, "combine terms: use the mean of several losses")
            raise Stop
        loss = _loss(ev, term, inner)
        if loss is not None:
            losses.append(loss)
    return tuple(_named(losses))


def _each(ev: Evaluator, objectives: list[tree.Objective], scope: Scope) -> Iterator[tuple[Term, Scope]]:
    """The terms, each with the scope of its names; of several labels, one for each, and their mean in all."""
    for objective in objectives:
        for term in terms(ev, objective.value, scope):
            for expr, inner, count in spread(ev, term.expr, scope):
                yield Term(expr, term.coefficient / count), inner


def _loss(ev: Evaluator, term: Term, scope: Scope) -> Loss | None:
    function = _function(term.expr)
    with ev.build.within(scope=("objective", function)):
        node = ev.evaluate(term.expr, scope)
    if isinstance(node, Poison):
        return None
    if not isinstance(node, Node):
        ev.error("VFL0203", f"the objective must be a loss; this is {describe(node)}", term.expr.span)
        return None
    if node.type.batched and function == BY_HAND:
        with ev.build.within(scope=("objective", function), span=term.expr.span):
            node = by_hand(ev.build, node)
    if node.type.axes:
        help = "use a loss such as bce(logit, label), or mse(x, 0), the mean of the squares of x"
        text = f"the objective must be one number; this has shape {node.type}"
        if node.type.batched:
            text = f"the objective must be one number; this has one value per row, {node.type}"
            help = (
                "use a loss, which ends in a mean over the rows, or write `mean(…)` around what each row's "
                "loss is: mse(x, 0) is mean(square(x))"
            )
        ev.error("VFL0201", text, term.expr.span, help)
        return None
    made = next((made for made in ev.build.losses if made.node_id == node.id), None)
    if made is None:
        return Loss(function, node.id, term.coefficient, "penalty", None, None, term.expr.span)
    _check_logit(ev, term, made)
    _check_weight(ev, term, made)
    return Loss(
        function, node.id, term.coefficient, made.kind, made.logit_id, made.label_id, term.expr.span,
        made.weight_id, made.whole, made.strength,
    )  # fmt: skip


def _function(expr: tree.Expr) -> str:
    """What a term without a label is called: the function that it calls, or its name."""
    if isinstance(expr, tree.Call) and isinstance(expr.function, tree.Ref):
        return expr.function.name
    return expr.name if isinstance(expr, tree.Ref) else "loss"


def _named(losses: list[Loss]) -> Iterator[Loss]:
    """Terms called after their labels; several of one label `liked.bce`, `liked.mse`."""

    def label(loss: Loss) -> str | None:
        """The label's name; with its party where two have a label of that name."""
        if loss.label is None or loss.label not in labels:
            return None
        short = loss.label.split(".", 1)[-1]
        return short if sum(each.split(".", 1)[-1] == short for each in labels) == 1 else loss.label

    labels = {loss.label for loss in losses if loss.label and loss.label.count(".") == 1}
    counts: Counter[str | None] = Counter(loss.label for loss in losses if loss.label in labels)
    taken: set[str] = set()
    for loss in losses:
        name = label(loss)
        name = loss.name if name is None else name if counts[loss.label] == 1 else f"{name}.{loss.name}"
        name = next(n for n in (name, *(f"{name}_{i}" for i in range(2, len(taken) + 3))) if n not in taken)
        taken.add(name)
        yield replace(loss, name=name)


def _check_logit(ev: Evaluator, term: Term, made: LossTerm) -> None:
    """`bce` and `cce` make probabilities themselves: of one they would make another."""
    score = ev.build.graph[made.logit_id] if made.logit_id is not None else None
    if score is not None and score.op == rule_of(made.kind).shares:
        ev.error(
            "VFL0210",
            f"{made.kind} reads the logit, before `{score.op}`; this is the probability",
            term.expr.span,
            f"remove `{score.op}` here, and keep it in the prediction: predict … = {score.op}(logit)",
        )


def _check_weight(ev: Evaluator, term: Term, made: LossTerm) -> None:
    """A loss is weighed by example weights of the label's party, by numbers, or by what is learned."""
    if made.weight_id is None:
        return
    graph, span = ev.build.graph, term.expr.span
    if isinstance(term.expr, tree.Call):
        given = (a.value.span for a in term.expr.arguments if a.name is not None and a.name.text == "weight")
        span = next(given, span)
    weight = graph[made.weight_id]
    above = [graph[name] for name in graph.ancestors([weight.id])]
    owner = graph[made.label_id].place if made.label_id else None
    for node in above:
        if node.op == "example_weight" and owner not in (None, node.place):
            ev.error(
                "VFL0211",
                f"the weight {node.id} is at {node.place}, but the label is at {owner}",
                span,
                f"declare the weight at {owner}: a loss is computed at its label's party",
            )
    columns = [node for node in above if node.op in ("feature", "label")]
    if columns and not any(node.op == "weight" for node in above):
        column = columns[0]
        ev.error(
            "VFL0211",
            f"{column.id} is a {column.op}; only a weight can weight the rows of a loss",
            span,
            f"declare it in {column.place}: `weight W: float` for an existing column, "
            "`weight W = 1 + 9 * (Rating > 3)` for a computed one",
        )
    if weight.op == "constant" and weight.attrs["value"] < 0:
        ev.error("VFL0205", "this weight is below 0", span, "if you mean it, put the sign before the loss")

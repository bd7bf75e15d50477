"""`metrics` and `monitor`: what is measured, of which predictions, and by which columns of which party."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace
from vflc_common.metrics import LOSS, METRICS, MetricUse, metric_use
from vflc_common.words import GROUPING

from vflc.diagnostics import RelatedSpan, Span
from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.graph import Graph
from vflc.ir.model import ColumnInfo, PartyInfo, Prediction
from vflc.passes.lower.columns import column_node
from vflc.passes.lower.evaluate import Evaluator
from vflc.passes.lower.values import Poison, Scope, describe
from vflc.syntax import tree


def lower_metrics(ev: Evaluator, setting: tree.Setting, scope: Scope) -> list[str]:
    """The metrics that a setting lists, as results have them; those that are wrong are reported."""
    names = [lower_metric(ev, expr, scope) for expr in setting.values]
    return list(dict.fromkeys(name for name in names if name and name != LOSS))  # the loss always is


def lower_monitor(ev: Evaluator, expr: tree.Expr, scope: Scope) -> str | None:
    """The result that says which epoch is the best; None where it is no number, which is reported."""
    found = lower_metric(ev, expr, scope)
    if found is not None and found != LOSS and METRICS[metric_use(found).name].is_table:
        text = f"`{found}` is a table, by which no epoch is the best"
        ev.error("VFL0203", text, expr.span, "monitor a metric that is one number, as f1 or auc")
        return None
    return found


def lower_metric(ev: Evaluator, expr: tree.Expr, scope: Scope) -> str | None:
    """A metric as results have it: `ndcg(10) by UserID`; None where it is none, which is reported."""
    written, by = (expr.value, expr.by) if isinstance(expr, tree.Grouped) else (expr, None)
    called = written.function if isinstance(written, tree.Call) else written
    name = called.name if isinstance(called, tree.Ref) else ""
    if name == LOSS and written is called and by is None:
        return name
    if name in METRICS:
        if not ev.record(METRICS, name, called.span):
            return None
        given, at = _parameter(ev, written, scope)
        return _checked(ev, MetricUse(name, at, by.text if by else None), expr.span) if given else None
    known = (*METRICS.names(), LOSS)
    near = did_you_mean(name, known)
    ev.error(
        "VFL0106",
        f"unknown metric `{name}`" if name else "a metric must be a name",
        called.span,
        _known_as(name) or (f"did you mean `{near}`?" if near else f"use one of: {', '.join(known)}"),
    )
    return None


def _parameter(ev: Evaluator, expr: tree.Expr, scope: Scope) -> tuple[bool, float | None]:
    """The number in brackets, or None where there is none; and whether nothing is wrong with it."""
    if not isinstance(expr, tree.Call):
        return True, None
    if len(expr.arguments) != 1 or expr.arguments[0].name is not None:
        ev.error("VFL0107", "a metric takes one number in brackets", expr.span, "as in: lift(0.1)")
        return False, None
    value = ev.evaluate(expr.arguments[0].value, scope)
    if isinstance(value, Poison):
        return False, None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        text = f"a metric takes a number; this is {describe(value)}"
        ev.error("VFL0203", text, expr.arguments[0].span)
        return False, None
    return True, float(value)


def _checked(ev: Evaluator, use: MetricUse, span: Span) -> str | None:
    """The metric as results have it; None where its parameter or its groups do not fit it."""
    mistake = use.mistake()
    if mistake is None:
        return str(use)
    metric = METRICS[use.name]
    column = ", a column of the label's party" if metric.grouped else ""
    takes = use.at is not None and metric.parameter is not None and not metric.parameter.fits(use.at)
    ev.error(
        "VFL0205" if takes else "VFL0107",
        f"`{use.name}` {mistake}",
        span,
        f"as in: {metric.usage('UserID')}{column}",
    )
    return None


def _known_as(name: str) -> str | None:
    """What to write for a metric that other libraries call by this name."""
    answers = (pair for metric in METRICS for pair in metric.known_as.items())
    return next((answer for words, answer in answers if name.lower() in words.split()), None)


# --- of which predictions ---------------------------------------------------------------------------------


def _asked(ev: Evaluator, train: tree.Train | None) -> Iterator[tuple[MetricUse, tree.Expr]]:
    """The metrics that `metrics` and `monitor` name, without those that are wrong."""
    for setting in train.settings if train else ():
        for expr in setting.values if setting.name.text in ("metrics", "monitor") else ():
            written, by = (expr.value, expr.by) if isinstance(expr, tree.Grouped) else (expr, None)
            called = written.function if isinstance(written, tree.Call) else written
            if isinstance(called, tree.Ref) and called.name in METRICS:
                yield MetricUse(called.name, None, by.text if by else None), expr


def check_metrics(ev: Evaluator, train: tree.Train | None, predictions: Sequence[Prediction]) -> None:
    """Refuses a metric that is defined for none of the predictions, or whose prediction has no label."""
    kinds = {prediction.kind for prediction in predictions if prediction.label}
    for use, expr in _asked(ev, train):
        if kinds & METRICS[use.name].measures.keys():
            continue
        defined = [metric.name for metric in METRICS if kinds & metric.measures.keys()]
        help = (
            f"use one of: {', '.join(defined)}" if defined else "no loss compares a prediction with a label"
        )
        ev.error("VFL0203", f"`{use.name}` does not measure any prediction of this spec", expr.span, help)


def measured(
    ev: Evaluator,
    train: tree.Train | None,
    metrics: Sequence[str],
    predictions: Sequence[Prediction],
    parties: dict[str, PartyInfo],
) -> tuple[Prediction, ...]:
    """The predictions with what is measured of each; columns that metrics group rows by become inputs.

    Of several predictions, those are measured whose label's party has the column.
    """
    found = []
    for prediction in predictions:
        party = _label_party(ev.build.graph, prediction)
        fitting, groups = [], {}
        for written in metrics:
            use = metric_use(written)
            if use.by is not None:
                node = _group(ev, use.by, party, parties) if prediction.label else None
                if node is None or prediction.kind not in METRICS[use.name].measures:
                    continue
                groups[use.by] = node
            fitting.append(written)
        found.append(replace(prediction, metrics=tuple(fitting), groups=groups))
    right = {(use.name, use.by) for use in map(metric_use, metrics)}
    for use, expr in _asked(ev, train):
        kinds = METRICS[use.name].measures if (use.name, use.by) in right else ()
        of = [p for p in found if p.label and p.kind in kinds]
        if use.by is not None and of and not any(use.by in p.groups for p in of):
            _refuse_group(ev, use.by, expr, parties[_label_party(ev.build.graph, of[0])])
    return tuple(found)


def _label_party(graph: Graph, prediction: Prediction) -> str:
    """The party whose label a prediction is measured against; empty where there is none."""
    above = graph.ancestors([prediction.label]) if prediction.label else ()
    return next((str(graph[name].attrs["party"]) for name in above if graph[name].op == "label"), "")


def _group(ev: Evaluator, name: str, owner: str, parties: dict[str, PartyInfo]) -> str | None:
    """The input that a column becomes; None where the party has no such column of text or whole numbers."""
    party = parties.get(owner)
    if party is None or party.population:
        return None
    column = party.column(name)
    if column is None and name in party.key:  # as which keys are compared
        column = ColumnInfo(name, "column", "string", None, (), "raw", None, party.named)
        party = replace(party, columns=(*party.columns, column))
    if column is None:
        return None
    if column.kind == "group":
        return f"{owner}.{name}"
    if column.kind != "column" or not _groups(column):
        return None
    group = replace(column, kind="group", shape="id")
    columns = tuple(group if each is column else each for each in party.columns)
    parties[owner] = changed = replace(party, columns=columns)
    return column_node(ev, changed, group).id


def _groups(column: ColumnInfo) -> bool:
    """Whether equal values of a column are told by equality: text and whole numbers are."""
    return column.type in GROUPING if column.value is None else True


def _refuse_group(ev: Evaluator, name: str, expr: tree.Expr, party: PartyInfo) -> None:
    column = party.column(name)
    span = expr.by.span if isinstance(expr, tree.Grouped) else expr.span
    near = did_you_mean(name, [c.name for c in party.columns if c.kind in ("column", "group")])
    help = f"did you mean `{near}`?" if near else f"declare it there: column {name}: string"
    text = f"`{name}` is no column of {party.name}, whose label is measured"
    related = []
    if party.population:
        text, help = f"{party.name} is a population, each user of which is a group", "leave this metric out"
    elif column is not None:
        related = [RelatedSpan(column.span, "declared here")]
        text = f"`{name}` is a {column.kind}, and metrics group rows by a column of text or whole numbers"
        help = f"compute a column of it, and name that: column {name}_group = {name}"
    ev.error("VFL0221", text, span, help, *related)

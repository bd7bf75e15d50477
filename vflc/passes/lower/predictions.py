"""What `predict` gives, and what it is measured against: both in the units of the party's table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from vflc_common.encoder import DEFAULT, OTHER
from vflc_common.encoders import record
from vflc_common.plugins import MEND, BrokenPlugin
from vflc_common.words import DATES, Predicted

from vflc.diagnostics import RelatedSpan, Span
from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.graph import Graph, Node
from vflc.ir.model import ColumnInfo, Loss, PartyInfo, Prediction
from vflc.ops import OPS
from vflc.ops.loss import rule_of
from vflc.ops.traits import SHARE
from vflc.passes.lower.columns import column_node
from vflc.passes.lower.evaluate import Evaluator
from vflc.passes.lower.expressions import is_text
from vflc.passes.lower.families import parts
from vflc.passes.lower.units import changes_units, classes_of, no_way_back, undone
from vflc.passes.lower.values import LazyValue, Poison, Scope, describe
from vflc.syntax import tree

STATUS = "status"
"""Heads the column that says which rows are predicted without a party that may lack them."""
ROW = "row"
"""Heads the first column of a file of predictions at a place that knows no keys."""


class PredictedValue(Struct, frozen=True):
    """The value of one `predict`, or of a member of a family, before it is known what it is compared with."""

    item: tree.Predict
    name: str
    node: Node
    path: tuple[str, ...]

    @property
    def span(self) -> Span:
        return self.item.value.span


def lower_predict(ev: Evaluator, item: tree.Predict, scope: Scope) -> list[PredictedValue]:
    """The value of `predict NAME = …`, or those of `predict L{1..5} = …`; none after a mistake."""
    name = item.name.text
    path = (name,) if name not in scope.names else ("predict", name)
    bound = LazyValue(name, item.name.span, item.value, item.at.text if item.at else None)
    with ev.build.within(scope=path, place=bound.place, span=item.value.span):
        value = ev.evaluate(item.value, scope, direct=True)
        if item.family is not None:
            return _family(ev, item, value, scope)
        value = ev.moved(value)
    if isinstance(value, Poison):
        return []
    if (
        not isinstance(value, Node)
        or not value.type.batched
        or value.type.rank != 2
        or value.type.dtype == "int"
    ):
        axes = isinstance(value, Node) and value.type.batched and value.type.rank > 2
        help = "predict one of its parts, or use flatten(x): a prediction has one axis" if axes else None
        message = f"a prediction must have one value per row; this is {describe(value)}"
        ev.error("VFL0203", message, item.value.span, help)
        return []
    return [PredictedValue(item, name, value, path)]


def _family(ev: Evaluator, item: tree.Predict, value: Any, scope: Scope) -> list[PredictedValue]:
    """A prediction for each member, of one number for each."""
    if isinstance(value, Poison) or item.family is None:
        return []
    low, high = item.family
    if item.of is not None:
        help = "leave `of` out: each is measured against the label that its loss compares it with"
        ev.error("VFL0223", "a family of predictions is not of one column", item.of.span, help)
        return []
    made = parts(ev, value, high - low + 1)
    if made is None:
        text = (
            f"{high - low + 1} predictions need a value with one number for each; this is {describe(value)}"
        )
        ev.error("VFL0223", text, item.value.span, f"make as many: dense(x, {high - low + 1})")
        return []
    names = [f"{item.name.text}{i}" for i in range(low, high + 1)]
    paths = [(name,) if name not in scope.names else ("predict", name) for name in names]
    return [
        PredictedValue(item, name, ev.moved(node), path)
        for name, node, path in zip(names, made, paths, strict=True)
    ]


def bind_prediction(
    ev: Evaluator, predicted: PredictedValue, losses: tuple[Loss, ...], parties: dict[str, PartyInfo]
) -> Prediction | None:
    """The prediction in the units of the table, with the label or column it is measured against.

    It belongs to the label whose loss reads the logit that it is computed from, the one of its own
    name where there are several, or to the column that `of` names, which `parties` then has as a
    label. None after a mistake.
    """
    if _taken(ev, predicted, parties):
        return None
    loss = _matching(ev.build.graph, predicted, losses)
    of = None
    if predicted.item.of is not None:
        of = _column_of(ev, predicted.item.of, loss, parties)
        if of is None:
            return None
    if loss is not None and rule_of(loss.kind).shares:
        prediction = _of_classes(ev, predicted, loss, of, parties)
    else:
        prediction = _of_numbers(ev, predicted, loss, of, parties)
    if prediction is not None:
        ev.name(ev.build.graph[prediction.node], predicted.path)
    return prediction


def _taken(ev: Evaluator, predicted: PredictedValue, parties: Mapping[str, PartyInfo]) -> bool:
    """Whether the file of predictions has another column of this name, which is reported."""
    for party in parties.values():
        beside = dict.fromkeys(party.key, "the key") or {ROW: "the number of a row"}
        if party.missing:
            beside |= {STATUS: "what says whether a row is one"}
        if party.population:
            beside |= {column.name: "a feature" for column in party.columns if column.kind == "feature"}
        what = beside.get(predicted.name)
        if what:
            message = f"`{predicted.name}` is {what} of {party.name}, which is written beside the predictions"
            help = f"give the prediction another name: predict predicted_{predicted.name} = …"
            ev.error("VFL0160", message, predicted.item.name.span, help)
            return True
    return False


def _matching(graph: Graph, predicted: PredictedValue, losses: tuple[Loss, ...]) -> Loss | None:
    above = graph.ancestors([predicted.node.id])
    fitting = [loss for loss in losses if loss.logit in above and _learns(graph, loss)]
    named = (loss for loss in fitting if loss.label and loss.label.split(".")[-1] == predicted.name)
    return next(named, fitting[0] if fitting else None)


def _learns(graph: Graph, loss: Loss) -> bool:
    """Whether a term compares with a label, where `mse(x, 0)` does with a number."""
    return loss.label is not None and graph[loss.label].tells_label


def _is(graph: Graph, node: Node, value: str | None) -> bool:
    """Whether a node is the value itself, perhaps in another shape."""
    while node.id != value and OPS[node.op].differs in ("names", "shape"):
        node = graph[node.inputs[0]]
    return node.id == value


def _of_classes(
    ev: Evaluator, predicted: PredictedValue, loss: Loss, of: Node | None, parties: Mapping[str, PartyInfo]
) -> Prediction | None:
    """A prediction of probabilities: of one class, or of each."""
    node, graph, rule = predicted.node, ev.build.graph, rule_of(loss.kind)
    shares = rule.shares
    logit = graph[loss.logit or ""]
    if _is(graph, node, loss.logit) and logit.op != shares:  # which the loss itself has complained about
        _refuse(
            ev,
            predicted,
            f"`{predicted.name}` is the logit that {loss.kind} reads, but it is measured as a probability",
            f"make it a probability: predict {predicted.name} = {shares}(…)",
            loss,
        )
        return None
    if of is not None and of.id != loss.label:
        _refuse(
            ev,
            predicted,
            f"{loss.kind} compares `{predicted.name}` with {loss.label}, not with {of.id}",
            f"remove `of {of.id}`",
            loss,
        )
        return None
    named = (loss.label or "").split(".")[-1] == predicted.name
    if rule.predicted == "binary" and not named and of is None and not _has_share(graph, node, logit):
        return Prediction(predicted.name, node.id, None, "number", predicted.span)
    column = _info(graph[loss.label or ""], parties)
    classes: tuple[str | int | float, ...] = ()
    if column is not None and column.shape == "id":
        classes = classes_of(column, 2 if rule.predicted == "binary" else node.type.row_size or 0)
    kind, weight = rule.predicted, _counted(graph, loss)
    return Prediction(predicted.name, node.id, loss.label, kind, predicted.span, weight, classes)


def _of_numbers(
    ev: Evaluator,
    predicted: PredictedValue,
    loss: Loss | None,
    of: Node | None,
    parties: Mapping[str, PartyInfo],
) -> Prediction | None:
    """A prediction of a number, in the units of the table's column."""
    node, graph = predicted.node, ev.build.graph
    if loss is None and of is None:
        return Prediction(predicted.name, node.id, None, "number", predicted.span)
    label = of if of is not None else graph[loss.label or ""] if loss is not None else node
    column = _info(label, parties)
    if column is not None and not _values_are_ids(column):
        _refuse(
            ev,
            predicted,
            f"`{predicted.name}` would be measured against the ids of {label.id}, which are not the "
            "values in the table",
            "declare the label as a number, without encoders that make ids",
            loss,
        )
        return None
    if loss is not None and _is(graph, node, loss.logit):
        if of is not None and of.id != loss.label:
            _refuse(
                ev,
                predicted,
                f"`{predicted.name}` is what {loss.kind} compares with {loss.label}, not with {of.id}",
                f"remove `of {of.id}`, or convert the value to the units of {of.id}",
                loss,
            )
            return None
        given = _undone(ev, predicted, node, label, column, parties)
        if given is None:
            return None
        node = given
    elif of is None and loss is not None:
        same_name = label.id.split(".")[-1] == predicted.name
        if not same_name or column is None or changes_units(column):
            _unlike(ev, predicted, loss, label)
            return None
    target = _undone(ev, predicted, label, label, column, parties)
    if target is None:
        return None
    weight = _counted(graph, loss) if loss is not None else label.attrs.get("present")
    kind: Predicted = "binary" if loss is None and _is_share(graph, node) else "number"
    return Prediction(predicted.name, node.id, target.id, kind, predicted.span, weight)


def _has_share(graph: Graph, node: Node, logit: Node) -> bool:
    """Whether a value is made of a probability that the logit became, where points are made of it alone."""
    made = graph.ancestors([node.id]) - graph.ancestors([logit.id])
    return any(OPS[graph[each].op].bounds == SHARE for each in made)


def _is_share(graph: Graph, node: Node) -> bool:
    """Whether a value is a probability by how it is made, where no loss says what it is."""
    while OPS[node.op].differs in ("names", "shape"):
        node = graph[node.inputs[0]]
    return OPS[node.op].elementwise and OPS[node.op].bounds == SHARE


def _unlike(ev: Evaluator, predicted: PredictedValue, loss: Loss, label: Node) -> None:
    party = label.id.split(".")[0]
    _refuse(
        ev,
        predicted,
        f"`{predicted.name}` is computed from what {loss.kind} compares with {label.id}, and nothing says "
        "which column it is to be measured against",
        f"name the column that it predicts, in the column's own units: predict {predicted.name} = … "
        f"of {party}.{predicted.name}",
        loss,
    )


def _undone(
    ev: Evaluator,
    predicted: PredictedValue,
    value: Node,
    label: Node,
    column: ColumnInfo | None,
    parties: Mapping[str, PartyInfo],
) -> Node | None:
    """`value` in the units of the label's column; None where that cannot be computed, which is reported."""
    if column is None or not changes_units(column):
        return value
    stuck = no_way_back(column)
    if stuck is not None:
        ev.error(
            "VFL0505",
            f"`{predicted.name}` cannot be in the units of {label.id}: nothing undoes `{stuck}`",
            column.span,
            "learn the column as it is, or with encoders that can be undone: standardize, log1p, scale",
        )
        return None
    at = predicted.item.at
    if parties[label.place or ""].population:
        ev.error(
            "VFL0502",
            f"this version cannot undo the encoders of the label {label.id} in a population",
            column.span,
            f"learn the column without encoders, or compute with it: label {column.name} = log(1 + …)",
        )
        return None
    if column.is_fitted and at is not None and at.text != label.place:
        ev.error(
            "VFL0212",
            f"`{predicted.name}` cannot be in the units of {label.id} at {at.text}: only {label.place} "
            "knows what its encoders are fitted to",
            at.span,
            f"predict at {label.place}, or give the encoder its parameters, as in: "
            "standardize(mean = 0, std = 1000)",
            RelatedSpan(column.span, "fitted here"),
        )
        return None
    place = label.place if column.is_fitted or value.op == "label" else value.place
    with ev.build.within(scope=predicted.path, place=place, span=predicted.span):
        try:
            return undone(ev.build, value, label, column)
        except BrokenPlugin as broken:
            ev.error("VFL0695", broken.message, column.span, MEND)
            return None


def _counted(graph: Graph, loss: Loss) -> str | None:
    """The loss's weight, where it is made of example weights alone: then metrics count rows by it, too."""
    if loss.weight is None or not graph[loss.weight].type.batched:
        return None
    above = (graph[name] for name in graph.ancestors([loss.weight]))
    return loss.weight if all(node.op != "weight" for node in above) else None


def _info(label: Node, parties: Mapping[str, PartyInfo]) -> ColumnInfo | None:
    """The column that a label is; None where it is computed in the graph."""
    return parties[label.attrs["party"]].column(label.attrs["name"]) if label.op == "label" else None


def _values_are_ids(column: ColumnInfo) -> bool:
    """Whether the graph's numbers stand for the table's, which ids of a vocabulary do not."""
    if column.shape == "number":
        return True
    last = column.encoders[-1]
    lookup = record(last).lookup
    return column.shape == "id" and lookup is not None and lookup.plain and last.get(DEFAULT) != OTHER


def _refuse(ev: Evaluator, predicted: PredictedValue, message: str, help: str, loss: Loss | None) -> None:
    labels = [RelatedSpan(loss.span, "compared here")] if loss is not None else []
    ev.error("VFL0210", message, predicted.span, help, *labels)


def check_inputs(ev: Evaluator, predicted: list[PredictedValue]) -> None:
    """Refuses labels, weights and other rows that enter the model: whoever predicts has none of them."""
    graph = ev.build.graph
    above = graph.ancestors(each.node.id for each in predicted)
    for each in predicted:
        _check_alone(ev, graph, each)
    unknown = {node.id for node in graph if node.op in ("label", "example_weight")}
    for node in list(graph):
        if unknown.isdisjoint(node.inputs) or node.id not in above:
            continue
        for source in graph.inputs(node):
            if source.id in unknown:
                what = "label" if source.op == "label" else "weight"
                ev.error(
                    "VFL0110",
                    f"{source.id} is a {what}, but the model uses it as an input, and it is not known "
                    "when predicting",
                    node.span or source.span or predicted[0].span,
                    "use labels and weights only in losses; declare a feature for an input",
                )
    for each in predicted:
        if each.node.op in ("label", "example_weight"):
            text = f"{each.node.id} is a label; this predicts it with itself"
            ev.error("VFL0110", text, each.span, "predict a value that the model computes")


def _check_alone(ev: Evaluator, graph: Graph, predicted: PredictedValue) -> None:
    """Refuses a prediction for a row that depends on which rows are predicted beside it."""
    above = graph.ancestors([predicted.node.id])
    mixed = next((node for node in graph if OPS[node.op].of_batch and node.id in above), None)
    if mixed is not None:
        ev.error(
            "VFL0220",
            f"`{predicted.name}` depends on the other rows of a batch, which are others in each prediction",
            predicted.span,
            "use other rows only in losses: predict from the row's own values",
            *([RelatedSpan(mixed.span, "other rows enter here")] if mixed.span else []),
        )


# --- `of` -----------------------------------------------------------------------------------------


def _column_of(ev: Evaluator, of: tree.Expr, loss: Loss | None, parties: dict[str, PartyInfo]) -> Node | None:
    """The label that `of sales` or `of bob.sales` names; a column becomes one. None after a mistake."""
    owner, name = None, ""
    if isinstance(of, tree.Ref):
        name = of.name
    elif isinstance(of, tree.Attribute) and isinstance(of.value, tree.Ref):
        owner, name = of.value.name, of.name.text
    known = {party.name: party for party in parties.values() if owner in (None, party.name)}
    found = [party for party in known.values() if party.column(name)]
    own = (loss.label or "").split(".")[0] if loss is not None else ""
    found.sort(key=lambda party: party.name != own)  # the label's own party goes before others
    if not found:
        every = [column.name for party in known.values() for column in party.columns]
        near = did_you_mean(name, every)
        text = f"{owner or 'no party'} has {'no' if owner else 'a'} column `{name}`"
        help = f"did you mean `{near}`?" if near else "declare it at its party: column sales: float"
        ev.error("VFL0105", text, of.span, help)
        return None
    party = found[0]
    column = party.column(name)
    assert column is not None
    if column.kind == "label":
        return ev.build.graph[f"{party.name}.{name}"]
    a_date = column.type in DATES
    text_column = column.type == "string" or (column.value is not None and is_text(column.value, party))
    if column.kind != "column" or text_column or a_date:
        what = f"a {column.kind}" if column.kind != "column" else f"a {column.type}" if a_date else "text"
        help = f"name a label or a column of numbers: label y = {name}"
        ev.error("VFL0210", f"`{name}` of {party.name} is {what}", of.span, help)
        return None
    label = replace(column, kind="label", shape="number")
    columns = tuple(label if c is column else c for c in party.columns)
    parties[party.name] = changed = replace(party, columns=columns)
    return column_node(ev, changed, label)

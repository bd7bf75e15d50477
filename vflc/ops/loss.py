"""Losses and penalties: functions of the language that end in one number, the mean over the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ir.build import LossTerm
from vflc.ops.align import align, numeric
from vflc.ops.elementwise import comparable
from vflc.ops.embedding import is_table
from vflc.ops.kinds import AxisName, Weights, flat
from vflc.ops.layers import pick
from vflc.ops.registry import OpError, function
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def _mean(b: Build, kind: str, terms: Node, weight: Node | None, score: Node, label: Node) -> Node:
    """The mean over the batch, as Keras' `sum_over_batch_size`: weights scale, they do not divide."""
    if not terms.type.batched:
        raise OpError(f"{kind} of values that do not depend on the row", "give it a prediction for each row")
    if weight is not None:
        terms = b.op("mul", *align(b, terms, numeric(b, weight)))
    mean = b.op("mean", terms, axes=tuple(range(terms.type.rank)), keep=False)
    b.losses.append(LossTerm(mean.id, kind, score.id, label.id, weight.id if weight is not None else None))
    return mean


def _pair(b: Build, kind: str, score: Node, label: Node) -> tuple[Node, Node]:
    """Prediction and label in one shape."""
    score, target = numeric(b, score), comparable(b, label)
    if score.type.rank and target.type.rank and score.type.sizes != target.type.sizes:
        several = len(score.type.row_axes) > 1
        hint = f"a prediction of one number is `dense({'flatten(x)' if several else 'x'}, 1)`"
        raise OpError(f"{kind} of a prediction {score.type} and a label {target.type}", hint)
    return score, target


def bce(b: Build, logit: Node, label: Node, weight: Node | None = None) -> Node:
    """Binary cross-entropy of a logit (before `sigmoid`) and a label of 0 or 1; mean over the batch."""
    z, y = _pair(b, "bce", logit, label)
    rows = label.attrs.get("rows") if label.op == "label" else None
    if rows is not None and rows > 2:
        raise OpError(f"bce with a label of {rows} classes", "use `cce(logits, label)` for more than two")
    return _mean(b, "bce", b.op("bce_terms", z, y), weight, logit, label)


def cce(b: Build, logits: Node, label: Node, weight: Node | None = None) -> Node:
    """Categorical cross-entropy of logits [classes] (before `softmax`) and a class; mean over the batch.

    The label is an id (`vocab` or `index`), or a share for each class: [classes].
    """
    z = numeric(b, logits)
    classes = z.type.axes[-1].size if len(z.type.row_axes) == 1 else None
    if classes is None:
        raise OpError(f"cce of logits {z.type}", "give it one axis of a logit for each class")
    if label.type.dtype == "int":
        rows = label.attrs.get("rows")
        if label.type.rank > 1 or (rows is not None and rows > classes):
            raise OpError(
                f"cce of {classes} logits and a label {label.type} of {rows} classes",
                f"make {rows} logits: `dense(x, {rows})`",
            )
        y = label
    else:
        y = numeric(b, label)
        if y.type.sizes != z.type.sizes:
            hint = "encode the label as classes: `label x = column -> vocab(…)`"
            raise OpError(f"cce of {classes} logits and a label {label.type}", hint)
    return _mean(b, "cce", b.op("cce_terms", z, y), weight, logits, label)


def mse(b: Build, prediction: Node, label: Node, weight: Node | None = None) -> Node:
    """The squared difference of prediction and label; mean over the batch."""
    x, y = _pair(b, "mse", prediction, label)
    return _mean(b, "mse", b.op("square", b.op("sub", x, y)), weight, prediction, label)


def mae(b: Build, prediction: Node, label: Node, weight: Node | None = None) -> Node:
    """The absolute difference of prediction and label; mean over the batch."""
    x, y = _pair(b, "mae", prediction, label)
    return _mean(b, "mae", b.op("abs", b.op("sub", x, y)), weight, prediction, label)


def huber(b: Build, prediction: Node, label: Node, delta: float = 1.0, weight: Node | None = None) -> Node:
    """Half the squared difference up to `delta`, linear beyond (Huber 1964); mean over the batch."""
    if delta <= 0:
        raise OpError(f"huber with delta = {delta:g}", "delta must be above 0", "VFL0205")
    x, y = _pair(b, "huber", prediction, label)
    size = b.op("abs", b.op("sub", x, y))
    near = b.op("mul", number(b, 0.5), b.op("square", size))
    far = b.op("sub", b.op("mul", number(b, delta), size), number(b, 0.5 * delta * delta))
    terms = b.op("where", b.op("less_equal", size, number(b, delta)), near, far)
    return _mean(b, "huber", terms, weight, prediction, label)


# --- penalties ------------------------------------------------------------------------------------


def touched(b: Build, weight: Node) -> Node:
    """The rows of a table that the batch reads, each once; any other weight whole.

    So neither the cost nor the result depends on how large a table is.
    """
    readers = (
        [n for n in b.graph if n.op == "gather" and n.inputs[0] == weight.id] if is_table(weight) else []
    )
    ids = list(dict.fromkeys(n.inputs[1] for n in readers if b.graph[n.inputs[1]].op != "unique"))
    if not ids:
        return weight
    return b.op("gather", weight, b.op("unique", *(b.graph[name] for name in ids)), missing=False)


PENALTIES = {"l1": "abs", "l2": "square"}
ROWS = ("batch", "all")


def penalty(b: Build, kind: str, coefficient: float, weights: list[Node], rows: str) -> Node:
    """A penalty of a `kind` in `PENALTIES` on the rows that the batch reads, or on all."""
    pick("choice of rows", rows, ROWS)
    if not weights:
        raise OpError(f"{kind} of no weights", f"name them: `{kind}(1e-5, a.deep.tables)`", "VFL0107")
    if coefficient < 0:
        raise OpError(f"{kind} with the coefficient {coefficient:g}", "a penalty is at least 0", "VFL0205")
    total: Node | None = None
    for weight in weights:
        if weight.op != "weight":
            raise OpError(f"{kind} of a computed value {weight.type}", "a penalty is on weights", "VFL0203")
        values = b.op(PENALTIES[kind], weight if rows == "all" else touched(b, weight))
        term = b.op("sum", values, axes=tuple(range(values.type.rank)), keep=False)
        total = term if total is None else b.op("add", total, term)
    assert total is not None
    made = b.op("mul", number(b, coefficient / 2 if kind == "l2" else coefficient), total)
    whole = tuple(weight.id for weight in weights) if rows == "all" else ()
    b.losses.append(LossTerm(made.id, kind, whole=whole, strength=coefficient))
    return made


def l1(b: Build, coefficient: float, *weights: Weights, rows: AxisName = "batch") -> Node:
    """`coefficient` times the sum of absolute weights; of tables, the rows of the batch, or `all`."""
    return penalty(b, "l1", float(coefficient), flat(weights), rows)


def l2(b: Build, coefficient: float, *weights: Weights, rows: AxisName = "batch") -> Node:
    """Half of `coefficient` times the sum of squares; of tables, the rows of the batch, or `all`."""
    return penalty(b, "l2", float(coefficient), flat(weights), rows)


for _function in (bce, cce, mse, mae, huber, l1, l2):
    function(_function)

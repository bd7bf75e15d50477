"""What a loss is, and what losses have in common: each ends in one number, the mean over the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from vflc_common.words import Predicted

from vflc.ir.build import LossTerm
from vflc.ops.align import align, numeric
from vflc.ops.elementwise import comparable
from vflc.ops.registry import OpError, function

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


class LossRule(Struct, frozen=True):
    """What the compiler knows of a loss beside the graph that it makes.

    Args:
        name: of its function.
        tells: what the derivative of a row's loss tells of its label, as the end of a sentence.
        predicted: what a prediction is that it learns: the probability of a class, of each, or a number.
        shares: the op that makes probabilities of what the loss reads, where that is logits.
        terms: the op of a row's loss, where that is linear in its second input, the label: then an estimate
            of a label may stand for the label.
        classifies: whether a label may be a class, of which norms and directions of gradients hint.
    """

    name: str
    tells: str
    predicted: Predicted = "number"
    shares: str | None = None
    terms: str | None = None
    classifies: bool = False


LOSSES: dict[str, LossRule] = {}
BY_HAND = "mean"
"""The function around a term of the objective that says what each row's loss is."""
UNKNOWN = LossRule("", "it is the derivative of one example's loss, row by row", classifies=True)
"""What is known of a term of the objective that no loss function makes."""


def rule_of(kind: str) -> LossRule:
    """What is known of a term of the objective, by the function that made it."""
    return LOSSES.get(kind, UNKNOWN)


def loss(expand: Callable[..., Node], rule: LossRule) -> Callable[..., Node]:
    """Registers a loss: a function of the language with its rule."""
    LOSSES[rule.name] = rule
    return function(expand)


def mean(b: Build, kind: str, terms: Node, weight: Node | None, score: Node, label: Node | None) -> Node:
    """The mean over the batch, as Keras' `sum_over_batch_size`: weights scale, they do not divide.

    Args:
        b: the graph under construction.
        kind: the loss's name.
        terms: the loss of each row [rows, …].
        weight: how much each row counts; every row as much where None.
        score: what was given as prediction.
        label: what was given as label; None of a loss that compares values of the model with each other.

    Raises:
        OpError: no row has a loss of its own.
    """
    if not terms.type.batched:
        raise OpError(f"{kind} of values that do not depend on the row", "give it a prediction for each row")
    if label is not None:
        terms, weight = counted(b, terms, weight, [label])
    elif weight is not None:
        terms = _times(b, terms, weight)
    mean = b.op("mean", terms, axes=tuple(range(terms.type.rank)), keep=False)
    label_id, weight_id = (node.id if node is not None else None for node in (label, weight))
    b.losses.append(LossTerm(mean.id, kind, score.id, label_id, weight_id))
    return mean


def counted(b: Build, terms: Node, weight: Node | None, labels: Sequence[Node]) -> tuple[Node, Node | None]:
    """The loss of each row [rows, …] times how much it counts, and the weight by which metrics count it, too.

    A row without a label counts nothing, and where classes count alike, by its class: metrics do not.
    """
    for label in labels:
        present = label.attrs.get("present")
        if present is not None:
            there = b.graph[present]
            weight = there if weight is None else _times(b, numeric(b, weight), there)
    if weight is not None:
        terms = _times(b, terms, weight)
    for label in labels:
        if (evens := label.attrs.get("evens")) is not None:
            terms = _times(b, terms, b.graph[evens])
    return terms, weight


def _times(b: Build, terms: Node, weight: Node) -> Node:
    return b.op("mul", *align(b, terms, numeric(b, weight)))


def smoothed(b: Build, smoothing: float, kind: str, terms: Node, even: Callable[[], Node]) -> Node:
    """The loss of each row where part of each label is spread over all classes alike.

    A cross-entropy is linear in its label: `even`, the loss of a label of equal shares, is as much a part.

    Raises:
        OpError: VFL0205, `smoothing` is no part of a whole.
    """
    if not 0 <= smoothing < 1:
        hint = "it is the part of a label that is spread over all classes: from 0 to below 1"
        raise OpError(f"{kind} with smoothing = {smoothing:g}", hint, "VFL0205")
    if not smoothing:
        return terms
    parts = ((1 - smoothing, terms), (smoothing, even()))
    return b.op("add", *(b.op("mul", b.constant(float(part)), each) for part, each in parts))


def by_hand(b: Build, terms: Node) -> Node:
    """The mean over the batch of a loss that is written out [rows, …]: the label's, where it reads one."""
    above = b.graph.ancestors([terms.id])
    labels = [node for node in b.graph if node.id in above and node.op == "label"]
    terms, _ = counted(b, terms, None, labels)
    whole = b.op("mean", terms, axes=tuple(range(terms.type.rank)), keep=False)
    b.losses.append(LossTerm(whole.id, BY_HAND, label_id=labels[0].id if len(labels) == 1 else None))
    return whole


def pair(b: Build, kind: str, score: Node, label: Node) -> tuple[Node, Node]:
    """Prediction and label in one shape.

    Raises:
        OpError: their shapes differ.
    """
    score, target = numeric(b, score), comparable(b, label)
    if score.type.rank and target.type.rank and score.type.sizes != target.type.sizes:
        several = len(score.type.row_axes) > 1
        hint = f"a prediction of one number is `dense({'flatten(x)' if several else 'x'}, 1)`"
        raise OpError(f"{kind} of a prediction {score.type} and a label {target.type}", hint)
    return score, target


def binary_pair(b: Build, kind: str, logit: Node, label: Node) -> tuple[Node, Node]:
    """A logit and a label of 0 or 1 in one shape.

    Raises:
        OpError: their shapes differ, or the label has more than two classes.
    """
    z, y = pair(b, kind, logit, label)
    rows = label.attrs.get("rows") if label.op == "label" else None
    if rows is not None and rows > 2:
        raise OpError(f"{kind} with a label of {rows} classes", "use `cce(logits, label)` for more than two")
    return z, y

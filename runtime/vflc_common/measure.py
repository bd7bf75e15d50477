"""What a metric is, and the blocks of rows that it is computed of.

Sums are kept of blocks, so that no metric of sums sees a row twice; metrics of how rows are ranked see all
scores at once. Where the rows of a loss have weights, a row counts by its weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from msgspec import Struct, field

from vflc_common.arrays import Array
from vflc_common.numpy import np
from vflc_common.words import Predicted

LEAST = 1e-7
"""What a probability counts as at least in a logarithm."""


class ScoredRows:
    """Rows of a binary prediction or of numbers.

    Args:
        prediction: probabilities or numbers [n].
        label: as many.
        weight: how much each row counts [n], in float64.
    """

    classes = 2

    def __init__(self, prediction: Array, label: Array, weight: Array) -> None:
        self.prediction, self.label, self.weight = prediction, label, weight

    @cached_property
    def truth(self) -> Array:
        """Which rows are positive."""
        truth: Array = self.label > 0.5
        return truth

    @cached_property
    def guess(self) -> Array:
        """Which rows are held for positive."""
        guess: Array = self.prediction > 0.5
        return guess

    @cached_property
    def likely(self) -> Array:
        """The probability of what is true."""
        return np.where(self.truth, self.prediction, 1 - self.prediction)

    @cached_property
    def error(self) -> Array:
        """Prediction minus label, in float64."""
        return self.prediction.astype(np.float64) - self.label


class ScoredClassRows:
    """Rows of a prediction of classes, with the same names.

    Args:
        prediction: probabilities [n, classes].
        label: ids of classes [n, 1], or shares of them [n, classes].
        weight: how much each row counts [n], in float64.
    """

    def __init__(self, prediction: Array, label: Array, weight: Array) -> None:
        self.prediction, self.label, self.weight = prediction, label, weight
        self.classes = prediction.shape[1]

    @cached_property
    def shares(self) -> Array:
        """How much of each class a row is [n, classes]."""
        return self.label if self.label.shape[1] > 1 else np.eye(self.classes)[self.truth]

    @cached_property
    def truth(self) -> Array:
        """The class of each row."""
        return self.label.argmax(1) if self.label.shape[1] > 1 else self.label[:, 0].astype(np.int64)

    @cached_property
    def guess(self) -> Array:
        """The likeliest class of each row."""
        guess: Array = self.prediction.argmax(1)
        return guess

    @cached_property
    def likely(self) -> Array:
        """The probability of the class that is true."""
        likely: Array = self.prediction[np.arange(len(self.truth)), self.truth]
        return likely


class Pooled(Struct, frozen=True):
    """A statistic of which two blocks' values are put together by a rule of its own, where a sum would round.

    Args:
        of: from a block to an array.
        pool: from the arrays of two sets of rows to that of both.
    """

    of: Callable[[Any], Any]
    pool: Callable[[Any, Any], Any]

    def __call__(self, block: Any) -> Any:
        return self.of(block)


MetricSum = Callable[[Any], Any] | Pooled
"""From a block to a number, or to an array, that is added up over blocks, or `Pooled`."""


def joined(statistic: MetricSum, before: Any, block: Any) -> Any:
    """A statistic of the rows before, 0.0 where there were none, and those of a block."""
    value = statistic(block)
    if isinstance(statistic, Pooled):
        return statistic.pool(before, value) if np.ndim(before) else value
    return before + value


class OfSums(Struct, frozen=True):
    """A metric of sums.

    Args:
        sums: what is summed over all rows; functions that several metrics have are computed once. Where there
            have been no rows, each is the number 0.
        result: from these sums, in order, to the metric; None where it is not defined.
        by_class: from the same to what it is of each class, NaN where it is not defined.
    """

    sums: tuple[MetricSum, ...]
    result: Callable[..., float | None]
    by_class: Callable[..., Array] | None = None


class OfRanks(Struct, frozen=True):
    """A metric that no sum can give exactly: of the scores of all rows.

    Args:
        result: from scores [n], which rows are positive [n], how much each counts [n] or None, and the
            parameter of a metric that has one, to the metric; None where it is not defined. Of classes,
            scores are [n, classes], and instead of which rows are positive it is given the class of each [n].
        by_class: from the same to what it is of each class [classes], NaN where it is not defined.
    """

    result: Callable[..., float | None]
    by_class: Callable[[Array, Array, Array | None], Array] | None = None


class GroupedRows(Struct, frozen=True):
    """All rows, of which those of a group stand together, the highest score first.

    Rows of a group with one score are a *tie*: what is measured is the mean over all orders of them. Rows
    that weigh 0 are left out.

    Args:
        gain: what each row is worth, 0 or more [n]: of a binary label 1 or 0.
        weight: how much each row counts [n].
        ties: where each tie starts [ties].
        rank: how many rows of its group stand before each tie [ties].
        size: how many rows each tie has [ties].
        groups: where each group starts, among the ties [groups].
    """

    gain: Array
    weight: Array
    ties: Array
    rank: Array
    size: Array
    groups: Array

    def of_ties(self, values: Array) -> Array:
        """Sums [ties] of what the rows have [n]."""
        return np.add.reduceat(values, self.ties)

    def of_groups(self, values: Array) -> Array:
        """Sums [groups] of what the ties have [ties]."""
        return np.add.reduceat(values, self.groups)

    def counted(self, values: Array, at: Array) -> float | None:
        """The mean over the groups chosen by `at`, bool [groups], each by its rows' mean weight; or None."""
        rows, weights = (self.of_groups(each) for each in (self.size, self.of_ties(self.weight)))
        weights = (weights / rows)[at]
        return float((weights * values[at]).sum() / weights.sum()) if len(weights) else None


class OfGroups(Struct, frozen=True):
    """A metric of the order of the rows within each group.

    Args:
        result: from all rows, and the parameter of a metric that has one, to the metric; None where it is
            defined of no group.
    """

    result: Callable[..., float | None]


class OfTable(Struct, frozen=True):
    """A table of numbers, which an evaluation has and training has not.

    Args:
        table: from what `OfRanks.result` takes to numbers by name; None where one is not defined.
    """

    table: Callable[..., Mapping[str, float | None]]


MetricMeasure = OfSums | OfRanks | OfGroups | OfTable


class MetricParameter(Struct, frozen=True):
    """The number in brackets after a metric.

    Args:
        wanted: in words.
        fits: whether a number is that.
        example: such a number.
    """

    wanted: str
    fits: Callable[[Any], bool]
    example: float


def _is_rank(value: Any) -> bool:
    return float(value).is_integer() and 1 <= value <= 1_000_000


FIRST = MetricParameter("a whole number of first rows, 1 or more", _is_rank, 10)


class Metric(Struct, frozen=True):
    """What is measured of predictions.

    Args:
        name: as in `metrics auc`.
        doc: what it is, in half a sentence.
        measures: how, by what a prediction is: `binary`, `multiclass` or `number`.
        smaller_is_better: whether an epoch with less of it is the better one.
        known_as: what other libraries call it, or what it stands in for, with what to answer.
        parameter: the number that it takes, which `result` is given last.
    """

    name: str
    doc: str
    measures: Mapping[Predicted, MetricMeasure]
    smaller_is_better: bool = False
    known_as: Mapping[str, str] = field(default_factory=dict)
    parameter: MetricParameter | None = None

    def usage(self, column: str) -> str:
        """How a spec may write it, with a `column` for groups."""
        at = f"({self.parameter.example:g})" if self.parameter is not None else ""
        return f"{self.name}{at}{f' by {column}' if self.grouped else ''}"

    @property
    def is_table(self) -> bool:
        """Whether it is no single number, so that no epoch is the best by it."""
        return any(isinstance(measure, OfTable) for measure in self.measures.values())

    @property
    def grouped(self) -> bool:
        """Whether it is of groups of rows, by a column that a spec names."""
        return any(isinstance(measure, OfGroups) for measure in self.measures.values())


# --- sums that several metrics have -----------------------------------------------------------------------


def weight(block: ScoredRows | ScoredClassRows) -> float:
    """Of all rows."""
    return float(block.weight.sum())


def right(block: ScoredRows | ScoredClassRows) -> float:
    """Weight of the rows that are guessed right."""
    return float(block.weight[block.guess == block.truth].sum())


def hits(block: ScoredRows) -> float:
    """Weight of the positive rows that are held for positive."""
    return float(block.weight[block.guess & block.truth].sum())


def positives(block: ScoredRows) -> float:
    """Weight of the positive rows."""
    return float(block.weight[block.truth].sum())


def guessed(block: ScoredRows) -> float:
    """Weight of the rows that are held for positive."""
    return float(block.weight[block.guess].sum())


def squared(block: ScoredRows) -> float:
    """Squares of the errors, summed."""
    return float((block.weight * np.square(block.error)).sum())


def of_classes(block: ScoredClassRows, which: Array, classes: Array) -> Array:
    """Weight [classes] of the rows that are chosen by `which`, bool [n], by their class in `classes` [n]."""
    return np.bincount(classes[which], block.weight[which], block.classes)


def right_by_class(block: ScoredClassRows) -> Array:
    """Weight [classes] of the rows that are predicted right, by class."""
    return of_classes(block, block.guess == block.truth, block.truth)


def occurs_by_class(block: ScoredClassRows) -> Array:
    """Weight [classes] of the rows that are of each class."""
    return np.bincount(block.truth, block.weight, block.classes)


def guessed_by_class(block: ScoredClassRows) -> Array:
    """Weight [classes] of the rows that are held for each class."""
    return np.bincount(block.guess, block.weight, block.classes)


def share(part: float, whole: float) -> float | None:
    """Part of a whole; None where there is none."""
    return part / whole if whole else None


def shares(part: Array, whole: Array) -> Array:
    """The share of each part [n] in its whole [n]; NaN where the whole is 0."""
    found: Array = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return found


def mean_share(part: Any, whole: Any, occurs: Any) -> float | None:
    """The mean of the shares of the classes that occur, those that are not defined counted as 0."""
    if not np.size(part) or not (occurs > 0).any():
        return None
    return float(np.nan_to_num(shares(part, whole)[occurs > 0]).mean())

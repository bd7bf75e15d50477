"""What a model is made of: its parties, losses and settings, and what passes add to its graph.

`vflc.ir.stages` says which of it a model has after which pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from msgspec import Struct, field
from vflc_common.encoders import record
from vflc_common.words import (
    Division,
    FactorType,
    Halves,
    HeldOutBy,
    Phase,
    Predicted,
    Program,
    StepKind,
    Weighting,
)

from vflc.diagnostics.span import Span
from vflc.ir.graph import Graph, Node
from vflc.ir.listed import ListedFile

UNSPLIT = "unsplit"
"""The one place of a model compiled as if all tables lay in one."""


class ColumnInfo(Struct, frozen=True):
    """One column of a party's table and how it becomes ids or numbers.

    Args:
        kind: `feature`, `column`, `label`, `weight`, or `group` for a column by which metrics group rows.
        type: declared type of the raw column, or None where `value` computes it.
        value: an expression over the party's columns, as JSON data.
        encoders: the chain, as JSON data.
        shape: `id`, `ids`, `number`, or `raw` for columns that are only computed with.
        rows: how many ids there are, for `id` and `ids`.
        family: what stands before the number in its name, where it was declared with a family.
        table: what the table calls it, where that is not its name.
        present, evens: of a label, the weights that say which rows have it, and make its classes count alike.
        listed: the file of the values that an encoder knows.
        gaps: whether rows in which it is missing are told from others, with no encoder in between.
    """

    name: str
    kind: str
    type: str | None
    value: Mapping[str, Any] | None
    encoders: tuple[Mapping[str, Any], ...]
    shape: str
    rows: int | None
    span: Span
    family: str | None = None
    table: str | None = None
    present: str | None = None
    evens: str | None = None
    listed: ListedFile | None = None
    gaps: bool = False

    @property
    def is_fitted(self) -> bool:
        """Whether what its encoders give of a row depends on other rows, to which a run fits them."""
        return any(record(encoder).unfitted(encoder) for encoder in self.encoders)


class PartyInfo(Struct, frozen=True, dict=True):
    """A party: its key, of one column or several, and its columns in the order of the spec; a hub has none.

    `span` is where the key is named, or the party where it has none; `named` is the party's name.
    A `population` is many small parties of one shape, each the rows of one key. Of a party with `many` rows
    a key, others that have one take part in each.
    Rows that one with `missing` lacks are trained on and predicted with learned defaults in its place.
    `part` says which columns of the joined rows' key a party's key is, where it is not the whole of it.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[ColumnInfo, ...]
    span: Span
    named: Span
    population: bool = False
    many: bool = False
    missing: bool = False
    part: tuple[int, ...] | None = None

    def column(self, name: str) -> ColumnInfo | None:
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, ColumnInfo]:
        return {column.name: column for column in reversed(self.columns)}


class Loss(Struct, frozen=True):
    """One term of the objective: `coefficient` times the scalar `node`.

    `name` is the label's where it has one; `weight` is the value that each row's loss is multiplied by.
    Of a penalty on all rows, `whole` are its weights and `strength` is the penalty's own coefficient.
    """

    name: str
    node: str
    coefficient: float
    kind: str
    logit: str | None
    label: str | None
    span: Span
    weight: str | None = None
    whole: tuple[str, ...] = ()
    strength: float = 0.0


class FittedTable(Struct, frozen=True):
    """A weight that follows from a sum over the training rows, before the first step; no optimizer has it.

    Args:
        weight: [bin, 1], the weight of evidence of each bin.
        counts: of a batch [bin, 2], how many rows of each bin have the label, and how many do not.
        feature: whose bins these are.
        label: what they are evidence of.
        counted_by: the example weight that says how much each row counts; None, all count alike.
        smoothing: how many rows of no evidence each bin is given besides.
        monotone: whether neighbouring bins are put together until evidence rises, or falls, from bin to bin.
    """

    weight: str
    counts: str
    feature: str
    label: str
    counted_by: str | None
    smoothing: float
    monotone: bool


class Prediction(Struct, frozen=True):
    """What `predict NAME = …` names: a value in the units of the party's table.

    Args:
        label: what it is measured against, in the same units, where a loss or `of` tells.
        weight: how much each row counts where it is measured; every row as much where None.
        classes: what the table holds for each class, where they have names.
        metrics: those of the spec that its label's party can compute, as they are written.
        groups: by the name of a column, the input by which metrics group rows.
    """

    name: str
    node: str
    label: str | None
    kind: Predicted
    span: Span
    weight: str | None = None
    classes: tuple[str | int | float, ...] = ()
    metrics: tuple[str, ...] = ()
    groups: Mapping[str, str] = {}

    @property
    def measured(self) -> tuple[str, ...]:
        """What is read to measure it, besides itself."""
        return tuple(name for name in (self.label, self.weight, *self.groups.values()) if self.label and name)


class Penalty(Struct, frozen=True):
    """What penalties on all rows add to a weight w's gradient: l2·w and l1 with the sign of w."""

    l1: float = 0.0
    l2: float = 0.0
    span: Span | None = None

    def __eq__(self, other: object) -> bool:
        """Wherever it is written."""
        return isinstance(other, Penalty) and (self.l1, self.l2) == (other.l1, other.l2)

    def __hash__(self) -> int:
        return hash((self.l1, self.l2))

    def __bool__(self) -> bool:
        return bool(self.l1 or self.l2)


class OptimizerRule(Struct, frozen=True):
    """`optimizer adam(…) for *.wide`: options by name, patterns over names of weights.

    `penalty` is part of every step of the weights that the rule is for, also where no batch reads them.
    """

    id: str
    name: str
    options: Mapping[str, Any]
    patterns: tuple[str, ...]
    span: Span | None
    penalty: Penalty = Penalty()


class HeldOut(Struct, frozen=True):
    """What decides which rows are kept for validation: a computed `column` of a `party`, in some way."""

    by: HeldOutBy
    party: str
    column: str


class TrainConfig(Struct, frozen=True):
    """Settings of `train`; a run may override the numbers.

    `batch` is in rows, `patience` in epochs, `validation` a share of the rows; `held_out` decides which these
    are, where the seed does not. A checkpoint is written every `checkpoint_steps` steps. `monitor` names a
    metric of the validation rows. With `secret_start` each place draws its initial weights for itself, where
    otherwise they follow from the seed. `push_down` lets the compiler find the split of what has no place.
    `frozen` are patterns over names of weights that training leaves as they are. `drop` are shares of the
    training rows, by party, in which its learned defaults stand in. Matrix products of
    training may round their factors to `precision`.
    """

    batch: int = 128
    epochs: int = 1
    seed: int = 0
    validation: float = 0.0
    held_out: HeldOut | None = None
    shuffle: bool = True
    metrics: tuple[str, ...] = ()
    patience: int | None = None
    monitor: str | None = None
    best: bool = False
    checkpoint_steps: int | None = None
    secret_start: bool = False
    optimizers: tuple[OptimizerRule, ...] = ()
    clip_norm: float | None = None
    clip_value: float | None = None
    push_down: bool = True
    frozen: tuple[tuple[str, Span], ...] = ()
    drop: Mapping[str, float] = {}
    precision: FactorType = "float32"


class Reconstruction(Struct, frozen=True):
    """Settings of `train reconstruct` (Singhal et al., "Federated Reconstruction", 2021).

    Args:
        cohort: users a round.
        limit: most examples of a user.
        validation, test: shares of the users that are kept for measuring.
        divide: who these are: drawn by the seed, or the last ones in order of their keys.
        halves: which examples rebuild local weights and which update global ones: every other
            example, every other batch, the first `fraction`, or the same for both.
        rebuild_epochs, client_epochs: passes over each half; `…_steps` end a phase earlier.
        weighting: what a user's delta counts in the mean: its examples, or as any other.
        joint: client steps change local weights, too.
        keep_local: a client update starts from the local weights that the last one left.
        clip_norm: most norm of a user's delta; `noise` times it is the deviation of the noise on the sum.
        evaluate_every: rounds between measurements on the validation users.
    """

    rounds: int = 100
    cohort: int = 50
    batch: int = 5
    limit: int | None = None
    seed: int = 0
    validation: float = 0.1
    test: float = 0.1
    divide: Division = "random"
    halves: Halves = "examples"
    fraction: float = 0.5
    rebuild_epochs: int = 1
    rebuild_steps: int | None = None
    client_epochs: int = 1
    client_steps: int | None = None
    weighting: Weighting = "examples"
    joint: bool = False
    keep_local: bool = False
    clip_norm: float | None = None
    noise: float = 0.0
    noise_delta: float | None = None
    evaluate_every: int | None = None
    checkpoint_rounds: int | None = None
    metrics: tuple[str, ...] = ()


class Population(Struct, frozen=True):
    """A spec over a population: where its weights live and how they are trained.

    Args:
        place: name of the population.
        hub: the party that keeps the global weights.
        scopes: `global` or `local` by the name of the binding that makes weights.
        rules: the optimizers `rebuild`, `client` and `server`.
    """

    place: str
    hub: str
    scopes: Mapping[str, str]
    config: Reconstruction
    rules: Mapping[str, OptimizerRule]

    def scope_of(self, weight: str) -> str | None:
        """Whether a weight is `global` or `local`, by the binding that made it; None: neither."""
        return self.scopes.get(weight.split(".")[0])


class Gradient(Struct, frozen=True):
    """The gradient of a weight: one dense value, or (ids, rows) pairs for a table."""

    weight: str
    dense: str | None = None
    rows: tuple[tuple[str, str], ...] = ()


class UserIds(Struct, frozen=True):
    """Ids that a run feeds to read a table's copies at the users: rows of the copies, not of the table.

    Args:
        id: of the input.
        table: whose copies it reads.
        features: where the ids come from.
        distinct: each id of a user's batch once, the rest of the row filled with -1.
    """

    id: str
    table: str
    features: tuple[str, ...]
    distinct: bool = False


class ClientGraphs(Struct, frozen=True):
    """The graph of a population with a leading axis of users, and its gradients by phase.

    Args:
        forward: values only; `graphs` and `gradients` are those of `rebuild` and `client`.
        mask: id of the input that is 1 for an example and 0 for what fills a batch up.
        ids: what is fed to read tables.
        losses: the value [user] of each loss, in the order of the model's.
        predictions: the value [user, example, …] by name.
    """

    forward: Graph
    mask: str
    ids: tuple[UserIds, ...]
    losses: tuple[str, ...]
    predictions: Mapping[str, str]
    graphs: Mapping[str, Graph] = field(default_factory=dict)
    gradients: Mapping[str, tuple[Gradient, ...]] = field(default_factory=dict)


class Edge(Struct, frozen=True):
    """A value that crosses from one place to another."""

    id: str
    node: str
    source: str
    target: str
    phase: Phase
    programs: tuple[Program, ...]
    gradient_of: str | None = None


class Message(Struct, frozen=True):
    """Edges of the same two places, phase and stage, which travel together."""

    id: str
    source: str
    target: str
    phase: Phase
    programs: tuple[Program, ...]
    edges: tuple[str, ...]


class Stage(Struct, frozen=True):
    """One subgraph of a program at a place: all that can run between two receives."""

    name: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Step(Struct, frozen=True):
    """`run` a graph, `send` or `receive` a message, `update` weights, `assign` a weight, feed a guard.

    `catch_up` makes up for the steps that the rows of an update missed, before they are read.
    """

    do: StepKind
    what: str


class Update(Struct, frozen=True):
    """An optimizer applied at the end of a step.

    Dense: `arrays` lie one after another in a flat buffer whose gradient is `gradient`.
    Rows: `arrays` is the one table, and `pairs` are its (ids, gradient rows).
    """

    id: str
    place: str
    optimizer: str
    arrays: tuple[str, ...]
    gradient: str | None = None
    pairs: tuple[tuple[str, str], ...] = ()


class PlaceSchedule(Struct, frozen=True):
    """What one place does in each program."""

    place: str
    programs: Mapping[Program, tuple[Step, ...]]
    stages: Mapping[Program, tuple[Stage, ...]]


class TablePart(Struct, frozen=True):
    """A weight that lies inside a fused table, from row `offset` on."""

    name: str
    rows: int
    offset: int


class Slice(Struct, frozen=True):
    """What a weight is, of which the user knows the whole: rows from `start` on, of the `rows` of `of`."""

    of: str
    rows: int
    start: int


def matches(pattern: str, weight: str) -> bool:
    """`*.wide` names `l.wide` and everything below it."""
    return fnmatchcase(weight, pattern) or fnmatchcase(weight, f"{pattern}.*")


def names_of(weight: Node) -> list[str]:
    """A weight by the names that users know: of a fused table those of its parts, of a slice the whole's."""
    if "slice" in weight.attrs:
        return [str(weight.attrs["slice"].of)]
    return [str(part.name) for part in weight.attrs.get("parts", ())] or [weight.id]

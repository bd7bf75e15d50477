"""The tree: what the user wrote, with the place of every part of it.

Frozen records, one a construct. Nothing here knows what a name means. Comments are kept
beside the tree by position, so that a formatter can put them back.
"""

from __future__ import annotations

from msgspec import Struct

from vflc.diagnostics import Span

# --- names and expressions ------------------------------------------------------------------


class Name(Struct, frozen=True):
    text: str
    span: Span


class Number(Struct, frozen=True):
    value: int | float
    span: Span


class String(Struct, frozen=True):
    value: str
    span: Span


class Bool(Struct, frozen=True):
    value: bool
    span: Span


class Ref(Struct, frozen=True):
    """A bare name used as a value, an axis or an option: `logit`, `field`."""

    name: str
    span: Span


class Attribute(Struct, frozen=True):
    """`value.name`."""

    value: Expr
    name: Name
    span: Span


class Family(Struct, frozen=True):
    """`C{8..26}`, alone or as `party.C{8..26}`: the columns C8, C9, … C26."""

    value: Expr | None
    prefix: Name
    low: int
    high: int
    span: Span


class Argument(Struct, frozen=True):
    """A call's argument; `name` is None where it is given by position."""

    name: Name | None
    value: Expr
    span: Span


class Call(Struct, frozen=True):
    function: Expr
    arguments: tuple[Argument, ...]
    span: Span


class Unary(Struct, frozen=True):
    """`-x`, `not x`."""

    operator: str
    value: Expr
    span: Span


class Binary(Struct, frozen=True):
    """`+ - * / // % ** @  == != < <= > >=  and or`."""

    operator: str
    left: Expr
    right: Expr
    span: Span


class Index(Struct, frozen=True):
    """`list[2]`, `list[1..3]` (a Range, inclusive); counted from 0, negative from the end."""

    value: Expr
    index: Expr
    span: Span


class Range(Struct, frozen=True):
    """`low..high`, both ends included."""

    low: Expr
    high: Expr
    span: Span


class ListOf(Struct, frozen=True):
    items: tuple[Expr, ...]
    span: Span


class Comprehension(Struct, frozen=True):
    """`[body for variable in iterable if condition]`."""

    body: Expr
    variable: Name
    iterable: Expr
    condition: Expr | None
    span: Span


class RecordOf(Struct, frozen=True):
    """`{first = …, deep = …}`."""

    fields: tuple[Field, ...]
    span: Span


class Field(Struct, frozen=True):
    name: Name
    value: Expr
    span: Span


class Grouped(Struct, frozen=True):
    """`ndcg(10) by UserID`, among the values of a setting alone."""

    value: Expr
    by: Name
    span: Span


Expr = (
    Number | String | Bool | Ref | Attribute | Family | Call | Unary | Binary
    | Index | Range | ListOf | Comprehension | RecordOf | Grouped
)  # fmt: skip


# --- parties --------------------------------------------------------------------------------


class EncoderCall(Struct, frozen=True):
    """One link of an encoder chain: `vocab("F", "M")`, `log1p`."""

    name: Name
    arguments: tuple[Argument, ...]
    span: Span


class Column(Struct, frozen=True):
    """`feature`, `column`, `label` or `weight`.

    `feature Age: int -> vocab(…)` has `type` and `encoders`; `label liked = Rating > 3` has
    `value`, which may be followed by encoders too. A family `C{1..26}` has `family` set to its
    bounds and `name` to its prefix. `table` is what the table calls it where that was said, as in
    `feature "Unit price": float as Price`.
    """

    kind: str
    name: Name
    family: tuple[int, int] | None
    type: Name | None
    value: Expr | None
    encoders: tuple[EncoderCall, ...]
    span: Span
    table: str | None = None


class Party(Struct, frozen=True):
    """`party NAME { key …; …; columns }`; `population` is True for `population NAME { … }`.

    `many` is the last word of `rows per key …`, `missing` where it says `missing party allowed`.
    """

    name: Name
    population: bool
    key: tuple[Name, ...]
    many: Name | None
    missing: Span | None
    columns: tuple[Column, ...]
    span: Span


# --- statements -----------------------------------------------------------------------------


class Binding(Struct, frozen=True):
    """`name = value [at place]`; `scope` is "global" or "local" where the user wrote so."""

    name: Name
    value: Expr
    at: Name | None
    scope: str | None
    span: Span


class BlockParameter(Struct, frozen=True):
    name: Name
    default: Expr | None
    span: Span


class Block(Struct, frozen=True):
    """`block Name(parameters) { bindings; return result }`."""

    name: Name
    parameters: tuple[BlockParameter, ...]
    body: tuple[Binding, ...]
    result: Expr
    doc: str | None
    span: Span


class Outside(Struct, frozen=True):
    """`block Name = onnx("file.onnx")`: a model that another tool made, as a block."""

    name: Name
    value: Call
    span: Span


class Fuse(Struct, frozen=True):
    """`fuse at place { bindings }`: the bindings are visible outside too."""

    place: Name
    body: tuple[Binding, ...]
    span: Span


class Predict(Struct, frozen=True):
    """`predict name = value [of column] [at place]`; `of` is `sales` or `bob.sales`.

    `predict L{1..5} = …` has `family` set to its bounds and `name` to its prefix.
    """

    name: Name
    value: Expr
    at: Name | None
    of: Expr | None
    span: Span
    family: tuple[int, int] | None = None


class Objective(Struct, frozen=True):
    value: Expr
    span: Span


class Pattern(Struct, frozen=True):
    """What `for` names: dotted names with `*`, as `*.wide`."""

    text: str
    span: Span


class Setting(Struct, frozen=True):
    """One line of `train`: `batch 128`, `metrics auc, recall`, `optimizer adam(…) for *.wide`.

    `freeze a.*, b` has patterns and no values; `validation where Age > 30` has a value that is a `condition`.
    """

    name: Name
    values: tuple[Expr, ...]
    patterns: tuple[Pattern, ...]
    span: Span
    condition: bool = False


class Train(Struct, frozen=True):
    """`train { … }`; `mode` is the word between, as in `train reconstruct { … }`."""

    mode: Name | None
    settings: tuple[Setting, ...]
    span: Span


class Import(Struct, frozen=True):
    """`use library.{A, B}`, `use library.A`, `use "file.vfl".{A}`; no names means all of them."""

    library: Name | None
    file: String | None
    names: tuple[Name, ...]
    span: Span


COLON = ":"
"""The word of a `release` that ends the receivers of a grant."""


Clause = tuple[Expr | Name, ...]
"""What stands between two separators of a `release`, word by word."""


class ReleaseStatement(Struct, frozen=True):
    """`release alice { to bob: Age, Gender … }`; clauses as words, `:` a word of its own."""

    party: Name
    clauses: tuple[Clause, ...]
    span: Span


class EdgeTarget(Struct, frozen=True):
    """An edge in `protect` and `accept`: `gradients to alice` or a value's name, `a.deep`."""

    gradients_to: Name | None
    value: Expr | None
    span: Span


class WeightsTarget(Struct, frozen=True):
    """`weights at alice`, or those that patterns name: `weights *.deep at alice`."""

    patterns: tuple[Pattern, ...]
    at: Name
    span: Span


class Protect(Struct, frozen=True):
    """`protect TARGET with MECHANISM(…)`, and where noise is for one phase alone `in training`."""

    target: EdgeTarget | WeightsTarget
    mechanism: Expr
    phase: Name | None
    span: Span


class Accept(Struct, frozen=True):
    code: Name
    target: EdgeTarget
    reason: String | None
    span: Span


class ScheduleStatement(Struct, frozen=True):
    """`schedule NAME { … }`."""

    name: Name | None
    settings: tuple[Setting, ...]
    span: Span


Item = (
    Import | Party | Block | Outside | Fuse | Binding | Predict | Objective | Train
    | ReleaseStatement | Protect | Accept | ScheduleStatement
)  # fmt: skip


class Comment(Struct, frozen=True):
    """`# …` to the end of the line; `own_line` tells whether anything stands before it."""

    text: str
    own_line: bool
    span: Span


class Spec(Struct, frozen=True):
    """A whole file. `poisoned` are names whose statements did not parse: using them is no mistake."""

    items: tuple[Item, ...]
    comments: tuple[Comment, ...]
    poisoned: frozenset[str]
    span: Span

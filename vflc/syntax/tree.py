"""The tree: what the user wrote, with the place of every part of it.

Frozen dataclasses, one a construct. Nothing here knows what a name means. Comments are kept
beside the tree by position, so that a formatter can put them back.
"""

from __future__ import annotations

from dataclasses import dataclass

from vflc.diagnostics import Span

# --- names and expressions ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Name:
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Number:
    value: int | float
    span: Span


@dataclass(frozen=True, slots=True)
class String:
    value: str
    span: Span


@dataclass(frozen=True, slots=True)
class Bool:
    value: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Ref:
    """A bare name used as a value, an axis or an option: `logit`, `field`."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Attribute:
    """`value.name`."""

    value: Expr
    name: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Family:
    """`C{8..26}`, alone or as `party.C{8..26}`: the columns C8, C9, … C26."""

    value: Expr | None
    prefix: Name
    low: int
    high: int
    span: Span


@dataclass(frozen=True, slots=True)
class Argument:
    """A call's argument; `name` is None where it is given by position."""

    name: Name | None
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    function: Expr
    arguments: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Unary:
    """`-x`, `not x`."""

    operator: str
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Binary:
    """`+ - * / // % ** @  == != < <= > >=  and or`."""

    operator: str
    left: Expr
    right: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Index:
    """`list[2]`, `list[1..3]` (a Range, inclusive); counted from 0, negative from the end."""

    value: Expr
    index: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Range:
    """`low..high`, both ends included."""

    low: Expr
    high: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class ListOf:
    items: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Comprehension:
    """`[body for variable in iterable if condition]`."""

    body: Expr
    variable: Name
    iterable: Expr
    condition: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class RecordOf:
    """`{first = …, deep = …}`."""

    fields: tuple[Field, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Field:
    name: Name
    value: Expr
    span: Span


Expr = (
    Number | String | Bool | Ref | Attribute | Family | Call | Unary | Binary
    | Index | Range | ListOf | Comprehension | RecordOf
)  # fmt: skip


# --- parties --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Encoder:
    """One link of an encoder chain: `vocab("F", "M")`, `log1p`."""

    name: Name
    arguments: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Column:
    """`feature`, `column` or `label`.

    `feature Age: int -> vocab(…)` has `type` and `encoders`; `label liked = Rating > 3` has
    `value`, which may be followed by encoders too. A family `C{1..26}` has `family` set to its
    bounds and `name` to its prefix.
    """

    kind: str
    name: Name
    family: tuple[int, int] | None
    type: Name | None
    value: Expr | None
    encoders: tuple[Encoder, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Party:
    """`party NAME { key …; columns }`; `population` is True for `population NAME { … }`."""

    name: Name
    population: bool
    key: Name | None
    columns: tuple[Column, ...]
    span: Span


# --- statements -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Binding:
    """`name = value [at place]`; `scope` is "global" or "local" where the user wrote so."""

    name: Name
    value: Expr
    at: Name | None
    scope: str | None
    span: Span


@dataclass(frozen=True, slots=True)
class Parameter:
    name: Name
    default: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Block:
    """`block Name(parameters) { bindings; return result }`."""

    name: Name
    parameters: tuple[Parameter, ...]
    body: tuple[Binding, ...]
    result: Expr
    doc: str | None
    span: Span


@dataclass(frozen=True, slots=True)
class Fuse:
    """`fuse at place { bindings }`: the bindings are visible outside too."""

    place: Name
    body: tuple[Binding, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Predict:
    """`predict name = value [at place]`."""

    name: Name
    value: Expr
    at: Name | None
    span: Span


@dataclass(frozen=True, slots=True)
class Objective:
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Pattern:
    """What `for` names: dotted names with `*`, as `*.wide`."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of `train`: `batch 128`, `metrics auc, recall`, `optimizer adam(…) for *.wide`."""

    name: Name
    values: tuple[Expr, ...]
    patterns: tuple[Pattern, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Train:
    """`train { … }`; `mode` is the word between, as in `train reconstruct { … }`."""

    mode: Name | None
    settings: tuple[Setting, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Import:
    """`use library.{A, B}`, `use library.A`, `use "file.vfl".{A}`; no names means all of them."""

    library: Name | None
    file: String | None
    names: tuple[Name, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Release:
    """`release alice { activations at most 64 floats a row … }`; clauses as `words`."""

    party: Name
    clauses: tuple[tuple[Expr | Name, ...], ...]
    span: Span

    def limits(self) -> list[list[tuple[Expr | Name, ...]]]:
        """Clauses by the limit that they set: the list of `never Gender, Age` is two clauses."""
        limits: list[list[tuple[Expr | Name, ...]]] = []
        for clause in self.clauses:
            first = limits[-1][0][0] if limits else None
            if len(clause) == 1 and isinstance(first, Name) and first.text in ("only", "never"):
                limits[-1].append(clause)
            else:
                limits.append([clause])
        return limits


@dataclass(frozen=True, slots=True)
class Target:
    """An edge in `protect` and `accept`: `gradients to alice` or a value's name, `a.deep`."""

    gradients_to: Name | None
    value: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Protect:
    target: Target
    mechanism: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Accept:
    code: Name
    target: Target
    reason: String | None
    span: Span


@dataclass(frozen=True, slots=True)
class Schedule:
    """`schedule NAME { … }`."""

    name: Name | None
    settings: tuple[Setting, ...]
    span: Span


Item = (
    Import | Party | Block | Fuse | Binding | Predict | Objective | Train
    | Release | Protect | Accept | Schedule
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Comment:
    """`# …` to the end of the line; `own_line` tells whether anything stands before it."""

    text: str
    own_line: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole file. `poisoned` are names whose statements did not parse: using them is no mistake."""

    items: tuple[Item, ...]
    comments: tuple[Comment, ...]
    poisoned: frozenset[str]
    span: Span

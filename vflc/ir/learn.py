"""What a receiver can learn of a column at most, over all messages of a run and of the runs after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vflc.ir.graph import Source

Kind = Literal["nothing", "rows", "code", "epsilon", "all"]


@dataclass(frozen=True, slots=True)
class Bound:
    """An upper bound on what is learned of one column.

    Args:
        kind: `nothing`: no message depends on the column. `code`: all messages depend on it through
            its codes alone, the ids or classes that its encoders make. `epsilon`: all that depends
            on it passed a mechanism with a proof. `all`: take it that the column is learned. `rows`: of a
            key, which rows are common, their order, and what the method of alignment tells besides.
        bits: of `code`, the most bits a row; None where a row may have any number of ids.
        epsilon, delta: of `epsilon`, added up over the mechanisms; `epsilon` is None where only the
            run knows it.
    """

    kind: Kind
    bits: float | None = None
    epsilon: float | None = None
    delta: float = 0.0

    def __str__(self) -> str:
        """In words, as what is learned at most."""
        if self.kind == "code":
            bits = "" if self.bits is None else f" ({self.bits:.4g} bit{'s' * (self.bits != 1)} a row)"
            return f"its code{bits}"
        if self.kind == "epsilon":
            epsilon = "the ε that the run reports" if self.epsilon is None else f"ε = {self.epsilon:g}"
            return epsilon + (f", δ = {self.delta:g}" if self.delta else "")
        return {"nothing": "nothing", "all": "all", "rows": "which rows are common"}[self.kind]


NOTHING = Bound("nothing")
ALL = Bound("all")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A way to learn of columns that is known to work: shown beside a bound, never in its place.

    Args:
        kind: in a word or two, as tables have it.
        receiver: who learns.
        sources: the features and labels of others that it tells of.
        columns: the columns of tables that these are made of, as `party.column`.
        edges: ids of the edges that it is about.
        says: a sentence without an end.
    """

    kind: str
    receiver: str
    sources: tuple[Source, ...]
    edges: tuple[str, ...]
    says: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Learned:
    """What `receiver` may learn of a column of `party`.

    Args:
        column: as the table calls it, not as the spec calls what it computes from it.
        features: the features and labels that are made of it.
        edges: ids of the edges and control messages that depend on the column.
        programs: in which of them they cross.
        held: of the column and what is made of it, what the receiver has anyway, as its party declares.
    """

    receiver: str
    party: str
    column: str
    bound: Bound
    edges: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    held: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spend:
    """Mechanisms, by id, through which `receiver` learns of what `party` calls `name`: parties add these up.

    Args:
        name: of a feature or a label, or of a column of the table that one is made of.
    """

    receiver: str
    party: str
    name: str
    guards: tuple[str, ...]

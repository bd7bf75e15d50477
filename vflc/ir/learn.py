"""What a receiver can learn of a column at most, over all messages of a run and of the runs after it."""

from __future__ import annotations

from msgspec import Struct
from vflc_common.bound import Bound

from vflc.ir.graph import SecretSource

NOTHING = Bound("nothing")
ALL = Bound("all")


class Evidence(Struct, frozen=True):
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
    sources: tuple[SecretSource, ...]
    edges: tuple[str, ...]
    says: str
    columns: tuple[str, ...] = ()


class Learned(Struct, frozen=True):
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


class Spend(Struct, frozen=True):
    """Mechanisms, by id, through which `receiver` learns of what `party` calls `name`: parties add these up.

    Args:
        name: of a feature or a label, or of a column of the table that one is made of.
    """

    receiver: str
    party: str
    name: str
    guards: tuple[str, ...]

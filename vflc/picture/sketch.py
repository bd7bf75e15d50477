"""What a picture is of: values at places, what reads what, and what crosses. Nothing here has a position.

A sketch is made of a model (`vflc.picture.of_model`) or of a manifest (`vflc.picture.of_manifest`), and
everything after it is the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from vflc_common.bound import LEAST_FIRST, Bound

ValueKind = Literal["feature", "label", "weight", "loss", "prediction", "value"]
NOWHERE = ""
"""The place of what has none yet, where a mistake kept the compiler from placing it."""


class SourceLine(Struct, frozen=True):
    """Where in a text something was written: the text's name, line and column from 1."""

    uri: str
    line: int
    column: int


class DrawnValue(Struct, frozen=True):
    """A value, or what is drawn like one.

    Args:
        blocks: ids of the blocks that it is in, the outermost first.
        detail: the operation and the shape, or the encoders.
        told: sentences for who asks for more.
    """

    id: str
    place: str
    kind: ValueKind
    detail: str
    blocks: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    at: SourceLine | None = None


class MayLearn(Struct, frozen=True):
    """What the receiver of an edge may learn of a column, over all edges that it receives.

    `granted` tells whether its party grants something of it: without that, a spec does not compile.
    """

    column: str
    bound: Bound
    granted: bool = True


class CrossingValue(Struct, frozen=True):
    """A value, or a gradient, that crosses from one place to another.

    Args:
        value: id of the drawn value that crosses, or whose gradient comes back; None where none is drawn.
        row, step: bytes a row, and bytes a step.
        open_ended: whether the data decides how many.
        learn: what its receiver may learn of columns that it depends on.
        known: in a word or two, what it is known to reveal, and findings by code.
        protected: by which mechanisms.
        each: what bytes are counted by, a row or, where a place has many rows a key, a key.
    """

    name: str
    value: str | None
    source: str
    target: str
    shape: str
    row: int
    step: int
    open_ended: bool = False
    backward: bool = False
    learn: tuple[MayLearn, ...] = ()
    known: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    each: str = "row"


class Sketch(Struct, frozen=True):
    """Everything that a picture may show.

    Args:
        model: its name.
        places: in the order of the spec.
        values: in an order in which each comes after what it reads.
        reads: pairs of ids, the value and who reads it.
        called: by id of a block the function that makes it, where the user's text tells.
        unit: a step, or a client update of a population.
    """

    model: str
    places: tuple[str, ...]
    values: tuple[DrawnValue, ...]
    reads: tuple[tuple[str, str], ...]
    crossings: tuple[CrossingValue, ...]
    called: dict[str, str] = {}
    unit: str = "step"


def volume(crossings: Sequence[CrossingValue], unit: str) -> str:
    """How many bytes cross: `128 B a row`."""
    row, step = sum(each.row for each in crossings), sum(each.step for each in crossings)
    each = crossings[0].each if crossings else "row"
    parts = [f"{row:,} B a {each}"] * bool(row) + [f"{step:,} B a {unit}"] * bool(step)
    return " + ".join([*parts, *["size by the data"] * any(each.open_ended for each in crossings)]) or "0 B"


def at_most(learn: Sequence[MayLearn]) -> list[tuple[str, list[str]]]:
    """Bounds in words, the most first, each with the columns that it is of."""
    found: dict[str, list[str]] = {}
    for each in sorted(learn, key=lambda each: -LEAST_FIRST.index(each.bound.kind)):
        words = {"code": "the codes", "all": "all"}.get(each.bound.kind, str(each.bound))
        columns = found.setdefault(words, [])
        if each.column not in columns:
            columns.append(each.column)
    return list(found.items())


def blocks_of(ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """By id the blocks that a value is in: what its path has in common with others' paths.

    `logit.deep.mlp.0` is in `logit` and `logit.deep`, and in `logit.deep.mlp` where something of `logit.deep`
    is not. A value that others are parts of, `logit`, is in the block of its name.
    """
    sizes: dict[str, int] = {}
    for each in ids:
        for prefix in _prefixes(each):
            sizes[prefix] = sizes.get(prefix, 0) + 1
    return {each: _blocks(each, sizes) for each in ids}


def _prefixes(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _blocks(path: str, sizes: dict[str, int]) -> tuple[str, ...]:
    found: list[str] = []
    for prefix in _prefixes(path):
        if sizes[prefix] > 1 and (not found or sizes[prefix] < sizes[found[-1]]):
            found.append(prefix)
    return tuple(found)

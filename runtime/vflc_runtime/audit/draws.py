"""Tables on which no column tells anything of another, so that all that is learned came by messages.

A bound holds whatever the tables are, and so for tables of which each cell is drawn by itself from the
values that its column has. Features and labels that are made of one column keep together: columns that
one feature joins are drawn as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vflc_runtime.data.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Unit:
    """What is drawn as one.

    Args:
        party: whose table it is.
        columns: of the table; more than one where a feature or label joins them.
        inputs: all features and labels that are made of these, as `party.name`.
    """

    party: str
    columns: tuple[str, ...]
    inputs: tuple[str, ...]


def units(learned: Iterable[Mapping[str, Any]], inputs: Iterable[str]) -> tuple[Unit, ...]:
    """The units of all inputs, in their order.

    Args:
        learned: of a manifest: which features and labels are made of which column.
        inputs: ids of what the graphs are given.
    """
    made: dict[tuple[str, str], set[str]] = {}
    for row in learned:
        made.setdefault((row["party"], row["column"]), set()).update(row["features"])
    found: list[Unit] = []
    seen: set[str] = set()
    for id in inputs:
        if id not in seen:
            party, _, name = id.partition(".")
            columns, names = _together(party, name, made)
            members = tuple(each for each in inputs if each in {f"{party}.{n}" for n in names})
            seen.update(members)
            found.append(Unit(party, columns, members))
    return tuple(found)


def _together(
    party: str, name: str, made: Mapping[tuple[str, str], set[str]]
) -> tuple[tuple[str, ...], set[str]]:
    """The columns and names that are joined to one name, over any number of columns."""
    names, columns = {name}, dict[str, None]()
    grown = True
    while grown:
        joined = [c for (owner, c), of in made.items() if owner == party and of & names and c not in columns]
        grown = bool(joined)
        for column in joined:
            columns[column] = None
            names |= made[party, column]
    return tuple(columns), names


def drawn(data: Dataset, of: Iterable[Unit], rng: np.random.Generator) -> Dataset:
    """The data with the cells of each unit drawn with replacement, each row by itself."""
    inputs = dict(data.inputs)
    for unit in of:
        rows = rng.integers(0, data.rows, data.rows)
        inputs |= {name: data.inputs[name][rows] for name in unit.inputs}
    return replace(data, inputs=inputs)

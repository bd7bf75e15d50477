"""How the columns of evaluated rows differ from those of the rows that a model was trained on.

Each place looks at its own columns alone, as its encoders give them, and tells nobody. The measure is the
population stability index: over bins, the sum of (p - q) ln(p / q), the divergence of Jeffreys (1946) as
credit scoring uses it (Siddiqi, Credit Risk Scorecards, 2006). Where nothing has changed, it is about
chi-squared over the numbers of rows (Yurdakul, Statistical Properties of Population Stability Index, 2018).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, TypedDict

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from vflc_common.arrays import Indices
from vflc_common.encoder import DEFAULT, OTHER
from vflc_common.encoders import record
from vflc_common.text import text

from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.data.batches import SomeRows
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.encoders import settled
from vflc_runtime.memory import forget
from vflc_runtime.run import loading

MOST_ROWS, MOST_CELLS = 1 << 16, 1 << 23
"""Rows that are looked at, evenly spaced: so many, and so many over all columns."""
SHOWN, PARTS = 12, 10
"""So many of the most frequent values have a bin each; numbers are binned at tenths of the training rows."""
NO_ID = -1
Count = Annotated[int, Meta(ge=0)]
ShareOfBin = Annotated[float, Meta(ge=0, le=1)]


class ColumnBins(TypedDict):
    """A column of the training rows: bins of some `values` and one of all others, or bins between `edges`.

    `values` are ids, or numbers of which there are few. The other one is None. `names` are what the bins are
    of, `counts` how much is in each.
    """

    values: list[float] | None
    edges: list[float] | None
    names: list[str]
    counts: list[Count]


class Drift(TypedDict):
    """A column of training rows beside other rows.

    Args:
        psi: the population stability index.
        chance: what it exceeds in one of twenty cases where nothing has changed.
        names: what the bins are of.
        before, after: the share of each bin in training rows and in the others.
    """

    psi: float
    chance: float
    names: list[str]
    before: list[ShareOfBin]
    after: list[ShareOfBin]


def profiles(bundle: Bundle, data: Dataset, rows: Indices | SomeRows) -> dict[str, ColumnBins]:
    """The bins of each column here, by `party.column`, over some of the joined rows [rows]."""
    described = {
        f"{party}.{column['name']}": column
        for party, info in loading.encoders(bundle)["parties"].items()
        for column in info["columns"]
    }
    found = {}
    for name in data.inputs:
        values = _values(data, name, rows)
        if len(values):
            found[name] = _bins(values, described.get(name, {}), data.state.get(name))
    return found


def drifts(data: Dataset, rows: Indices | SomeRows, training: Mapping[str, ColumnBins]) -> dict[str, Drift]:
    """Each column of some of the joined rows [rows] beside that of the training rows, the farthest first."""
    found = {}
    for name in data.inputs.keys() & training.keys():
        values = _values(data, name, rows)
        if len(values):
            found[name] = _drift(training[name], _counted(values, training[name]))
    return dict(sorted(found.items(), key=lambda each: (-each[1]["psi"], each[0])))


def bins_fit(columns: Mapping[str, ColumnBins]) -> bool:
    """Whether what a file has of columns, right by its types, holds together."""
    for each in columns.values():
        known = each["edges"] if each["values"] is None else each["values"]
        if not known or None not in (each["values"], each["edges"]) or known != sorted(known):
            return False
        if not len(known) + 1 == len(each["names"]) == len(each["counts"]):
            return False
    return True


def shares_fit(found: Mapping[str, Drift]) -> bool:
    """The same of how columns differ."""
    numbers = (each[key] for each in found.values() for key in ("psi", "chance"))
    return all(map(math.isfinite, numbers)) and all(
        len(each["names"]) == len(each["before"]) == len(each["after"]) > 1 for each in found.values()
    )


def _values(data: Dataset, name: str, rows: Indices | SomeRows) -> NDArray[Any]:
    """A column in evenly spaced rows, [n]: its ids, its numbers, or of a vector the norm."""
    most = min(MOST_ROWS, max(MOST_CELLS // max(len(data.inputs), 1), 1000))
    chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)]
    if (at := data.at.get(name.partition(".")[0])) is not None:
        chosen = at[chosen]
        chosen = chosen[chosen >= 0]
    values = data.inputs[name][chosen]
    forget([data.inputs[name]])
    if values.dtype.kind == "i":
        flat = values.reshape(len(values), values.shape[1] if values.ndim > 1 else 1)
        none = np.full(int((flat < 0).all(1).sum()), NO_ID, flat.dtype)
        return np.concatenate([flat[flat >= 0], none])
    if values.shape[1] > 1:
        values = np.sqrt(np.square(values).sum(1, keepdims=True))
    return values[:, 0]


def _bins(values: NDArray[Any], column: Mapping[str, Any], state: Any) -> ColumnBins:
    different, counts = np.unique(values, return_counts=True)
    known: list[float] | None = None
    edges: list[float] | None = None
    if values.dtype.kind == "i" or len(different) <= SHOWN:
        known = np.sort(different[np.argsort(-counts, kind="stable")[:SHOWN]]).tolist()
        ids = _names(column, state) if values.dtype.kind == "i" else None
        names = [*(_name(value, ids) for value in known), "others"]
    else:
        cuts = np.quantile(values, np.arange(1, PARTS) / PARTS, method="lower")
        edges = np.unique(cuts).astype(np.float64).tolist()
        between = [f"{a:.3g} to {b:.3g}" for a, b in pairwise(edges)]
        names = [f"up to {edges[0]:.3g}", *between, f"above {edges[-1]:.3g}"]
    bins: ColumnBins = {"values": known, "edges": edges, "names": names, "counts": []}
    return {**bins, "counts": _counted(values, bins)}


def _name(value: float, ids: list[str] | None) -> str:
    """What a value is called: a number, or an id, which may stand for something."""
    if ids is None:
        return f"{value:g}"
    if value == NO_ID:
        return "none"
    return ids[int(value)] if value < len(ids) else f"id {value}"


def _counted(values: NDArray[Any], bins: ColumnBins) -> list[int]:
    """How many values [n] are in each bin."""
    known = np.array(bins["values"] if bins["edges"] is None else bins["edges"], np.float64)
    where = np.searchsorted(known, values.astype(np.float64), side="left")
    if bins["edges"] is None:
        at = np.minimum(where, len(known) - 1)
        where = np.where(known[at] == values, at, len(known))
    counts: list[int] = np.bincount(where, minlength=len(known) + 1).tolist()
    return counts


def _names(column: Mapping[str, Any], state: Any) -> list[str]:
    """What the ids of a column stand for; none of those that stand for nothing in particular."""
    chain = column.get("encoders", ())
    for encoder, fitted in zip(chain, state or [None] * len(chain), strict=False):
        known, found = record(encoder), settled(encoder, fitted)
        if known.lookup is not None and not known.lookup.plain:
            first = [OTHER] if found.get(DEFAULT) == OTHER else []
            return [*first, *map(text, known.lookup.values(found)[:1000])]
        if known.classes is not None:
            return list(map(text, known.classes(found)))
    return []


def _drift(training: ColumnBins, counts: list[int]) -> Drift:
    before, after = (_shares(each) for each in (training["counts"], counts))
    free = len(counts) - 1
    # the 95 % quantile of chi-squared, by Wilson and Hilferty (1931)
    high = free * (1 - 2 / (9 * free) + 1.645 * math.sqrt(2 / (9 * free))) ** 3
    scale = sum(1 / max(sum(each), 1) for each in (training["counts"], counts))
    psi = sum((p - q) * math.log(p / q) for p, q in zip(before, after, strict=True))
    return {"psi": psi, "chance": high * scale, "names": training["names"], "before": before, "after": after}


def _shares(counts: list[int]) -> list[float]:
    """Half a value more in each bin, so that an empty one has a finite logarithm."""
    whole = sum(counts) + len(counts) / 2
    return [(count + 0.5) / whole for count in counts]

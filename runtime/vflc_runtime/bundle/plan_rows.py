"""What a plan says of rows of tables: how they catch up with the steps that they missed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vflc_runtime.bundle.reading import Json

MOST_TERMS = 100_000
"""Steps after a gradient that a sum goes over at most."""
MOST_ENTRIES = 8
"""Rows of a matrix at most: there is one for the weight and one for each slot."""


@dataclass(frozen=True, slots=True)
class Power:
    """base^missed, for the number of steps missed."""

    name: str
    base: float


@dataclass(frozen=True, slots=True)
class Product:
    """The product of a series over the steps missed."""

    name: str
    of: str


@dataclass(frozen=True, slots=True)
class Newest:
    """The number of a series at the last step done; 0 before the first."""

    name: str
    of: str


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum over the steps missed, i = 1, 2, …, of a series times `ratio`^i and a function of i.

    The function is the sum over (c, x) in `mix` of c / (1 + x·(`growth`^i - 1)). Where `kept` names
    another series each term is times the numbers that this has in the steps after it.
    """

    name: str
    of: str
    ratio: float
    growth: float
    mix: tuple[tuple[float, float], ...]
    kept: str | None


@dataclass(frozen=True, slots=True)
class Matrix:
    """An entry of the product of matrices over the steps missed, the latest first; `of` has their series."""

    name: str
    of: tuple[tuple[str, ...], ...]
    row: int
    column: int


Missed = Power | Product | Newest | Sum | Matrix
MissedKind = Literal["power", "product", "newest", "sum", "matrix"]


@dataclass(frozen=True, slots=True)
class ReplaySteps:
    """Rows catch up by going through the optimizer's own steps, one by one, with a gradient of 0."""


@dataclass(frozen=True, slots=True)
class CatchUp:
    """How rows catch up.

    Args:
        graph: from rows of a weight and its slots, and numbers `missed.NAME` [row, 1], to the same rows
            as they are after the steps that they missed.
        series: a graph from steps, counted from 1, to numbers for each of them; in float64.
        missed: what the numbers are.
    """

    graph: str
    series: str | None
    missed: tuple[Missed, ...]


def read_catch_up(item: Json) -> CatchUp | ReplaySteps:
    """Reads `catch_up`; VFL0613 where it is not as it must be."""
    if (replay := item.get("replay")) is not None and replay.flag():
        return ReplaySteps()
    series = item.get("series")
    return CatchUp(
        item["graph"].text(),
        None if series is None else series.text(),
        tuple(_missed(each) for each in item["missed"]),
    )


def _missed(item: Json) -> Missed:
    name, kind = item["name"].text(), item["kind"].one_of("power", "product", "newest", "sum", "matrix")
    if kind == "power":
        return Power(name, _share(item["base"]))
    if kind == "matrix":
        return _matrix(name, item)
    of = item["of"].text()
    if kind != "sum":
        return Product(name, of) if kind == "product" else Newest(name, of)
    growth, kept = item["growth"].number(), item.get("kept")
    mix = tuple((c, x) for c, x in (_pair(each) for each in item["mix"]))
    ratio = _share(item["ratio"])
    if growth < 1 or not all(0 <= x <= 1 for _, x in mix):
        raise item.wrong("a growth from 1 on, and shares between 0 and 1")
    if terms(ratio) > MOST_TERMS:
        raise item["ratio"].wrong(f"a ratio whose powers vanish after {MOST_TERMS:,} steps")
    return Sum(name, of, ratio, growth, mix, None if kept is None else kept.text())


def _matrix(name: str, item: Json) -> Matrix:
    of = tuple(row.texts() for row in item["of"])
    if not 1 <= len(of) <= MOST_ENTRIES or any(len(row) != len(of) for row in of):
        raise item["of"].wrong(f"the entries of a square matrix of at most {MOST_ENTRIES} rows")
    row, column = (item[each].integer(0) for each in ("row", "column"))
    if max(row, column) >= len(of):
        raise item.wrong("a row and a column of the matrix")
    return Matrix(name, of, row, column)


def _share(item: Json) -> float:
    value = item.number()
    if not 0 <= value < 1:
        raise item.wrong("a number of at least 0 and below 1")
    return value


def _pair(item: Json) -> tuple[float, float]:
    numbers = [each.number() for each in item]
    if len(numbers) != 2:
        raise item.wrong("two numbers")
    return numbers[0], numbers[1]


def terms(ratio: float) -> int:
    """How many powers of a ratio below 1 there are until the rest of them, summed up, is lost in rounding.

    The powers after the n-th add up to ratio^n of what all of them do.
    """
    return math.ceil(-60 * math.log(2) / math.log(ratio)) if ratio else 1

"""What a row of a table has to know of the steps that it missed: numbers, one a row each.

A row was last updated in step t and is read after step s; all i from 1 to s - t are the steps that it
missed. A series is a number for every step, such as its learning rate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

SeriesRule = Callable[["Build", "Node"], "Node"]
"""From the steps [n], counted from 1, to a number for each of them."""
Mix = tuple[tuple[float, float], ...]


class Power(Struct, frozen=True):
    """base^(s - t)."""

    base: float


class Product(Struct, frozen=True):
    """The product of `of` over the steps missed, each of them above 0."""

    of: str


class Newest(Struct, frozen=True):
    """The number of `of` at s, which is never 0; 0 before the first step."""

    of: str


class Sum(Struct, frozen=True):
    """The sum over i of `of` at t + i times ratio^i times a function of i.

    That is the sum over (c, x) in `mix` of c / (1 + x·(growth^i - 1)). Where `kept` names
    another series, each term is times all of its numbers after t + i.
    """

    of: str
    ratio: float
    growth: float
    mix: Mix
    kept: str | None = None


class Matrix(Struct, frozen=True):
    """An entry of the product over i of matrices, the latest first; they are given row by row as series."""

    of: tuple[tuple[str, ...], ...]
    row: int
    column: int


LARGEST_RATIO = 0.9995
"""Of a sum: with it momentum goes on for some 80,000 steps after a gradient."""

Missed = Power | Product | Newest | Sum | Matrix

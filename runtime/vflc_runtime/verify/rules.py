"""Optimizers as numbers, for whoever else has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """An optimizer of a spec.

    Args:
        name: as specs have it.
        options: numbers and booleans by our names; no `lr`, no `lazy`.
        rates: the learning rate of every step.
    """

    name: str
    options: Mapping[str, float | bool]
    rates: Sequence[float]


@dataclass(frozen=True, slots=True)
class Rules:
    """The optimizers of a model by id; `exact` where rows of tables catch up without an approximation."""

    by_id: Mapping[str, Rule]
    exact: bool

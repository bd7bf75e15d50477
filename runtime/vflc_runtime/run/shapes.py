"""What the JSON files of a run's folder must hold for the run to count on them, as types that msgspec checks.

Checksums tell damage; whoever edits a file may write its checksum, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from vflc_runtime.run.results import RunScores

Natural = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, lt=1)]


class _Tree(TypedDict, total=False):
    """An expression over columns, as far as its columns are looked for."""

    column: str
    args: list[_Tree]


class _Learned(TypedDict):
    """A spec that weights come from: one of `inherited.Ancestors`."""

    learned: list[tuple[str, str, str, str]]
    used: dict[str, dict[str, tuple[Any, _Tree | None, Any, int | None]]]
    told: dict[str, list[tuple[str, str, str]]]


class _Charged(TypedDict):
    """What `spending.begin` gave."""

    folder: str
    run: str
    draws: dict[str, str]


class _Settings(TypedDict):
    """What run.json holds of any run."""

    format: int
    model: str
    digest: str
    batch: Positive
    seed: Natural
    data: NotRequired[str]
    places: NotRequired[list[str]]


class _PartySettings(_Settings):
    """The same of a model over parties."""

    validation: Share
    fold: Natural
    shuffle: bool
    epochs: Positive
    steps: Positive | None
    checkpoint_steps: Positive | None
    folds: NotRequired[Positive]
    apart: NotRequired[bool]
    held_out: NotRequired[str]
    kept: NotRequired[str]
    given: NotRequired[str]
    before: NotRequired[list[_Learned]]
    ledger: NotRequired[_Charged]


class _PopulationSettings(_Settings):
    """The same of a model over a population."""

    cohort: Positive
    rounds: Positive
    checkpoint_rounds: Positive | None
    evaluate_every: Positive | None
    secret: str


class BestEpoch(TypedDict):
    """Which epoch was the best; `metric` and `value` where they are known here."""

    epoch: Natural
    metric: NotRequired[str]
    value: NotRequired[float]


class _Entry(TypedDict, total=False):
    """What came of an epoch, or a round."""

    epoch: Natural
    round: Natural
    step: Natural
    seconds: float
    train: RunScores
    validation: RunScores
    examples: Natural
    too_few_examples: Natural
    not_finite: Natural


def settings_fit(found: Mapping[str, Any], population: bool) -> bool:
    """Whether run.json of a run, over a population or over parties, holds what it must."""
    try:
        msgspec.convert(found, _PopulationSettings if population else _PartySettings)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return population or found["fold"] * (found["validation"] or 1) < 1


def entries_fit(history: list[dict[str, Any]], unit: str) -> bool:
    """Whether each entry says which epoch or round it is of, and what came of it."""
    try:
        msgspec.convert(history, list[_Entry])
    except (msgspec.MsgspecError, ValueError):  # the latter of half a surrogate pair
        return False
    return all({unit, "train", "validation"} <= entry.keys() for entry in history)

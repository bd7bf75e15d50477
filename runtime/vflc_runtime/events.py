"""What a run tells those who listen: the command line shows it, tests read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Scores = Mapping[str, float | None]
"""Losses and metrics by name; None where a metric is not defined."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The data is aligned and encoded; `report` counts rows dropped and values unknown."""

    rows: int
    report: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Aligning:
    """Private set intersection: `done` of `total` keys are computed, `what` says which."""

    what: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """`seconds` have passed without what `peer` is to send, which is waited for at most `limit` seconds.

    `kind` is what the transport calls it: "control" or "message" with its name, or a connection.
    """

    peer: str
    kind: str
    seconds: float
    limit: float


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that stops nothing yet; `code` has a page, as a failure's has."""

    code: str
    message: str
    help: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """The run goes on from its checkpoint at `step`, in epoch `epoch` (from 1)."""

    step: int
    epoch: int


@dataclass(frozen=True, slots=True)
class StartedFrom:
    """A run starts from what another has: `taken` weights; `fresh` ones are drawn, `gone` ones are no more.

    Of encoders, by input, `kept` are those that stay as they were fitted, and `fitted` those that were anew.
    """

    run: Path
    taken: int
    fresh: tuple[str, ...]
    gone: tuple[str, ...]
    kept: tuple[str, ...]
    fitted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EvidenceOfBins:
    """What a table of weights of evidence was fitted to.

    Args:
        name: of the table.
        feature, label: whose bins they are, and of what they are evidence.
        counts: of each bin [n, 2], the training rows with the label and those without, by their weight.
        woe: the weight of evidence of each bin [n].
        information: the information value of all bins.
    """

    name: str
    feature: str
    label: str
    counts: list[list[float]]
    woe: list[float]
    information: float


@dataclass(frozen=True, slots=True)
class TablesFitted:
    """Tables were fitted to the training rows: those that are here."""

    tables: Sequence[EvidenceOfBins]


@dataclass(frozen=True, slots=True)
class EpochStarted:
    """Epoch `epoch` of `epochs` (from 1) begins; it has `steps` steps."""

    epoch: int
    epochs: int
    steps: int


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of the epoch's `steps` are done; sent a few times a second.

    `loss` is None where no place here has a part of it.
    """

    epoch: int
    done: int
    steps: int
    loss: float | None
    rows_per_second: float


@dataclass(frozen=True, slots=True)
class EpochEnded:
    """An epoch's results; `best` says whether it is the best so far."""

    epoch: int
    seconds: float
    train: Scores
    validation: Scores
    best: bool


@dataclass(frozen=True, slots=True)
class Undefined:
    """The result `name`, which says which epoch is the best, is undefined in an epoch, which does not count.

    `validation` says whether it is that of validation rows.
    """

    epoch: int
    name: str
    validation: bool


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint was written."""

    step: int
    folder: Path


@dataclass(frozen=True, slots=True)
class FellBack:
    """`what` cannot be used as it is, in words; `to` is taken in its place."""

    what: str
    to: Path


@dataclass(frozen=True, slots=True)
class BeganAgain:
    """The process of `peer` is a new one: all go back to the last checkpoint that all hold."""

    peer: str


@dataclass(frozen=True, slots=True)
class Done:
    """The run is over; `reason` says why."""

    steps: int
    reason: str


@dataclass(frozen=True, slots=True)
class RoundEnded:
    """Round `number` of `rounds` (from 1) is over; `validation` is empty where it was not measured."""

    number: int
    rounds: int
    seconds: float
    train: Scores
    validation: Scores
    users_per_second: float


Event = (
    Loaded
    | Aligning
    | Waiting
    | Warned
    | Resumed
    | StartedFrom
    | TablesFitted
    | EpochStarted
    | Progress
    | EpochEnded
    | RoundEnded
    | Saved
    | Undefined
    | FellBack
    | BeganAgain
    | Done
)
Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """Listens to nothing."""

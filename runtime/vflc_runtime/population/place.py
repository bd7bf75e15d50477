"""What both places of a population have in common: steps that only places of parties take."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NoReturn

from vflc_common.arrays import Array

from vflc_runtime.bundle.plan import PlacePlan
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.errors import PEER, Failure


class PopulationPlace(ABC):
    """One place as the executor drives it, see `StepRunner`; the bundle's checks admit only its own steps."""

    def __init__(self, plan: PlacePlan) -> None:
        self._place = plan.place

    def _none(self, what: str) -> NoReturn:
        raise damaged(f"plan.json of {self._place!r}: this place does not {what}")

    @abstractmethod
    def begin(self, program: str, inputs: Mapping[str, Array], rows: int, step: int) -> None:
        """See `StepRunner`."""

    @abstractmethod
    def put(self, value: str, tensor: Array) -> None:
        """See `StepRunner`."""

    @abstractmethod
    def get(self, value: str) -> Array:
        """See `StepRunner`."""

    def run(self, graph: str) -> None:
        """See `StepRunner`."""
        self._none(f"run {graph!r}")

    def catch_up(self, update: str) -> None:
        """See `StepRunner`."""
        self._none(f"catch up with {update!r}")

    def update(self, update: str) -> None:
        """See `StepRunner`."""
        self._none(f"make update {update!r}")

    def assign(self, array: str) -> None:
        """See `StepRunner`."""
        self._none(f"assign {array!r}")


def refused(place: str, what: str) -> Failure:
    """VFL0615: what came is declared, but does not fit what it answers, or cannot be."""
    return Failure(
        "VFL0615",
        f"{place!r} refused what it was sent: {what}",
        "run the same bundle on both sides; nothing undeclared is accepted",
        exit_code=PEER,
    )

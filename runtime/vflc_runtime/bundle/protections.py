"""What the manifest says of each protection, and whether a place's guard is that. VFL0613 where not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vflc_common.words import PRIVACY, PROGRAMS, Accounting

from vflc_runtime.bundle.plan_guards import Guard, number_of, read_accounting
from vflc_runtime.bundle.reading import Json, damaged

ROUNDING = 1e-9
"""Relative, of a probability that was computed elsewhere."""


@dataclass(frozen=True, slots=True)
class Promised:
    """A protection as all parties are told of it; the fields are those of its guard.

    Args:
        guards: how many of its kind each message of a row passes in an epoch.
    """

    id: str
    place: str
    mechanism: str
    options: Mapping[str, Any]
    privacy: str
    accounting: Accounting | None
    promise: str
    programs: tuple[str, ...]
    guards: int

    def number(self, option: str) -> float:
        """An option that must be a number; VFL0613 where it is none."""
        return number_of(self.options, option, self.id)


def read_promised(item: Json) -> Promised:
    """Reads one of `protections`."""
    return Promised(
        id=item["id"].text(),
        place=item["place"].name(),
        mechanism=item["mechanism"].text(),
        options={name: option.value for name, option in item["options"].items()},
        privacy=item["privacy"].one_of(*PRIVACY),
        accounting=read_accounting(item),
        promise=item["promise"].text(),
        programs=tuple(program.one_of(*PROGRAMS) for program in item["programs"]),
        guards=item["guards"].integer(1),
    )


def check_guard(guard: Guard, place: str, told: Promised | None, foreign: bool) -> None:
    """A guard is what the manifest says, and bounds what it says by what a run counts."""
    mine = Promised(
        guard.id, place, guard.mechanism, guard.options, guard.privacy, guard.accounting, guard.promise,
        guard.programs, guard.releases,
    )  # fmt: skip
    if mine != told:
        raise damaged(f"plan.json of {place!r}: guard {guard.id!r} is not what manifest.json says of it")
    if (guard.privacy == "proven") != (guard.accounting is not None) or not _counts(guard):
        raise damaged(
            f"plan.json of {place!r}: guard {guard.id!r} claims that it is {guard.privacy!r}, "
            "but it does not draw what a run counts for that"
        )
    if foreign and not _only_adds_noise(guard):
        raise damaged(
            f"plan.json of {place!r}: guard {guard.id!r} is of another package's mechanism, which may add "
            "noise, and no more"
        )


def _counts(guard: Guard) -> bool:
    """Whether draws are what is counted: all noise as the options say, or answers by their ε."""
    if guard.calibrated:
        noise = guard.options.get("noise")
        scale = None if noise is None else guard.number("noise") * guard.number("clip")
        return bool(guard.draws) and all(d.kind == "normal" and d.scale == scale for d in guard.draws)
    if guard.answers:
        first = guard.draws[0] if guard.draws else None
        if first is None or first.classes < 2 or any(draw.kind != "shift" for draw in guard.draws):
            return False
        grown = math.exp(min(guard.number("epsilon"), 700.0))
        return math.isclose(first.keep, grown / (grown + first.classes - 1), rel_tol=ROUNDING)
    return True


def _only_adds_noise(guard: Guard) -> bool:
    """Whether it bounds nothing, and draws at most fresh noise of a scale of its own."""
    fresh = all(draw.kind == "normal" and draw.scale is not None and not draw.once for draw in guard.draws)
    return guard.privacy == "none" and fresh and (guard.reads is None) == (guard.solver is None)

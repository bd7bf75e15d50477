"""What a plan says of the protections at a place: what guards are fed with, and what they guard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from vflc_common.words import ACCOUNTING, DRAWS, PHASES, PRIVACY, Accounting, DrawKind

from vflc_runtime.bundle.reading import Json, damaged
from vflc_runtime.errors import Where


@dataclass(frozen=True, slots=True)
class Draw:
    """What a guard feeds the graphs with, so many numbers for each row of the batch, or for a step.

    Args:
        kind: `normal` (fresh noise), `memory` (what the row's last message left out), `shift` (drawn
            once for a row).
        scale: deviation of the noise; None where the run calibrates it.
        keep: probability of the shift 0; else it is one of 1 to `classes` - 1.
        width: numbers a row; None for a single one without an axis of its own.
        kept: id of the value that becomes the memory.
        once: whether `width` numbers are drawn for a step, not for a row.
    """

    id: str
    kind: DrawKind
    scale: float | None
    keep: float
    classes: int
    dtype: str
    width: int | None
    kept: str | None
    once: bool = False


@dataclass(frozen=True, slots=True)
class Guard:
    """A protection at this place.

    Args:
        before, after: ids of values; what crosses is `after`.
        graph: what computes `after`, of a guard with a graph of its own.
        reads: the label that it needs besides.
        releases: how many messages of a row the protection covers in an epoch, or in a pass after it.
        programs: in which it is at work.
        privacy: `proven` where a theorem bounds what it lets through, `partial`, or `none`.
        accounting: how a run counts what one that is `proven` spends; None for all others.
        solver: what makes `after` in the step itself, by name; None where graphs do.
        where: where the spec asks for it.
    """

    id: str
    mechanism: str
    options: Mapping[str, Any]
    phase: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    graph: str | None
    draws: tuple[Draw, ...]
    reads: str | None
    releases: int
    programs: tuple[str, ...]
    privacy: str
    promise: str
    where: Where | None
    accounting: Accounting | None
    solver: str | None

    @property
    def calibrated(self) -> bool:
        """Whether the run finds the noise, or what it spends."""
        return self.accounting == "messages"

    @property
    def answers(self) -> bool:
        """Whether it draws a label once for each row, which others are told in its place."""
        return self.accounting == "draw"

    @property
    def passes(self) -> int:
        """For how many passes of evaluation or prediction after training the noise is enough besides."""
        return 0 if self.options.get("passes") is None else int(self.number("passes"))

    def number(self, option: str) -> float:
        """An option that must be a number; VFL0613 where it is none."""
        return number_of(self.options, option, self.id)


def number_of(options: Mapping[str, Any], option: str, id: str) -> float:
    """An option of a protection that must be a number; VFL0613 where it is none."""
    value = options.get(option)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise damaged(f"the protection {id!r} has no number {option!r}")
    return float(value)


def read_accounting(item: Json) -> Accounting | None:
    """How what is `proven` is counted; VFL0613 where that is no such way."""
    found = item.get("accounting")
    return None if found is None else cast(Accounting, found.one_of(*ACCOUNTING))


def read_guard(item: Json) -> Guard:
    """Reads one of `guards`; VFL0613 where it is not as it must be."""
    graph, reads, where = item.get("graph"), item.get("reads"), item.get("where")
    solver = item.get("solver")
    return Guard(
        id=item["id"].text(),
        mechanism=item["mechanism"].text(),
        options={name: option.value for name, option in item["options"].items()},
        phase=item["phase"].one_of(*PHASES),
        before=item["before"].texts(),
        after=item["after"].texts(),
        graph=None if graph is None else graph.text(),
        draws=tuple(_draw(draw) for draw in item["draws"]),
        reads=None if reads is None else reads.text(),
        releases=item["releases"].integer(1),
        programs=item["programs"].texts(),
        privacy=item["privacy"].one_of(*PRIVACY),
        promise=item["promise"].text(),
        where=None if where is None else dict(where.value),
        accounting=read_accounting(item),
        solver=None if solver is None else solver.text(),
    )


def _draw(item: Json) -> Draw:
    scale, kept, shape = item.get("scale"), item.get("kept"), item["shape"].open_shape()
    kind, once = item["kind"].one_of(*DRAWS), len(shape) == 1 and shape[0] is not None
    if not (once and kind == "normal") and (
        len(shape) not in (1, 2) or shape[0] is not None or None in shape[1:]
    ):
        raise item["shape"].wrong("the batch and a width, or of noise for a step a width alone")
    return Draw(
        id=item["id"].text(),
        kind=cast(DrawKind, kind),
        scale=None if scale is None else scale.number(),
        keep=item["keep"].number(),
        classes=item["classes"].integer(),
        dtype=item["dtype"].one_of("float", "int"),
        width=shape[-1],
        kept=None if kept is None else kept.text(),
        once=once,
    )

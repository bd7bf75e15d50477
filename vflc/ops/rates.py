"""Learning rates: numbers, or what schedules make of the steps done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from vflc.ir.build import Build
from vflc.ir.graph import Node
from vflc.ops.registry import Options
from vflc.ops.rules import number
from vflc.ops.schedule import Schedule
from vflc.ops.schedules import SCHEDULES

T = TypeVar("T")


def rate(b: Build, step: Node, value: Any) -> Node:
    """The learning rate at a step.

    Args:
        b: the graph under construction.
        step: a scalar, 1 for the first update; or many of them, [n].
        value: a number, or `{"schedule": name, "options": {…}}`.
    """
    if not isinstance(value, Mapping):
        return number(b, value)
    return rate_after(b, b.op("sub", step, number(b, 1)), value)


def rate_after(b: Build, done: Node, value: Any) -> Node:
    """The learning rate when so many steps are done."""
    if not isinstance(value, Mapping):
        return number(b, value)
    return _asked(value, lambda schedule, options: schedule.after(b, done, options))


def reaches_zero(value: Any) -> bool:
    """Whether a learning rate, a number or a schedule, is 0 in some step."""
    if not isinstance(value, Mapping):
        return bool(value == 0)
    return _asked(value, lambda schedule, options: schedule.reaches_zero(options))


def highest(value: Any) -> float:
    """What a learning rate, a number or a schedule, never exceeds."""
    if not isinstance(value, Mapping):
        return float(value)
    return _asked(value, lambda schedule, options: schedule.highest(options))


def _asked(value: Options, ask: Callable[[Schedule, dict[str, Any]], T]) -> T:
    with SCHEDULES.using(value["schedule"]) as schedule:
        return ask(schedule, schedule.filled(value["options"]))

"""What a schedule is: a learning rate that changes with the step, in the graph's own ops."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from msgspec import Struct

from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.types import Axis, TensorType
from vflc.ops.registry import OpError, Options
from vflc.ops.rules import as_node, number

T = TypeVar("T")


class Schedule(Struct, frozen=True):
    """A learning rate by step.

    Args:
        name: as users write it.
        doc: one sentence.
        parameters: options and their defaults, in order; None where one must be given.
        make: from (build, how many steps are done, all options) to the rate. Steps are a scalar or, where
            many are asked for at once, [n]; the rate is a number for each, or a scalar if all have the same.
        highest: from all options to what the rate never exceeds; infinity where nothing is known.
        reaches_zero: from all options to whether it may be 0 in some step; it may where nothing is known.
        rates: which options may be a schedule themselves; the others are numbers.
    """

    name: str
    doc: str
    parameters: Options
    make: Callable[[Build, Node, Options], Node]
    highest: Callable[[Options], float] = lambda o: math.inf
    reaches_zero: Callable[[Options], bool] = lambda o: True
    rates: tuple[str, ...] = ()

    def filled(self, options: Options) -> dict[str, Any]:
        """The options with the defaults of those that are left out."""
        return {**self.parameters, **options}

    def after(self, b: Build, done: Node, options: Options) -> Node:
        """The rate when so many steps are done, from all options."""
        return as_node(self.make(b, done, options))

    def check(self, options: Options) -> None:
        """Refuses options that give no rates.

        Raises:
            OpError: VFL0203, an option is none, or for a step there is something else than one number.
        """
        from vflc.ops import infer

        for name, value in options.items():
            if isinstance(value, bool) or (isinstance(value, Mapping) and name not in self.rates):
                raise OpError(f"{self.name}: `{name}` takes a number", None, "VFL0203")
        for steps in (TensorType((Axis(None, None),)), TensorType(())):
            b = Build(Graph(), infer)
            done = b.graph.add(Node("done", "feature", (), {}, steps))
            made = self.after(b, done, self.filled(options))
            if made.type not in (steps, TensorType(())):
                raise OpError(f"{self.name} makes {made.type}, not one number a step", None, "VFL0203")


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
    from vflc.ops.schedules import SCHEDULES

    with SCHEDULES.using(value["schedule"]) as schedule:
        return ask(schedule, schedule.filled(value["options"]))

"""Learning rates that change with the step, in the graph's own ops."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

Options = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A learning rate by step.

    Args:
        name: as users write it.
        doc: one sentence.
        parameters: options and their defaults, in order; None where one must be given.
        make: from (build, number of steps done, all options) to the rate, a scalar.
    """

    name: str
    doc: str
    parameters: Options
    make: Callable[[Build, Node, Options], Node]


def rate(b: Build, step: Node, value: Any) -> Node:
    """The learning rate at a step.

    Args:
        b: the graph under construction.
        step: a scalar, 1 for the first update.
        value: a number, or `{"schedule": name, "options": {…}}`.
    """
    if not isinstance(value, Mapping):
        return number(b, value)
    return _rate_after(b, b.op("sub", step, number(b, 1)), value)


def _rate_after(b: Build, done: Node, value: Any) -> Node:
    if not isinstance(value, Mapping):
        return number(b, value)
    schedule = SCHEDULES[value["schedule"]]
    return schedule.make(b, done, {**schedule.parameters, **value["options"]})


def reaches_zero(value: Any) -> bool:
    """Whether a learning rate, a number or a schedule, is 0 in some step."""
    if not isinstance(value, Mapping):
        return bool(value == 0)
    options = {**SCHEDULES[value["schedule"]].parameters, **value["options"]}
    falls = value["schedule"] == "cosine" and options["alpha"] == 0
    return falls or value["schedule"] == "warmup" or reaches_zero(options["lr"])


def highest(value: Any) -> float:
    """What a learning rate, a number or a schedule, never exceeds."""
    if not isinstance(value, Mapping):
        return float(value)
    options = {**SCHEDULES[value["schedule"]].parameters, **value["options"]}
    if value["schedule"] == "step" and options["factor"] > 1 and options["lr"]:
        return math.inf
    then = options.get("then", "lr")
    return max(highest(options["lr"]), 0 if then == "lr" else highest(then))


def _constant(b: Build, done: Node, o: Options) -> Node:
    return number(b, o["lr"])


def _cosine(b: Build, done: Node, o: Options) -> Node:
    share = b.op("div", b.op("minimum", done, number(b, o["steps"])), number(b, o["steps"]))
    wave = b.op("add", b.op("cos", b.op("mul", share, number(b, math.pi))), number(b, 1))
    height = b.op("mul", wave, number(b, 0.5 * (1 - o["alpha"])))
    return b.op("mul", b.op("add", height, number(b, o["alpha"])), number(b, o["lr"]))


def _step(b: Build, done: Node, o: Options) -> Node:
    stage = b.op("floor", b.op("div", done, number(b, o["every"])))
    return b.op("mul", number(b, o["lr"]), b.op("pow", number(b, o["factor"]), stage))


def _warmup(b: Build, done: Node, o: Options) -> Node:
    steps = number(b, o["steps"])
    rising = b.op("mul", b.op("div", done, steps), number(b, o["lr"]))
    then = o["lr"] if o["then"] == "lr" else o["then"]
    later = _rate_after(b, b.op("maximum", b.op("sub", done, steps), number(b, 0)), then)
    return b.op("where", b.op("less", done, steps), rising, later)


SCHEDULES: dict[str, Schedule] = {
    schedule.name: schedule
    for schedule in (
        Schedule("constant", "One rate for all steps.", {"lr": None}, _constant),
        Schedule(
            "cosine", "Falls in `steps` along half a cosine to `alpha` times the rate.",
            {"lr": None, "steps": None, "alpha": 0.0}, _cosine,
        ),
        Schedule(
            "step", "Times `factor` after `every` so many steps.",
            {"lr": None, "every": None, "factor": 0.1}, _step,
        ),
        Schedule(
            "warmup", "Rises from 0 over `steps`, then stays, or goes on as the schedule `then` does.",
            {"lr": None, "steps": None, "then": "lr"}, _warmup,
        ),
    )
}  # fmt: skip

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
from vflc.ops.rules import as_node

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

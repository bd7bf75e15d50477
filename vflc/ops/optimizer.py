"""What an optimizer is: an update of each weight from its gradient, in the graph's own ops.

The formulas are those of Keras 3, element by element on one-dimensional values [n], so that one
graph serves dense weights and the touched rows of tables alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from vflc.ir.types import Axis, TensorType
from vflc.ops.missed import Missed, SeriesRule
from vflc.ops.registry import OpError, Options
from vflc.ops.rules import as_node, number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

Updated = tuple["Node", "dict[str, Node]"]
UpdateRule = Callable[["Build", "Node", "Node", "Node", "dict[str, Node]", Options], Updated]
CatchUpRule = Callable[["Build", "Node", "dict[str, Node]", "dict[str, Node]", Options], Updated]


class Optimizer(Struct, frozen=True):
    """An update rule.

    Args:
        name: as users write it.
        doc: one sentence and the paper.
        parameters: options and their defaults, in order. `lr` is a number or
            `{"schedule": name, "options": {…}}`.
        make_slots: from all options to the slots a weight needs and their initial values.
        make_update: from (build, weight, gradient, step, slots, all options) to the new weight
            and the new slots; `step` is a scalar, 1 for the first update.
        make_missed: from all options to what must be known, a number a row, of the steps that a row
            missed; None where steps without a gradient change nothing.
        make_catch_up: from (build, weight, slots, these numbers, all options) to the weight and the
            slots after those steps. Numbers [row, 1] stand beside weights and slots [row, width].
        refuses: from all options to what they make together of an update that has no value, or no sense, and
            what to do about it; None where all is well.
        under_l2: with a quadratic penalty in every step the rule that makes up for missed ones in one go,
            where there is one.
        close: whether what it makes up for is close, not exact.
        keras: the class of Keras that does the same, where there is one; `vflc verify` compares with it.
        keras_options: options that Keras has under another name.
    """

    name: str
    doc: str
    parameters: Options
    make_slots: Callable[[Options], dict[str, float]]
    make_update: UpdateRule
    make_missed: Callable[[Options], dict[str, Missed]] | None = None
    make_series: Callable[[Options], dict[str, SeriesRule]] | None = None
    make_catch_up: CatchUpRule | None = None
    refuses: Callable[[Options], tuple[str, str] | None] | None = None
    under_l2: Callable[[float], Optimizer] | None = None
    close: bool = False
    keras: str | None = None
    keras_options: Mapping[str, str] = field(default_factory=dict)

    def filled(self, options: Options) -> dict[str, Any]:
        """The options with the defaults of those that are left out."""
        return {**self.parameters, **options}

    def check(self, options: Options) -> None:
        """Refuses options out of their range.

        Raises:
            OpError: VFL0203 or VFL0205.
        """
        for name, default in self.parameters.items():
            value = options.get(name, default)
            scheduled = isinstance(value, Mapping) and name != "lr"
            if scheduled or isinstance(value, bool) != isinstance(default, bool):
                takes = "`true` or `false`" if isinstance(default, bool) else "a number"
                raise OpError(f"{self.name}: `{name}` takes {takes}", None, "VFL0203")
        check_options(self.name, self.filled(options))
        if self.refuses is not None and (refused := self.refuses(self.filled(options))) is not None:
            what, help = refused
            raise OpError(f"{self.name}: {what}", help, "VFL0205")

    def slots(self, options: Options) -> dict[str, float]:
        """Names and initial values of what the optimizer keeps for each weight."""
        return {name: float(value) for name, value in self.make_slots(self.filled(options)).items()}

    def update(
        self, b: Build, weight: Node, gradient: Node, step: Node, slots: dict[str, Node], options: Options
    ) -> Updated:
        """The weight and the slots after a step."""
        return self.make_update(b, weight, gradient, step, slots, self.filled(options))

    def missed(self, options: Options) -> dict[str, Missed]:
        """What a row has to know of the steps that it missed, by name; nothing where they change nothing.

        A row of a table is updated only in steps that read it. What the steps between would have
        done to it, had every row been updated, is made up for at once, before it is next read, so
        that training with tables follows the dense optimizer at the cost of the rows read. With
        `lazy` it is not: then a step without a gradient is none.
        """
        options = self.filled(options)
        return {} if self.make_missed is None or options.get("lazy") else self.make_missed(options)

    def series(self, options: Options) -> dict[str, SeriesRule]:
        """By name the series that `missed` speaks of."""
        return {} if self.make_series is None else self.make_series(self.filled(options))

    def catch_up(
        self, b: Build, weight: Node, slots: dict[str, Node], missed: dict[str, Node], options: Options
    ) -> Updated:
        """The weight and the slots after the steps that `missed` tells of."""
        assert self.make_catch_up is not None
        return self.make_catch_up(b, weight, slots, missed, self.filled(options))


def check_foreign(found: Optimizer, options: Options) -> None:
    """Refuses a rule of another package that makes something else of weight and slots than new ones.

    Raises:
        OpError: VFL0695, with what is wrong.
    """
    from vflc.ir.build import Build
    from vflc.ir.graph import Graph, Node
    from vflc.ops import infer

    b, flat = Build(Graph(), infer), TensorType((Axis("element", None),))
    types = {
        "weight": flat,
        "gradient": flat,
        "step": TensorType(()),
        **dict.fromkeys(found.slots(options), flat),
    }
    given = {name: b.graph.add(Node(name, "feature", (), {}, each)) for name, each in types.items()}
    weight, gradient, step, *_ = given.values()
    slots = {name: given[name] for name in found.slots(options)}
    new, kept = found.update(b, weight, gradient, step, slots, options)
    made = {"weight": as_node(new), **{name: as_node(each) for name, each in kept.items()}}

    def wrong(what: str) -> OpError:
        help = "docs/extending.md says what an optimizer of another package may be"
        return OpError(f"`{found.name}` of another package gives {what}", help, "VFL0695")

    if made.keys() != {"weight", *slots}:
        raise wrong(f"new values for {', '.join(made)}, not for {', '.join(['weight', *slots])}")
    for name, each in made.items():
        if each.type.sizes != flat.sizes:
            raise wrong(f"something else than one number for each of {name}")


RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "momentum": (lambda v: 0 <= v < 1, "at least 0 and below 1"),
    "beta1": (lambda v: 0 <= v < 1, "at least 0 and below 1"),
    "beta2": (lambda v: 0 <= v < 1, "at least 0 and below 1"),
    "rho": (lambda v: 0 <= v < 1, "at least 0 and below 1"),
    "alpha": (lambda v: 0 <= v <= 1, "between 0 and 1"),
    "factor": (lambda v: v > 0, "above 0"),
    "every": (lambda v: v >= 1, "a number of steps, 1 or more"),
    "steps": (lambda v: v >= 1, "a number of steps, 1 or more"),
    "lr_power": (lambda v: v <= 0, "0 or below"),
}


def check_options(owner: str, options: Options) -> None:
    """Refuses options of an optimizer, or of a schedule in it, out of their range: OpError with VFL0205."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            check_options(value["schedule"], value["options"])
        elif name in RANGES and not RANGES[name][0](value):
            raise OpError(f"{owner}: `{name}` is {value:g}", f"`{name}` is {RANGES[name][1]}", "VFL0205")


SMALLEST = 2.0**-126
"""What float32 holds in full: beside smaller numbers a divisor is none."""
STILL = "a weight that has had no gradient yet would change by 0 / 0"
LAZY = {"lazy": False}
"""Of optimizers that make up for missed steps, whether they leave it."""


def no_eps(o: Options) -> tuple[str, str] | None:
    """Refuses an `eps` of 0."""
    return (f"`eps` is 0: {STILL}", "choose a value above 0, such as 1e-7") if o["eps"] < SMALLEST else None


def times(b: Build, factor: float, x: Node) -> Node:
    """A number times a value."""
    return b.op("mul", number(b, factor), x)


def less_power(b: Build, base: float, step: Node) -> Node:
    """1 - base^step."""
    return b.op("sub", number(b, 1), b.op("pow", number(b, base), step))

"""Optimizers: an update of each weight from its gradient, in the graph's own ops.

The formulas are those of Keras 3, element by element on one-dimensional values [n], so that one
graph serves dense weights and the touched rows of tables alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vflc.ops.missed import Missed, Newest, Power, Product, Series, Sum
from vflc.ops.registry import OpError
from vflc.ops.rules import number
from vflc.ops.schedules import SCHEDULES, Schedule, highest, rate, reaches_zero

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

__all__ = ["OPTIMIZERS", "SCHEDULES", "Optimizer", "Schedule", "rate"]

Options = Mapping[str, Any]
Updated = tuple["Node", "dict[str, Node]"]
Update = Callable[["Build", "Node", "Node", "Node", "dict[str, Node]", Options], Updated]
CatchUp = Callable[["Build", "Node", "dict[str, Node]", "dict[str, Node]", Options], Updated]


@dataclass(frozen=True, slots=True)
class Optimizer:
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
    """

    name: str
    doc: str
    parameters: Options
    make_slots: Callable[[Options], dict[str, float]]
    make_update: Update
    make_missed: Callable[[Options], dict[str, Missed]] | None = None
    make_series: Callable[[Options], dict[str, Series]] | None = None
    make_catch_up: CatchUp | None = None

    def filled(self, options: Options) -> dict[str, Any]:
        """The options with the defaults of those that are left out."""
        return {**self.parameters, **options}

    def check(self, options: Options) -> None:
        """Refuses options out of their range.

        Raises:
            OpError: VFL0203 or VFL0205.
        """
        for name, default in self.parameters.items():
            if isinstance(options.get(name, default), bool) != isinstance(default, bool):
                takes = "`true` or `false`" if isinstance(default, bool) else "a number"
                raise OpError(f"{self.name}: `{name}` takes {takes}", None, "VFL0203")
        check_options(self.name, self.filled(options))
        if (refused := _ill_defined(self.name, self.filled(options))) is not None:
            what, help = refused
            raise OpError(f"{self.name}: {what}", help, "VFL0205")

    def slots(self, options: Options) -> dict[str, float]:
        """Names and initial values of what the optimizer keeps for each weight."""
        return self.make_slots(self.filled(options))

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
        return {} if self.make_missed is None or options["lazy"] else self.make_missed(options)

    def series(self, options: Options) -> dict[str, Series]:
        """By name the series that `missed` speaks of."""
        return {} if self.make_series is None else self.make_series(self.filled(options))

    def catch_up(
        self, b: Build, weight: Node, slots: dict[str, Node], missed: dict[str, Node], options: Options
    ) -> Updated:
        """The weight and the slots after the steps that `missed` tells of."""
        assert self.make_catch_up is not None
        return self.make_catch_up(b, weight, slots, missed, self.filled(options))


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
    """Refuses options of an optimizer or of a schedule within it that are out of their range."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            check_options(value["schedule"], value["options"])
        elif name in RANGES and not RANGES[name][0](value):
            raise OpError(f"{owner}: `{name}` is {value:g}", f"`{name}` is {RANGES[name][1]}", "VFL0205")


SMALLEST = 2.0**-126
"""What float32 holds in full: beside smaller numbers a divisor is none."""


def _ill_defined(name: str, o: Options) -> tuple[str, str] | None:
    """What options together make of an update that has no value, or no sense; and what to do about it."""
    still = "a weight without a gradient so far would be moved by 0 / 0"
    if name == "ftrl" and reaches_zero(o["lr"]):
        help = "take a rate above 0 in every step: no `warmup`, and `cosine` with an `alpha` above 0"
        return "`lr` is or becomes 0, and its formula divides by it", help
    if name == "ftrl" and max(o["initial"], o["l2"]) < SMALLEST:
        return f"`initial` and `l2` are 0: {still}", "take one of them above 0"
    if name == "adagrad" and max(o["initial"], o["eps"]) < SMALLEST:
        return f"`initial` and `eps` are 0: {still}", "take one of them above 0"
    if name in ("adam", "adamw", "rmsprop") and o["eps"] < SMALLEST:
        return f"`eps` is 0: {still}", "take one above 0, such as 1e-7"
    if name == "adamw" and (share := o["weight_decay"] * highest(o["lr"])) >= 1:
        what = f"`weight_decay` times the highest `lr` is {share:g}: a step takes that share of a weight away"
        return what, "take a `weight_decay` below 1 / lr"
    return None


# --- shared steps -----------------------------------------------------------------------------------


def _times(b: Build, factor: float, x: Node) -> Node:
    return b.op("mul", number(b, factor), x)


def _less_power(b: Build, base: float, step: Node) -> Node:
    """1 - base^step."""
    return b.op("sub", number(b, 1), b.op("pow", number(b, base), step))


# --- sgd --------------------------------------------------------------------------------------------


def _sgd_slots(o: Options) -> dict[str, float]:
    return {"momentum": 0.0} if o["momentum"] else {}


def _sgd(b: Build, w: Node, g: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    descent = b.op("mul", g, rate(b, step, o["lr"]))
    if not o["momentum"]:
        return b.op("sub", w, descent), {}
    velocity = b.op("sub", _times(b, o["momentum"], slots["momentum"]), descent)
    move = b.op("sub", _times(b, o["momentum"], velocity), descent) if o["nesterov"] else velocity
    return b.op("add", w, move), {"momentum": velocity}


def _sgd_missed(o: Options) -> dict[str, Missed]:
    return {"slower": Power(o["momentum"])} if o["momentum"] else {}


def _sgd_catch_up(b: Build, w: Node, slots: dict[str, Node], missed: dict[str, Node], o: Options) -> Updated:
    """The velocity holds the rates of the past: whatever the schedule, what is left is a geometric sum."""
    mu, velocity = o["momentum"], slots["momentum"]
    slower = b.op("mul", velocity, missed["slower"])
    ahead = mu if o["nesterov"] else 1.0
    return b.op("add", w, _times(b, ahead * mu / (1 - mu), b.op("sub", velocity, slower))), {
        "momentum": slower
    }


# --- adam and adamw -----------------------------------------------------------------------------------


def _adam_slots(o: Options) -> dict[str, float]:
    return {"m": 0.0, "v": 0.0}


def _adam_size(b: Build, step: Node, o: Options) -> Node:
    """What a weight moves by where m and √v are equal."""
    first, second = _less_power(b, o["beta1"], step), _less_power(b, o["beta2"], step)
    means = (1 - o["beta1"]) / math.sqrt(1 - o["beta2"])
    lr = b.op("mul", rate(b, step, o["lr"]), number(b, means))
    return b.op("div", b.op("mul", lr, b.op("sqrt", second)), first)


def _adam_speed(b: Build, m: Node, v: Node, o: Options) -> Node:
    return b.op("div", m, b.op("add", b.op("sqrt", v), number(b, _adam_eps(o))))


def _adam_eps(o: Options) -> float:
    """What eps is where v is a sum, not a mean."""
    return float(o["eps"] / math.sqrt(1 - o["beta2"]))


def _adam(b: Build, w: Node, g: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    """`m` and `v` are sums of what running means are of: two passes over all weights fewer."""
    m = b.op("add", _times(b, o["beta1"], slots["m"]), g)
    v = b.op("add", _times(b, o["beta2"], slots["v"]), b.op("square", g))
    move = b.op("mul", _adam_speed(b, m, v, o), _adam_size(b, step, o))
    return b.op("sub", w, move), {"m": m, "v": v}


def _adam_missed(o: Options) -> dict[str, Missed]:
    return {"m": Power(o["beta1"]), "v": Power(o["beta2"]), **_adam_moves(o)}


def _adam_moves(o: Options, kept: str | None = None) -> dict[str, Missed]:
    """What momentum goes on moving a row by, as a polynomial in what eps has of the divisor.

    The i-th step after a gradient moves a weight by size·β1^i·m / (β2^(i/2)·√v + ε). With
    x = ε / (√v + ε) that is m / (√v + ε) times size·ρ^i / (1 + x·(β2^(-i/2) - 1)), ρ = β1/√β2. The sum
    over the steps that were missed is a smooth function of x, the same for all weights; here is the
    parabola through its values at x = 0, 1/2 and 1.
    """
    if not o["beta1"]:
        return {}
    growth = 1 / math.sqrt(o["beta2"]) if o["beta2"] else math.inf
    return {
        name: Sum("size", o["beta1"] * growth, growth, mix, kept)
        for name, mix in (
            ("x0", ((1, 0),)),
            ("x1", ((-3, 0), (4, 0.5), (-1, 1))),
            ("x2", ((2, 0), (-4, 0.5), (2, 1))),
        )
    }


def _adam_series(o: Options) -> dict[str, Series]:
    return {"size": lambda b, step: _adam_size(b, step, o)}


def _adamw_missed(o: Options) -> dict[str, Missed]:
    means: dict[str, Missed] = {"m": Power(o["beta1"]), "v": Power(o["beta2"]), "kept": Product("kept")}
    return {**means, **_adam_moves(o, "kept")}


def _adamw_series(o: Options) -> dict[str, Series]:
    def kept(b: Build, step: Node) -> Node:
        return b.op("sub", number(b, 1), _times(b, o["weight_decay"], rate(b, step, o["lr"])))

    return {**_adam_series(o), "kept": kept}


def _adam_catch_up(b: Build, w: Node, slots: dict[str, Node], missed: dict[str, Node], o: Options) -> Updated:
    m, v = slots["m"], slots["v"]
    new = {"m": b.op("mul", m, missed["m"]), "v": b.op("mul", v, missed["v"])}
    eps = number(b, _adam_eps(o))
    if "kept" in missed:
        w = b.op("mul", w, missed["kept"])
    if "x0" not in missed:  # without beta1 there is no momentum
        return w, new
    divisor = b.op("add", b.op("sqrt", v), eps)
    x = b.op("div", eps, divisor)
    moves = missed["x2"]
    for name in ("x1", "x0"):
        moves = b.op("add", b.op("mul", x, moves), missed[name])
    return b.op("sub", w, b.op("mul", b.op("div", m, divisor), moves)), new


def _adamw(b: Build, w: Node, g: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    decay = b.op("mul", _times(b, o["weight_decay"], w), rate(b, step, o["lr"]))
    return _adam(b, b.op("sub", w, decay), g, step, slots, o)


# --- adagrad, ftrl, rmsprop -----------------------------------------------------------------------------


def _adagrad_slots(o: Options) -> dict[str, float]:
    return {"accumulator": float(o["initial"])}


def _adagrad(b: Build, w: Node, g: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    total = b.op("add", slots["accumulator"], b.op("square", g))
    descent = b.op("mul", rate(b, step, o["lr"]), g)
    move = b.op("div", descent, b.op("sqrt", b.op("add", total, number(b, o["eps"]))))
    return b.op("sub", w, move), {"accumulator": total}


def _ftrl_slots(o: Options) -> dict[str, float]:
    return {"accumulator": float(o["initial"]), "linear": 0.0}


def _ftrl(b: Build, w: Node, g: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    lr = rate(b, step, o["lr"])
    total = b.op("add", slots["accumulator"], b.op("square", g))
    grown = b.op("div", b.op("sub", _root(b, total, o), _root(b, slots["accumulator"], o)), lr)
    linear = b.op("add", slots["linear"], b.op("sub", g, b.op("mul", grown, w)))
    new = {"accumulator": total, "linear": linear}
    return _ftrl_weight(b, new, lr, o), new


def _root(b: Build, x: Node, o: Options) -> Node:
    return b.op("sqrt", x) if o["lr_power"] == -0.5 else b.op("pow", x, number(b, -o["lr_power"]))


def _ftrl_weight(b: Build, slots: dict[str, Node], lr: Node, o: Options) -> Node:
    """The weight follows from what is kept for it, whatever it was before."""
    quadratic = b.op("add", b.op("div", _root(b, slots["accumulator"], o), lr), number(b, 2 * o["l2"]))
    shrunk = b.op("clip", slots["linear"], low=-float(o["l1"]), high=float(o["l1"]))
    return b.op("div", b.op("sub", shrunk, slots["linear"]), quadratic)


def _ftrl_missed(o: Options) -> dict[str, Missed]:
    return {"lr": Newest("lr")}


def _ftrl_series(o: Options) -> dict[str, Series]:
    return {"lr": lambda b, step: rate(b, step, o["lr"])}


def _ftrl_catch_up(b: Build, w: Node, slots: dict[str, Node], missed: dict[str, Node], o: Options) -> Updated:
    """A step without a gradient makes the weight anew by its own rate: a first one takes it to 0."""
    started = b.op("greater", missed["lr"], number(b, 0))
    return b.op("where", started, _ftrl_weight(b, slots, missed["lr"], o), w), slots


def _rmsprop_slots(o: Options) -> dict[str, float]:
    names = ["velocity", *["momentum"] * bool(o["momentum"]), *["average"] * bool(o["centered"])]
    return dict.fromkeys(names, 0.0)


def _rmsprop(b: Build, w: Node, g: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    def mixed(old: Node, now: Node) -> Node:
        return b.op("add", _times(b, o["rho"], old), _times(b, 1 - o["rho"], now))

    new = {"velocity": mixed(slots["velocity"], b.op("square", g))}
    spread = new["velocity"]
    if o["centered"]:
        new["average"] = mixed(slots["average"], g)
        spread = b.op("sub", spread, b.op("square", new["average"]))
    scale = b.op("sqrt", b.op("add", spread, number(b, o["eps"])))
    move = b.op("div", b.op("mul", rate(b, step, o["lr"]), g), scale)
    if o["momentum"]:
        move = new["momentum"] = b.op("add", _times(b, o["momentum"], slots["momentum"]), move)
    return b.op("sub", w, move), new


def _rmsprop_missed(o: Options) -> dict[str, Missed]:
    return {"kept": Power(o["rho"]), **({"slower": Power(o["momentum"])} if o["momentum"] else {})}


def _rmsprop_catch_up(
    b: Build, w: Node, slots: dict[str, Node], missed: dict[str, Node], o: Options
) -> Updated:
    new = {name: b.op("mul", slots[name], missed["kept"]) for name in slots if name != "momentum"}
    if o["momentum"]:
        new["momentum"] = b.op("mul", slots["momentum"], missed["slower"])
        left = b.op("sub", slots["momentum"], new["momentum"])
        w = b.op("sub", w, _times(b, o["momentum"] / (1 - o["momentum"]), left))
    return w, new


# --- registration ---------------------------------------------------------------------------------------

_ADAM: dict[str, Any] = {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-7}
_LAZY = {"lazy": False}

OPTIMIZERS: dict[str, Optimizer] = {
    optimizer.name: optimizer
    for optimizer in (
        Optimizer(
            "sgd", "Gradient descent, with momentum (Polyak 1964), also ahead of itself (Nesterov 1983).",
            {"lr": 0.01, "momentum": 0.0, "nesterov": False, **_LAZY}, _sgd_slots, _sgd,
            _sgd_missed, None, _sgd_catch_up,
        ),
        Optimizer(
            "adam", "Adaptive moments (Kingma & Ba 2015).", {**_ADAM, **_LAZY}, _adam_slots, _adam,
            _adam_missed, _adam_series, _adam_catch_up,
        ),
        Optimizer(
            "adamw", "Adam with weight decay apart (Loshchilov & Hutter 2019).",
            {**_ADAM, "weight_decay": 0.004, **_LAZY}, _adam_slots, _adamw,
            _adamw_missed, _adamw_series, _adam_catch_up,
        ),
        Optimizer(
            "adagrad", "A rate for each weight that falls with its squared gradients (Duchi et al. 2011).",
            {"lr": 0.001, "initial": 0.1, "eps": 1e-7, **_LAZY}, _adagrad_slots, _adagrad,
        ),
        Optimizer(
            "ftrl", "Follow the regularized leader, which makes weights sparse (McMahan et al. 2013).",
            {"lr": 0.001, "l1": 0.0, "l2": 0.0, "initial": 0.1, "lr_power": -0.5, **_LAZY},
            _ftrl_slots, _ftrl, _ftrl_missed, _ftrl_series, _ftrl_catch_up,
        ),
        Optimizer(
            "rmsprop", "A rate divided by a running size of the gradient (Tieleman & Hinton 2012).",
            {"lr": 0.001, "rho": 0.9, "momentum": 0.0, "eps": 1e-7, "centered": False, **_LAZY},
            _rmsprop_slots, _rmsprop, _rmsprop_missed, None, _rmsprop_catch_up,
        ),
    )
}  # fmt: skip

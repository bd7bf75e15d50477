"""Optimizers: an update of each weight from its gradient, in the graph's own ops.

The formulas are those of Keras 3, element by element on one-dimensional values [n], so that one
graph serves dense weights and the touched rows of tables alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vflc.ops.registry import OpError
from vflc.ops.rules import number
from vflc.ops.schedules import SCHEDULES, Schedule, rate, reaches_zero

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

__all__ = ["OPTIMIZERS", "SCHEDULES", "Optimizer", "Schedule", "rate"]

Options = Mapping[str, Any]
Updated = tuple["Node", "dict[str, Node]"]
Update = Callable[["Build", "Node", "Node", "Node", "dict[str, Node]", Options], Updated]
Idle = Callable[["Build", "Node", "Node", "Node", "dict[str, Node]", Options], Updated]


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
        make_idle: from (build, weight, count, step, slots, all options) to the weight and the
            slots after `count` steps whose gradient was zero; None where such steps change nothing.
            `count` [row] has a number for each row of the others [row, width].
    """

    name: str
    doc: str
    parameters: Options
    make_slots: Callable[[Options], dict[str, float]]
    make_update: Update
    make_idle: Idle | None = None

    def filled(self, options: Options) -> dict[str, Any]:
        """The options with the defaults of those that are left out."""
        return {**self.parameters, **options}

    def check(self, options: Options) -> None:
        """Refuses options out of their range.

        Raises:
            OpError: VFL0205.
        """
        check_options(self.name, self.filled(options))
        if self.name == "ftrl" and reaches_zero(self.filled(options)["lr"]):
            help = "take a rate above 0 in every step: no `warmup`, and `cosine` with an `alpha` above 0"
            raise OpError("ftrl: `lr` is or becomes 0, and its formula divides by it", help, "VFL0205")

    def slots(self, options: Options) -> dict[str, float]:
        """Names and initial values of what the optimizer keeps for each weight."""
        return self.make_slots(self.filled(options))

    def update(
        self, b: Build, weight: Node, gradient: Node, step: Node, slots: dict[str, Node], options: Options
    ) -> Updated:
        """The weight and the slots after a step."""
        return self.make_update(b, weight, gradient, step, slots, self.filled(options))

    def decays(self, options: Options) -> bool:
        """Whether a step without a gradient changes a weight or what is kept for it."""
        return self.make_idle is not None and not (
            self.name == "sgd" and not self.filled(options)["momentum"]
        )

    def idle(
        self, b: Build, weight: Node, count: Node, step: Node, slots: dict[str, Node], options: Options
    ) -> Updated:
        """The weight and the slots after `count` steps without a gradient.

        A row of a table is updated only in steps that touch it. What the steps between would have
        done to it, had every row been updated, is made up for here at once, so that training with
        tables follows the dense optimizer at the cost of the rows touched. Running means shrink
        by their factor to the power of `count`; what momentum still moves is a geometric sum, in
        which the rate and the bias correction are those of the step at hand.
        """
        assert self.make_idle is not None
        return self.make_idle(b, weight, count, step, slots, self.filled(options))


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


# --- shared steps -----------------------------------------------------------------------------------


def _times(b: Build, factor: float, x: Node) -> Node:
    return b.op("mul", number(b, factor), x)


def _less_power(b: Build, base: float, step: Node) -> Node:
    """1 - base^step."""
    return b.op("sub", number(b, 1), b.op("pow", number(b, base), step))


def _to_the(b: Build, base: float, count: Node) -> Node:
    """base^count, for a base above 0."""
    return b.op("exp", _times(b, math.log(base), count)) if base > 0 else _is_zero(b, count)


def _is_zero(b: Build, count: Node) -> Node:
    """0^count: one for no steps at all."""
    return b.op("cast", b.op("less", count, number(b, 0.5)), dtype="float")


def _rowwise(b: Build, x: Node, factor: Node) -> Node:
    """Each row of [row, width] times its own number of [row].

    What is known of rows is computed on one axis: onnxruntime takes an element at a time where a
    last axis of one meets a scalar.
    """
    return b.op("mul", x, b.op("unsqueeze", factor, axis=1, name=None))


def _tail(b: Build, ratio: float, shrunk: Node) -> Node:
    """ratio + ratio² + … up to the power whose value is `shrunk`."""
    return _times(b, ratio / (1 - ratio), b.op("sub", number(b, 1), shrunk))


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


def _sgd_idle(b: Build, w: Node, count: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    mu, velocity = o["momentum"], slots["momentum"]
    shrunk = _to_the(b, mu, count)
    move = _rowwise(b, velocity, _tail(b, mu, shrunk))
    if o["nesterov"]:
        move = _times(b, mu, move)
    return b.op("add", w, move), {"momentum": _rowwise(b, velocity, shrunk)}


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
    return b.op("div", m, b.op("add", b.op("sqrt", v), number(b, o["eps"] / math.sqrt(1 - o["beta2"]))))


def _adam(b: Build, w: Node, g: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    """`m` and `v` are sums of what running means are of: two passes over all weights fewer."""
    m = b.op("add", _times(b, o["beta1"], slots["m"]), g)
    v = b.op("add", _times(b, o["beta2"], slots["v"]), b.op("square", g))
    move = b.op("mul", _adam_speed(b, m, v, o), _adam_size(b, step, o))
    return b.op("sub", w, move), {"m": m, "v": v}


def _adam_idle(b: Build, w: Node, count: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    ratio = o["beta1"] / math.sqrt(o["beta2"]) if o["beta2"] else 0.0
    first, second = _to_the(b, o["beta1"], count), _to_the(b, o["beta2"], count)
    new = {"m": _rowwise(b, slots["m"], first), "v": _rowwise(b, slots["v"], second)}
    if not 0 < ratio < 1:  # momentum outlives the size it is divided by: there is no sum to make up
        return w, new
    speed = _adam_speed(b, slots["m"], slots["v"], o)
    tail = b.op("mul", _adam_size(b, step, o), _tail(b, ratio, _to_the(b, ratio, count)))
    return b.op("sub", w, _rowwise(b, speed, tail)), new


def _adamw_idle(b: Build, w: Node, count: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    lost = b.op("sub", number(b, 1), _times(b, o["weight_decay"], rate(b, step, o["lr"])))
    return _adam_idle(b, _rowwise(b, w, b.op("pow", lost, count)), count, step, slots, o)


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
    def powered(x: Node) -> Node:
        return b.op("sqrt", x) if o["lr_power"] == -0.5 else b.op("pow", x, number(b, -o["lr_power"]))

    lr = rate(b, step, o["lr"])
    total = b.op("add", slots["accumulator"], b.op("square", g))
    grown = b.op("div", b.op("sub", powered(total), powered(slots["accumulator"])), lr)
    linear = b.op("add", slots["linear"], b.op("sub", g, b.op("mul", grown, w)))
    quadratic = b.op("add", b.op("div", powered(total), lr), number(b, 2 * o["l2"]))
    shrunk = b.op("clip", linear, low=-float(o["l1"]), high=float(o["l1"]))
    return b.op("div", b.op("sub", shrunk, linear), quadratic), {"accumulator": total, "linear": linear}


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


def _rmsprop_idle(b: Build, w: Node, count: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    shrunk = _to_the(b, o["rho"], count)
    means = [name for name in slots if name != "momentum"]
    new = {name: _rowwise(b, slots[name], shrunk) for name in means}
    if o["momentum"]:
        slower = _to_the(b, o["momentum"], count)
        w = b.op("sub", w, _rowwise(b, slots["momentum"], _tail(b, o["momentum"], slower)))
        new["momentum"] = _rowwise(b, slots["momentum"], slower)
    return w, new


# --- registration ---------------------------------------------------------------------------------------

_ADAM: dict[str, Any] = {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-7}

OPTIMIZERS: dict[str, Optimizer] = {
    optimizer.name: optimizer
    for optimizer in (
        Optimizer(
            "sgd", "Gradient descent, with momentum (Polyak 1964), also ahead of itself (Nesterov 1983).",
            {"lr": 0.01, "momentum": 0.0, "nesterov": False}, _sgd_slots, _sgd, _sgd_idle,
        ),
        Optimizer("adam", "Adaptive moments (Kingma & Ba 2015).", _ADAM, _adam_slots, _adam, _adam_idle),
        Optimizer(
            "adamw", "Adam with weight decay apart (Loshchilov & Hutter 2019).",
            {**_ADAM, "weight_decay": 0.004}, _adam_slots, _adamw, _adamw_idle,
        ),
        Optimizer(
            "adagrad", "A rate for each weight that falls with its squared gradients (Duchi et al. 2011).",
            {"lr": 0.001, "initial": 0.1, "eps": 1e-7}, _adagrad_slots, _adagrad,
        ),
        Optimizer(
            "ftrl", "Follow the regularized leader, which makes weights sparse (McMahan et al. 2013).",
            {"lr": 0.001, "l1": 0.0, "l2": 0.0, "initial": 0.1, "lr_power": -0.5}, _ftrl_slots, _ftrl,
        ),
        Optimizer(
            "rmsprop", "A rate divided by a running size of the gradient (Tieleman & Hinton 2012).",
            {"lr": 0.001, "rho": 0.9, "momentum": 0.0, "eps": 1e-7, "centered": False},
            _rmsprop_slots, _rmsprop, _rmsprop_idle,
        ),
    )
}  # fmt: skip

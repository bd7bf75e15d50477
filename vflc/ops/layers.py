"""Functions of the language with weights of their own: dense, mlp, normalisations, dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vflc.ir.build import Initializer
from vflc.ir.types import Axis
from vflc.ops.align import find_axis, numeric, spread
from vflc.ops.kinds import AxisName, Ints
from vflc.ops.registry import FUNCTIONS, OpError, function
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

ACTIVATIONS = (
    "linear", "identity", "none", "relu", "leaky_relu", "gelu", "sigmoid", "tanh", "softplus", "softmax",
    "swish", "silu", "prelu",
)  # fmt: skip
INITS = ("glorot_uniform", "uniform", "normal", "zeros", "ones")


def pick(what: str, name: str, names: Sequence[str]) -> str:
    """The option a user named.

    Raises:
        OpError: VFL0106, there is none of that name.
    """
    if name not in names:
        from difflib import get_close_matches

        near = get_close_matches(name, names, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"use one of: {', '.join(names)}"
        raise OpError(f"there is no {what} `{name}`", hint, "VFL0106")
    return name


def initial(init: str, scale: float) -> Initializer:
    """How a weight starts, from the names users write; `scale` is for `uniform` (±) and `normal`."""
    pick("initialisation", init, INITS)
    if init == "ones":
        return Initializer("constant", 1.0)
    return Initializer(init, float(scale)) if init in ("uniform", "normal") else Initializer(init)


def layer(b: Build, name: str) -> tuple[str, ...]:
    """The scope of a new layer: `logit.dense`, then `logit.dense_2`."""
    return tuple(b.fresh(name).split("."))


def positive(what: str, value: int) -> int:
    """The value; VFL0205 where it is below 1."""
    if value < 1:
        raise OpError(f"{what} is {value}", "it must be at least 1", "VFL0205")
    return value


def activate(b: Build, x: Node, activation: str) -> Node:
    pick("activation", activation, ACTIVATIONS)
    return x if activation in ("linear", "identity", "none") else FUNCTIONS[activation].expand(b, x)


def apply_dense(
    b: Build, x: Node, units: int, activation: str, bias: bool = True, init: Initializer | None = None
) -> Node:
    """A fully connected layer whose weights lie in the scope at hand."""
    x = numeric(b, x)
    if not x.type.row_axes or x.type.axes[-1].size is None:
        raise OpError(f"a dense layer on {x.type}", "its last axis must have a fixed size")
    single = x.type.rank == 1
    if single:
        x = b.op("unsqueeze", x, axis=0, name=None)
    fan_in, out = Axis(None, x.type.axes[-1].size), Axis(None, positive("`units`", units))
    inputs = [x, b.weight("kernel", (fan_in, out), init or Initializer("glorot_uniform"))]
    if bias:
        inputs.append(b.weight("bias", (out,), Initializer("zeros")))
    y = b.op("linear", *inputs)
    return activate(b, b.op("squeeze", y, axis=0) if single else y, activation)


def dense(
    b: Build,
    x: Node,
    units: int,
    activation: AxisName = "linear",
    bias: bool = True,
    init: AxisName = "glorot_uniform",
    scale: float = 0.05,
) -> Node:
    """A fully connected layer over the last axis: `dense(x, 32, activation = relu)`.

    The kernel starts Glorot-uniform (or `init = zeros`, `uniform`, `normal` with a `scale`), the bias at 0.
    """
    with b.within(scope=layer(b, "dense")):
        return apply_dense(b, x, units, activation, bias, initial(init, scale))


def mlp(
    b: Build,
    x: Node,
    units: Ints,
    activation: AxisName = "relu",
    dropout: float = 0.0,
    last: AxisName = "same",
    bias: bool = True,
) -> Node:
    """A stack of fully connected layers: `mlp(x, [256, 32])`.

    Every layer has the activation; `last = linear` gives the last one another. `dropout` is the
    rate of the dropout after every layer but the last.
    """
    if not units:
        raise OpError("an mlp without layers", "give the units of each: `mlp(x, [256, 32])`", "VFL0107")
    scope = layer(b, "mlp")
    for index, size in enumerate(units):
        final = index == len(units) - 1
        with b.within(scope=(*scope, str(index))):
            x = apply_dense(b, x, size, activation if last == "same" or not final else last, bias)
            if dropout and not final:
                x = dropout_(b, x, dropout)
    return x


def dropout_(b: Build, x: Node, rate: float) -> Node:
    """In training, each value becomes 0 with the probability `rate`; the others are divided by 1 - `rate`.

    Which ones follows from the seed, the step and the name alone (Srivastava et al. 2014).
    """
    x = numeric(b, x)
    if not 0 <= rate < 1:
        raise OpError(f"dropout with rate {rate:g}", "the rate must be at least 0 and below 1", "VFL0205")
    if rate == 0:
        return x
    with b.within(scope=layer(b, "dropout")):
        kept = b.op("greater_equal", b.random("random", x), number(b, rate))
        mask = b.op("mul", b.op("cast", kept, dtype="float"), number(b, 1 / (1 - rate)))
        return b.op("when_training", b.op("mul", x, mask), x)


def prelu(b: Build, x: Node, alpha: float = 0.0) -> Node:
    """The value, or where it is negative, the value times a learned slope (He et al. 2015).

    Each position of the last axis has a slope of its own, which starts at `alpha`.
    """
    x = numeric(b, x)
    if not x.type.row_axes or x.type.axes[-1].size is None:
        raise OpError(f"prelu of {x.type}", "its last axis must have a fixed size")
    with b.within(scope=layer(b, "prelu")):
        slope = b.weight("alpha", (Axis(None, x.type.axes[-1].size),), Initializer("constant", float(alpha)))
        below = b.op("mul", slope, b.op("relu", b.op("neg", x)))
        return b.op("sub", b.op("relu", x), below)


def _along(b: Build, vector: Node, x: Node, position: int) -> Node:
    """A vector with its one axis at that position of `x`."""
    first = int(x.type.batched)
    return spread(b, vector, (position - first,), x.type.rank - first)


def layer_norm(b: Build, x: Node, axis: AxisName | None = None, epsilon: float = 1e-3) -> Node:
    """Normalizes each row to mean 0 and variance 1 along an axis, times gamma plus beta (Ba et al. 2016)."""
    x, position = find_axis(b, numeric(b, x), axis, "layer_norm")
    kept = x.type.axes[position]
    with b.within(scope=layer(b, "layer_norm")):
        gamma, beta = (
            b.weight("gamma", (kept,), Initializer("constant", 1.0)),
            b.weight("beta", (kept,), Initializer("zeros")),
        )
        centred = b.op("sub", x, b.op("mean", x, axes=(position,), keep=True))
        variance = b.op("mean", b.op("square", centred), axes=(position,), keep=True)
        scaled = b.op("div", centred, b.op("sqrt", b.op("add", variance, number(b, epsilon))))
        return b.op(
            "add", b.op("mul", scaled, _along(b, gamma, x, position)), _along(b, beta, x, position)
        )  # fmt: skip


def batch_norm(
    b: Build, x: Node, axis: AxisName | None = None, momentum: float = 0.99, epsilon: float = 1e-3
) -> Node:
    """Normalizes each position of an axis to mean 0 and variance 1 over the batch, times gamma plus beta.

    Outside training, the running statistics are used (Ioffe & Szegedy 2015).
    """
    x, position = find_axis(b, numeric(b, x), axis, "batch_norm")
    if not 0 <= momentum <= 1:
        raise OpError(f"batch_norm with momentum {momentum:g}", "it must be between 0 and 1", "VFL0205")
    if not x.type.batched:
        raise OpError(f"batch_norm of {x.type}", "give it values with a row axis")
    kept, others = x.type.axes[position], tuple(i for i in range(x.type.rank) if i != position)
    with b.within(scope=layer(b, "batch_norm")):
        gamma, beta = (
            b.weight("gamma", (kept,), Initializer("constant", 1.0)),
            b.weight("beta", (kept,), Initializer("zeros")),
        )
        running_mean = b.weight("moving_mean", (kept,), Initializer("zeros"), trainable=False)
        running_variance = b.weight("moving_variance", (kept,), Initializer("constant", 1.0), trainable=False)
        batch_mean = b.op("mean", x, axes=others, keep=False)
        spread_out = b.op("square", b.op("sub", x, _along(b, batch_mean, x, position)))
        batch_variance = b.op("mean", spread_out, axes=others, keep=False)
        _remember(b, running_mean, batch_mean, momentum)
        _remember(b, running_variance, batch_variance, momentum)
        mean = b.op("when_training", batch_mean, running_mean)
        variance = b.op("when_training", batch_variance, running_variance)
        slope = b.op("div", gamma, b.op("sqrt", b.op("add", variance, number(b, epsilon))))
        centred = b.op("sub", x, _along(b, mean, x, position))
        scaled = b.op("mul", centred, _along(b, slope, x, position))
        return b.op("add", scaled, _along(b, beta, x, position))


def _remember(b: Build, running: Node, now: Node, momentum: float) -> None:
    """The running statistic after a step; no gradient flows into it."""
    old = b.op("mul", running, number(b, momentum))
    new = b.op("mul", b.op("stop_gradient", now), number(b, 1 - momentum))
    b.assigns.append((str(running.attrs["name"]), b.op("add", old, new).id))


function(dropout_, "dropout")
for _function in (dense, mlp, prelu, layer_norm, batch_norm):
    function(_function)

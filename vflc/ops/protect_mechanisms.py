"""Protections by name: their options, what they apply to, what they promise, and what they do to a row.

A mechanism sees joint rows [batch, n]: all that a protection covers, side by side. What the
graph's own ops can do it does there; what a run must draw, keep or solve is a `Draw` or a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from vflc_common.words import DrawKind, Privacy

from vflc.ops.registry import OpError
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node

Options = Mapping[str, Any]
Role = Literal["noise", "compression", "sum", "labels", "weights"]

HAIR = 1 - 2.0**-20
"""Rows are clipped this much below the bound, so that float32's rounding cannot put one above it."""
TINY = 1e-24


class Draw(Struct, frozen=True):
    """What a run feeds a mechanism with at every step.

    Args:
        kind: `normal` (fresh standard normal numbers times `scale`), `memory` (what the row's last
            message left out; starts at 0), `shift` (drawn once for a row: 0 with probability `keep`,
            else one of 1 to `classes` - 1, each as likely).
        scale: of the noise; None where the run must calibrate it.
    """

    kind: DrawKind
    scale: float | None = 1.0
    keep: float = 1.0
    classes: int = 0


Drawing = Callable[["Draw", int], "Node"]
"""Adds a draw of so many numbers a row to the graph at hand."""


class Applied(Struct, frozen=True):
    """What a mechanism made of a row: in training, outside of training, and what is kept for the row."""

    training: Node
    inference: Node
    kept: Node | None = None


class Option(Struct, frozen=True):
    """An option: what is accepted, in words and as a test; without a default it must be given.

    `words` are names that stand for themselves here, as in `per = batch`.
    """

    wanted: str
    check: Callable[[Any], bool]
    default: Any = None
    required: bool = False
    words: tuple[str, ...] = ()


class Mechanism(Struct, frozen=True):
    """A protection that users may ask for.

    Args:
        applies: of `activations`, `gradients`, `labels` and `weights`.
        role: what it is; noise may be followed by compression or a sum, nothing else combines.
        privacy: what it is worth: the one place that says so.
        promise: what holds of what crosses, from the options.
        apply: the row in the graph's own ops; None where a step of the run makes it.
        joint: whether it sees the joint row of all it covers, or each value by itself.
        check: refuses options that do not go together.
    """

    name: str
    doc: str
    options: Mapping[str, Option]
    applies: frozenset[str]
    role: Role
    privacy: Privacy
    promise: Callable[[Options], str]
    apply: Callable[[Build, Node, Options, Drawing], Applied] | None = None
    joint: bool = True
    check: Callable[[Options], None] = lambda options: None

    def filled(self, options: Options) -> dict[str, Any]:
        """The options with the defaults of those left out."""
        return {name: options.get(name, option.default) for name, option in self.options.items()}


# --- gaussian -------------------------------------------------------------------------------------


def clipped(b: Build, row: Node, clip: float) -> Node:
    """Each row, scaled down to an L2 norm of `clip` where it is longer."""
    return b.op("mul", row, shrinking(b, b.op("sum", b.op("square", row), axes=(1,), keep=True), clip))


def shrinking(b: Build, square: Node, clip: float, times: Node | None = None) -> Node:
    """[batch, 1]: what scales rows of these squared norms, `times` as long as they are, down to `clip`."""
    length = b.op("sqrt", b.op("maximum", square, number(b, TINY)))  # the slope of a root at 0 is infinite
    if times is not None:
        length = b.op("mul", length, times)
    return b.op("minimum", number(b, 1), b.op("div", number(b, clip * HAIR), length))


def gaussian(b: Build, row: Node, options: Options, draw: Drawing) -> Applied:
    """Clipping holds always, noise in training, and outside of it where `passes` says so."""
    short = clipped(b, row, options["clip"])
    scale = None if options["noise"] is None else options["noise"] * options["clip"]
    noisy = b.op("add", short, draw(Draw("normal", scale), _width(row)))
    return Applied(noisy, short if options["passes"] is None else noisy)


def check_noise(name: str) -> Callable[[Options], None]:
    """Refuses options of a calibrated mechanism that say nothing of its noise."""

    def check(options: Options) -> None:
        if options["noise"] is None and options["epsilon"] is None:
            raise OpError(
                f"{name} needs `epsilon` or `noise`",
                f"as in: {name}(clip = 1.0, epsilon = 8, delta = 1e-6)",
                "VFL0332",
            )

    return check


def promise_gaussian(options: Options) -> str:
    passes = options["passes"]
    span, further = "in training", ""
    if passes is not None:
        later = f" and {passes} pass{'es' * (passes != 1)} of evaluation or prediction" * (passes > 0)
        span = f"in training, its validation{later}"
        further = f"; each{' further' * (passes > 0)} pass sends one message of each row more"
    return (
        f"a row's own messages {span} are {_spent(options)} differentially private: joint rows are "
        f"clipped to an L2 norm of {options['clip']:g} and carry Gaussian noise{further}"
    )


def promise_dp_sgd(options: Options) -> str:
    return (
        f"what these weights learn of a row in a whole run is {_spent(options)} differentially private: "
        f"each row's gradient is clipped to an L2 norm of {options['clip']:g} and their sum carries "
        "Gaussian noise; no bound on the row's own messages"
    )


def _spent(options: Options) -> str:
    spent = f"ε = {options['epsilon']:g}" if options["epsilon"] is not None else "the ε that the run reports"
    return f"({spent}, δ = {options['delta']:g})"


# --- label_dp ---------------------------------------------------------------------------------------


def likeliest(prior: Sequence[float], epsilon: float) -> tuple[int, ...]:
    """The classes among which to answer: so many of the likeliest that the answer is most often true.

    Of the `n` likeliest a label is the answer with probability e^ε / (e^ε + n - 1) where it is one of
    them (RRWithPrior, Ghazi et al., "Deep learning with label differential privacy", 2021, algorithm 3).
    """
    order = sorted(range(len(prior)), key=lambda name: (-prior[name], name))
    grown = math.exp(epsilon)
    true = [sum(prior[c] for c in order[:n]) * grown / (grown + n - 1) for n in range(1, len(order) + 1)]
    return tuple(order[: 1 + true.index(max(true))])


def promise_label_dp(options: Options) -> str:
    among = ", answered among the likeliest classes of a public prior" if options["prior"] else ""
    return (
        f"labels are ε = {options['epsilon']:g} differentially private: all that training sends "
        f"depends on labels drawn once for each row by randomised response{among}"
    )


# --- against label leakage: Li et al., "Label leakage and protection in two-party split learning", 2022 ---


def max_norm(b: Build, row: Node, options: Options, draw: Drawing) -> Applied:
    """Noise along the gradient, so that the norms of all rows are the largest one in expectation."""
    square = b.op("sum", b.op("square", row), axes=(1,), keep=True)
    largest = b.op("max", square, axes=(0, 1), keep=False)
    least = b.op("add", b.op("mul", largest, number(b, 1e-12)), number(b, TINY))
    missing = b.op("sub", b.op("div", largest, b.op("maximum", square, least)), number(b, 1))
    spread = b.op("sqrt", b.op("maximum", missing, number(b, 0)))
    noisy = b.op("add", row, b.op("mul", row, b.op("mul", spread, draw(Draw("normal"), 1))))
    return Applied(noisy, row)


def iso(b: Build, row: Node, options: Options, draw: Drawing) -> Applied:
    """Isotropic noise whose expected norm is `scale` times the largest norm of the batch."""
    square = b.op("sum", b.op("square", row), axes=(1,), keep=True)
    largest = b.op("sqrt", b.op("max", square, axes=(0, 1), keep=False))
    spread = b.op("mul", largest, number(b, options["scale"] / math.sqrt(_width(row))))
    return Applied(b.op("add", row, b.op("mul", draw(Draw("normal"), _width(row)), spread)), row)


# --- compression ------------------------------------------------------------------------------------


def quantize(b: Build, row: Node, options: Options, draw: Drawing) -> Applied:
    """Numbers on the grid of their row or of the whole batch."""
    on_grid = _grid_of_row if options["per"] == "row" else _grid_of_batch
    return _with_feedback(b, row, draw, lambda x: on_grid(b, x, options["bits"]))


def _grid_of_row(b: Build, x: Node, bits: int) -> Node:
    """2^bits - 1 points from minus to plus the row's largest magnitude."""
    levels = number(b, 2 ** (bits - 1) - 1)
    top = b.op("maximum", b.op("max", b.op("abs", x), axes=(1,), keep=True), number(b, TINY))
    return b.op("mul", top, b.op("div", _rounded(b, b.op("mul", b.op("div", x, top), levels)), levels))


def _grid_of_batch(b: Build, x: Node, bits: int) -> Node:
    """2^bits points from the batch's least number to its largest, both of which are kept to the bit."""
    levels = number(b, 2**bits - 1)
    low = b.op("neg", b.op("max", b.op("neg", x), axes=(0, 1), keep=False))
    high = b.op("max", x, axes=(0, 1), keep=False)
    width = b.op("maximum", b.op("sub", high, low), number(b, TINY))
    steps = _rounded(b, b.op("mul", b.op("div", b.op("sub", x, low), width), levels))
    share = b.op("div", steps, levels)
    return b.op("add", b.op("mul", low, b.op("sub", number(b, 1), share)), b.op("mul", high, share))


def _rounded(b: Build, x: Node) -> Node:
    return b.op("floor", b.op("add", x, number(b, 0.5)))


def top_k(b: Build, row: Node, options: Options, draw: Drawing) -> Applied:
    """The k numbers of a row that are largest in magnitude."""
    return _with_feedback(b, row, draw, lambda x: b.op("keep_largest", x, k=min(options["k"], _width(row))))


def _with_feedback(b: Build, row: Node, draw: Drawing, compress: Callable[[Node], Node]) -> Applied:
    """What a message leaves out of a row is added to the row's next message.

    Error feedback (Stich et al., "Sparsified SGD with memory", 2018), with a memory for each row as
    rows are what cross here (Valdeira et al., "Communication-efficient vertical federated learning
    via compressed error feedback", 2024). Gradients flow as if nothing were left out.
    """
    full = b.op("add", row, draw(Draw("memory"), _width(row)))
    sent = b.op("stop_gradient", compress(full))
    kept = b.op("sub", b.op("stop_gradient", full), sent)
    return Applied(_straight(b, sent, row), _straight(b, b.op("stop_gradient", compress(row)), row), kept)


def _straight(b: Build, value: Node, like: Node) -> Node:
    """The first value to the bit, with the gradient going to the second: x - x is 0."""
    return b.op("add", value, b.op("sub", like, b.op("stop_gradient", like)))


def _width(row: Node) -> int:
    width = row.type.axes[-1].size
    assert width is not None, "a protection covers rows of fixed width"
    return width


# --- the registry -----------------------------------------------------------------------------------


def _number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and low < v < high


def _are_shares(value: Any) -> bool:
    share = _number(-TINY, 1 + TINY)
    return isinstance(value, list) and all(map(share, value)) and abs(sum(value) - 1) <= 1e-6


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high


POSITIVE = ("a number above 0", _number(0, math.inf))
MULTIPLE = ("a number of 1e-9 or more", lambda v: POSITIVE[1](v) and v >= 1e-9)
"""Of noise: less is lost beside what it is added to, and its square is 0."""
EPSILON = ("a number above 0 and below 100", _number(0, 100))
DELTA = ("a number above 0 and below 1", _number(0, 1))
PRIOR = ("a list of shares, one for each class, that are 1 together", _are_shares)
BOTH = frozenset({"activations", "gradients"})
GRADIENTS = frozenset({"gradients"})

PER = ("row", "batch")

PASSES = 2
"""Passes of evaluation or prediction that noise on an activation is enough for where nothing is said."""

NOISE = {
    "clip": Option(*POSITIVE, required=True),
    "epsilon": Option(*EPSILON),
    "delta": Option(*DELTA, default=1e-6),
    "noise": Option(*MULTIPLE),
    "limit": Option(*POSITIVE, default=10_000.0),
}
"""Options of mechanisms whose noise is calibrated."""

MECHANISMS: dict[str, Mechanism] = {
    made.name: made
    for made in (
        Mechanism(
            "gaussian",
            "Clips each joint row to an L2 norm and adds Gaussian noise: differential privacy of the row's "
            "own messages. Give `epsilon` and `delta`, or `noise`, a multiple of `clip`; no calibration goes "
            "beyond a noise of `limit`. On an activation the noise is there in all phases, enough for the "
            f"epochs and `passes` of evaluation or prediction ({PASSES} where nothing is said), and `in "
            "training` limits it.",
            NOISE | {"passes": Option("a whole number, 0 or more", _whole(0, 2**20))}, BOTH, "noise",
            "proven", promise_gaussian, gaussian, check=check_noise("gaussian"),
        ),
        Mechanism(
            "dp_sgd",
            "Clips each row's gradient of all weights that it protects together, and adds Gaussian noise to "
            "every number of the sum: differential privacy of what the weights learn of a row. Options as "
            "those of `gaussian`.",
            NOISE, frozenset({"weights"}), "weights", "proven", promise_dp_sgd, check=check_noise("dp_sgd"),
        ),
        Mechanism(
            "label_dp",
            "Draws each row's label once by randomised response; the loss is that of the answer, by the "
            "chance that the model gives it. With a `prior`, a public share for each class, answers are "
            "among the likeliest classes alone.",
            {"epsilon": Option(*EPSILON, required=True), "prior": Option(*PRIOR)},
            frozenset({"labels"}), "labels", "proven", promise_label_dp,
        ),
        Mechanism(
            "max_norm",
            "Noise along each gradient, so that all rows have the largest norm of the batch in expectation.",
            {}, GRADIENTS, "noise", "partial",
            lambda o: "the norms of a batch's gradients are alike in expectation; no bound on what leaks",
            max_norm,
        ),
        Mechanism(
            "marvell",
            "Noise after which the gradients of both classes vary alike in every direction, their means "
            "so close that the sum of both Kullback-Leibler divergences is `sum_kl`, solved for each batch.",
            {"sum_kl": Option(*POSITIVE, required=True)},
            GRADIENTS, "noise", "partial",
            lambda o: "the sum of both KL divergences between the classes' gradients in a batch is at most "
            f"{o['sum_kl']:g} as far as both are Gaussian; no bound on what leaks",
        ),
        Mechanism(
            "iso",
            "Isotropic Gaussian noise whose expected norm is `scale` times the largest norm of the batch.",
            {"scale": Option(*POSITIVE, required=True)},
            GRADIENTS, "noise", "partial",
            lambda o: f"each gradient carries noise of {o['scale']:g} times the batch's largest norm; "
            "no bound on what leaks",
            iso,
        ),
        Mechanism(
            "quantize",
            "Rounds each number to `bits` bits, on a grid `per` row or batch, and remembers what was lost "
            "for the row's next message.",
            {
                "bits": Option("a whole number from 2 to 16", _whole(2, 16), required=True),
                "per": Option("row or batch", lambda v: v in PER, default="row", words=PER),
            },
            BOTH, "compression", "none",
            lambda o: f"numbers of {o['bits']} bits: compression, no privacy"
            + ("; the least and the largest number of the batch cross, and every number that is received "
               "depends on them" if o["per"] == "batch" else ""),
            quantize, joint=False,
        ),
        Mechanism(
            "top_k",
            "Sends the `k` largest numbers of a row and remembers the others for the row's next message.",
            {"k": Option("a whole number, 1 or more", _whole(1, 2**24), required=True)},
            BOTH, "compression", "none",
            lambda o: f"at most {o['k']} numbers a row: compression, no privacy",
            top_k, joint=False,
        ),
        Mechanism(
            "secure_sum",
            "Pairwise masks, so that the receiver sees the sum of two or more parties' values and none of "
            "them; exact in fixed point for magnitudes up to `range`.",
            {"range": Option("a number above 0, below 2^41", _number(0, 2.0**41), default=float(2**20))},
            frozenset({"activations"}), "sum", "partial",
            lambda o: "the receiver is sent a sum with other parties' values and no term of it; no bound on "
            "what a sum tells",
        ),
    )
}  # fmt: skip


# --- what noise is enough: exact for Gaussians without sampling ------------------------------------


def spent_delta(epsilon: float, noise: float, releases: int) -> float:
    """δ that `releases` messages of a row with noise of `noise` times the clip spend at ε.

    Exchanging a row for another moves it by at most twice the clip (Balle & Wang, "Improving the
    Gaussian mechanism for differential privacy", 2018, Theorem 8; several Gaussians are one).
    """
    mu = 2.0 * math.sqrt(releases) / noise
    upper = math.erfc(-(mu / 2 - epsilon / mu) / math.sqrt(2)) / 2
    lower = math.erfc((mu / 2 + epsilon / mu) / math.sqrt(2)) / 2
    return upper - math.exp(min(epsilon, 700.0)) * lower if lower else upper


def spent_epsilon(noise: float, delta: float, releases: int) -> float:
    """ε that such messages spend at δ; infinite beyond 1,000."""
    if spent_delta(1000.0, noise, releases) > delta:
        return math.inf
    low, high = 0.0, 1000.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if spent_delta(middle, noise, releases) > delta else (low, middle)
    return high

"""What a protection is: its options, what it applies to, what it promises, and what it does to a row.

A mechanism sees joint rows [batch, n]: all that a protection covers, side by side. What the
graph's own ops can do it does there; what a run must draw, keep or solve is a `Draw` or a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct
from vflc_common.codecs import CODECS
from vflc_common.plugins import entry_points
from vflc_common.words import Accounting, DrawKind, Privacy

from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops.registry import OpError, Options
from vflc.ops.rules import number

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


class Packs(Struct, frozen=True):
    """How rows cross in fewer bytes than they have, where a mechanism left little in them.

    Args:
        codec: by its name; see `vflc_common/codec.py`.
        settings: of the codec, from the options and how many numbers a row has.
        by_range: whether the least and the largest number of the batch cross beside the rows.
    """

    codec: str
    settings: Callable[[Options, int], Mapping[str, int]]
    by_range: Callable[[Options], bool] = lambda options: False


class Answers(Struct, frozen=True):
    """Randomised response: how a label is answered for.

    Args:
        epsilon: the logarithm of how much likelier the true answer is than each other one.
        classes: how many classes the label must have, for which a prior has shares; None for any.
        among: the classes that are answered; none for all.
    """

    epsilon: float
    classes: int | None = None
    among: tuple[int, ...] = ()


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
        apply: the row in the graph's own ops.
        solver: what makes the row in a step of the run instead, by its name in the runtime, from the row and
            the label that it depends on.
        packs: how its rows cross; None where as all others do.
        accounting: how a run counts its ε; exactly what is `proven` has one.
        joint: whether it sees the joint row of all it covers, or each value by itself.
        check: refuses options that do not go together.
        answers: of the role `labels`, how a label is answered for.
        passes: of noise on activations, for how many passes of evaluation or prediction it is enough where
            nothing is said; None where it is in training alone.
        useless: what to ask for instead, where a row of so many numbers would cross as it is.
        suggests: how to ask for it, with `{epsilon}`, where a bound of ε is wanted and there is none.
    """

    name: str
    doc: str
    options: Mapping[str, Option]
    applies: frozenset[str]
    role: Role
    privacy: Privacy
    promise: Callable[[Options], str]
    apply: Callable[[Build, Node, Options, Drawing], Applied] | None = None
    solver: str | None = None
    packs: Packs | None = None
    accounting: Accounting | None = None
    joint: bool = True
    check: Callable[[Options], None] = lambda options: None
    answers: Callable[[Options], Answers] | None = None
    passes: int | None = None
    useless: Callable[[Options, int], str | None] = lambda options, width: None
    suggests: str | None = None

    def filled(self, options: Options) -> dict[str, Any]:
        """The options with the defaults of those left out."""
        return {name: options.get(name, option.default) for name, option in self.options.items()}


# --- what options accept ---------------------------------------------------------------------------


def number_within(low: float, high: float) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and low < v < high


def whole_within(low: int, high: int) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high


POSITIVE = ("a number above 0", number_within(0, math.inf))
MULTIPLE = ("a number of 1e-9 or more", lambda v: POSITIVE[1](v) and v >= 1e-9)
"""Of noise: less is lost beside what it is added to, and its square is 0."""
BOTH = frozenset({"activations", "gradients"})
GRADIENTS = frozenset({"gradients"})


# --- rows ------------------------------------------------------------------------------------------


def clipped(b: Build, row: Node, clip: float) -> Node:
    """Each row, scaled down to an L2 norm of `clip` where it is longer."""
    return b.op("mul", row, shrinking(b, b.op("sum", b.op("square", row), axes=(1,), keep=True), clip))


def shrinking(b: Build, square: Node, clip: float, times: Node | None = None) -> Node:
    """[batch, 1]: what scales rows of these squared norms, `times` as long as they are, down to `clip`."""
    length = b.op("sqrt", b.op("maximum", square, number(b, TINY)))  # the slope of a root at 0 is infinite
    if times is not None:
        length = b.op("mul", length, times)
    return b.op("minimum", number(b, 1), b.op("div", number(b, clip * HAIR), length))


def width(row: Node) -> int:
    width = row.type.axes[-1].size
    assert width is not None, "a protection covers rows of fixed width"
    return width


# --- what another package's may be ------------------------------------------------------------------


def check_foreign(found: Mechanism, options: Options) -> None:
    """Refuses a mechanism of another package that is more than numbers for what crosses.

    No theorem of ours speaks of it: it counts as nothing wherever it is asked what may be learned. What it
    keeps of a row would be followed by no analysis, and what it draws once for a row belongs to labels.

    Raises:
        OpError: VFL0695, with what is wrong.
    """
    from vflc.ops import infer

    def wrong(what: str) -> OpError:
        return OpError(f"`{found.name}` of another package {what}", MAY, "VFL0695")

    if found.privacy != "none":
        raise wrong(f"says that its privacy is `{found.privacy}`, and there is no proof of it here")
    if found.role not in ("noise", "compression") or not found.applies <= BOTH:
        raise wrong("is neither noise nor compression of activations or gradients")
    if not isinstance(found.promise(options), str):
        raise wrong("promises something that is no text")
    if found.packs is not None and found.packs.codec not in CODECS:
        raise wrong(f"needs the codec {found.packs.codec!r}, which there is not")
    if found.solver is not None and found.apply is None and found.applies <= GRADIENTS:
        if found.solver not in entry_points("vflc.solvers"):
            raise wrong(f"needs the solver {found.solver!r}, which no package has")
        return
    if found.solver is not None or found.apply is None:
        raise wrong("must have either `apply` or, for gradients alone, `solver`")
    drawn: list[Draw] = []

    def draw(what: Draw, width: int) -> Node:
        drawn.append(what)
        return b.graph.add(Node(f"drawn{len(drawn)}", "feature", (), {}, _rows(width)))

    for width in (1, 3):
        b = Build(Graph(), infer)
        row = b.graph.add(Node("row", "feature", (), {}, _rows(width)))
        made = found.apply(b, row, options, draw)
        if any(each.type.sizes != row.type.sizes for each in (made.training, made.inference)):
            raise wrong(f"makes {made.training.type} of a row {row.type}")
        if made.kept is not None or any(not _fresh(each) for each in drawn):
            raise wrong("keeps or draws something else than fresh noise of a scale of its own")


MAY = "docs/extending.md says what a protection of another package may be"


def _rows(width: int) -> TensorType:
    return TensorType((ROWS, Axis(None, width)))


def _fresh(draw: Draw) -> bool:
    return draw.kind == "normal" and isinstance(draw.scale, (int, float)) and 0 < draw.scale < math.inf

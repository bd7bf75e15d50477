"""What an op does to the secrets that flow through it: how it passes them on, and in which range.

Disclosure analysis needs two facts of an op beside its gradient: how the derivative with respect
to each input varies from row to row, and bounds of the output. Ops say them here in a few words;
an op that says nothing is taken to pass a secret on with a known sign, which errs on the side
of a finding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from vflc.ir.graph import Node

INFINITY = math.inf


class Slope(Struct, frozen=True):
    """The derivative of an op's value with respect to one input.

    Args:
        kind: `copy` (a fixed positive number times the element itself, whatever the row), `factor`
            (elementwise another input: the output is their product, or this one over that), `mix` (a
            linear combination whose coefficients are another input), `sign` (elementwise, above 0,
            different by row), `mask` (elementwise, 0 or above, different by row), `any` (nothing is
            known), `none` (no gradient).
        by: position of the input that is the factor.
        sign: -1 where the sign is turned.
    """

    kind: Literal["copy", "factor", "mix", "sign", "mask", "any", "none"]
    by: int | None = None
    sign: int = 1


COPY = Slope("copy")
FLIP = Slope("copy", sign=-1)
SIGN = Slope("sign")
MASK = Slope("mask")
ANY = Slope("any")
NONE = Slope("none")


def factor(by: int, sign: int = 1) -> Slope:
    """Elementwise times the input at `by`."""
    return Slope("factor", by, sign)


def mix(by: int) -> Slope:
    """Combined linearly by the input at `by`, a matrix."""
    return Slope("mix", by)


Slopes = tuple[Slope, ...] | Slope
"""One for each input, or one for all of them."""


class ValueRange(Struct, frozen=True):
    """Bounds of every element; `open_…` where the bound itself is never reached."""

    low: float = -INFINITY
    high: float = INFINITY
    open_low: bool = False
    open_high: bool = False

    @property
    def sign(self) -> int:
        """1 where every element is above 0, -1 where every one is below, else 0."""
        if self.low > 0 or (self.low == 0 and self.open_low):
            return 1
        return -1 if self.high < 0 or (self.high == 0 and self.open_high) else 0

    @property
    def weak_sign(self) -> int:
        """As `sign`, where 0 itself may occur."""
        return 1 if self.low >= 0 else -1 if self.high <= 0 else 0

    def negated(self) -> ValueRange:
        return ValueRange(-self.high, -self.low, self.open_high, self.open_low)

    def hull(self, other: ValueRange) -> ValueRange:
        """The least range that holds both."""
        (low, closed_low), (high, open_high) = (
            min((self.low, self.open_low), (other.low, other.open_low)),
            max((self.high, not self.open_high), (other.high, not other.open_high)),
        )
        return ValueRange(low, high, closed_low, not open_high)


FREE = ValueRange()
POSITIVE = ValueRange(0, INFINITY, open_low=True)
AT_LEAST_0 = ValueRange(0, INFINITY)
SHARE = ValueRange(0, 1, open_low=True, open_high=True)
UNIT = ValueRange(0, 1)
BETWEEN = ValueRange(-1, 1, open_low=True, open_high=True)
AT_MOST_0 = ValueRange(-INFINITY, 0)

RangeRule = ValueRange | Callable[["Node", Sequence[ValueRange]], ValueRange]
"""A fixed range, or one that follows from those of the inputs."""


def same(node: Node, ranges: Sequence[ValueRange]) -> ValueRange:
    """Elements of the inputs, in another order or place."""
    found = ranges[0]
    for other in ranges[1:]:
        found = found.hull(other)
    return found


def first(node: Node, ranges: Sequence[ValueRange]) -> ValueRange:
    """Elements of the first input."""
    return ranges[0]


def with_zero(node: Node, ranges: Sequence[ValueRange]) -> ValueRange:
    """Elements of the first input, and zeros."""
    return ranges[0].hull(ValueRange(0, 0))


def chosen(node: Node, ranges: Sequence[ValueRange]) -> ValueRange:
    """Elements of all inputs but the first, which chooses."""
    return same(node, ranges[1:])


def of_constant(node: Node, ranges: Sequence[ValueRange]) -> ValueRange:
    values = list(_flat(node.attrs["value"]))
    return ValueRange(min(values), max(values)) if values else FREE


def _flat(value: Any) -> Sequence[float]:
    if isinstance(value, (tuple, list)):
        return [number for part in value for number in _flat(part)]
    return [float(value)]


def added(node: Node, ranges: Sequence[ValueRange]) -> ValueRange:
    x, y = ranges
    return ValueRange(x.low + y.low, x.high + y.high, x.open_low or y.open_low, x.open_high or y.open_high)


def subtracted(node: Node, ranges: Sequence[ValueRange]) -> ValueRange:
    return added(node, (ranges[0], ranges[1].negated()))


def negated(node: Node, ranges: Sequence[ValueRange]) -> ValueRange:
    return ranges[0].negated()


def multiplied(node: Node, ranges: Sequence[ValueRange]) -> ValueRange:
    """By signs alone: bounds of a product are seldom of use."""
    x, y = ranges
    strict, weak = x.sign * y.sign, x.weak_sign * y.weak_sign
    if strict:
        return POSITIVE if strict > 0 else POSITIVE.negated()
    if weak:
        return AT_LEAST_0 if weak > 0 else AT_MOST_0
    return FREE


def reduced(node: Node, ranges: Sequence[ValueRange]) -> ValueRange:
    """A sum or a mean keeps a sign; an empty one is 0."""
    weak = ranges[0].weak_sign
    return AT_LEAST_0 if weak > 0 else AT_MOST_0 if weak < 0 else FREE


def clipped(node: Node, ranges: Sequence[ValueRange]) -> ValueRange:
    attrs: Mapping[str, Any] = node.attrs
    return ValueRange(attrs["low"], attrs["high"])


def smaller(node: Node, ranges: Sequence[ValueRange]) -> ValueRange:
    """Of two, the smaller: below the bound of either."""
    x, y = ranges
    (low, open_low) = min((x.low, x.open_low), (y.low, y.open_low))
    (high, closed_high) = min((x.high, not x.open_high), (y.high, not y.open_high))
    return ValueRange(low, high, open_low, not closed_high)


def larger(node: Node, ranges: Sequence[ValueRange]) -> ValueRange:
    """Of two, the larger: above the bound of either."""
    return smaller(node, [r.negated() for r in ranges]).negated()

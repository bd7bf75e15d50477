"""Slopes and bounds: what an op passes on of secrets."""

from __future__ import annotations

from collections.abc import Callable

from vflc_common.numpy import np

from vflc.ops.claims.case import Case, near
from vflc.ops.traits import Slope, ValueRange


def slopes(case: Case) -> bool:
    return all(_SLOPES[case.op.slope(i).kind](case, i, case.op.slope(i)) for i in case.floats(64))


def _copy(case: Case, position: int, slope: Slope) -> bool:
    here = case.jacobian(position)
    other = Case(case.op, case.sample, 1)
    other.arrays = case.with_input(position, case.arrays[position] * 0.9 + 0.013)
    return bool((here * slope.sign > -1e-6).all() and np.allclose(other.jacobian(position), here, atol=1e-5))


def _sign(case: Case, position: int, slope: Slope) -> bool:
    other = Case(case.op, case.sample, 1)
    other.arrays = case.with_input(position, np.clip(case.arrays[position], -15, 15))
    return bool((other.jacobian(position).sum(axis=0) > 0).all())


def _mask(case: Case, position: int, slope: Slope) -> bool:
    return bool((case.jacobian(position) > -1e-6).all())


def _product(case: Case, position: int, slope: Slope) -> bool:
    """Linear in this input, by another; but a value times itself has twice itself, or its sign, as slope."""
    x, by = case.arrays[position], slope.by
    if by == position:
        diagonal = np.diag(case.jacobian(position)).reshape(x.shape)
        return bool((diagonal * x > -1e-6).all() and np.abs(diagonal).max() > 0.1)
    one, two, three = (case.at(case.with_input(position, k * x)) for k in (1.0, 2.0, 3.0))
    if (
        by is None
        or not 0 <= by < len(case.arrays)
        or not np.allclose(three - one, 2 * (two - one), atol=1e-6)
    ):
        return False
    here, factor = case.jacobian(position), case.arrays[by]
    turned = Case(case.op, case.sample, 1)
    turned.arrays = case.with_input(by, -factor)
    if not np.allclose(turned.jacobian(position), -here, atol=1e-5):
        return False
    if slope.kind == "factor" and factor.shape == one.shape:
        return np.array_equal(np.sign(here.sum(axis=1)).reshape(one.shape), slope.sign * np.sign(factor))
    return True


def _none(case: Case, position: int, slope: Slope) -> bool:
    if case.op.vjp is None:
        return True
    with case.build.within(scope=("gradient",)):
        return case.op.vjp(case.build, case.node, case.inputs, case.node)[position] is None


_SLOPES: dict[str, Callable[[Case, int, Slope], bool]] = {
    "copy": _copy,
    "sign": _sign,
    "mask": _mask,
    "factor": _product,
    "mix": _product,
    "none": _none,
    "any": lambda case, position, slope: True,
}


def bounds(case: Case) -> bool:
    out, bounds = case.at(case.arrays), case.op.bounds
    if not isinstance(bounds, ValueRange):
        bounds = bounds(case.node, [ValueRange(float(a.min()), float(a.max())) for a in case.arrays])
    inside = bool((out >= bounds.low - 1e-9).all() and (out <= bounds.high + 1e-9).all())
    largest = max((np.abs(array).max() for array in case.arrays if array.size), default=0.0)
    return inside and (not bounds.open_low or largest >= 15 or bool((out > bounds.low).all()))


def linear(case: Case) -> bool:
    """As `slopes` say: of an input that the output is linear in, whatever the others are."""
    count = len(case.arrays) - case.op.shape_only
    for i in (i for i in case.floats() if i < count and case.op.linear_in(i, count)):
        x = case.arrays[i]
        y = np.random.default_rng(0).permutation(x.reshape(-1)).reshape(x.shape) + 0.5
        a, b, both = (case.at(case.with_input(i, value)) for value in (x, y, 2.0 * x - 3.0 * y))
        if not near(both, 2.0 * a - 3.0 * b):
            return False
    return True

"""What ops say of the secrets that flow through them, against their own numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ops.op_testing import sample_case

from vflc.ops import OPS
from vflc.ops.traits import FREE, SIGN, Range

SILENT = {"weight", "feature", "label", "log", "leaky_relu"}
"""Ops whose slopes and bounds are those of an op that says nothing."""
CASES = [(name, index) for name, op in OPS.items() for index in range(len(op.samples))]
STEP = 1e-6


class Case:
    """An op on the values of one of its samples; `at` gives the output for other values."""

    def __init__(self, name: str, index: int, seed: int) -> None:
        made = sample_case(name, OPS[name].samples[index], np.random.default_rng(seed))
        self.op, self.node, self.build, self.inputs = OPS[name], made.node, made.build, made.inputs
        self.arrays = [made.feeds[x.id] for x in made.inputs]
        self.types = [x.type for x in made.inputs]

    def at(self, arrays: list[np.ndarray]) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(self.op.reference(self.node, arrays, self.types), np.float64)

    def with_input(self, position: int, array: np.ndarray) -> list[np.ndarray]:
        return [array if i == position else each for i, each in enumerate(self.arrays)]

    def jacobian(self, position: int) -> np.ndarray:
        """[elements of the output, elements of the input], by central differences."""
        x = np.asarray(self.arrays[position], np.float64)
        columns = []
        for place in np.ndindex(x.shape):
            ends = []
            for step in (STEP, -STEP):
                moved = np.array(x)
                moved[place] += step
                ends.append(self.at(self.with_input(position, moved)).reshape(-1))
            columns.append((ends[0] - ends[1]) / (2 * STEP))
        return np.stack(columns, axis=-1)


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_op_says_how_it_passes_secrets_on(name: str) -> None:
    op = OPS[name]
    assert name in SILENT or op.slopes is not SIGN or op.bounds is not FREE


def _floats(case: Case) -> list[int]:
    return [i for i, t in enumerate(case.types) if t.dtype == "float" and 0 < case.arrays[i].size <= 64]


@pytest.mark.parametrize(("name", "index"), CASES)
def test_slopes_hold(name: str, index: int) -> None:
    case = Case(name, index, seed=index)
    for position in _floats(case):
        CHECKS[case.op.slope(position).kind](case, position)


def _copy(case: Case, position: int) -> None:
    sign = case.op.slope(position).sign
    here = case.jacobian(position)
    assert (here * sign > -1e-6).all()
    case.arrays[position] = case.arrays[position] * 0.9 + 0.013
    assert np.allclose(case.jacobian(position), here, atol=1e-5), "the same whatever the value"


def _sign(case: Case, position: int) -> None:
    case.arrays[position] = np.clip(case.arrays[position], -15, 15)
    assert (case.jacobian(position).sum(axis=0) > 0).all()


def _mask(case: Case, position: int) -> None:
    assert (case.jacobian(position) > -1e-6).all()


def _product(case: Case, position: int) -> None:
    """Linear in this input; but a value times itself has twice itself, or its sign, as slope."""
    x = case.arrays[position]
    if case.op.slope(position).by == position:
        diagonal = np.diag(case.jacobian(position)).reshape(x.shape)
        assert (diagonal * x > -1e-6).all()
        return
    one, two, three = (case.at(case.with_input(position, k * x)) for k in (1.0, 2.0, 3.0))
    assert np.allclose(three - one, 2 * (two - one), atol=1e-6)


def _none(case: Case, position: int) -> None:
    assert case.op.vjp is None or _gradient(case)[position] is None


def _gradient(case: Case) -> Any:
    assert case.op.vjp is not None
    with case.build.within(scope=("gradient",)):
        return case.op.vjp(case.build, case.node, case.inputs, case.node)


CHECKS: dict[str, Callable[[Case, int], None]] = {
    "copy": _copy,
    "sign": _sign,
    "mask": _mask,
    "factor": _product,
    "mix": _product,
    "none": _none,
    "any": lambda case, position: None,
}


@pytest.mark.parametrize(("name", "index"), CASES)
def test_bounds_hold(name: str, index: int) -> None:
    case = Case(name, index, seed=index)
    out = case.at(case.arrays)
    given = [Range(float(a.min()), float(a.max())) for a in case.arrays]
    bounds = case.op.bounds if isinstance(case.op.bounds, Range) else case.op.bounds(case.node, given)
    assert (out >= bounds.low - 1e-9).all() and (out <= bounds.high + 1e-9).all()
    if bounds.open_low and np.abs(np.concatenate([a.reshape(-1) for a in case.arrays])).max() < 15:
        assert (out > bounds.low).all(), "an open bound is not reached"


def test_ranges() -> None:
    share, free = Range(0, 1, True, True), Range()
    assert share.sign == 1 and share.negated().sign == -1 and free.sign == 0
    assert Range(0, 5).sign == 0 and Range(0, 5).weak_sign == 1
    assert share.hull(Range(0, 1)) == Range(0, 1)
    assert share.hull(Range(-2, 0.5)) == Range(-2, 1, False, True)

"""Numbers as people read them, and the ticks of an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

PlotPoint = tuple[float, float]
"""Along both axes."""


def measure(value: object) -> str:
    """A result, as `measures` writes it; `–` where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    return f"{value:,}" if isinstance(value, int) else measures(value)[0]


def measures(*values: float) -> list[str]:
    """Results that are compared with each other, all as the largest of the finite ones is written.

    That is to four places, whole from 10,000 on, and with an exponent where people would count digits.
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if largest and not 1e-3 <= largest < 1e12:
        return [f"{value:.3e}" for value in values]
    places = 4 if round(largest, 4) < 1e4 else 0
    return [f"{round(value, places) + 0.0:,.{places}f}" for value in values]  # no -0.0000


def share(value: float | None) -> str:
    """A part of a whole, in percent."""
    return "–" if value is None else f"{value:.1%}"


def size(count: float) -> str:
    """Bytes."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError("the last unit is taken")


def duration(seconds: float) -> str:
    """A time."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def ticks(low: float, high: float, most: int = 6, whole: bool = False) -> list[float]:
    """Round numbers from `low` to `high`, one, two or five times a power of ten apart."""
    span = high - low
    if not span > _least(low, high):
        return [low]
    step = 10.0 ** math.floor(math.log10(span / most))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= most)
    step = max(step, 1.0) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.14g}") + 0.0 for i in range(first, last + 1)]


def tick(value: float, ticks: Sequence[float]) -> str:
    """What is written at a tick: as many places as tell it from its neighbours."""
    if len(ticks) < 2:
        return f"{value:.5g}"
    step = min(b - a for a, b in pairwise(ticks))
    largest = max(map(abs, ticks))
    if largest >= 1e5 or step < 1e-4:
        return f"{value:.{max(2, math.ceil(math.log10(largest / step) + 1e-9) + 1)}g}"
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{places}f}"


def padded(low: float, high: float) -> PlotPoint:
    """A range with some room at both ends; one of a single value gets some width."""
    room = 0.05 * (high - low) if high - low > _least(low, high) else 0.05 * abs(high) or 0.5
    return low - room, high + room


def _least(low: float, high: float) -> float:
    """What is no difference but rounding."""
    return 1e-9 * max(abs(low), abs(high))

"""Expressions as text: how tightly they hold together, and the axes of what they stand for."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from vflc.translation.graph import AxisSizes

ATOM, POWER, UNARY, PRODUCT, SUM = 9, 7, 6, 5, 4
"""How tightly text holds together."""
Axes = tuple[tuple[str | None, int], ...]
AXES = ("field", "part", "group", "member")
"""Names for axes that the file has no name for."""


class Text(Struct, frozen=True):
    """An expression, how tightly it holds together, and its axes in the language."""

    text: str
    level: int
    axes: Axes

    @property
    def sizes(self) -> AxisSizes:
        return tuple(size for _, size in self.axes)

    def within(self, level: int) -> str:
        return self.text if self.level >= level else f"({self.text})"


def flat(*sizes: int) -> Axes:
    """Axes without names."""
    return tuple((None, size) for size in sizes)


def widest(texts: Sequence[Text]) -> Axes:
    """The axes that values have together."""
    rank = max((len(t.axes) for t in texts), default=0)
    found: list[tuple[str | None, int]] = []
    for at in range(-rank, 0):
        here = [t.axes[at] for t in texts if len(t.axes) >= -at]
        found.append((next((name for name, _ in here if name), None), max(size for _, size in here)))
    return tuple(found)

"""How an op of a value follows from the same op of pieces of it, which lie one after another along an axis.

Models that are written as if all tables lay in one are split by these fields alone: a party's pieces are
worked on where they lie, so far as an op says here that this gives the same value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from vflc.ir.types import TensorType

_Types = Sequence[TensorType]
_Attrs = Mapping[str, Any]


def _nowhere(types: _Types, attrs: _Attrs, axis: int) -> int | None:
    return None


def _never(types: _Types, attrs: _Attrs) -> bool:
    return False


class Parts(Struct, frozen=True):
    """What an op says of pieces of its first input; other inputs are there whole.

    Args:
        along: where in the output an axis of the first input lies, if each piece along it gives the piece of
            the output that lies there; None where it does not. From the types of the inputs, the static
            arguments and the axis. Of elementwise ops this is known.
        reduces: of an op that reduces the axes in `axes`, how the outputs for pieces along one of these make
            up the output: their `sum` (of zeros it is 0), their `mean`, each weighing as much as it is long,
            the `max` or the `min` of them.
        product: whether the last axis of the first input meets the first axis of the second, and products
            are summed up; a third input is added to the sum.
        shares: of an op that divides exponentials by their sum along `axis`: whether the output is these
            shares, or their logarithms (`logs`).
        cuts: of an op whose output is a stretch of the first input: its axis, where it starts, and where it
            ends.
    """

    along: Callable[[_Types, _Attrs, int], int | None] = _nowhere
    reduces: Literal["sum", "mean", "max", "min"] | None = None
    product: Callable[[_Types, _Attrs], bool] = _never
    shares: Literal["plain", "logs"] | None = None
    cuts: Callable[[_Attrs], tuple[int, int, int]] | None = None


WHOLE = Parts()
"""Nothing is known of pieces."""


def reducing(types: _Types, attrs: _Attrs, axis: int) -> int | None:
    """An axis that is not reduced."""
    if axis in attrs["axes"]:
        return None
    return axis if attrs["keep"] else axis - sum(gone < axis for gone in attrs["axes"])


def beside(types: _Types, attrs: _Attrs, axis: int) -> int | None:
    """Every axis but the one that the op works along."""
    return axis if axis != attrs["axis"] else None


def leading(types: _Types, attrs: _Attrs, axis: int) -> int | None:
    """Every axis but the last."""
    return axis if axis < types[0].rank - 1 else None


def inserted(types: _Types, attrs: _Attrs, axis: int) -> int:
    """A new axis stands at `axis`."""
    return axis + int(attrs["axis"] <= axis)


def dropped(types: _Types, attrs: _Attrs, axis: int) -> int | None:
    """The axis at `axis`, of size 1, is gone."""
    return axis - int(attrs["axis"] < axis) if axis != attrs["axis"] else None


def kept(types: _Types, attrs: _Attrs, axis: int) -> int:
    """All axes stay where they are."""
    return axis


def permuted(types: _Types, attrs: _Attrs, axis: int) -> int:
    """Axes in the order of `perm`."""
    return int(tuple(attrs["perm"]).index(axis))

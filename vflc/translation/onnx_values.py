"""What a name of an ONNX graph stands for: values of rows, constants, and sizes of shapes."""

from __future__ import annotations

import re
from struct import pack, unpack
from typing import NoReturn

from msgspec import Struct

from vflc.onnx_file import Numbers, OnnxNode
from vflc.translation.graph import AxisSizes, Value, refuse

HAND = "replace it by operators that docs/importing.md lists, or write this part of the spec by hand"
AGAIN = "the file contradicts itself: export the model again"
ALONG = "let it work on the axes of a row: a spec computes each row by itself"
GENERATED = re.compile(
    r"(val|tmp|const|constant)_?\d*|\d+|\w+_(cast|min|max)(_\d+)?|.*(::|/).*", re.IGNORECASE
)
"""Names that programs give constants, and no person gives a weight."""


MOST_MOVED = 8
"""How often each number of a file may be moved or rounded besides what is computed."""


class OnnxConstant(Struct, eq=False):
    """What is the same for every row.

    Args:
        numbers: in axes; computed when they are looked at.
        source: the file's constant that it was made of; "" of what is computed of several, or has no name.
        form: how it was made of it, to tell uses of one weight in several forms apart.
    """

    numbers: Numbers
    source: str = ""
    form: str = ""

    @property
    def shape(self) -> AxisSizes:
        return self.numbers.shape

    def changed(self, numbers: Numbers, form: str) -> OnnxConstant:
        """The same numbers in other axes."""
        return OnnxConstant(numbers, self.source, f"{self.form}.{form}")


class ShapeSizes(Struct, frozen=True):
    """ShapeSizes of a shape, of which the batch's is None; `alone` where it is one number and no list."""

    sizes: tuple[int | None, ...]
    alone: bool = False


NodeValue = Value | OnnxConstant | ShapeSizes | None


def fail(node: OnnxNode, what: str, help: str = HAND, code: str = "VFL0709") -> NoReturn:
    """VFL0709 with the node's name: `what` says what of it has no counterpart."""
    refuse(code, f"{node.shown} {what}", help)


def short(value: float) -> float:
    """A number at the fewest digits that float32 has of it."""
    if isinstance(value, int) or not 0 < abs(value) < 1e30 or _single(value) != value:
        return value
    return next(
        found
        for found in (float(f"{value:.{digits}g}") for digits in range(1, 18))
        if _single(found) == value
    )


def _single(value: float) -> float:
    """The number of float32 that is nearest."""
    return float(unpack("f", pack("f", value))[0])

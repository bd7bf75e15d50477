"""Numbers in axes, in Python alone: a graph is read without numpy.

A few numbers of a file say how its model is put together, and are looked at. The others are weights, of
which only the axes change: they are computed when they are asked for, in runs that `array` copies at once.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from math import isfinite, prod
from struct import iter_unpack, pack, unpack
from typing import TYPE_CHECKING, Any

from vflc_common.onnx_tensors import FORMS, possible

if TYPE_CHECKING:
    from vflc_common.arrays import Array

CODES = {**FORMS, "bool": "B", "float16": "f"}
"""What `array` keeps the elements of a type as; texts are kept in a list."""
MOST_STEPS = 100
"""Of what waits for what until numbers are asked for; longer chains are computed at once."""


class Numbers:
    """Numbers or texts in axes; none of the methods changes them.

    Args:
        kind: the type of the elements in numpy's words, or `string`.
        shape: the size of each axis.
        make: gives the elements in order, the last axis fastest; called once, when they are asked for.
        of: the numbers that they are made of.

    Raises:
        ValueError: no numbers have such axes.
    """

    def __init__(self, kind: str, shape: Sequence[int], make: Callable[[], Any], *of: Numbers) -> None:
        self.kind, self.shape, self._make = kind, tuple(shape), make
        if not possible(self.shape):
            raise ValueError(f"{str(self.shape)[:80]} are no sizes")
        self._steps: int = 1 + max((each._steps for each in of), default=0)
        if self._steps > MOST_STEPS:
            self.elements, self._steps = make(), 0
        self._ordered = self
        """The same elements as they are in the file, where these are the same in another order."""

    @classmethod
    def listed(cls, kind: str, shape: Sequence[int], elements: Iterable[Any]) -> Numbers:
        """Of elements in order, rounded to the type.

        Raises:
            OverflowError, ValueError: one is none of the type, or they do not fill the shape.
        """
        made = _rounded(kind, elements)
        if len(made) != prod(shape):
            raise ValueError(f"{len(made)} elements for the shape {list(shape)}")
        return cls(kind, shape, lambda: made)

    @classmethod
    def of_bytes(cls, kind: str, shape: Sequence[int], content: bytes | memoryview) -> Numbers:
        """Of little-endian bytes that fill the shape."""
        return cls(kind, shape, lambda: _read(kind, content))

    @classmethod
    def of_array(cls, given: Array) -> Numbers:
        """Of a numpy array, [*], with its axes."""
        if given.dtype.kind == "O":
            return cls("string", given.shape, lambda: given.reshape(-1).tolist())
        content = given.astype(given.dtype.newbyteorder("<")).tobytes()
        return cls.of_bytes(given.dtype.name, given.shape, content)

    @cached_property
    def elements(self) -> Any:
        """The elements in order: an `array`, or a list of texts."""
        return self._make()

    def array(self) -> Array:
        """The same as a numpy array, [*], of this shape."""
        from vflc_common.numpy import np

        if self.kind == "string":
            return np.array(self.elements, dtype=object).reshape(self.shape)
        return np.array(self.elements, CODES[self.kind]).astype(self.kind).reshape(self.shape)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def floats(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return self.kind.startswith("float")

    @property
    def whole(self) -> bool:
        """Whether the elements are whole numbers."""
        return self.kind.startswith(("int", "uint"))

    def uniform(self) -> bool:
        """Whether all elements are equal, as those of biases before training."""
        return bool(self.size) and all(each == self._ordered.elements[0] for each in self._ordered.elements)

    def finite(self) -> bool:
        """Whether all elements are finite."""
        if not self.floats:
            return True
        kept = self._ordered.elements
        highest = kept.itemsize - 1 if sys.byteorder == "little" else 0
        highs = kept.tobytes()[highest :: kept.itemsize]
        # Infinities and what is no number have an exponent of ones, which shows in the sign's byte.
        return (b"\x7f" not in highs and b"\xff" not in highs) or all(map(isfinite, kept))

    # --- the same numbers in other axes -------------------------------------------------------------------

    def reshaped(self, shape: Sequence[int]) -> Numbers:
        """In order, in other axes, of which one may be -1."""
        sizes = list(shape)
        if sizes.count(-1) == 1:
            sizes[sizes.index(-1)] = self.size // (-prod(sizes) or 1)
        if prod(sizes) != self.size or min(sizes, default=0) < 0:
            raise ValueError(f"{self.size} elements do not fill the shape {list(shape)}")
        return self._reordered(Numbers(self.kind, sizes, lambda: self.elements, self))

    def transposed(self, order: Sequence[int] | None = None) -> Numbers:
        """With the axes in another order; in the opposite one where none is given."""
        order = range(self.rank)[::-1] if order is None else order
        if sorted(order) != list(range(self.rank)):
            raise ValueError(f"{list(order)} is no order of {self.rank} axes")
        strides = _strides(self.shape)
        sizes, steps = ([each[axis] for axis in order] for each in (self.shape, strides))
        return self._reordered(self._strided(sizes, steps, 0))

    def sliced(self, slices: Sequence[slice]) -> Numbers:
        """A part of each axis."""
        start, shape, strides = 0, [], []
        for size, stride, part in zip(self.shape, _strides(self.shape), slices, strict=True):
            taken = range(size)[part]
            start += taken.start * stride if taken else 0
            shape.append(len(taken))
            strides.append(taken.step * stride)
        return self._strided(shape, strides, start)

    def repeated(self, shape: Sequence[int]) -> Numbers:
        """Repeated along axes of size 1 to a shape that `broadcast` gave."""
        new = len(shape) - self.rank
        strides = [0] * new + [
            0 if size == 1 else stride for size, stride in zip(self.shape, _strides(self.shape), strict=True)
        ]
        return self._strided(shape, strides, 0)

    def taken(self, at: Numbers, axis: int) -> Numbers:
        """Positions of an axis; negative ones count from its end."""
        axis = range(self.rank)[axis]
        size, inner = self.shape[axis], prod(self.shape[axis + 1 :])
        places = [range(size)[int(each)] for each in at.elements]

        def make() -> Any:
            kept, found = self.elements, self.elements[:0]
            for outer in range(prod(self.shape[:axis])):
                for place in places:
                    first = (outer * size + place) * inner
                    found += kept[first : first + inner]
            return found

        return Numbers(self.kind, (*self.shape[:axis], *at.shape, *self.shape[axis + 1 :]), make, self)

    def cast(self, kind: str) -> Numbers:
        """As another type of numbers.

        Raises:
            OverflowError, ValueError: an element is none of the type.
        """
        if kind == self.kind:
            return self
        if self.floats and kind in ("float32", "float64"):
            return Numbers(kind, self.shape, lambda: _rounded(kind, self.elements), self)
        return Numbers.listed(kind, self.shape, self.elements)

    def _reordered(self, made: Numbers) -> Numbers:
        made._ordered = self._ordered
        return made

    def _strided(self, shape: Sequence[int], strides: Sequence[int], start: int) -> Numbers:
        return Numbers(self.kind, shape, lambda: _runs(self.elements, shape, strides, start), self)


def broadcast(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that values of these shapes have together.

    Raises:
        ValueError: there is none.
    """
    rank = max(map(len, shapes), default=0)
    found = []
    for sizes in zip(*((1,) * (rank - len(shape)) + tuple(shape) for shape in shapes), strict=True):
        others = {size for size in sizes if size != 1}
        if len(others) > 1 or min(sizes) < 0:
            raise ValueError(f"no shape in common: {shapes}")
        found.append(others.pop() if others else 1)
    return tuple(found)


def joined(parts: Sequence[Numbers], axis: int) -> Numbers:
    """Numbers of one type one after another along an axis.

    Raises:
        ValueError, IndexError: their types or other axes differ, or there is no such axis.
    """
    first = parts[0]
    axis = range(first.rank)[axis]
    rest = {(each.kind, each.shape[:axis], each.shape[axis + 1 :]) for each in parts}
    if len(rest) > 1 or any(each.rank != first.rank for each in parts):
        raise ValueError("values of different axes are joined")

    def make() -> Any:
        found = first.elements[:0]
        for outer in range(prod(first.shape[:axis])):
            for each in parts:
                run = prod(each.shape[axis:])
                found += each.elements[outer * run : (outer + 1) * run]
        return found

    total = sum(each.shape[axis] for each in parts)
    return Numbers(first.kind, (*first.shape[:axis], total, *first.shape[axis + 1 :]), make, *parts)


def _rounded(kind: str, elements: Iterable[Any]) -> Any:
    if kind == "string":
        return [str(each) for each in elements]
    if kind == "bool":
        return array("B", map(bool, elements))
    if kind == "float16":
        listed = list(elements)
        return array("f", unpack(f"{len(listed)}e", pack(f"{len(listed)}e", *listed)))
    return array(CODES[kind], elements if kind.startswith("float") else map(int, elements))


def _read(kind: str, content: bytes | memoryview) -> Any:
    if kind == "float16":
        return array("f", [number for (number,) in iter_unpack("<e", content)])
    found = array(CODES[kind])
    found.frombytes(content)
    if sys.byteorder == "big":
        found.byteswap()
    return _rounded(kind, found) if kind == "bool" else found


def _strides(shape: Sequence[int]) -> list[int]:
    """How far apart in order the positions of each axis lie."""
    return [prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _runs(kept: Any, shape: Sequence[int], strides: Sequence[int], start: int) -> Any:
    """The elements at the positions of each axis, so far apart from the first."""
    found = kept[:0]
    if 0 in shape:
        return found
    axes: list[tuple[int, int]] = []
    for size, stride in zip(shape, strides, strict=True):
        if axes and axes[-1][1] == stride * size:
            axes[-1] = (axes[-1][0] * size, stride)  # the two follow each other without a gap
        elif size > 1:
            axes.append((size, stride))
    if not axes:
        return kept[start : start + 1]
    count, step = axes.pop()
    for first in _starts(axes, start):
        last = first + step * (count - 1)
        if step == 0:
            found += kept[first : first + 1] * count
        elif step > 0:
            found += kept[first : last + 1 : step]
        else:
            found += kept[first : last - 1 if last else None : step]
    return found


def _starts(axes: Sequence[tuple[int, int]], start: int) -> Iterator[int]:
    if not axes:
        yield start
        return
    size, stride = axes[0]
    for index in range(size):
        yield from _starts(axes[1:], start + index * stride)

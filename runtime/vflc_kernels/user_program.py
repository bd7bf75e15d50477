"""The instructions of the operator `UserSteps`, and the memory that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from vflc_kernels.programs import CODES

KINDS = ("map", "sum", "rows", "merge", "put", "give", "numbers")
"""As the extension numbers them."""
LASTING = {"merge", "put", "give"}
"""What does something to more than a buffer; it reads the buffer that it is said to write."""
OWN, CONSTANTS, NUMBER, FEEDS = range(4)
LINE = 16
"""Elements that buffers are rounded up to."""
MOST_AXES = 6
Shape = tuple[int, ...]
Whole = np.ndarray[Any, Any]


class Unable(Exception):
    """A graph has what no program can do; it is run by onnxruntime, node after node."""


@dataclass(eq=False)
class Buffer:
    """Where values lie: `own` memory, which is given out when all is known, or what is given.

    `number` says which of those of its kind, or where constants begin.
    """

    kind: str
    number: int = 0
    size: int = 0


@dataclass(frozen=True)
class View:
    """Numbers in a buffer, as an array of this shape."""

    buffer: Buffer
    shape: Shape
    strides: Shape
    offset: int = 0

    @classmethod
    def of(cls, buffer: Buffer, shape: Shape) -> View:
        """All of a buffer."""
        return cls(buffer, shape, _plain(shape))

    @property
    def plain(self) -> bool:
        """Whether elements lie one after the other."""
        plain = _plain(self.shape)
        return all(size == 1 or a == b for size, a, b in zip(self.shape, self.strides, plain, strict=True))

    def reshaped(self, shape: Shape) -> View:
        """The same elements in another shape; they must be `plain`."""
        if not self.plain or prod(shape) != prod(self.shape):
            raise Unable
        return View(self.buffer, shape, _plain(shape), self.offset)

    def seen_as(self, shape: Shape) -> View | None:
        """The same; None where that needs a copy."""
        if self.plain:
            return self.reshaped(shape)
        large = [(n, stride) for n, stride in zip(self.shape, self.strides, strict=True) if n != 1]
        if [n for n, _ in large] != [n for n in shape if n != 1]:
            return None
        rest = iter(large)
        return View(self.buffer, shape, tuple(next(rest)[1] if n != 1 else 0 for n in shape), self.offset)

    def spread(self, shape: Shape) -> View:
        """As if it had a larger shape, as NumPy broadcasts."""
        more = len(shape) - len(self.shape)
        strides = [0 if own == 1 else stride for own, stride in zip(self.shape, self.strides, strict=True)]
        return View(self.buffer, shape, (*(0 for _ in range(more)), *strides), self.offset)

    def cut(self, axis: int, start: int, end: int) -> View:
        """The elements of an axis from `start` to before `end`."""
        shape = tuple(end - start if own == axis else size for own, size in enumerate(self.shape))
        return View(self.buffer, shape, self.strides, self.offset + start * self.strides[axis])

    def with_axis(self, axis: int) -> View:
        """With one more axis, of one element."""
        shape, strides = [*self.shape], [*self.strides]
        shape.insert(axis, 1)
        strides.insert(axis, 0)
        return View(self.buffer, tuple(shape), tuple(strides), self.offset)


@dataclass
class _Instruction:
    kind: str
    to: Buffer
    to_offset: int = 0
    to_strides: list[int] = field(default_factory=list)
    code: int = 0
    numbers: tuple[int, int, int, int] = (0, 0, 0, 0)  # array, ids, count, width
    sizes: list[int] = field(default_factory=list)
    given: list[tuple[View, list[int]]] = field(default_factory=list)

    def reads(self) -> list[Buffer]:
        """All that it reads, which may be what it writes."""
        return [*(view.buffer for view, _ in self.given), *([self.to] if self.kind in LASTING else [])]


class Code:
    """A program under construction.

    Args:
        precision: of its numbers.
        feeds: how many there are.
    """

    def __init__(self, precision: str, feeds: int) -> None:
        self.precision, self._feeds = precision, feeds
        self._instructions: list[_Instruction] = []
        self._constants: list[Whole] = []
        self._length = 0
        self._read: dict[tuple[int, int], View] = {}

    def constant(self, value: Whole) -> View:
        """Numbers that are always the same."""
        buffer = Buffer("constant", self._length)
        self._constants.append(value.astype(self.precision).reshape(-1))
        self._length += value.size
        return View.of(buffer, value.shape)

    def constants(self) -> Whole:
        """All of them; one at least."""
        return np.concatenate([*self._constants, np.zeros(1 if not self._length else 0, self.precision)])

    def map(self, name: str, operands: Sequence[View], shape: Shape) -> View:
        """An operator of every element."""
        made = View.of(self._new(prod(shape)), shape)
        self._map(name, operands, made)
        return made

    def joined(self, parts: Sequence[View], axis: int) -> View:
        """Arrays one after the other along an axis."""
        shape = [*parts[0].shape]
        shape[axis] = sum(part.shape[axis] for part in parts)
        made, start = View.of(self._new(prod(shape)), tuple(shape)), 0
        for part in parts:
            self._map("Cast", [part], made.cut(axis, start, start + part.shape[axis]))
            start += part.shape[axis]
        return made

    def _map(self, name: str, operands: Sequence[View], to: View) -> None:
        spread = [each.spread(to.shape).strides for each in operands]
        sizes, strides = _joined(to.shape, [to.strides, *spread])
        sizes, strides = _inner(sizes, strides, along=True)
        self._add("map", to, strides, sizes, operands, CODES[name], 0)

    def copy(self, view: View) -> View:
        """The same numbers, one after the other in a buffer of their own."""
        return self.map("Cast", [view], view.shape)

    def own(self, view: View) -> View:
        """The same numbers in a buffer of their own; a copy only where they are not."""
        whole = view.buffer.kind == "own" and view.plain and prod(view.shape) == view.buffer.size
        return view if whole else self.copy(view)

    def sum(self, operands: Sequence[View], axes: Sequence[int]) -> View:
        """The sum along axes of one operand, or of the products of two, all of one shape."""
        shape = operands[0].shape
        kept = tuple(size for axis, size in enumerate(shape) if axis not in axes)
        made, out, rest = View.of(self._new(prod(kept)), kept), list[int](), iter(_plain(kept))
        for axis in range(len(shape)):
            out.append(0 if axis in axes else next(rest))
        sizes, strides = _joined(shape, [tuple(out), *(each.strides for each in operands)])
        sizes, strides = _inner(*_best_last(sizes, strides), along=False)
        self._add("sum", made, strides, sizes, operands, 0, prod(kept))
        return made

    def rows(self, array: int, ids: int, count: int, width: int) -> View:
        """Rows of a table, [count, width]."""
        if (array, ids) not in self._read:  # they are written when all is computed
            made = self._new(count * width)
            self._instructions.append(_Instruction("rows", made, numbers=(array, ids, count, width)))
            self._read[array, ids] = View.of(made, (count, width))
        return self._read[array, ids]

    def merge(self, ids: int, count: int, width: int, rows: View) -> None:
        """Adds up the rows, in a buffer of their own, whose ids are equal."""
        self._instructions.append(_Instruction("merge", rows.buffer, numbers=(0, ids, count, width)))

    def numbers(self, ids: int, shape: Shape) -> View:
        """Ids as numbers."""
        made = self._new(prod(shape))
        self._instructions.append(_Instruction("numbers", made, numbers=(0, ids, prod(shape), 0)))
        return View.of(made, shape)

    def put(self, array: int, ids: Any, width: int, view: View) -> None:
        """Writes an array, or rows of a table."""
        number, count = (0, 0) if ids is None else (ids.number, prod(ids.shape))
        self._instructions.append(_Instruction("put", view.buffer, numbers=(array, number, count, width)))

    def give(self, result: int, view: View) -> None:
        """Gives a result of the step."""
        mine = self.own(view)
        self._instructions.append(_Instruction("give", mine.buffer, numbers=(result, 0, 0, prod(view.shape))))

    def _new(self, size: int) -> Buffer:
        return Buffer("own", size=size)

    def _add(
        self,
        kind: str,
        to: View,
        strides: list[list[int]],
        sizes: list[int],
        operands: Sequence[View],
        code: int,
        count: int,
    ) -> None:
        if len(sizes) > MOST_AXES or 0 in sizes:
            raise Unable
        given = [*zip(operands, strides[1:], strict=True)]
        numbers = (0, 0, count, 0)
        self._instructions.append(
            _Instruction(kind, to.buffer, to.offset, strides[0], code, numbers, sizes, given)
        )

    # --- as the node has it -----------------------------------------------------------------------

    def attributes(self) -> dict[str, Any]:
        """`program`, `memory` and `constants` of the node."""
        self._instructions = self._needed()
        places, memory = self._places()
        program = list[int]()
        for each in self._instructions:
            program += [KINDS.index(each.kind), each.code, *each.numbers, len(each.sizes), len(each.given)]
            program += [*each.sizes, OWN, places[id(each.to)] + each.to_offset, *each.to_strides]
            for view, strides in each.given:
                place, start = self._place(view.buffer, places)
                program += [place, start + view.offset, *strides]
        return {"program": program, "memory": memory, "constants": max(1, self._length)}

    def read(self, buffer: Buffer) -> bool:
        """Whether an instruction reads a buffer, or may: rows are read again where they change."""
        if any(buffer is each.buffer for each in self._read.values()):
            return True
        return any(buffer is each for of in self._instructions for each in of.reads())

    def _needed(self) -> list[_Instruction]:
        """The instructions without those that nothing reads."""
        wanted, kept = set[int](), list[_Instruction]()
        for each in reversed(self._instructions):
            if each.kind in LASTING or id(each.to) in wanted:
                wanted |= {id(buffer) for buffer in each.reads()}
                kept.append(each)
        return kept[::-1]

    def _place(self, buffer: Buffer, places: dict[int, int]) -> tuple[int, int]:
        if buffer.kind == "own":
            return OWN, places[id(buffer)]
        if buffer.kind == "constant":
            return CONSTANTS, buffer.number
        if buffer.kind == "number":
            return NUMBER, 0
        return FEEDS + buffer.number + (0 if buffer.kind == "feed" else self._feeds), 0

    def _places(self) -> tuple[dict[int, int], int]:
        """Where each buffer of own memory begins, and how much there is; it is used again when it is free."""
        last: dict[int, int] = {}
        for index, each in enumerate(self._instructions):
            for buffer in (each.to, *(given.buffer for given, _ in each.given)):
                if buffer.kind == "own":
                    last[id(buffer)] = index
        places: dict[int, int] = {}
        taken: dict[int, tuple[int, int]] = {}
        memory = 0
        for index, each in enumerate(self._instructions):
            buffer = each.to
            if id(buffer) not in places:
                size, start = -(-max(1, buffer.size) // LINE) * LINE, 0
                for begin, end in sorted(taken.values()):
                    if begin - start >= size:
                        break
                    start = max(start, end)
                places[id(buffer)], taken[id(buffer)] = start, (start, start + size)
                memory = max(memory, start + size)
            for done in [key for key in taken if last[key] == index]:
                del taken[done]
        return places, memory


def _plain(shape: Shape) -> Shape:
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _joined(shape: Shape, strides: Sequence[Shape]) -> tuple[list[int], list[list[int]]]:
    """Axes of one element are left out, and neighbours that all arrays step through alike are one."""
    sizes, found = list[int](), [list[int]() for _ in strides]
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        if sizes and all(own[-1] == given[axis] * size for own, given in zip(found, strides, strict=True)):
            sizes[-1] *= size
            for own, given in zip(found, strides, strict=True):
                own[-1] = given[axis]
        else:
            sizes.append(size)
            for own, given in zip(found, strides, strict=True):
                own.append(given[axis])
    return sizes, found


def _best_last(sizes: list[int], strides: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """The largest axis that all arrays step through one by one, or not at all, comes last."""
    able = [axis for axis in range(len(sizes)) if all(own[axis] in (0, 1) for own in strides)]
    if not able:
        return sizes, strides
    best = max(able, key=lambda axis: (sizes[axis], axis))
    order = [*(axis for axis in range(len(sizes)) if axis != best), best]
    return [sizes[axis] for axis in order], [[own[axis] for axis in order] for own in strides]


def _inner(sizes: list[int], strides: list[list[int]], along: bool) -> tuple[list[int], list[list[int]]]:
    """With a last axis that all arrays step through one by one or not at all; `along`, the first does."""
    if not sizes or any(own[-1] not in (0, 1) for own in strides):
        sizes, strides = (
            [*sizes, 1],
            [[*own, 1 if along and not index else 0] for index, own in enumerate(strides)],
        )
    return sizes, strides

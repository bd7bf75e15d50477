"""Translates an ONNX graph to instructions of the operator `UserSteps`, with the values of one user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from vflc_kernels.fuse import COMPARE, LOGIC
from vflc_kernels.graphs import in_order, reads
from vflc_kernels.programs import JOINED, MEANINGS
from vflc_kernels.user_program import Code, Shape, Unable, View, Whole

if TYPE_CHECKING:
    import onnx

FLOAT_KINDS = {1, 11}
BOOL_KIND = 9
ID_OPERATORS = {"Cast", "Gather", "Identity", "Max", "Reshape", "Shape", "Squeeze", "Unsqueeze", *COMPARE}
"""What may be done with ids."""
MOST_COMPARED = 1 << 24
"""What ids are compared with is below this: such numbers are the same in float32, larger ones larger."""


@dataclass(frozen=True)
class Ids:
    """Ids that are fed, by their number there, in a shape that is theirs or another of as many."""

    number: int
    shape: Shape


@dataclass(frozen=True)
class Product:
    """A product that only a sum reads: it need not be written down."""

    x: View
    y: View
    shape: Shape


Value = View | Ids | Product | Whole


class Translator:
    """Adds the nodes of a graph to a program, with one user's values: the axis of users has one element."""

    def __init__(
        self,
        code: Code,
        graph: onnx.GraphProto,
        given: Mapping[str, Value],
        tables: Mapping[str, tuple[int, int]],
    ) -> None:
        from onnx import numpy_helper

        self.code, self._graph, self._tables = code, graph, tables
        self.values: dict[str, Value] = dict(given)
        for each in graph.initializer:
            self.values[each.name] = numpy_helper.to_array(each)
        self._flags = set[str]()
        self._reads = Counter(name for node in graph.node if node.op_type != "Shape" for name in reads(node))

    def run(self, outputs: Sequence[str]) -> Translator:
        """Adds all nodes; `outputs` are read besides what they read."""
        self._reads.update(outputs)
        for node in in_order(self._graph.node):
            if node.domain or len(node.output) != 1 or not all(node.input):
                raise Unable
            self.values[node.output[0]] = self._node(node)
        return self

    def view(self, name: str) -> View:
        """A value as numbers."""
        value = self.values[name]
        found = self._numbers(value)
        if isinstance(value, Product):
            self.values[name] = found
        return found

    def _numbers(self, value: Value) -> View:
        if isinstance(value, View):
            return value
        if isinstance(value, Product):
            return self.code.map("Mul", [value.x, value.y], value.shape)
        if isinstance(value, Ids):
            return self.code.numbers(value.number, value.shape)
        if value.dtype.kind != "f" and not np.all(np.abs(value) < MOST_COMPARED):
            raise Unable
        return self.code.constant(value)

    def _node(self, node: onnx.NodeProto) -> Value:
        op, name = node.op_type, LOGIC.get(node.op_type, node.op_type)
        if op in COMPARE or op in LOGIC:
            self._flags.add(node.output[0])
        elif op not in ID_OPERATORS and any(isinstance(self.values[each], Ids) for each in node.input):
            raise Unable
        if (handler := getattr(self, f"_{op.lower()}", None)) is not None:
            return handler(node)  # type: ignore[no-any-return]
        if name not in MEANINGS or name in JOINED or name == "HardSigmoid":
            raise Unable
        return self._map(name, [self.view(each) for each in node.input], node)

    def _map(self, name: str, operands: list[View], node: onnx.NodeProto) -> Value:
        if (name in ("Max", "Min") and len(operands) != 2) or len(operands) != MEANINGS[name][0]:
            raise Unable
        shape = np.broadcast_shapes(*(each.shape for each in operands))
        if name == "Mul" and self._reads[node.output[0]] == 1 and self._summed(node.output[0]):
            return Product(operands[0], operands[1], shape)
        return self.code.map(name, operands, shape)

    def _summed(self, name: str) -> bool:
        return any(node.op_type == "ReduceSum" and node.input[0] == name for node in self._graph.node)

    # --- what only looks at a value in another way ------------------------------------------------

    def _identity(self, node: onnx.NodeProto) -> Value:
        return self.values[node.input[0]]

    def _cast(self, node: onnx.NodeProto) -> Value:
        to, source = node.attribute[0].i, node.input[0]
        if to in FLOAT_KINDS and not isinstance(self.values[source], np.ndarray):
            return self.view(source)
        if to == BOOL_KIND and source in self._flags:
            return self.values[source]
        raise Unable

    def _shape(self, node: onnx.NodeProto) -> Value:
        if node.attribute:
            raise Unable
        return np.array(self.values[node.input[0]].shape, np.int64)

    def _unsqueeze(self, node: onnx.NodeProto) -> Value:
        value, axes = self.values[node.input[0]], self._axes(node)
        rank = len(value.shape) + len(axes)
        shape = list(value.shape)
        for axis in sorted(axis % rank for axis in axes):
            shape.insert(axis, 1)
        return self._reshaped(value, tuple(shape))

    def _squeeze(self, node: onnx.NodeProto) -> Value:
        value = self.values[node.input[0]]
        axes = [axis % len(value.shape) for axis in self._axes(node)]
        if any(value.shape[axis] != 1 for axis in axes):
            raise Unable
        kept = tuple(size for axis, size in enumerate(value.shape) if axis not in axes)
        return self._reshaped(value, kept)

    def _reshape(self, node: onnx.NodeProto) -> Value:
        value, wanted = self.values[node.input[0]], self._integers(node.input[1])
        if node.attribute:
            raise Unable
        shape = [value.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
        if -1 in shape:
            shape[shape.index(-1)] = prod(value.shape) // max(1, -prod(shape))
        if prod(shape) != prod(value.shape):
            raise Unable
        return self._reshaped(value, tuple(shape))

    def _reshaped(self, value: Value, shape: Shape) -> Value:
        if isinstance(value, np.ndarray):
            return value.reshape(shape)
        if isinstance(value, Ids):
            return Ids(value.number, shape)
        numbers = self._numbers(value)
        seen = numbers.seen_as(shape)
        return self.code.copy(numbers).reshaped(shape) if seen is None else seen

    def _expand(self, node: onnx.NodeProto) -> Value:
        view = self.view(node.input[0])
        return view.spread(np.broadcast_shapes(view.shape, tuple(self._integers(node.input[1]))))

    def _transpose(self, node: onnx.NodeProto) -> Value:
        view = self.view(node.input[0])
        order = list(node.attribute[0].ints) if node.attribute else [*range(len(view.shape))][::-1]
        shape, strides = (tuple(each[axis] for axis in order) for each in (view.shape, view.strides))
        return View(view.buffer, shape, strides, view.offset)

    def _slice(self, node: onnx.NodeProto) -> Value:
        view = self.view(node.input[0])
        if len(node.input) < 4:
            raise Unable
        starts, ends, axes, *steps = (self._integers(name) for name in node.input[1:])
        if any(step != 1 for each in steps for step in each):
            raise Unable
        for start, end, axis in zip(starts, ends, axes, strict=True):
            axis %= len(view.shape)
            begin, until, _ = slice(start, end).indices(view.shape[axis])
            view = view.cut(axis, begin, max(begin, until))
        return view

    def _concat(self, node: onnx.NodeProto) -> Value:
        parts = [self.view(name) for name in node.input]
        axis = next(each.i for each in node.attribute if each.name == "axis") % len(parts[0].shape)
        if len({(*part.shape[:axis], *part.shape[axis + 1 :]) for part in parts}) != 1:
            raise Unable
        return self.code.joined(parts, axis)

    def _max(self, node: onnx.NodeProto) -> Value:
        ids, least = (self.values[name] for name in node.input[:2])
        if not isinstance(ids, Ids):
            return self._map("Max", [self.view(each) for each in node.input], node)
        if len(node.input) != 2 or not isinstance(least, np.ndarray) or least.size != 1 or least.any():
            raise Unable
        return ids  # the operator reads row 0 where there is no id

    # --- what reads several elements --------------------------------------------------------------

    def _gather(self, node: onnx.NodeProto) -> Value:
        ids = self.values[node.input[1]]
        axis = node.attribute[0].i if node.attribute else 0
        if node.input[0] not in self._tables or not isinstance(ids, Ids) or axis != 0:
            raise Unable
        array, width = self._tables[node.input[0]]
        return self.code.rows(array, ids.number, prod(ids.shape), width).reshaped((*ids.shape, width))

    def _reducesum(self, node: onnx.NodeProto) -> Value:
        value = self.values[node.input[0]]
        if len(node.input) != 2:
            raise Unable
        axes = [axis % len(value.shape) for axis in self._integers(node.input[1])]
        if not axes or 0 in axes:
            raise Unable  # nothing is added up over users
        keep = next((each.i for each in node.attribute if each.name == "keepdims"), 1)
        parts = [value.x, value.y] if isinstance(value, Product) else [self._numbers(value)]
        made = self.code.sum([part.spread(value.shape) for part in parts], axes)
        if not keep:
            return made
        return made.reshaped(tuple(1 if axis in axes else size for axis, size in enumerate(value.shape)))

    def _matmul(self, node: onnx.NodeProto) -> Value:
        x, y = (self.view(name) for name in node.input)
        if len(x.shape) < 2 or len(y.shape) < 2:
            raise Unable
        front = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        (m, k), n = x.shape[-2:], y.shape[-1]
        rows = x.spread((*front, m, k)).with_axis(len(front) + 2).spread((*front, m, k, n))
        columns = y.spread((*front, k, n)).with_axis(len(front)).spread((*front, m, k, n))
        return self.code.sum([rows, columns], [len(front) + 1])

    def _axes(self, node: onnx.NodeProto) -> list[int]:
        if len(node.input) != 2:
            raise Unable
        return self._integers(node.input[1])

    def _integers(self, name: str) -> list[int]:
        value = self.values[name]
        if not isinstance(value, np.ndarray) or value.dtype.kind != "i":
            raise Unable
        return [int(each) for each in value.reshape(-1)]

"""An op on the values of one of its samples, and the graphs that it makes, by the references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace
from vflc_common.arrays import Array
from vflc_common.numpy import np

from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.types import BATCH, TensorType
from vflc.ops import infer
from vflc.ops.registry import OPS, Op, OpSample

SIZES = 5, 4
"""What stands in for the batch axis, and for other axes that only a run knows."""
STEP = 1e-6


class Case:
    """An op on the values of one of its samples.

    Args:
        op: as it is registered.
        sample: one of its applications.
        seed: of what is drawn for it.
    """

    def __init__(self, op: Op, sample: OpSample, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.op, self.sample, self.types, self.attrs = op, sample, list(sample.types), sample.attrs
        self.build = Build(Graph(), infer)
        self.inputs = [given(self.build, f"x{i}", type_) for i, type_ in enumerate(sample.types)]
        self.node = self.build.op(op.name, *self.inputs, **sample.attrs)
        drawn = sample.values(rng) if sample.values else [_draw(type_, rng) for type_ in sample.types]
        self.arrays: list[Array] = [np.asarray(each) for each in drawn]
        self.batched = bool(self.types) and self.types[0].batched

    def at(self, arrays: Sequence[Array], attrs: Mapping[str, Any] | None = None) -> Array:
        """The output [*] for other values [*], and other static arguments."""
        node = self.node if attrs is None else replace(self.node, attrs=attrs)
        with np.errstate(all="ignore"):
            return np.asarray(self.op.reference(node, arrays, self.types), np.float64)

    def with_input(self, position: int, array: Array) -> list[Array]:
        """The input values [*], `array` in the place of one of them."""
        return [array if i == position else each for i, each in enumerate(self.arrays)]

    def floats(self, most: int = 10_000) -> list[int]:
        """The inputs that are numbers, at least one and at most so many."""
        sizes = [
            array.size if t.dtype == "float" else 0 for t, array in zip(self.types, self.arrays, strict=True)
        ]
        return [i for i, size in enumerate(sizes) if 0 < size <= most]

    def jacobian(self, position: int) -> Array:
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

    def halves(self, axis: int) -> list[Array] | None:
        """The first input [*] in two pieces along an axis; None where it is too short."""
        x = self.arrays[0]
        return [np.take(x, [0], axis), np.delete(x, 0, axis)] if x.shape[axis] > 1 else None

    def row_axes(self) -> range:
        """The axes of the first input that are those of a row."""
        return range(int(self.batched), self.arrays[0].ndim if self.arrays else 0)


def given(b: Build, name: str, type_: TensorType) -> Node:
    """A value that a graph is fed with."""
    attrs = {"party": "p", "name": name, "kind": "number", "rows": None}
    return b.graph.add(Node(name, "feature", (), attrs, type_))


def _draw(type_: TensorType, rng: Any) -> Array:
    shape = [a.size if a.size is not None else SIZES[a.name != BATCH] for a in type_.axes]
    if type_.dtype == "bool":
        return np.asarray(rng.integers(0, 2, shape).astype(bool))
    if type_.dtype == "int":
        return np.asarray(rng.integers(-1, 3, shape).astype(np.int32))
    return np.asarray(rng.normal(size=shape))


def run(graph: Graph, feeds: Mapping[str, Array], wanted: Node) -> Array:
    """A value [*] of a graph by the references, from values [*] by id."""
    values, needed = dict(feeds), graph.ancestors([wanted.id])
    for node in graph:
        if node.id in needed and node.id not in values:
            types = [graph[name].type for name in node.inputs]
            values[node.id] = OPS[node.op].reference(node, [values[name] for name in node.inputs], types)
    return values[wanted.id]


def near(x: Array, y: Array) -> bool:
    """Whether two arrays [*] are of one shape and equal but for rounding."""
    return x.shape == y.shape and bool(np.allclose(x, y, rtol=1e-9, atol=1e-9, equal_nan=True))

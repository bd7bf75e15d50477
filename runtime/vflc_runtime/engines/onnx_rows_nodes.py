"""Graphs about rows of tables under construction: of ONNX's operators, or of our own where they are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import vflc_kernels

from vflc_runtime.engines.onnx_memory import read_before_written
from vflc_runtime.engines.onnx_session import own_session

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 18, 9


def nodes_for(precision: str, threads: int = 1) -> RowsNodes:
    """An empty graph of float32 or float64, as `precision` says; `threads` are for our own operators."""
    return KernelNodes(precision, threads) if vflc_kernels.library() else RowsNodes(precision)


class RowsNodes:
    """A graph under construction, of ONNX's operators alone.

    It has one thread: with two, onnxruntime 1.31 adds to one row from both at once and loses summands.
    """

    threads = 1

    def __init__(self, precision: str) -> None:
        from onnx import GraphProto, helper

        self.graph = GraphProto(name="rows")
        self.precision = precision
        self._shapes: dict[str, list[str | int]] = {}
        self.element = int(helper.np_dtype_to_tensor_dtype(np.dtype(precision)))

    def __call__(self, op: str, *inputs: str, to: str, **attributes: Any) -> str:
        """Adds a node whose output is `to`, and returns that."""
        from onnx import helper

        self.graph.node.append(helper.make_node(op, inputs, [to], **attributes))
        return to

    def constant(self, values: list[int]) -> str:
        """Whole numbers [n]."""
        from onnx import numpy_helper

        name = f"constant.{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(np.array(values), name))
        return name

    def take(self, rows: str | None, arrays: Sequence[str], to: Mapping[str, int]) -> None:
        """Columns of arrays [rows, …] side by side, divided anew into values `to` of these widths.

        Of the rows that the value `rows` [n] names, or of all.
        """
        if rows is not None:
            arrays = [self("Gather", name, rows, to=f"old.{name}.rows", axis=0) for name in arrays]
        if len(arrays) == 1 or not arrays:
            self._split(*arrays, to=to)
        elif len(to) == 1:
            self._join(arrays, to=next(iter(to)))
        else:
            self._split(self._join(arrays, to=f"{arrays[0]}.joined"), to=to)

    def put(self, rows: str, arrays: Mapping[str, int], values: Sequence[str]) -> None:
        """Makes `new.ARRAY` of each of `arrays` and their widths, which may be bound to the same memory.

        They differ in `rows` [n], whose columns side by side are those of `values` [n, …].
        """
        made = {f"made.{name}": width for name, width in arrays.items()}
        self.take(None, values, made)
        read_before_written(self.graph, {name: f"made.{name}" for name in arrays})
        at = self("Unsqueeze", rows, self.constant([1]), to=f"{rows}.at")
        for name in arrays:
            self("ScatterND", name, at, f"made.{name}", to=f"new.{name}")

    def sum(self, widths: Sequence[int], parts: int, to: str) -> tuple[list[str], list[str]]:
        """As `add_up`, without the last of `count`, which stands for what belongs to no row."""
        names = self.add_up(widths, parts, to=f"{to}.sums")
        zero, end = self.constant([0]), self.constant([-1])
        self("Slice", f"{to}.sums", zero, end, zero, to=to)
        return names

    def add_up(self, widths: Sequence[int], parts: int, to: str) -> tuple[list[str], list[str]]:
        """Makes sums of `count` rows, and says which gradients and positions it reads."""
        from onnx import numpy_helper

        zero = numpy_helper.from_array(np.zeros(1, self.precision))
        gradients, sums = [], []
        for table, width in enumerate(widths):
            shape = self("Concat", "count", self.constant([width]), to=f"shape.{table}", axis=0)
            total = self("ConstantOfShape", shape, to=f"zeros.{table}", value=zero)
            for part in range(parts):
                name = f"{table}.{part}"
                gradients.append(f"gradient.{name}")
                rows = self("Reshape", gradients[-1], self.constant([-1, width]), to=f"rows.{name}")
                total = self("ScatterND", total, f"at.{part}", rows, to=f"sum.{name}", reduction="add")
            sums.append(total)
        self._join(sums, to=to)
        return gradients, [f"at.{part}" for part in range(parts)]

    def _join(self, parts: Sequence[str], to: str) -> str:
        return self("Concat", *parts, to=to, axis=1) if len(parts) > 1 else self("Identity", *parts, to=to)

    def _split(self, *value: str, to: Mapping[str, int]) -> None:
        from onnx import helper

        if len(to) == 1:
            self("Identity", *value, to=next(iter(to)))
        elif to:
            sizes = self.constant([*to.values()])
            self.graph.node.append(helper.make_node("Split", [*value, sizes], [*to], axis=1))

    def given(self, widths: Mapping[str, int]) -> list[str]:
        """Names for `session` of inputs [n, width]: what is fused must know their shapes."""
        self._shapes |= {name: ["n", width] for name, width in widths.items()}
        return [*widths]

    def extend(self, graph: onnx.GraphProto) -> None:
        """Adds all of another graph."""
        self.graph.node.extend(graph.node)
        self.graph.initializer.extend(graph.initializer)

    def session(self, floats: list[str], integers: list[str], outputs: list[str]) -> Any:
        """The session."""
        from onnx import TensorProto, helper

        types = {**dict.fromkeys(floats, self.element), **dict.fromkeys(integers, TensorProto.INT64)}
        info, graph = helper.make_tensor_value_info, self.graph
        graph.input.extend(info(name, type_, self._shapes.get(name)) for name, type_ in types.items())
        graph.output.extend(info(name, self.element, None) for name in outputs)
        model = helper.make_model(graph, opset_imports=self._opsets(), ir_version=IR_VERSION)
        return own_session(model, self.threads, self.precision)

    def _opsets(self) -> list[onnx.OperatorSetIdProto]:
        from onnx import helper

        return [helper.make_opsetid("", OPSET)]


class KernelNodes(RowsNodes):
    """The same with our own operators: nothing is joined only to be divided again."""

    def __init__(self, precision: str, threads: int = 1) -> None:
        super().__init__(precision)
        self.threads = threads

    def take(self, rows: str | None, arrays: Sequence[str], to: Mapping[str, int]) -> None:
        if arrays:
            read = [*([] if rows is None else [rows]), *arrays]
            self._own("TakeRows", read, to, indexed=int(rows is not None), widths=[*to.values()])

    def put(self, rows: str, arrays: Mapping[str, int], values: Sequence[str]) -> None:
        made = {f"new.{name}": width for name, width in arrays.items()}
        self._own("PutRows", [rows, *arrays, *values], made, arrays=len(arrays))

    def sum(self, widths: Sequence[int], parts: int, to: str) -> tuple[list[str], list[str]]:
        gradients = [f"gradient.{table}.{part}" for table in range(len(widths)) for part in range(parts)]
        positions = [f"at.{part}" for part in range(parts)]
        read = ["count", *positions, *gradients]
        self._own("SumRows", read, {to: sum(widths)}, parts=parts, widths=[*widths])
        return gradients, positions

    def _own(self, name: str, inputs: Sequence[str], outputs: Mapping[str, int], **attributes: Any) -> None:
        """Adds a node of ours, with the types of what it gives, which nobody else knows."""
        from onnx import helper

        name = name if self.precision == "float32" else f"{name}Double"
        node = helper.make_node(name, inputs, [*outputs], domain=vflc_kernels.DOMAIN, **attributes)
        self.graph.node.append(node)
        info = helper.make_tensor_value_info
        self.graph.value_info.extend(
            info(name, self.element, ["n", width]) for name, width in outputs.items()
        )

    def _opsets(self) -> list[onnx.OperatorSetIdProto]:
        from onnx import helper

        return [*super()._opsets(), helper.make_opsetid(vflc_kernels.DOMAIN, 1)]

"""The two graphs that update rows of tables: one sums their gradients, one changes them in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from vflc_runtime.engines.onnx_memory import read_before_written
from vflc_runtime.engines.onnx_session import onnx_errors, read_model, session, short
from vflc_runtime.plan import Optimizer, Plan
from vflc_runtime.reading import damaged

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 18, 9
OPTIMIZER = "optimizer."
"""What the names of an optimizer's graph begin with where it is part of another."""


@cache
def row_adder(precision: str, widths: tuple[int, ...], parts: int) -> Any:
    """Sums rows of gradients by where they belong, for tables of these widths side by side.

    The session takes `count` [1], positions `at.PART` [n, 1] below it and, for each table and part,
    `gradient.TABLE.PART` [..., width]; it gives `sums` [count, all widths]. Rows are added in order.
    `np.add.at` and `np.add.reduceat` take over ten times as long.
    """
    add = _Nodes(precision)
    gradients, positions = _summed(add, widths, parts)
    return add.session(gradients, ["count", *positions], ["sums"])


def _summed(add: _Nodes, widths: Sequence[int], parts: int) -> tuple[list[str], list[str]]:
    """Makes `sums` of `count` rows, and says which gradients and positions it reads."""
    from onnx import numpy_helper

    zero = numpy_helper.from_array(np.zeros(1, add.precision))
    gradients, sums = [], []
    for table, width in enumerate(widths):
        shape = add("Concat", "count", add.constant([width]), to=f"shape.{table}", axis=0)
        total = add("ConstantOfShape", shape, to=f"zeros.{table}", value=zero)
        for part in range(parts):
            name = f"{table}.{part}"
            gradients.append(f"gradient.{name}")
            rows = add("Reshape", gradients[-1], add.constant([-1, width]), to=f"rows.{name}")
            total = add("ScatterND", total, f"at.{part}", rows, to=f"sum.{name}", reduction="add")
        sums.append(total)
    add.join(sums, to="sums")
    return gradients, [f"at.{part}" for part in range(parts)]


def row_updater(
    plan: Plan, optimizer: Optimizer, tables: Sequence[int], slots: Mapping[str, int], parts: int = 0
) -> Any:
    """Takes the same rows out of tables and out of what is kept for them, updates them, puts them back.

    The session takes `rows` [n], their `gradient` [n, all tables' widths], `step`, each `table.INDEX`
    and, where there are slots, `kept` [rows, all slots' widths]. It gives `new.table.INDEX` and
    `new.kept`, which must be bound to the memory of what they were: only the rows named are written.
    `tables` and `slots` are widths, of the slots in the order in which `kept` has them.

    Where `parts` are given, it takes what `row_adder` takes in place of `gradient`, and adds up itself;
    `count` is one more than there are rows.
    """
    from onnx import compose

    add, names = _Nodes(plan.precision), [f"table.{index}" for index in range(len(tables))]
    flat = optimizer.rows_graph == optimizer.graph
    for name in (*names, "kept")[: len(names) + bool(slots)]:
        add("Gather", name, "rows", to=f"old.{name}", axis=0)
    add.join([f"old.{name}" for name in names], to="old.weight")
    add.split("old.kept", {f"old.{name}": width for name, width in slots.items()})
    floats, integers = ["gradient"], ["rows"]
    if parts:
        floats, positions = _summed(add, tables, parts)
        integers += ["count", *positions]
        zero, end = add.constant([0]), add.constant([-1])
        add("Slice", "sums", zero, end, zero, to="gradient")
    for name in ("weight", *slots):
        add.shaped(f"old.{name}", [-1] if flat else None, to=OPTIMIZER + name)
    add.shaped("gradient", [-1] if flat else None, to=f"{OPTIMIZER}gradient")
    add("Identity", "step", to=f"{OPTIMIZER}step")
    add.extend(compose.add_prefix(read_model(plan, optimizer.rows_graph), OPTIMIZER).graph)
    for name, width in {"weight": sum(tables), **slots}.items():
        add.shaped(f"{OPTIMIZER}new.{name}", [-1, width] if flat else None, to=f"made.{name}")
    add.split("made.weight", {f"made.{name}": width for name, width in zip(names, tables, strict=True)})
    add.join([f"made.{name}" for name in slots], to="made.kept")
    stored = [*names, *(["kept"] if slots else [])]
    read_before_written(add.graph, {name: f"made.{name}" for name in stored})
    add("Unsqueeze", "rows", add.constant([1]), to="at")
    for name in stored:
        add("ScatterND", name, "at", f"made.{name}", to=f"new.{name}")
    try:
        return add.session([*floats, "step", *stored], integers, [f"new.{name}" for name in stored])
    except onnx_errors() as error:
        raise damaged(f"{optimizer.rows_graph!r} of {plan.place!r} updates no rows: {short(error)}") from None


class _Nodes:
    """A graph under construction."""

    def __init__(self, precision: str) -> None:
        from onnx import GraphProto, helper

        self.graph = GraphProto(name="rows")
        self.precision = precision
        self._element = int(helper.np_dtype_to_tensor_dtype(np.dtype(precision)))

    def __call__(self, op: str, *inputs: str, to: str, **attributes: Any) -> str:
        """Adds a node whose output is `to`, and returns that."""
        from onnx import helper

        self.graph.node.append(helper.make_node(op, inputs, [to], **attributes))
        return to

    def constant(self, values: list[int]) -> str:
        from onnx import numpy_helper

        name = f"constant.{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(np.array(values), name))
        return name

    def shaped(self, value: str, shape: list[int] | None, to: str) -> None:
        """A reshape, or just another name where `shape` is None."""
        if shape is None:
            self("Identity", value, to=to)
        else:
            self("Reshape", value, self.constant(shape), to=to)

    def join(self, parts: list[str], to: str) -> None:
        """Columns side by side."""
        if len(parts) == 1:
            self("Identity", parts[0], to=to)
        elif parts:
            self("Concat", *parts, to=to, axis=1)

    def split(self, value: str, widths: Mapping[str, int]) -> None:
        """Columns apart again."""
        from onnx import helper

        if len(widths) == 1:
            self("Identity", value, to=next(iter(widths)))
        elif widths:
            sizes = self.constant([*widths.values()])
            self.graph.node.append(helper.make_node("Split", [value, sizes], [*widths], axis=1))

    def extend(self, graph: onnx.GraphProto) -> None:
        """Adds all of another graph."""
        self.graph.node.extend(graph.node)
        self.graph.initializer.extend(graph.initializer)

    def session(self, floats: list[str], integers: list[str], outputs: list[str]) -> Any:
        """The session. It has one thread: with two, onnxruntime 1.31 adds to one row from both at
        once and loses summands.
        """
        from onnx import TensorProto, helper

        types = {**dict.fromkeys(floats, self._element), **dict.fromkeys(integers, TensorProto.INT64)}
        info, graph = helper.make_tensor_value_info, self.graph
        graph.input.extend(info(name, type_, None) for name, type_ in types.items())
        graph.output.extend(info(name, self._element, None) for name in outputs)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
        return session(model.SerializeToString(), 1, self.precision == "float64")

"""The graphs that update rows of tables: their gradients are summed, they catch up, they change in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from vflc_runtime.bundle.plan import Optimizer, Plan
from vflc_runtime.bundle.plan_rows import CatchUp
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.engines.onnx_memory import read_before_written
from vflc_runtime.engines.onnx_session import onnx_errors, own_session, read_model, short

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 18, 9
OPTIMIZER, CATCH_UP = "optimizer.", "catch_up."
"""What the names of an optimizer's graphs begin with where they are part of another."""


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


def row_reader(plan: Plan, optimizer: Optimizer, tables: Sequence[int], slots: Mapping[str, int]) -> Any:
    """Lets rows of tables catch up with the steps that they missed.

    The session takes `rows` [n], of each of them the numbers `missed` [n, …], each `table.INDEX` and
    `kept` [rows, all slots' widths]. It gives `new.table.INDEX`, which must be bound to the memory of
    what they were: only the rows named are written. It gives these rows as well, side by side, as
    `weight` [n, all tables' widths] and `slots` [n, all slots' widths], which `kept` does not have yet.
    Where there are no slots, there is no `kept`.
    """
    from onnx import compose

    more = optimizer.catch_up
    assert isinstance(more, CatchUp)
    kept = ["kept"] if slots else []
    add, names = _Nodes(plan.precision), [f"table.{index}" for index in range(len(tables))]
    for name in (*names, *kept):
        add("Gather", name, "rows", to=f"old.{name}", axis=0)
    add.join([f"old.{name}" for name in names], to=f"{CATCH_UP}weight")
    add.split("old.kept", {f"{CATCH_UP}{name}": width for name, width in slots.items()})
    add.split("missed", {f"{CATCH_UP}missed.{each.name}": 1 for each in more.missed})
    add.extend(compose.add_prefix(read_model(plan, more.graph), CATCH_UP).graph)
    add("Identity", f"{CATCH_UP}new.weight", to="weight")
    add.join([f"{CATCH_UP}new.{name}" for name in slots], to="slots")
    stored = _put_back(add, "weight", tables)
    try:
        outputs = [*stored, "weight", *(["slots"] if slots else [])]
        return add.session(["missed", *kept, *names], ["rows"], outputs)
    except onnx_errors() as error:
        raise damaged(f"{more.graph!r} of {plan.place!r} reads no rows: {short(error)}") from None


def row_updater(
    plan: Plan,
    optimizer: Optimizer,
    tables: Sequence[int],
    slots: Mapping[str, int],
    parts: int,
    taken: bool,
) -> Any:
    """Takes the same rows out of tables and out of what is kept for them, updates them, puts them back.

    The session takes `rows` [n], their `gradient` [n, all tables' widths], `step`, each `table.INDEX`
    and, where there are slots, `kept` [rows, all slots' widths]. It gives `new.table.INDEX` and
    `new.kept`, which must be bound to the memory of what they were: only the rows named are written.
    `tables` and `slots` are widths, of the slots in the order in which `kept` has them.

    Where `parts` are given, it takes what `row_adder` takes in place of `gradient`, and adds up itself;
    `count` is one more than there are rows. Where the rows are `taken` out already, they are given as
    `weight` and `slots`, as `row_reader` makes them.
    """
    from onnx import compose

    add, names = _Nodes(plan.precision), [f"table.{index}" for index in range(len(tables))]
    kept = ["kept"] if slots else []
    floats, integers = ["gradient"], ["rows"]
    if parts:
        floats, positions = _summed(add, tables, parts)
        integers += ["count", *positions]
        zero, end = add.constant([0]), add.constant([-1])
        add("Slice", "sums", zero, end, zero, to="gradient")
    if taken:
        floats += ["weight", *(["slots"] if slots else [])]
    else:
        for name in (*names, *kept):
            add("Gather", name, "rows", to=f"old.{name}", axis=0)
        add.join([f"old.{name}" for name in names], to="weight")
        if slots:
            add("Identity", "old.kept", to="slots")
    add.split("slots", {f"old.{name}": width for name, width in slots.items()})
    # element by element, whatever the shape: an optimizer's graph on vectors takes rows as they lie
    for name in ("weight", "gradient", "step"):
        add("Identity", name, to=OPTIMIZER + name)
    for name in slots:
        add("Identity", f"old.{name}", to=OPTIMIZER + name)
    add.extend(compose.add_prefix(read_model(plan, optimizer.graph), OPTIMIZER).graph)
    for name in ("weight", *slots):
        add("Identity", f"{OPTIMIZER}new.{name}", to=f"made.{name}")
    add.join([f"made.{name}" for name in slots], to="made.kept")
    stored = _put_back(add, "made.weight", tables, kept)
    try:
        return add.session([*floats, "step", *names, *kept], integers, stored)
    except onnx_errors() as error:
        raise damaged(f"{optimizer.graph!r} of {plan.place!r} updates no rows: {short(error)}") from None


def _put_back(add: _Nodes, weight: str, tables: Sequence[int], more: Sequence[str] = ()) -> list[str]:
    """Writes rows of `weight`, and `made.NAME` of `more`, to where they were read; what is stored then."""
    names = [f"table.{index}" for index in range(len(tables))]
    add.split(weight, {f"made.{name}": width for name, width in zip(names, tables, strict=True)})
    read_before_written(add.graph, {name: f"made.{name}" for name in (*names, *more)})
    add("Unsqueeze", "rows", add.constant([1]), to="at")
    for name in (*names, *more):
        add("ScatterND", name, "at", f"made.{name}", to=f"new.{name}")
    return [f"new.{name}" for name in (*names, *more)]


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
        return own_session(model, 1, self.precision)

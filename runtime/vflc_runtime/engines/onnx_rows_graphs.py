"""The graphs that update rows of tables: their gradients are summed, they catch up, they change in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from vflc_runtime.bundle.plan import Optimizer, Plan
from vflc_runtime.bundle.plan_rows import CatchUp
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.engines.onnx_rows_nodes import RowsNodes, nodes_for
from vflc_runtime.engines.onnx_session import onnx_errors, read_model, short

OPTIMIZER, CATCH_UP = "optimizer.", "catch_up."
"""What the names of an optimizer's graphs begin with where they are part of another."""
TAKEN = f"{CATCH_UP}new."
"""What the names of rows begin with that were taken out and have caught up."""


@cache
def row_adder(precision: str, widths: tuple[int, ...], parts: int) -> Any:
    """Sums rows of gradients by where they belong, for tables of these widths side by side.

    The session takes `count` [1], positions `at.PART` [n, 1] below it and, for each table and part,
    `gradient.TABLE.PART` [..., width]; it gives `sums` [count, all widths]. Rows are added in order.
    `np.add.at` and `np.add.reduceat` take over ten times as long.
    """
    add = RowsNodes(precision)
    gradients, positions = add.add_up(widths, parts, to="sums")
    return add.session(gradients, ["count", *positions], ["sums"])


def row_reader(plan: Plan, optimizer: Optimizer, tables: Sequence[int], slots: Mapping[str, int]) -> Any:
    """Lets rows of tables catch up with the steps that they missed.

    The session takes `rows` [n], of each of them the numbers `missed` [n, …], each `table.INDEX` and
    `kept` [rows, all slots' widths]. It gives `new.table.INDEX`, which must be bound to the memory of
    what they were: only the rows named are written. It gives these rows as well, all tables side by side, as
    `TAKEN.weight` and `TAKEN.SLOT` [n, all tables' widths] each; `kept` does not have the slots yet.
    Where there are no slots, there is no `kept`.
    """
    from onnx import compose

    more = optimizer.catch_up
    assert isinstance(more, CatchUp)
    add, stored = nodes_for(plan.precision), _tables(tables)
    kept = ["kept"] if slots else []
    add.take("rows", [*stored], {f"{CATCH_UP}weight": sum(tables)})
    add.take("rows", kept, {f"{CATCH_UP}{name}": width for name, width in slots.items()})
    add.take(None, ["missed"], {f"{CATCH_UP}missed.{each.name}": 1 for each in more.missed})
    add.extend(compose.add_prefix(read_model(plan, more.graph), CATCH_UP).graph)
    add.put("rows", stored, [TAKEN + "weight"])
    try:
        outputs = [*(f"new.{name}" for name in stored), *(TAKEN + name for name in ("weight", *slots))]
        return add.session(["missed", *kept, *stored], ["rows"], outputs)
    except onnx_errors() as error:
        raise damaged(f"{more.graph!r} of {plan.place!r} reads no rows: {short(error)}") from None


def row_updater(
    plan: Plan,
    optimizer: Optimizer,
    tables: Sequence[int],
    slots: Mapping[str, int],
    parts: int,
    taken: bool,
    threads: int = 1,
) -> Any:
    """Takes the same rows out of tables and out of what is kept for them, updates them, puts them back.

    The session takes `rows` [n], their `gradient` [n, all tables' widths], `step`, each `table.INDEX`
    and, where there are slots, `kept` [rows, all slots' widths]. It gives `new.table.INDEX` and
    `new.kept`, which must be bound to the memory of what they were: only the rows named are written.
    `tables` and `slots` are widths, of the slots in the order in which `kept` has them.

    Where `parts` are given, it takes what `row_adder` takes in place of `gradient`, and adds up itself;
    `count` is one more than there are rows. Where the rows are `taken` out already, they are given as
    `row_reader` makes them. `threads` are used where our own operators are.
    """
    from onnx import compose

    add, stored = nodes_for(plan.precision, threads), _tables(tables)
    kept = {"kept": sum(slots.values())} if slots else {}
    floats, integers = ["gradient"], ["rows"]
    if parts:
        floats, positions = add.sum(tables, parts, to="gradient")
        integers += ["count", *positions]
    if taken:
        floats += add.given({TAKEN + name: sum(tables) for name in ("weight", *slots)})
    else:
        add.take("rows", [*stored], {f"{TAKEN}weight": sum(tables)})
        add.take("rows", [*kept], {TAKEN + name: width for name, width in slots.items()})
    # element by element, whatever the shape: an optimizer's graph on vectors takes rows as they lie
    for name in ("gradient", "step"):
        add("Identity", name, to=OPTIMIZER + name)
    for name in ("weight", *slots):
        add("Identity", TAKEN + name, to=OPTIMIZER + name)
    add.extend(compose.add_prefix(read_model(plan, optimizer.graph), OPTIMIZER).graph)
    add.put("rows", {**stored, **kept}, [f"{OPTIMIZER}new.{name}" for name in ("weight", *slots)])
    try:
        outputs = [f"new.{name}" for name in (*stored, *kept)]
        return add.session([*floats, "step", *stored, *kept], integers, outputs)
    except onnx_errors() as error:
        raise damaged(f"{optimizer.graph!r} of {plan.place!r} updates no rows: {short(error)}") from None


def _tables(widths: Sequence[int]) -> dict[str, int]:
    """Tables and their widths."""
    return {f"table.{index}": width for index, width in enumerate(widths)}

"""Updates on a device: one graph for all that an optimizer updates, over its flat buffers, in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vflc_runtime.bundle.plan import Optimizer, Plan
from vflc_runtime.engines.device import Device
from vflc_runtime.engines.device_buffers import SPARE_ROWS, DeviceBuffers, Flat
from vflc_runtime.engines.device_graphs import DeviceGraph
from vflc_runtime.engines.onnx_memory import read_before_written
from vflc_runtime.engines.onnx_session import read_model

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 18, 9
COPIES, COPIED_ROWS = 32, 1 << 17
"""Sums of a table are made in so many copies, of so many rows together: of few rows each has many summands,
and a GPU adds them up one after another."""
STEP = "step"
"""What optimizers call the number of the step, from 1."""


def part_name(optimizer: str, kind: str) -> str:
    """What the values of a batch call a flat buffer."""
    return f"{optimizer}/{kind}"


def make_updates(plan: Plan, device: Device, buffers: DeviceBuffers) -> dict[str, DeviceGraph]:
    """By optimizer the graph that makes all of its updates."""
    made = {}
    for flat in buffers.flats:
        kinds = ("weight", *(slot.name for slot in flat.optimizer.slots))
        name = flat.optimizer.id
        made[name] = DeviceGraph(
            device,
            _UpdateModel(plan, flat).model,
            f"the update by {name!r} of {plan.place!r}",
            homes={f"new.{part_name(name, kind)}": [flat.parts[kind]] for kind in kinds},
            state=[flat.parts[kind] for kind in kinds],
            double=plan.precision == "float64",
        )
    return made


class _UpdateModel:
    """From flat weight, gradient and slots, the step, and of each table ids and gradients, to what is new."""

    def __init__(self, plan: Plan, flat: Flat) -> None:
        from onnx import compose, helper

        self._plan, self._flat, self._constants = plan, flat, 0
        self._element = int(helper.np_dtype_to_tensor_dtype(np.dtype(plan.precision)))
        self._graph = helper.make_graph([], "update", [], [])
        self._inputs: dict[str, int] = {}
        rule: Optimizer = flat.optimizer
        kinds = ("weight", *(slot.name for slot in rule.slots))
        names = {kind: part_name(rule.id, kind) for kind in (*kinds, "gradient")}
        for kind in kinds:
            self._input(names[kind], self._element)
        pieces = []
        if flat.dense_size:
            pieces.append(self._input(names["gradient"], self._element))
            if rule.clip_norm is not None:
                arrays = [name for update in flat.dense for name in update.arrays]
                ends = [flat.sections[name].start + flat.sections[name].size for name in arrays]
                pieces = [self._clipped(pieces[0], "dense", ends, rule.clip_norm)]
        pieces += map(self._summed, range(len(flat.tables)))
        gradient = pieces[0] if len(pieces) == 1 else self._add("Concat", *pieces, to="all", axis=0)
        model = read_model(plan, rule.graph)
        for given in model.graph.input:
            kind = given.name
            if kind == STEP:
                self._input(STEP, self._element)
            self._add(
                "Identity", {"gradient": gradient, STEP: STEP}.get(kind) or names[kind], to=f"rule.{kind}"
            )
        inner = compose.add_prefix(model, "rule.").graph
        self._graph.node.extend(inner.node)
        self._graph.initializer.extend(inner.initializer)
        stored, moved = {}, self._moved()
        for kind in kinds:
            op, given = ("Identity", []) if moved is None else ("Where", [moved])
            given += [f"rule.new.{kind}", *([] if moved is None else [names[kind]])]
            stored[names[kind]] = self._add(op, *given, to=f"new.{names[kind]}")
        read_before_written(self._graph, stored)
        info = helper.make_tensor_value_info
        self._graph.input.extend(info(name, element, None) for name, element in self._inputs.items())
        self._graph.output.extend(info(name, self._element, None) for name in stored.values())
        opset = [helper.make_opsetid("", OPSET)]
        self.model: onnx.ModelProto = helper.make_model(
            self._graph, opset_imports=opset, ir_version=IR_VERSION
        )

    def _input(self, name: str, element: int) -> str:
        self._inputs[name] = element
        return name

    def _add(self, op: str, *inputs: str, to: str, **attributes: Any) -> str:
        from onnx import helper

        named = {
            name.rstrip("_"): value for name, value in attributes.items()
        }  # `to` is where the value goes
        self._graph.node.append(helper.make_node(op, inputs, [to], **named))
        return to

    def _constant(self, value: Any, dtype: str = "int64") -> str:
        from onnx import numpy_helper

        self._constants += 1
        name = f"constant.{self._constants}"
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def _summed(self, index: int) -> str:
        """The gradient of a whole table, flat, with its spare rows: ids that stand for none go there."""
        from onnx import TensorProto, numpy_helper

        update, add = self._flat.tables[index], self._add
        rows, width = self._plan.arrays[update.array].shape
        at, one = f"table.{index}", self._constant([1])
        zero = numpy_helper.from_array(np.zeros(1, self._plan.precision))
        section = self._flat.sections[update.array]
        copies = max(1, min(COPIES, COPIED_ROWS // section.rows))
        shape = self._constant([copies * section.rows, width])
        total = add("ConstantOfShape", shape, to=f"{at}.zero", value=zero)
        for part, (ids, gradient) in enumerate(update.gradients):
            name = f"{at}.{part}"
            self._input(ids, TensorProto.INT32)
            self._input(gradient, self._element)
            flat = add("Reshape", ids, self._constant([-1]), to=f"{name}.ids")
            size = add("Squeeze", add("Shape", flat, to=f"{name}.shape"), to=f"{name}.size")
            order = add("Range", self._constant(0), size, self._constant(1), to=f"{name}.long")
            order = add("Cast", order, to=f"{name}.order", to_=TensorProto.INT32)
            turn = add("Mod", order, self._constant(SPARE_ROWS, "int32"), to=f"{name}.turn")
            spare = add("Add", turn, self._constant(rows, "int32"), to=f"{name}.spare")
            none = add("Less", flat, self._constant(0, "int32"), to=f"{name}.none")
            there = add("Where", none, spare, flat, to=f"{name}.row")
            turn = add("Mod", order, self._constant(copies, "int32"), to=f"{name}.copy")
            base = add("Mul", turn, self._constant(section.rows, "int32"), to=f"{name}.base")
            there = add("Unsqueeze", add("Add", there, base, to=f"{name}.at"), one, to=f"{name}.column")
            given = add("Reshape", gradient, self._constant([-1, width]), to=f"{name}.gradient")
            there = add("Expand", there, add("Shape", given, to=f"{name}.all"), to=f"{name}.places")
            total = add("ScatterElements", total, there, given, to=f"{name}.sum", axis=0, reduction="add")
        total = add("Reshape", total, self._constant([copies, -1]), to=f"{at}.copies")
        whole = add("ReduceSum", total, self._constant([0]), to=f"{at}.flat", keepdims=0)
        limit = self._flat.optimizer.clip_norm
        if limit is None:
            return whole
        weights = [each for each in self._plan.weights.values() if each.array == update.array]
        ends = sorted(width * (each.offset + each.shape[0]) for each in weights)
        return self._clipped(whole, at, ends, limit)

    def _moved(self) -> str | None:
        """Which numbers may move: not those of rows that a step did not read, where these stay behind."""
        from onnx import TensorProto, numpy_helper

        flat, add = self._flat, self._add
        if flat.optimizer.catch_up is not None or all(update.reads is None for update in flat.tables):
            return None
        parts, one = [], self._constant([1])
        true = numpy_helper.from_array(np.ones(1, np.bool_))
        if flat.dense_size:
            parts.append(
                add("ConstantOfShape", self._constant([flat.dense_size]), to="moved.dense", value=true)
            )
        for index, update in enumerate(flat.tables):
            section, at = flat.sections[update.array], f"moved.{index}"
            shape = self._constant([section.size])
            if update.reads is None:
                parts.append(add("ConstantOfShape", shape, to=f"{at}.all", value=true))
                continue
            zero, one_float = (numpy_helper.from_array(np.array([x], np.float32)) for x in (0, 1))
            total = add("ConstantOfShape", self._constant([section.rows]), to=f"{at}.none", value=zero)
            for part, ids in enumerate(update.reads):
                self._input(ids, TensorProto.INT32)
                last = self._constant(section.rows - 1, "int32")
                given = add("Reshape", ids, self._constant([-1]), to=f"{at}.{part}.ids")
                none = add("Less", given, self._constant(0, "int32"), to=f"{at}.{part}.none")
                given = add("Where", none, last, given, to=f"{at}.{part}.rows")
                size = add("Shape", given, to=f"{at}.{part}.shape")
                ones = add("ConstantOfShape", size, to=f"{at}.{part}.ones", value=one_float)
                total = add("ScatterElements", total, given, ones, to=f"{at}.{part}.read", axis=0)
            read = add(
                "Unsqueeze", add("Cast", total, to=f"{at}.read", to_=TensorProto.BOOL), one, to=f"{at}.rows"
            )
            wide = self._constant([section.rows, section.size // section.rows])
            parts.append(
                add("Reshape", add("Expand", read, wide, to=f"{at}.wide"), self._constant([-1]), to=at)
            )
        return parts[0] if len(parts) == 1 else add("Concat", *parts, to="moved", axis=0)

    def _clipped(self, flat: str, name: str, ends: Sequence[int], limit: float) -> str:
        """Makes the norm of each part of a flat gradient at most `limit`; the rest is as it was."""
        from onnx import TensorProto

        add, parts, start = self._add, [], 0
        for index, end in enumerate(ends):
            at = f"{name}.clip.{index}"
            part = self._slice(flat, start, end, at)
            wide = add("Cast", part, to=f"{at}.wide", to_=TensorProto.DOUBLE)
            square = add("ReduceSumSquare", wide, to=f"{at}.square", keepdims=0)
            norm = add("Sqrt", square, to=f"{at}.norm")
            share = add("Div", self._constant(limit, "float64"), norm, to=f"{at}.share")
            share = add("Min", share, self._constant(1.0, "float64"), to=f"{at}.least")
            factor = add("Cast", share, to=f"{at}.factor", to_=self._element)
            parts.append(add("Mul", part, factor, to=f"{at}.clipped"))
            start = end
        parts.append(self._slice(flat, start, np.iinfo(np.int64).max, f"{name}.clip.rest"))
        return add("Concat", *parts, to=f"{name}.clipped", axis=0)

    def _slice(self, flat: str, start: int, end: int, to: str) -> str:
        ends = [self._constant([each]) for each in (start, end, 0)]
        return self._add("Slice", flat, *ends, to=to)

"""What goes to a device once a batch, and the one question that is asked of what leaves it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.engines.device import Device, DeviceArray
from vflc_runtime.engines.device_graphs import DeviceGraph
from vflc_runtime.engines.ungathered import Rows

_APART = 256
"""Bytes: where an array begins is a multiple of that."""
ROOM = 8 << 30
"""Bytes of inputs that a device keeps with all their rows, for each place."""
INDICES = "rows of the batch"
"""What graphs on a device call the rows that they gather."""
_KEPT = 8
"""Sets of shapes whose memory is kept."""


class Feeds:
    """Copies all inputs of a batch to the device at once, to the same place for the same shapes."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._blocks: dict[Any, _Block] = {}

    def load(self, given: Mapping[str, tuple[Array, np.dtype[Any]]]) -> dict[str, DeviceArray]:
        """Arrays [*shape] and the types that they take on the device."""
        shapes = tuple((name, array.shape) for name, (array, _) in given.items())
        block = self._blocks.get(shapes)
        if block is None:
            block = self._blocks[shapes] = _Block(self._device, given)
            if len(self._blocks) > _KEPT:
                self._blocks.pop(next(iter(self._blocks)))
        else:
            self._device.wait(block.mark)  # the last copy may still read what is about to be written
        for name, (array, _) in given.items():
            np.copyto(block.here[name], array, casting="unsafe")
        self._device.write(block.whole, block.staging)
        block.mark = self._device.mark(block.mark)
        return block.there


class _Block:
    """Memory for arrays of certain shapes, here and there."""

    def __init__(self, device: Device, given: Mapping[str, tuple[Array, np.dtype[Any]]]) -> None:
        starts, end = {}, 0
        for name, (array, dtype) in given.items():
            starts[name] = end
            end += -(-array.size * dtype.itemsize // _APART) * _APART
        self.staging, self.whole = device.staging(end), device.empty((end,), np.uint8)
        self.mark: Any = None
        self.here: dict[str, Array] = {}
        self.there: dict[str, DeviceArray] = {}
        for name, (array, dtype) in given.items():
            start, size = starts[name], array.size * dtype.itemsize
            self.here[name] = self.staging[start : start + size].view(dtype).reshape(array.shape)
            pointer = self.whole.pointer + start
            self.there[name] = DeviceArray(device, pointer, array.shape, dtype, self.whole)


class DeviceColumns:
    """Inputs that lie on the device with all their rows, of which batches are gathered there.

    They are copied there when they are first seen, as long as there is room.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._known: dict[str, tuple[Array, DeviceArray]] = {}
        self._graphs: dict[tuple[str, ...], DeviceGraph] = {}

    def take(self, rows: Rows, dtypes: Mapping[str, np.dtype[Any]]) -> bool:
        """Whether all inputs of `rows` are there, in these types."""
        new = [name for name in rows if self._lacks(name, rows.inputs[name])]
        if not new:
            return True
        sizes = {name: rows.inputs[name].size * dtypes[name].itemsize for name in rows}
        if sum(sizes.values()) > ROOM:
            return False
        for name in new:
            whole = rows.inputs[name]
            there = self._device.empty(whole.shape, dtypes[name])
            self._device.write(there, np.ascontiguousarray(whole, dtypes[name]))
            self._device.wait()
            self._known[name] = whole, there
        return True

    def _lacks(self, name: str, whole: Array) -> bool:
        return name not in self._known or self._known[name][0] is not whole

    def gather(self, rows: Rows, values: dict[str, DeviceArray]) -> None:
        """Puts the rows of all inputs among the values, where the indices are as `INDICES`."""
        names = tuple(rows)
        if not names:
            return
        graph = self._graphs.get(names) or self._made(names)
        values.update({f"{name}/all": self._known[name][1] for name in names})
        graph.run(values)
        for name in names:
            del values[f"{name}/all"]

    def _made(self, names: tuple[str, ...]) -> DeviceGraph:
        from onnx import TensorProto, helper

        from vflc_runtime.engines.device_updates import IR_VERSION, OPSET

        info = helper.make_tensor_value_info
        types = {n: int(helper.np_dtype_to_tensor_dtype(self._known[n][1].dtype)) for n in names}
        nodes = [helper.make_node("Gather", [f"{n}/all", INDICES], [n], axis=0) for n in names]
        inputs = [info(f"{n}/all", types[n], None) for n in names] + [info(INDICES, TensorProto.INT64, None)]
        graph = helper.make_graph(nodes, "rows", inputs, [info(n, types[n], None) for n in names])
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        made = self._graphs[names] = DeviceGraph(self._device, model, "the rows of a batch")
        return made


class FiniteChecks:
    """Says of arrays on a device whether all their numbers are finite, by one number of each that comes back.

    A sum is not finite where one of its terms is not. Where it is too large although all are finite, these
    are looked at here.
    """

    def __init__(self, device: Device, double: bool) -> None:
        self._device, self._double = device, double
        self._graphs: dict[int, DeviceGraph] = {}
        self._mark: Any = None

    def look(self, arrays: Sequence[DeviceArray]) -> None:
        """Notes `is_finite` at each."""
        floats = [each for each in arrays if each.dtype.kind == "f"]
        for each in arrays:
            each.is_finite = True
        if not floats:
            return
        graph = self._graphs.get(len(floats)) or self._made(len(floats))
        values = {f"x.{index}": each for index, each in enumerate(floats)}
        graph.run(values)
        self._mark = self._device.mark(self._mark)
        sums = self._device.read(values["sums"], self._mark).tolist()
        for each, sum_ in zip(floats, sums, strict=True):
            each.is_finite = math.isfinite(sum_) or bool(np.isfinite(each.numpy()).all())

    def _made(self, count: int) -> DeviceGraph:
        from onnx import TensorProto, helper

        from vflc_runtime.engines.device_updates import IR_VERSION, OPSET

        element = TensorProto.DOUBLE if self._double else TensorProto.FLOAT
        make, nodes = helper.make_node, []
        for index in range(count):
            nodes.append(make("Reshape", [f"x.{index}", "line"], [f"flat.{index}"]))
            nodes.append(make("ReduceSum", [f"flat.{index}"], [f"sum.{index}"], keepdims=1))
        nodes.append(make("Concat", [f"sum.{index}" for index in range(count)], ["sums"], axis=0))
        info = helper.make_tensor_value_info
        inputs = [info(f"x.{index}", element, None) for index in range(count)]
        line = helper.make_tensor("line", TensorProto.INT64, [1], [-1])
        graph = helper.make_graph(nodes, "finite", inputs, [info("sums", element, [count])], [line])
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        made = self._graphs[count] = DeviceGraph(
            self._device, model, "the look at what leaves", double=self._double
        )
        return made

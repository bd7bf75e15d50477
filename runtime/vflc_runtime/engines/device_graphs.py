"""A graph on a device: it reads and writes where values lie, and is captured once that stays the same.

The first time with values of some shapes and places it runs on any shapes, and its outputs stay where they
came to be. The second time it is loaded for these shapes alone: sizes become constants, all is bound for
good, and on a GPU the calls are captured, so that a run is one call whatever the number of operators. That
holds for several sets of places, such as those of the last batch of an epoch, which is smaller.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from onnxruntime.capi import onnxruntime_pybind11_state as native

from vflc_runtime.bundle.reading import damaged
from vflc_runtime.engines.device import Device, DeviceArray
from vflc_runtime.engines.onnx_memory import sized_by_data, unjoined
from vflc_runtime.engines.onnx_session import onnx_errors, short

if TYPE_CHECKING:
    import onnx

KEPT = 8
"""Sets of shapes and places for which a graph stays loaded; the oldest goes first."""
DeviceValues = dict[str, DeviceArray]
"""Values by id."""


class DeviceGraph:
    """One graph, run on a dictionary of values.

    Args:
        device: that it runs on.
        model: with its inputs and outputs; it is changed.
        what: it is, for messages.
        homes: where outputs are wanted, each as pieces that follow one another in it, [size] in all.
        state: what the graph reads and writes over; it is put back after a capture, which runs several times.
        threads: of an operator, on the processor.
        double: whether numbers are float64.
    """

    def __init__(
        self,
        device: Device,
        model: onnx.ModelProto,
        what: str,
        homes: Mapping[str, Sequence[DeviceArray]] = {},
        state: Sequence[DeviceArray] = (),
        threads: int = 1,
        double: bool = False,
    ) -> None:
        self._device, self._model, self._what = device, model, what
        self._state, self._threads, self._double = state, threads, double
        self._inputs = [each.name for each in model.graph.input]
        self._loose = bool(sized_by_data(model.graph))
        self._homes: DeviceValues = {}
        for name, parts in homes.items():
            self._homes.update(
                zip(_pieces(model.graph, name, [part.size for part in parts]), parts, strict=True)
            )
        self._outputs = [each.name for each in model.graph.output]
        self._any: Any = None
        self._bound: dict[Any, _Bound | DeviceValues] = {}
        self._given: list[DeviceArray] = []
        self._last: _Bound | None = None

    def run(self, values: DeviceValues) -> None:
        """Takes inputs from `values` and puts outputs there, but for those that have homes."""
        given = [values[name] for name in self._inputs]
        if self._last is not None and given == self._given:
            self._last.run()
            values.update(self._last.made)
            return
        places = tuple((each.pointer, each.shape) for each in given)
        found = self._bound.get(places)
        try:
            if isinstance(found, _Bound):
                found.run()
            elif found is None or self._loose:
                made = self._first(given)
                if not self._loose:
                    self._keep(places, made)
                values.update(made)
                return
            else:
                found = self._fixed(given, found)
                self._keep(places, found)
        except onnx_errors() as error:
            raise damaged(f"{self._what} cannot run: {short(error)}") from None
        self._given, self._last = given, found
        values.update(found.made)

    def _keep(self, places: Any, made: _Bound | DeviceValues) -> None:
        self._bound.pop(places, None)
        self._bound[places] = made
        if len(self._bound) > KEPT:
            self._bound.pop(next(iter(self._bound)))

    def _first(self, given: Sequence[DeviceArray]) -> DeviceValues:
        """A run on values of any shapes; what it gives, but for what went to its home."""
        device = self._device
        if self._any is None:
            self._any = self._session(self._model, capture=False)
        binding = native.SessionIOBinding(self._any)
        for name, value in zip(self._inputs, given, strict=True):
            bind_input(binding, name, value)
        for name in self._outputs:
            binding.bind_output(name, device.ort)
        device.run(self._any, binding)
        made: DeviceValues = {}
        values = binding.get_outputs()  # by number: going through all ends with an error inside
        for index, name in enumerate(self._outputs):
            value = values[index]
            dtype = _DTYPES[value.data_type()]
            made[name] = DeviceArray(device, value.data_ptr(), value.shape(), dtype, value)
        for name, home in self._homes.items():
            if made[name].size != home.size:
                raise damaged(f"{self._what} gives {name!r} of another size than its weights")
            device.copy(home, made[name])
            made[name] = home.part(0, made[name].shape)
        return made

    def _fixed(self, given: Sequence[DeviceArray], made: DeviceValues) -> _Bound:
        """The graph for values of these shapes, at these places, captured where it can be; it has run."""
        model = type(self._model)()
        model.CopyFrom(self._model)
        for info, value in zip(model.graph.input, given, strict=True):
            shape = info.type.tensor_type.shape
            shape.ClearField("dim")
            for size in value.shape:
                shape.dim.add().dim_value = size
        del model.graph.value_info[:]
        device, content = self._device, self._device.fitted(model)
        if device.captures:
            collects = gc.isenabled()
            gc.disable()  # a capture ends in an error if memory is freed meanwhile, which a collection may do
            try:
                bound = _Bound(device, self._session(content, capture=True), self._inputs, given, made)
                kept = [device.empty(each.shape, each.dtype) for each in self._state]
                for copy, each in zip(kept, self._state, strict=True):
                    device.copy(copy, each)
                bound.run()
                for copy, each in zip(kept, self._state, strict=True):
                    device.copy(each, copy)
                if self._state:
                    bound.run()
                device.wait()
                bound.captured = True
                return bound
            except onnx_errors():  # an operator of it runs on the processor, or may not be captured
                pass
            finally:
                if collects:
                    gc.enable()
        bound = _Bound(device, self._session(content, capture=False), self._inputs, given, made)
        bound.run()
        return bound

    def _session(self, model: onnx.ModelProto, capture: bool) -> Any:
        return self._device.session(model.SerializeToString(), self._threads, self._double, capture)


class _Bound:
    """A session and the places it reads and writes."""

    __slots__ = ("_binding", "_device", "_given", "_session", "captured", "made")

    def __init__(
        self,
        device: Device,
        session: Any,
        inputs: Sequence[str],
        given: Sequence[DeviceArray],
        made: DeviceValues,
    ) -> None:
        self._device, self._session, self._given, self.made = device, session, given, made
        self.captured = False
        self._binding = native.SessionIOBinding(session)
        for name, value in zip(inputs, given, strict=True):
            bind_input(self._binding, name, value)
        for name, value in made.items():
            where = device.ort, value.dtype.type, list(value.shape), value.pointer
            self._binding.bind_output(name, *where)

    def run(self) -> None:
        """Runs on what lies there now."""
        self._device.run(self._session, self._binding)


def bind_input(binding: Any, name: str, value: DeviceArray) -> None:
    """Lets a session read an input where it lies; the caller keeps it alive."""
    binding.bind_input(name, value.device.ort, value.dtype.type, list(value.shape), value.pointer)


_DTYPES: dict[str, np.dtype[Any]] = {"tensor(float)": np.dtype("float32")}
_DTYPES["tensor(double)"] = np.dtype("float64")
_DTYPES |= {f"tensor({name})": np.dtype(name) for name in ("int32", "int64", "bool", "uint8")}


def _pieces(graph: onnx.GraphProto, output: str, sizes: Sequence[int]) -> list[str]:
    """Gives, instead of `output`, flat [n], its parts of these sizes, whose names are returned."""
    from onnx import helper, numpy_helper

    names = unjoined(graph, output)
    if len(names) == len(sizes):
        return names
    assert names == [output], "a value is a concatenation of what its update has, or whole"
    found = next(each for each in graph.output if each.name == output)
    element = found.type.tensor_type.elem_type
    graph.output.remove(found)
    graph.initializer.append(numpy_helper.from_array(np.array(sizes), f"{output}.sizes"))
    names = [f"{output}.{index}" for index in range(len(sizes))]
    graph.node.append(helper.make_node("Split", [output, f"{output}.sizes"], names, axis=0))
    graph.output.extend(helper.make_tensor_value_info(name, element, None) for name in names)
    return names

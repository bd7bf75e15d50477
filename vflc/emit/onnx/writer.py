"""Writes one ONNX graph: what the ops' lowerings call, and the model in the end.

Names follow from the order of calls alone, so that two compilations give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vflc.ir.types import BATCH, DType, TensorType

if TYPE_CHECKING:
    import onnx

OPSET = 18
IR_VERSION = 8
"""Both are read by onnxruntime 1.14 and newer; `finish` checks nothing that needs a newer one."""

SECOND = frozenset({"TopK"})
"""Operators of two outputs of which lowerings want the second."""

FLOAT, INT32, INT64, BOOL, DOUBLE = 1, 6, 7, 9, 11
"""Element types of `onnx.TensorProto`, so that lowering does not wait for onnx to load."""

STEEP = 3.4e38
"""A slope that float32 still holds: what is above zero, the last 3e-39 aside, times it is above 1."""


class OnnxGraphWriter:
    """An ONNX graph under construction.

    Equal nodes are one node and equal constants one initializer, as no op here is random.

    Args:
        double: whether `float` is float64.
    """

    def __init__(self, double: bool = False) -> None:
        self.double = double
        self._nodes: list[tuple[str, tuple[str, ...], str, dict[str, Any]]] = []
        self._known: dict[tuple[Any, ...], str] = {}
        self._constants: dict[str, np.ndarray[Any, Any]] = {}
        self._made: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._ones = ""

    def __call__(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node of the default domain; returns its output's name.

        Attributes are numbers, strings, lists of them, or numpy arrays. An empty name leaves an
        optional input out.
        """
        op_type, inputs, attributes = self._shorter(op_type, inputs, attributes)
        key = (op_type, inputs, tuple(sorted((name, _key(value)) for name, value in attributes.items())))
        if key not in self._known:
            self._known[key] = output = f"#{len(self._nodes)}.{op_type}"
            self._nodes.append((op_type, inputs, output, attributes))
            self._made[output] = op_type, inputs
        return self._known[key]

    def _shorter(
        self, op_type: str, inputs: tuple[str, ...], attributes: dict[str, Any]
    ) -> tuple[str, tuple[str, ...], dict[str, Any]]:
        """One node for two where that is the same: 1 above zero and 0 elsewhere, as a steep slope."""
        if op_type == "Cast" and attributes["to"] == FLOAT and not self.double:
            made, sources = self._made.get(inputs[0], ("", ()))
            if made == "Greater" and sources[1] == self._known.get(FLOAT_ZERO):
                return "HardSigmoid", sources[:1], {"alpha": STEEP, "beta": 0.0}
        return op_type, inputs, attributes

    def constant(self, value: Any, dtype: str = "float") -> str:
        """The name of an initializer of `float` (the graph's precision), `int`, `int64` or `bool`."""
        kinds: dict[str, Any] = {
            "float": np.float64 if self.double else np.float32,
            "int": np.int32,
            "int64": np.int64,
            "bool": np.bool_,
        }
        array = np.asarray(value, kinds[dtype])
        key = ("constant", _key(array))
        if key not in self._known:
            self._known[key] = name = f"#constant.{len(self._constants)}"
            self._constants[name] = array
        return self._known[key]

    def ones(self, like: str) -> str:
        """A one for each row of the batch: batched values of a graph have equally many rows."""
        if not self._ones:
            one = np.ones(1, np.float64 if self.double else np.float32)
            self._ones = self("ConstantOfShape", self("Shape", like, start=0, end=1), value=one)
        return self._ones

    def float_type(self) -> int:
        """The element type of `float`, for `Cast`."""
        return DOUBLE if self.double else FLOAT

    def element_type(self, dtype: DType) -> int:
        """The `TensorProto` element type of a value."""
        return {"float": self.float_type(), "int": INT32, "bool": BOOL}[dtype]

    def finish(
        self,
        name: str,
        inputs: Mapping[str, TensorType],
        outputs: Mapping[str, tuple[str, TensorType]],
        metadata: Mapping[str, str] | None = None,
    ) -> onnx.ModelProto:
        """The model, checked by onnx.

        Args:
            name: of the graph.
            inputs: names that lowerings used without writing them, with their types.
            outputs: for each output its name, the name that the writer gave to the value, its type.
            metadata: goes into the model's `metadata_props`.

        Raises:
            onnx.checker.ValidationError: a lowering is wrong.
        """
        import onnx
        from onnx import helper, numpy_helper

        final = _Renamed(self._nodes, inputs, outputs)
        used = {x for _, sources, _, _ in final.nodes for x in sources}
        graph = helper.make_graph(
            [
                helper.make_node(op, sources, _outputs(op, output), output, **_onnx_attributes(attributes))
                for op, sources, output, attributes in final.nodes
            ],
            name,
            [self._info(n, t) for n, t in inputs.items()],
            [self._info(n, t) for n, (_, t) in outputs.items()],
            [numpy_helper.from_array(a, n) for n, a in self._constants.items() if n in used],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="vflc"
        )
        helper.set_model_props(model, dict(sorted((metadata or {}).items())))
        onnx.checker.check_model(model)
        return model

    def _info(self, name: str, type_: TensorType) -> onnx.ValueInfoProto:
        from onnx import helper

        shape = [BATCH if axis.name == BATCH else axis.size for axis in type_.axes]
        return helper.make_tensor_value_info(name, self.element_type(type_.dtype), shape)


class _Renamed:
    """The nodes that the outputs need, with the outputs under their own names.

    An output that is an input, a constant, or the same value as an earlier output is a copy.
    """

    def __init__(
        self,
        nodes: Sequence[tuple[str, tuple[str, ...], str, dict[str, Any]]],
        inputs: Mapping[str, TensorType],
        outputs: Mapping[str, tuple[str, TensorType]],
    ) -> None:
        written = {output for _, _, output, _ in nodes}
        names: dict[str, str] = {}
        copies: list[tuple[str, tuple[str, ...], str, dict[str, Any]]] = []
        for name, (value, _) in outputs.items():
            if value in written and value not in names and name not in inputs:
                names[value] = name
            else:
                copies.append(("Identity", (names.get(value, value),), name, {}))
        needed = {value for value, _ in outputs.values()}
        kept = []
        for node in reversed(nodes):
            if node[2] in needed:
                needed.update(node[1])
                kept.append(node)
        self.nodes = [
            (op, tuple(names.get(x, x) for x in sources), names.get(output, output), attributes)
            for op, sources, output, attributes in reversed(kept)
        ]
        self.nodes.extend(copies)


def _outputs(op: str, output: str) -> list[str]:
    return [f"{output}.first", output] if op in SECOND else [output]


def _onnx_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    from onnx import numpy_helper

    return {
        name: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for name, value in sorted(attributes.items())
    }


def _key(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    return tuple(value) if isinstance(value, list) else value


FLOAT_ZERO = ("constant", _key(np.zeros((), np.float32)))

"""Exports to ONNX: weights become initializers, and encoders nodes before the graph.

onnxruntime has no operator that hashes text, so hashed columns are taken encoded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.engines.onnx_session import onnx_errors, short
from vflc_runtime.errors import Failure
from vflc_runtime.export_raw import MISSING, UNKNOWN, NotExpressed, Raw, parameters
from vflc_runtime.session import Session

if TYPE_CHECKING:
    import onnx

    from vflc_runtime.export_model import Model, Part, Trial

Array = NDArray[Any]
OPSETS = {"": 20, "ai.onnx.ml": 2}
"""`StringSplit` came with opset 20, which onnxruntime 1.17 reads."""
IR_VERSION = 9


class OnnxFormat:
    """See `Format`."""

    suffix = ".onnx"

    def __init__(self, session: Session) -> None:
        self._session = session

    def expressible(self, raw: Raw) -> str | None:
        Encoding(raw, "float32").build()
        return None

    def write(self, model: Model, path: Path, metadata: dict[str, Any]) -> None:
        path.write_bytes(self._built(model, metadata).SerializeToString(deterministic=True))

    def _built(self, model: Model, metadata: dict[str, Any]) -> onnx.ModelProto:
        import onnx
        from onnx import helper

        precision = self._session.bundle.manifest.precision
        graph = onnx.GraphProto(name=model.name)
        for raw in model.raw.values():
            encoding = Encoding(raw, precision)
            encoding.build()
            graph.node.extend(encoding.nodes)
            graph.initializer.extend(encoding.initializers)
            graph.input.append(helper.make_tensor_value_info(raw.id, _ELEMENTS[raw.type], ["batch"]))
        known: dict[str, Any] = {}
        for part in model.parts:
            self._add(graph, part, model, known)
        graph.output.extend(known[name] for name in model.outputs)
        built = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS.items()],
            ir_version=IR_VERSION,
            producer_name="vflc",
        )
        helper.set_model_props(built, {"vflc": json.dumps(metadata, sort_keys=True, ensure_ascii=False)})
        onnx.checker.check_model(built)
        return built

    def _add(self, graph: Any, part: Part, model: Model, known: dict[str, Any]) -> None:
        """Appends a graph of the bundle; names that are no values get the graph's name before them."""
        import onnx
        from onnx import numpy_helper

        plan, engine = self._session.bundle.plans[part.place], self._session.engines[part.place]
        source = onnx.load_model(plan.graph_path(part.graph)).graph
        values = {*part.inputs, *part.outputs}
        renamed = {name: encoded(name) for name in model.raw}

        def name_of(name: str) -> str:
            if not name or name in values:
                return renamed.get(name, name)
            return f"{part.place}/{part.graph}/{name}"

        for node in source.node:
            copied = graph.node.add()
            copied.CopyFrom(node)
            copied.name = name_of(node.name)
            for names in (copied.input, copied.output):
                names[:] = [name_of(name) for name in names]
        for tensor in source.initializer:
            copied = graph.initializer.add()
            copied.CopyFrom(tensor)
            copied.name = name_of(tensor.name)
        taken = {info.name for info in graph.input}
        for info in source.input:
            if info.name in plan.arrays:
                array = np.ascontiguousarray(engine.get(info.name))
                graph.initializer.append(numpy_helper.from_array(array, name_of(info.name)))
            elif info.name in model.inputs and info.name not in taken:
                graph.input.append(info)
        known.update({info.name: info for info in source.output})

    def run(self, trials: list[Trial]) -> list[dict[str, Array]]:
        return [self._run(trial) for trial in trials]

    def _run(self, trial: Trial) -> dict[str, Array]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        if self._session.bundle.manifest.precision == "float64":
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        try:
            loaded = onnxruntime.InferenceSession(trial.path, options, providers=["CPUExecutionProvider"])
            return dict(zip(trial.outputs, loaded.run(trial.outputs, dict(trial.feeds)), strict=True))
        except onnx_errors() as error:
            message = f"{trial.path.name} does not run: {short(error)}"
            raise Failure("VFL0501", message, "this is a defect in vflc: please report it") from None

    def fed(self, raw: Raw, column: Array) -> Array:
        return column.astype(object) if raw.type == "string" else column


_ELEMENTS = {"string": 8, "int": 7, "float": 11}
"""Element types of raw columns, as `onnx.TensorProto` numbers them: text, int64, float64."""
_INT32 = 6


def encoded(name: str) -> str:
    """What a raw column is called inside the model once it is encoded."""
    return f"{name}/encoded"


class Encoding:
    """The nodes that encode one raw column [batch] as the runtime does."""

    def __init__(self, raw: Raw, precision: str) -> None:
        self.raw, self._precision = raw, precision
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def build(self) -> None:
        """Adds the nodes; raises NotExpressed where ONNX has no means."""
        fill, chain = self.raw.filled()
        if self.raw.type == "string":
            value = self._text(fill, chain)
        elif self.raw.type == "int" and chain and chain[0]["name"] in ("vocab", "index", "hash"):
            value = self._whole(fill, chain[0])
        else:
            value = self._number(fill, chain)
        if self.raw.shape == "number":
            target = 1 if self._precision == "float32" else 11
            value = self("Unsqueeze", self("Cast", value, to=target), self._constant([-1], np.int64))
        else:
            value = self("Cast", value, to=_INT32)
        self.nodes[-1].output[0] = encoded(self.raw.id)

    def _text(self, fill: Any, chain: tuple[Mapping[str, Any], ...]) -> str:
        value, kinds = self.raw.id, [encoder["name"] for encoder in chain]
        if "sequence" in kinds:
            raise NotExpressed("`sequence` has no operator in ONNX")
        if kinds[0] == "split":
            value, chain = self("StringSplit", value, delimiter=chain[0]["separator"], outputs=2), chain[1:]
        encoder = chain[0]
        if encoder["name"] != "vocab":
            why = "hashes text" if encoder["name"] == "hash" else f"does `{encoder['name']}`"
            raise NotExpressed(f"ONNX has no operator that {why}")
        keys = [str(key) for key in encoder["values"]]
        ids = {key: self.raw.id_of(encoder, key) for key in keys}
        ids[""] = -1 if self.raw.many else ids.get("", self.raw.id_of(encoder, fill))
        unknown = self.raw.id_of(encoder, _unlisted(ids))
        return self._looked_up(value, ids, unknown, "string")

    def _whole(self, fill: Any, encoder: Mapping[str, Any]) -> str:
        """A whole number as an id. Missing ones are `MISSING`, which no encoder knows."""
        if encoder["name"] == "hash":
            raise NotExpressed("ONNX has no operator that hashes numbers")
        value = self.raw.id
        if fill is not None:
            absent = self("Equal", value, self._constant(MISSING, np.int64))
            value = self("Where", absent, self._constant(int(fill), np.int64), value)
        unknown = self.raw.id_of(encoder, None)
        if encoder["name"] == "index":
            low = self("GreaterOrEqual", value, self._constant(0, np.int64))
            inside = self("And", low, self("Less", value, self._constant(encoder["n"], np.int64)))
            shifted = self("Add", value, self._constant(self.raw.id_of(encoder, 0), np.int64))
            return self("Where", inside, shifted, self._constant(unknown, np.int64))
        ids = {key: self.raw.id_of(encoder, key) for key in self.raw.whole_keys(encoder)}
        return self._looked_up(value, ids, unknown, "int")

    def _looked_up(self, value: str, ids: Mapping[Any, int], unknown: int, kind: str) -> str:
        keys = {"string": "keys_strings", "int": "keys_int64s"}[kind]
        attributes: dict[str, Any] = {
            keys: list(ids),
            "values_int64s": list(ids.values()),
            "default_int64": unknown,
        }
        return self("LabelEncoder", value, domain="ai.onnx.ml", **attributes)

    def _number(self, fill: Any, chain: tuple[Mapping[str, Any], ...]) -> str:
        """Numbers in float64, missing ones NaN, as the runtime computes them."""
        value = self.raw.id
        if self.raw.type == "int":
            absent = self("Equal", value, self._constant(MISSING, np.int64))
            value = self("Where", absent, self._constant(np.nan), self("Cast", value, to=11))
        infinite = self("Equal", self("Abs", value), self._constant(np.inf))
        absent = self("Or", self("IsNaN", value), infinite)
        value = self("Where", absent, self._constant(np.nan if fill is None else fill), value)
        for encoder in chain:
            if encoder["name"] not in NUMBERS:
                raise NotExpressed(f"`{encoder['name']}` of numbers has no operator in ONNX")
            value = NUMBERS[encoder["name"]](self, value, encoder)
        return value

    def _constant(self, value: Any, dtype: Any = np.float64) -> str:
        from onnx import numpy_helper

        name = f"{self.raw.id}/constant.{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def __call__(self, op: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        """Adds a node; returns the name of its first output."""
        from onnx import helper

        names = [f"{self.raw.id}/{len(self.nodes)}.{op}.{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        return names[0]

    # --- encoders of numbers --------------------------------------------------------------------

    def scaled(self, value: str, encoder: Mapping[str, Any]) -> str:
        """standardize, minmax: less the first parameter, over the second."""
        first, second = parameters(encoder)
        return self("Div", self("Sub", value, self._constant(first)), self._constant(second))

    def log1p(self, value: str, encoder: Mapping[str, Any]) -> str:
        grown = self("Add", self("Abs", value), self._constant(1.0))
        return self("Mul", self("Sign", value), self("Log", grown))

    def factor(self, value: str, encoder: Mapping[str, Any]) -> str:
        return self("Mul", value, self._constant(encoder["factor"]))

    def clip(self, value: str, encoder: Mapping[str, Any]) -> str:
        return self("Clip", value, self._constant(encoder["low"]), self._constant(encoder["high"]))

    def bucketize(self, value: str, encoder: Mapping[str, Any]) -> str:
        """How many edges are at most the value; of a missing one an id that no table has."""
        column = self("Unsqueeze", value, self._constant([-1], np.int64))
        passed = self("GreaterOrEqual", column, self._constant(encoder["edges"]))
        counted = self("Cast", passed, to=7)
        found = self("ReduceSum", counted, self._constant([-1], np.int64), keepdims=0)
        return self("Where", self("IsNaN", value), self._constant(UNKNOWN, np.int64), found)


NUMBERS: dict[str, Callable[[Encoding, str, Mapping[str, Any]], str]] = {
    "standardize": Encoding.scaled,
    "minmax": Encoding.scaled,
    "log1p": Encoding.log1p,
    "scale": Encoding.factor,
    "clip": Encoding.clip,
    "bucketize": Encoding.bucketize,
}


def _unlisted(known: Mapping[str, int]) -> str:
    """A text that no key is."""
    return max(known, key=len) + "?"

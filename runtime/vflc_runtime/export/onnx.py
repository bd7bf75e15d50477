"""Exports to ONNX: weights become initializers, and encoders nodes before the graph."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.engines.onnx_session import onnx_errors, read_model, short
from vflc_runtime.errors import Failure
from vflc_runtime.export.description import input_line, output_line, signature, text
from vflc_runtime.export.marks import mark
from vflc_runtime.export.model import BATCH
from vflc_runtime.export.onnx_encoders import Encoding, encoded
from vflc_runtime.export.onnx_outside import outside_source
from vflc_runtime.export.onnx_present import add_marks, add_masked, masked, of_rows
from vflc_runtime.export.onnx_slices import join_slices
from vflc_runtime.export.onnx_whole import WholeOnnx, has_whole
from vflc_runtime.export.raw import RawFeature
from vflc_runtime.run.session import Session

if TYPE_CHECKING:
    import onnx

    from vflc_runtime.export.model import ExportedModel, FedFile, ModelPart, Signature

OPSETS = {"": 20, "ai.onnx.ml": 2}
"""`StringSplit` came with opset 20, which onnxruntime 1.17 reads."""
IR_VERSION = 9


class OnnxFormat:
    """See `Format`."""

    suffix = ".onnx"

    def __init__(self, session: Session, fitted: Mapping[str, Any]) -> None:
        self._session, self._fitted = session, fitted
        self._precision = session.bundle.manifest.precision
        self._whole: WholeOnnx | None = None

    def check(self, raw: RawFeature) -> None:
        Encoding(raw, self._precision).build()

    def signatures(self, model: ExportedModel) -> dict[str, Signature]:
        infos = [info for graph in self._graphs(model) for info in (*graph.input, *graph.output)]
        marks: dict[str, Signature] = {mark(party): ("bool", (BATCH, 1)) for party in model.lacking}
        return {info.name: _signature(info) for info in infos} | marks

    def write(self, model: ExportedModel, path: Path, description: dict[str, Any]) -> None:
        path.write_bytes(self._built(model, description).SerializeToString(deterministic=True))

    def _graphs(self, model: ExportedModel) -> list[onnx.GraphProto]:
        whole = self._whole_of(model)
        return [whole.graph] if whole is not None else [self._source(part) for part in model.parts]

    def _whole_of(self, model: ExportedModel) -> WholeOnnx | None:
        """The model as the spec writes it, of a merged one that can be; None of any other."""
        if self._whole is None and model.whole and has_whole(self._session):
            self._whole = WholeOnnx(self._session, self._fitted)
        return self._whole if model.whole else None

    def _source(self, part: ModelPart) -> onnx.GraphProto:
        plan = self._session.bundle.plans[part.place]
        if plan.graphs[part.graph].outside is not None:
            return outside_source(plan, part.graph, OPSETS[""])
        return read_model(plan, part.graph).graph

    def _built(self, model: ExportedModel, description: dict[str, Any]) -> onnx.ModelProto:
        import onnx
        from onnx import helper

        graph = onnx.GraphProto(name=model.name, doc_string=text(description))
        lines = {given["name"]: input_line(given) for given in description["inputs"]}
        lines |= {given["name"]: output_line(given) for given in description["outputs"]}
        plans = self._session.bundle.plans.values()
        add_marks(graph, model.lacking, plans if model.lacking else (), ELEMENTS[self._precision])
        for raw in model.raw.values():
            encoding = Encoding(raw, self._precision, model.mark_of(raw.party))
            encoding.build()
            graph.node.extend(encoding.nodes)
            graph.initializer.extend(encoding.initializers)
            type, shape = signature(raw, self._precision)
            graph.input.append(helper.make_tensor_value_info(raw.id, ELEMENTS[type], shape))
        whole = self._whole_of(model)
        if whole is not None:
            known = self._add_whole(graph, whole, model)
        else:
            known = self._add_parts(graph, model)
        graph.output.extend(known[name] for name in model.outputs)
        for info in (*graph.input, *graph.output):
            info.doc_string = lines[info.name]
        built = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS.items()],
            ir_version=IR_VERSION,
            producer_name="vflc",
            doc_string=graph.doc_string,
        )
        props = json.dumps(description, sort_keys=True, ensure_ascii=False)
        helper.set_model_props(built, {"vflc": props, **(whole.metadata() if whole is not None else {})})
        onnx.checker.check_model(built)
        return built

    def _add_whole(self, graph: Any, whole: WholeOnnx, model: ExportedModel) -> dict[str, Any]:
        """Appends the whole model; gives its outputs by name."""
        from onnx import numpy_helper

        values = {*model.inputs, *model.outputs, *whole.weights}
        layers = _Layers("", {*whole.weights}, model.raw)
        _append(graph, whole.graph, "model", values, model.raw, layers)
        for info in whole.graph.input:
            if info.name in whole.weights:
                graph.initializer.append(numpy_helper.from_array(whole.weights[info.name], info.name))
        return {info.name: info for info in whole.graph.output}

    def _add_parts(self, graph: Any, model: ExportedModel) -> dict[str, Any]:
        """Appends the graphs of the bundle that the model has; gives what they leave by name."""
        known: dict[str, Any] = {}
        inside: dict[str, str] = {}
        hidden: dict[str, str] = {}
        for part in model.parts:
            self._add(graph, part, model, known, inside, hidden)
        places = dict.fromkeys(part.place for part in model.parts)
        join_slices(graph, [self._session.bundle.plans[place] for place in places], inside)
        return known

    def _add(
        self,
        graph: Any,
        part: ModelPart,
        model: ExportedModel,
        known: dict[str, Any],
        inside: dict[str, str],
        hidden: dict[str, str],
    ) -> None:
        """Appends a graph of the bundle; names that are no values get the graph's name before them.

        `known` gets what it leaves by name, `inside` the arrays by the names of their initializers, and
        `hidden` values of parties that may lack rows, with the places that alone read them as they are.
        """
        from onnx import numpy_helper

        plan, engine = self._session.bundle.plans[part.place], self._session.engines[part.place]
        reads = {name: masked(name) for name, at in hidden.items() if at != part.place}
        source, prefix = self._source(part), f"{part.place}/{part.graph}"
        layers = _Layers(prefix, {w.array for w in plan.weights.values()}, plan.inputs)
        _append(graph, source, prefix, {*part.inputs, *part.outputs}, model.raw, layers, reads)
        taken = {info.name for info in graph.input}
        for info in source.input:
            if info.name in plan.arrays:
                array, name = np.ascontiguousarray(engine.get(info.name)), f"{prefix}/{info.name}"
                graph.initializer.append(numpy_helper.from_array(array, name))
                inside[name] = info.name
            elif info.name in model.inputs and info.name not in taken:
                graph.input.append(info)
        known.update({info.name: info for info in source.output})
        if part.place in model.lacking:
            for info in filter(of_rows, source.output):
                hidden[info.name] = part.place
                add_masked(graph, part.place, info)

    def run(self, trials: list[FedFile]) -> list[dict[str, Array]]:
        return [self._run(trial) for trial in trials]

    def _run(self, trial: FedFile) -> dict[str, Array]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        if self._precision == "float64":
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        feeds = {name: a.astype(object) if a.dtype.kind == "U" else a for name, a in trial.feeds.items()}
        try:
            loaded = onnxruntime.InferenceSession(trial.path, options, providers=["CPUExecutionProvider"])
            return dict(zip(trial.outputs, loaded.run(trial.outputs, feeds), strict=True))
        except onnx_errors() as error:
            message = f"{trial.path.name} does not run: {short(error)}"
            raise Failure("VFL0501", message, "this is a bug in vflc: please report it") from None


ELEMENTS = {"string": 8, "int64": 7, "int32": 6, "float64": 11, "float32": 1, "bool": 9}
"""Element types as `onnx.TensorProto` numbers them."""


def _signature(info: onnx.ValueInfoProto) -> Signature:
    tensor = info.type.tensor_type
    names = {number: name for name, number in ELEMENTS.items()}
    return names[tensor.elem_type], tuple(d.dim_param or d.dim_value for d in tensor.shape.dim)


def _append(
    graph: Any,
    source: Any,
    prefix: str,
    values: Set[str],
    raw: Mapping[str, RawFeature],
    layers: _Layers,
    reads: Mapping[str, str] | None = None,
) -> None:
    """Appends nodes and constants; names that are no `values` get a prefix, raw columns are encoded ones.

    `reads` is what stands for some values here.
    """

    def name_of(name: str) -> str:
        if reads and name in reads:
            return reads[name]
        if not name or name in values:
            return encoded(name) if name in raw else name
        return f"{prefix}/{name.removeprefix('#')}"

    for node in source.node:
        copied = graph.node.add()
        copied.CopyFrom(node)
        copied.name = layers.name(node)
        for names in (copied.input, copied.output):
            names[:] = [name_of(name) for name in names]
    for tensor in source.initializer:
        held = graph.initializer.add()
        held.CopyFrom(tensor)
        held.name = name_of(tensor.name)


class _Layers:
    """Names nodes after the layer or column that they belong to, as its author called it.

    A node belongs to the weights or the column that it reads, and otherwise to what its inputs have in
    common.
    """

    def __init__(self, prefix: str, weights: set[str], columns: Mapping[str, Any]) -> None:
        self._prefix = prefix
        self._layer = {w: w.rpartition(".")[0] or w for w in weights if not w.startswith("tables.")}
        self._own = {*self._layer, *columns}
        self._layer.update((name, name) for name in columns)
        self._count: dict[str, int] = {}

    def name(self, node: onnx.NodeProto) -> str:
        own = [x for x in node.input if x in self._own]
        layer = _common([self._layer[x] for x in own or node.input if x in self._layer])
        self._layer.update(dict.fromkeys(node.output, layer))
        name = "/".join(part for part in (self._prefix, layer, node.op_type) if part)
        self._count[name] = times = self._count.get(name, 0) + 1
        return name if times == 1 else f"{name}_{times}"


def _common(names: list[str]) -> str:
    """What dotted names have in common from the start."""
    parts = [name.split(".") for name in names]
    same = itertools.takewhile(lambda these: len(set(these)) == 1, zip(*parts, strict=False))
    return ".".join(these[0] for these in same)

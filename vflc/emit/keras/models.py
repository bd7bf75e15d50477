"""Subgraphs as functional Keras 3 models: a walk that asks each op for its own lowering.

Weights become layers: of an op that has a standard layer and whose weights nothing else reads,
that layer (`Dense`, `Embedding`), named after the scope; of every other weight a `Dense` without
bias on a constant one, whose kernel is the weight, so that gradients reach a proper variable.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from math import prod
from typing import Any

from msgspec import Struct

from vflc.emit.keras.file import import_keras, safe_name, serialized
from vflc.ir.build import Initializer
from vflc.ir.graph import PLACELESS, Graph, Node
from vflc.ir.types import DType
from vflc.ops import OPS


class LayerVariable(Struct, frozen=True):
    """Where a model holds a weight: the variable `index` of a layer, of the weight's size."""

    weight: str
    layer: str
    index: int


class KerasModel(Struct, frozen=True):
    """A model and what its variables are.

    Args:
        file: its name in a bundle.
        content: the same bytes for equal graphs. The model itself is not kept:
            it has memory for all its weights.
        inputs: ids of values, without weights, in the order of the model's inputs.
        outputs: ids of values in the order of its outputs.
        held: the weights.
    """

    file: str
    content: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    held: tuple[LayerVariable, ...]


class Lowering(Struct):
    """What the ops' Keras lowerings are given."""

    ops: Any
    float_dtype: str

    def dtype(self, dtype: DType) -> str:
        return {"float": self.float_dtype, "int": "int32", "bool": "bool"}[dtype]


def to_keras(
    graph: Graph, name: str, nodes: Sequence[str], outputs: Sequence[str], precision: str, drawn: bool = False
) -> KerasModel:
    """The model of `outputs` over the nodes in `nodes`; everything else they read is an input.

    Its weights start at 0, or with `drawn` as the spec says; runs set them either way.

    Raises:
        Refused: VFL0503, TensorFlow is not installed.
    """
    made = _Emitter(graph, outputs, nodes, precision, drawn).finish(name)
    if sum(graph[held.weight].type.row_size or 0 for held in made.held) > LARGE:
        gc.collect()  # Keras' layers and tensors refer to each other in circles
    return made


class _Emitter:
    """A functional model under construction."""

    def __init__(
        self, graph: Graph, outputs: Sequence[str], nodes: Sequence[str], precision: str, drawn: bool
    ) -> None:
        self.keras = import_keras()
        self._drawn = drawn
        self._k = Lowering(self.keras.ops, precision)
        self._graph, self._outputs = graph, tuple(outputs)
        inside = set(nodes)
        needed = _needed(graph, outputs, inside)
        self._nodes = [n for n in graph if n.id in needed and n.id in inside]
        self._names: set[str] = set()
        self._named: set[int] = set()  # operations, by id: tensors keep them alive
        self._seen: set[tuple[int, int]] = set()  # calls of operations
        self.held: list[LayerVariable] = []
        self.inputs: dict[str, Any] = {}
        self._values: dict[str, Any] = {}
        self._layers: dict[tuple[str, ...], Any] = {}
        own = _own_weights(graph, self._nodes)
        for node in graph:
            if node.id in needed and node.id not in inside | own and node.op not in PLACELESS:
                self._input(node)
        self._one: Any = None
        self._homes = _homes(graph, self._nodes, own)

    def finish(self, name: str) -> KerasModel:
        """Lowers all nodes and makes the model."""
        values = self._lower()
        model = self.keras.Model(
            list(self.inputs.values()), [values[v] for v in self._outputs], name=safe_name(name)
        )
        return KerasModel(
            f"{name}.keras.json", serialized(model), tuple(self.inputs), self._outputs, tuple(self.held)
        )

    def _lower(self) -> dict[str, Any]:
        """The outputs as KerasTensors, by id."""
        for node in self._nodes:
            value = self._layer_of(node) if node.id in self._homes else self._plain(node)
            self._values[node.id] = value
            self._claim(value, node.id)
        values = {value: self._symbolic(self._values[value]) for value in self._outputs}
        for name, value in values.items():
            self._claim(value, name)
        return values

    # --- values -----------------------------------------------------------------------------------

    def _input(self, node: Node) -> None:
        shape, dtype = node.type.sizes, self._k.dtype(node.type.dtype)
        self.inputs[node.id] = self._values[node.id] = self._new_input(node.id, shape, dtype)

    def _new_input(self, label: str, shape: tuple[int | None, ...], dtype: str) -> Any:
        made = self.keras.Input(batch_shape=shape, dtype=dtype, name=self._fresh(label))
        self._named.add(id(made._keras_history.operation))
        return made

    def _plain(self, node: Node) -> Any:
        sources = self._graph.inputs(node)
        inputs = [self._value(source) for source in sources]
        return OPS[node.op].keras(self._k, node, inputs, [source.type for source in sources])

    def _value(self, node: Node) -> Any:
        if node.id not in self._values:
            if node.op == "weight":
                self._values[node.id] = self._weight(node)
            else:
                self._values[node.id] = OPS[node.op].keras(self._k, node, [], [])
        return self._values[node.id]

    def _symbolic(self, value: Any) -> Any:
        """An output must depend on an input, also where it is one number whatever comes in."""
        if self.keras.backend.is_keras_tensor(value):
            return value
        always = self._k.ops.greater(self._k.ops.reshape(self._constant_one(), ()), 0)
        return self._k.ops.where(always, value, value)

    def _constant_one(self) -> Any:
        """A one of shape [1, 1] that is made of the first input, whatever that holds."""
        if self._one is None:
            ops = self._k.ops
            sources = [v for v in self._values.values() if self.keras.backend.is_keras_tensor(v)]
            if not sources:
                self.inputs[ONE] = self._new_input(ONE, (1,), self._k.float_dtype)
                sources = [self.inputs[ONE]]
            zero = ops.sum(ops.cast(ops.zeros_like(sources[0]), self._k.float_dtype))
            self._one = ops.reshape(ops.add(zero, 1), (1, 1))
        return self._one

    # --- weights ------------------------------------------------------------------------------------

    def _weight(self, node: Node) -> Any:
        """A weight by itself: the kernel [1, size] of a dense layer on a one."""
        name = self._fresh(node.id)
        layer = self.keras.layers.Dense(
            prod(size or 1 for size in node.type.sizes),
            use_bias=False,
            kernel_initializer="zeros",
            name=name,
            dtype=self._k.float_dtype,
            trainable=bool(node.attrs["trainable"]),
        )
        self._named.add(id(layer))
        self._start(layer, "kernel", node)
        self.held.append(LayerVariable(node.id, name, 0))
        return self._k.ops.reshape(layer(self._constant_one()), node.type.sizes)

    def _layer_of(self, node: Node) -> Any:
        rule = OPS[node.op].keras_layer
        assert rule is not None
        weights, types = self._homes[node.id], [x.type for x in self._graph.inputs(node)]
        if weights not in self._layers:
            name = self._fresh(_scope(self._graph, weights))
            self._layers[weights] = layer = rule.make(node, types, name, self._k.float_dtype)
            self._named.add(id(layer))
            self._start(layer, rule.starts, self._graph[weights[0]])
            self.held += [LayerVariable(weight, name, index) for index, weight in enumerate(weights)]
        positions = rule.weights(node)
        sources = self._graph.inputs(node)
        inputs = [None if i in positions else self._value(source) for i, source in enumerate(sources)]
        return rule.call(self._k, self._layers[weights], node, inputs, types)

    def _start(self, layer: Any, what: str, weight: Node) -> None:
        """Lets a layer's first weight start as the spec says."""
        if self._drawn:
            setattr(layer, f"{what}_initializer", self._initializer(weight.attrs["init"]))

    def _initializer(self, init: Initializer) -> Any:
        made = self.keras.initializers
        match init.kind:
            case "glorot_uniform":
                return made.GlorotUniform()
            case "uniform":
                return made.RandomUniform(-init.scale, init.scale)
            case "normal":
                return made.RandomNormal(0.0, init.scale)
            case "orthogonal":
                return made.Orthogonal()
            case "constant" if init.scale:
                return made.Ones() if init.scale == 1 else made.Constant(init.scale)
        return made.Zeros()

    # --- names ------------------------------------------------------------------------------------------

    def _fresh(self, label: str) -> str:
        base = name = safe_name(label)
        count = 1
        while name in self._names:
            count += 1
            name = f"{base}-{count}"
        self._names.add(name)
        return name

    def _claim(self, value: Any, label: str) -> None:
        """Names the operations behind a value after it, instead of by how many Keras made before."""
        stack = [(value, label)] if self.keras.backend.is_keras_tensor(value) else []
        while stack:
            tensor, name = stack.pop()
            operation, call, _ = tensor._keras_history
            if (id(operation), call) in self._seen:
                continue
            self._seen.add((id(operation), call))
            if id(operation) not in self._named:
                self._named.add(id(operation))
                operation.name = self._fresh(name)
            for source in operation._inbound_nodes[call].input_tensors:
                stack.append((source, f"{label}-{type(source._keras_history.operation).__name__.lower()}"))


LARGE = 10_000_000
"""Numbers in a model's weights above which its memory is given back at once."""
ONE = "one"
"""The input of a model that reads nothing: a single 1."""


def _needed(graph: Graph, outputs: Sequence[str], inside: set[str]) -> set[str]:
    """The nodes inside that the outputs depend on, and what these read from outside."""
    needed: set[str] = set()
    stack = list(outputs)
    while stack:
        name = stack.pop()
        if name not in needed:
            needed.add(name)
            if name in inside:
                stack.extend(graph[name].inputs)
    return needed


def _own_weights(graph: Graph, nodes: Sequence[Node]) -> set[str]:
    """The weights that lie where the nodes do; those of another place come in as values."""
    places = {node.place for node in nodes}
    return {x.id for node in nodes for x in graph.inputs(node) if x.op == "weight" and x.place in places}


def _homes(graph: Graph, nodes: Sequence[Node], own: set[str]) -> dict[str, tuple[str, ...]]:
    """Of each node that becomes a layer the weights of the layer; equal weights mean one layer.

    That is so where all that read these weights read them in the same way.
    """
    candidates: dict[str, tuple[str, ...]] = {}
    roles: dict[str, set[tuple[str, tuple[str, ...], int] | None]] = {}
    for node in nodes:
        weights = _layer_weights(graph, node, own)
        if weights:
            candidates[node.id] = weights
        for name in node.inputs:
            if name in own:
                role = (node.op, weights, weights.index(name)) if weights.count(name) == 1 else None
                alone = list(node.inputs).count(name) == 1
                roles.setdefault(name, set()).add(role if alone else None)
    return {
        name: weights
        for name, weights in candidates.items()
        if all(len(roles[weight]) == 1 and None not in roles[weight] for weight in weights)
    }


def _layer_weights(graph: Graph, node: Node, own: set[str]) -> tuple[str, ...]:
    """The weights at the places where the op's layer has its own, or nothing."""
    rule = OPS[node.op].keras_layer
    if rule is None:
        return ()
    sources = [graph[node.inputs[position]] for position in rule.weights(node)]
    fits = all(x.id in own and x.attrs["trainable"] and x.type.rank <= 2 for x in sources)
    return tuple(x.id for x in sources) if fits and sources[0].type.rank == 2 else ()


def _scope(graph: Graph, weights: Sequence[str]) -> str:
    """A table's own name; for a layer of several weights, or of a kernel, the scope they lie in."""
    if len(weights) == 1 and graph[weights[0]].attrs["table"]:
        return weights[0]
    return weights[0].rpartition(".")[0] or weights[0]

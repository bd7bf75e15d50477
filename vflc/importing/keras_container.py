"""A functional or sequential Keras model inside the whole, called as a layer is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from vflc.importing.keras_columns import COLUMN_LAYERS
from vflc.importing.keras_config import (
    WITHOUT,
    ValuesByTensor,
    as_list,
    config_of,
    entries_of,
    given_of,
    histories,
    is_model,
    is_op,
    nodes_of,
    paths_of,
    structured,
    values_in,
    with_article,
)
from vflc.importing.keras_many import operation
from vflc.importing.keras_ops import OPS, KerasCall
from vflc.importing.keras_parts import KerasParts
from vflc.importing.keras_sequences import READERS
from vflc.translation.graph import DAMAGED, Value, refuse

UNNAMED = re.compile(r"(functional|sequential|model)(_\d+)?")
"""What Keras calls a model that nobody named."""
MOST_CALLS = 100_000
"""Uses of layers: models that are used twice inside models that are used twice grow without bound."""
CALLED_WITH: dict[str, tuple[tuple[str, Any], ...]] = {
    "MultiHeadAttention": (("use_causal_mask", True), ("use_causal_mask", False)),
}
"""What layers are called with, besides values, and the language can express."""


class Container:
    """A functional or sequential model inside the whole, called as a layer."""

    def __init__(
        self,
        parts: KerasParts,
        entry: Mapping[str, Any],
        at: tuple[str, ...],
        path: str,
        calls: int = 1,
    ):
        self.parts, self.entry, self.at, self.calls = parts, entry, at, calls
        self.config = config_of(entry)
        self.entries = entries_of(entry)
        self.paths = paths_of(self.entries, path)
        self.sequential = entry["class_name"] == "Sequential"

    def inputs(self) -> list[Mapping[str, Any]]:
        """The input layers, in the order in which the model is called."""
        given = [e for e in self.entries if e["class_name"] == "InputLayer"]
        if not given:
            shape = self.config.get("build_input_shape")
            given = [{"class_name": "InputLayer", "config": {"name": "x", "batch_shape": shape}}]
        if self.sequential:
            return given[:1]
        by_name = {str(e.get("name") or config_of(e).get("name")): e for e in given}
        names = [h[0] for h in histories(self.config.get("input_layers"))]
        if any(name not in by_name for name in names):
            refuse("VFL0700", "the model names an input that it does not have", DAMAGED)
        return [by_name[name] for name in names]

    def output_names(self) -> list[str]:
        if self.sequential:
            return [str(config_of(self.entries[-1]).get("name"))] if self.entries else []
        return [h[0] for h in histories(self.config.get("output_layers"))]

    def call(self, given: list[Value]) -> Any:
        """The outputs, in the structure of the configuration."""
        if self.sequential:
            return self._in_a_row(given)
        tensors: ValuesByTensor = {}
        for entry, value in zip(self.inputs(), given, strict=False):
            tensors[str(entry.get("name")), 0, 0] = value
        if len(given) != len(self.inputs()):
            refuse("VFL0700", f"`{self.config.get('name')}` is called with {len(given)} values", DAMAGED)
        waiting = [
            (entry, index, node)
            for entry in self.entries
            for index, node in enumerate(nodes_of(entry))
        ]  # fmt: skip
        while waiting:
            later = []
            for entry, index, node in waiting:
                if not self._node(tensors, entry, index, node):
                    later.append((entry, index, node))
            if len(later) == len(waiting):
                name = later[0][0].get("name")
                refuse("VFL0700", f"`{str(name)[:40]}` reads a value that the model does not make", DAMAGED)
            waiting = later
        structure = self.config.get("output_layers")
        histories(structure)
        return structured(structure, tensors)

    def _in_a_row(self, given: list[Value]) -> Value:
        values = list(given)
        for index, entry in enumerate(self.entries):
            if entry["class_name"] != "InputLayer":
                name = str(config_of(entry).get("name"))
                values = as_list(self._apply(entry, name, index, values, {}, 1))
        return values[0]

    def _node(
        self, tensors: ValuesByTensor, entry: Mapping[str, Any], index: int, node: Mapping[str, Any]
    ) -> bool:
        """Computes a use of a layer as soon as all that it reads is there."""
        try:
            args, named = given_of(node.get("args", []), tensors), given_of(node.get("kwargs", {}), tensors)
        except KeyError:
            return False
        name = str(entry.get("name"))
        traced = self.parts.encoded(entry, node, [*values_in(args), *values_in(named)], tensors)
        if traced is not None:
            tensors[name, index, 0] = traced
            return True
        position = next(i for i, e in enumerate(self.entries) if e is entry)
        made = self._apply(entry, name, position, args, named, len(nodes_of(entry)))
        for number, value in enumerate(as_list(made)):
            tensors[name, index, number] = value
        return True

    def _apply(
        self,
        entry: Mapping[str, Any],
        name: str,
        index: int,
        args: list[Any],
        named: dict[str, Any],
        calls: int,
    ) -> Any:
        calls *= self.calls
        self.parts.calls += 1
        if self.parts.calls > MOST_CALLS:
            refuse(
                "VFL0700", f"the model uses its layers more than {MOST_CALLS:,} times", "import a part of it"
            )
        if is_op(entry):
            if entry["class_name"] not in OPS:
                refuse(
                    "VFL0701",
                    f"`{name}` is {with_article(str(entry['class_name']))}, which has no counterpart",
                    WITHOUT,
                )
            return operation(KerasCall(entry["class_name"], name, config_of(entry), args, named))
        for key, value in named.items():
            nothing = value is None or (isinstance(value, list) and all(each is None for each in value))
            taken = (key, value) in CALLED_WITH.get(entry["class_name"], ())
            if not nothing and not taken and not (key == "training" and value is False):
                what = "a mask" if key == "mask" else f"{key} = {str(value)[:20]}"
                refuse(
                    "VFL0701", f"`{name}` is called with {what}, which has no counterpart", "call it without"
                )
        values = [v for arg in args for v in (arg if isinstance(arg, list) else [arg])]
        if not values or not all(isinstance(value, Value) for value in values):
            refuse(
                "VFL0701",
                f"`{name}` reads an array that is part of the model",
                "give it values of layers alone",
            )
        if is_model(entry):
            inner = Container(self.parts, entry, (*self.at, name), self.paths[index], calls)
            made = inner.call(values)
            return list(made.values()) if isinstance(made, dict) else made
        layer = self.parts.layer(entry, (*self.at, name), self.paths[index], calls)
        if layer.kind in COLUMN_LAYERS:
            if len(values) != 1:
                refuse("VFL0700", f"`{name}` ({layer.kind}) reads {len(values)} values", DAMAGED)
            return COLUMN_LAYERS[layer.kind](layer, values[0])
        allowed = CALLED_WITH.get(layer.kind, ())
        settings = {key: value for key, value in named.items() if (key, value) in allowed}
        layer = replace(layer, config={**layer.config, **settings}) if settings else layer
        made = READERS[layer.kind](layer, values, self.parts.notes)
        made.scope = ".".join(model for model in self.at if UNNAMED.fullmatch(model) is None)
        return made

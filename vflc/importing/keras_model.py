"""A Keras 3 model from its configuration: functional and sequential ones, nested in any depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from vflc.diagnostics import Diagnostic, Refused
from vflc.importing import columns
from vflc.importing.archive import Archive
from vflc.importing.graph import DAMAGED, InputColumn, Value, refuse
from vflc.importing.keras_columns import COLUMN_LAYERS
from vflc.importing.keras_layer import Layer, snake
from vflc.importing.keras_layers import LAYERS
from vflc.importing.keras_ops import OPS, KerasCall

MOST_LAYERS = 10_000
MOST_DEPTH = 20
MOST_CALLS = 100_000
"""Uses of layers: models that are used twice inside models that are used twice grow without bound."""
MODELS = ("Functional", "Sequential", "KerasModelReader")
ValuesByTensor = dict[tuple[str, int, int], Any]


class KerasModelReader:
    """Reads layers one by one and keeps what the whole model needs.

    Args:
        archive: the file.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.columns: list[InputColumn] = []
        self.notes: list[str] = []
        self.calls = 0
        self.name = str(_config(archive.config).get("name", "model"))
        self._layers: dict[tuple[str, ...], Layer] = {}
        _check_known(archive.config)
        self.outputs: list[tuple[str, Value]] = self._whole(archive.config)

    def _whole(self, entry: Mapping[str, Any]) -> list[tuple[str, Value]]:
        """Outputs of the model by their names."""
        inner = _Container(self, entry, (), "")
        given = [columns.raw(self._column(each)) for each in inner.inputs()]
        made = inner.call(given)
        names = inner.output_names()
        found = list(made.values()) if isinstance(made, dict) else made if isinstance(made, list) else [made]
        names = list(made) if isinstance(made, dict) else names
        if len(names) != len(found) or not all(isinstance(value, Value) for value in found):
            refuse("VFL0700", "the model does not say what its outputs are", DAMAGED)
        return [(name, columns.numeric(value, name)) for name, value in zip(names, found, strict=True)]

    def _column(self, entry: Mapping[str, Any]) -> InputColumn:
        config = _config(entry)
        name, shape = str(config.get("name")), config.get("batch_shape") or config.get("batch_input_shape")
        if not isinstance(shape, list) or not shape:
            refuse("VFL0700", f"the input `{name}` has no shape", DAMAGED)
        if config.get("sparse") or config.get("ragged") or config.get("optional"):
            refuse(
                "VFL0701", f"the input `{name}` is sparse, ragged or optional", "give the model a dense input"
            )
        if shape[0] is not None:
            refuse(
                "VFL0703",
                f"the input `{name}` fixes the batch to {shape[0]}",
                "leave the batch open: shape, not batch_shape",
            )
        if not all(isinstance(size, int) and 1 <= size <= 10_000 for size in shape[1:]):
            refuse(
                "VFL0703",
                f"the input `{name}` has axes of no fixed size: {shape[1:]}",
                "fix the size; rows of many values are split by the spec: split(…) -> vocab(…)",
            )
        dtype = str(config.get("dtype", "float32"))
        kind = (
            "string" if dtype == "string" else "int" if dtype.startswith(("int", "uint", "bool")) else "float"
        )
        column = InputColumn(name, kind, tuple(shape[1:]))
        self.columns.append(column)
        return column

    def layer(self, entry: Mapping[str, Any], at: tuple[str, ...], path: str, calls: int) -> Layer:
        """The layer at a place, the same for each of its uses."""
        if at not in self._layers:
            self._layers[at] = Layer(str(entry["class_name"]), at[-1], _config(entry), path, self.archive, 0)
        self._layers[at].calls = max(self._layers[at].calls, calls)
        return self._layers[at]


def _config(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    config = entry.get("config")
    if not isinstance(config, Mapping):
        refuse("VFL0700", f"{str(entry.get('class_name'))[:40]} has no configuration", DAMAGED)
    return config


def _entries(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = _config(entry).get("layers")
    if not isinstance(found, list) or not all(_is_entry(each) for each in found):
        refuse("VFL0700", "the model has no list of layers", DAMAGED)
    if len(found) > MOST_LAYERS:
        refuse("VFL0700", f"the model has more than {MOST_LAYERS:,} layers", "import a part of it")
    return found


def _is_entry(entry: Any) -> bool:
    """Whether it says what a layer is: a class, a name and settings."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("class_name"), str):
        return False
    config = entry.get("config")
    names = [entry.get("name"), config.get("name")] if isinstance(config, Mapping) else []
    return any(isinstance(name, str) for name in names) and all(
        isinstance(n, (str, type(None))) for n in names
    )


def _ours(entry: Mapping[str, Any]) -> bool:
    """Whether a class is Keras's own; one of the same name elsewhere is another."""
    module = str(entry.get("module"))
    return module == "keras" or module.startswith("keras.")


def is_model(entry: Mapping[str, Any]) -> bool:
    return _ours(entry) and entry["class_name"] in MODELS and "layers" in _config(entry)


def is_op(entry: Mapping[str, Any]) -> bool:
    return _ours(entry) and ".ops." in str(entry.get("module")) and entry["class_name"] in OPS


def is_layer(entry: Mapping[str, Any]) -> bool:
    known = entry["class_name"] in LAYERS or entry["class_name"] in COLUMN_LAYERS
    return _ours(entry) and ".ops." not in str(entry.get("module")) and known


def _check_known(entry: Mapping[str, Any]) -> None:
    """Names every layer without a counterpart at once; VFL0701."""
    if not isinstance(entry.get("class_name"), str) or not is_model(entry):
        kind = f"{entry.get('module')}.{entry.get('class_name')}"[:80]
        refuse(
            "VFL0701",
            f"{kind} is no functional or sequential model",
            "build it of layers: keras.Model(inputs, outputs)",
        )
    found = [Diagnostic("VFL0701", message, None, help) for message, help in _unknown(entry, 0)]
    if found:
        raise Refused(list(dict.fromkeys(found)))


def _unknown(entry: Mapping[str, Any], depth: int) -> Iterator[tuple[str, str]]:
    if depth > MOST_DEPTH:
        refuse("VFL0700", f"models are nested more than {MOST_DEPTH} deep", "save a flatter model")
    for each in _entries(entry):
        kind, name = str(each["class_name"]), str(_config(each).get("name") or each.get("name"))
        if is_model(each):
            yield from _unknown(each, depth + 1)
        elif kind == "Lambda":
            yield f"`{name}` is a Lambda layer: code that is part of the file is not run", OWN_CODE
        elif not _ours(each):
            yield f"`{name}` is of a class of the model's own, {each.get('module')}.{kind}", OWN_CODE
        elif kind != "InputLayer" and not is_op(each) and not is_layer(each):
            yield f"`{name}` is a {kind}, which has no counterpart", WITHOUT


OWN_CODE = "make it of Keras's layers and `keras.ops`, and save the model again"
WITHOUT = "replace it by layers that docs/importing.md lists, or write this part of the spec by hand"


class _Container:
    """A functional or sequential model inside the whole, called as a layer."""

    def __init__(
        self,
        model: KerasModelReader,
        entry: Mapping[str, Any],
        at: tuple[str, ...],
        path: str,
        calls: int = 1,
    ):
        self.model, self.entry, self.at, self.calls = model, entry, at, calls
        self.config = _config(entry)
        self.entries = _entries(entry)
        self.paths = _paths(self.entries, path)
        self.sequential = entry["class_name"] == "Sequential"

    def inputs(self) -> list[Mapping[str, Any]]:
        """The input layers, in the order in which the model is called."""
        given = [e for e in self.entries if e["class_name"] == "InputLayer"]
        if not given:
            shape = self.config.get("build_input_shape")
            given = [{"class_name": "InputLayer", "config": {"name": "x", "batch_shape": shape}}]
        if self.sequential:
            return given[:1]
        by_name = {str(e.get("name") or _config(e).get("name")): e for e in given}
        names = [h[0] for h in _histories(self.config.get("input_layers"))]
        if any(name not in by_name for name in names):
            refuse("VFL0700", "the model names an input that it does not have", DAMAGED)
        return [by_name[name] for name in names]

    def output_names(self) -> list[str]:
        if self.sequential:
            return [str(_config(self.entries[-1]).get("name"))] if self.entries else []
        return [h[0] for h in _histories(self.config.get("output_layers"))]

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
            for index, node in enumerate(_nodes(entry))
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
        _histories(structure)
        return _structure(structure, tensors)

    def _in_a_row(self, given: list[Value]) -> Value:
        values = list(given)
        for index, entry in enumerate(self.entries):
            if entry["class_name"] != "InputLayer":
                name = str(_config(entry).get("name"))
                values = _list(self._apply(entry, name, index, values, {}, 1))
        return values[0]

    def _node(
        self, tensors: ValuesByTensor, entry: Mapping[str, Any], index: int, node: Mapping[str, Any]
    ) -> bool:
        """Computes a use of a layer as soon as all that it reads is there."""
        try:
            args, named = _given(node.get("args", []), tensors), _given(node.get("kwargs", {}), tensors)
        except KeyError:
            return False
        name = str(entry.get("name"))
        position = next(i for i, e in enumerate(self.entries) if e is entry)
        made = self._apply(entry, name, position, args, named, len(_nodes(entry)))
        for number, value in enumerate(_list(made)):
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
        self.model.calls += 1
        if self.model.calls > MOST_CALLS:
            refuse(
                "VFL0700", f"the model uses its layers more than {MOST_CALLS:,} times", "import a part of it"
            )
        if is_op(entry):
            return OPS[entry["class_name"]](KerasCall(entry["class_name"], name, _config(entry), args, named))
        for key, value in named.items():
            if value is not None and not (key == "training" and value is False):
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
            inner = _Container(self.model, entry, (*self.at, name), self.paths[index], calls)
            made = inner.call(values)
            return list(made.values()) if isinstance(made, dict) else made
        layer = self.model.layer(entry, (*self.at, name), self.paths[index], calls)
        if layer.kind in COLUMN_LAYERS:
            if len(values) != 1:
                refuse("VFL0700", f"`{name}` ({layer.kind}) reads {len(values)} values", DAMAGED)
            return COLUMN_LAYERS[layer.kind](layer, values[0])
        return LAYERS[layer.kind](layer, values, self.model.notes)


def _paths(entries: list[Mapping[str, Any]], path: str) -> list[str]:
    """Where the archive keeps each layer's weights: by class, numbered in the order of the layers."""
    seen: Counter[str] = Counter()
    found = []
    for entry in entries:
        if is_op(entry):
            found.append("")
            continue
        kind = snake(str(entry["class_name"]))
        number = seen[kind]
        seen[kind] += 1
        found.append(f"{path}{'/' if path else ''}layers/{kind}{f'_{number}' if number else ''}")
    return found


def _nodes(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    nodes: list[Mapping[str, Any]] = entry.get("inbound_nodes", [])
    whole = isinstance(nodes, list) and all(isinstance(node, Mapping) for node in nodes)
    if not whole or not all(
        isinstance(node.get("args", []), list) and isinstance(node.get("kwargs", {}), Mapping)
        for node in nodes
    ):
        refuse("VFL0700", f"`{str(entry.get('name'))[:40]}` is not of Keras 3", "save it with Keras 3")
    return nodes


def _list(made: Any) -> list[Any]:
    return made if isinstance(made, list) else [made]


def _histories(structure: Any) -> list[list[Any]]:
    """All [layer, use, output] in the structure of inputs or outputs."""
    if _is_history(structure):
        return [structure]
    if not isinstance(structure, (list, Mapping)):
        refuse("VFL0700", "the model does not say what its inputs and outputs are", DAMAGED)
    inside = structure.values() if isinstance(structure, Mapping) else structure
    return [history for each in inside for history in _histories(each)]


def _is_history(given: Any) -> TypeGuard[list[Any]]:
    return isinstance(given, list) and [type(each) for each in given] == [str, int, int]


def _structure(structure: Any, tensors: ValuesByTensor) -> Any:
    if _is_history(structure):
        found = tensors.get((structure[0], structure[1], structure[2]))
        if not isinstance(found, Value):
            refuse("VFL0700", f"the model does not make its output `{structure[0][:40]}`", DAMAGED)
        return found
    if isinstance(structure, Mapping):
        return {str(name): _structure(each, tensors) for name, each in structure.items()}
    return [_structure(each, tensors) for each in structure]


def _given(given: Any, tensors: ValuesByTensor) -> Any:
    """Arguments with tensors in their places; KeyError where one is not made yet."""
    if isinstance(given, list):
        return [_given(each, tensors) for each in given]
    if not isinstance(given, Mapping):
        return given
    config, kind = given.get("config"), given.get("class_name")
    if kind == "__keras_tensor__":
        history = config.get("keras_history") if isinstance(config, Mapping) else None
        if not _is_history(history):
            refuse("VFL0700", "a layer reads something that is no value of the model", DAMAGED)
        return tensors[history[0], history[1], history[2]]
    if kind == "__slice__" and isinstance(config, Mapping):
        ends = [config.get(end) for end in ("start", "stop", "step")]
        if all(end is None or isinstance(end, int) for end in ends):
            return slice(*ends)
    if kind in ("__numpy__", "__tensor__") and isinstance(config, Mapping):
        return config.get("value")
    if kind is None:
        return {str(name): _given(each, tensors) for name, each in given.items()}
    refuse(
        "VFL0701",
        f"a layer is called with {str(kind)[:40]}, which has no counterpart",
        "call it with values alone",
    )

"""The configuration of a Keras 3 model, JSON that nobody vouches for: its layers and what they read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from vflc.diagnostics import Diagnostic, Refused
from vflc.importing.keras_columns import COLUMN_LAYERS
from vflc.importing.keras_layer import snake
from vflc.importing.keras_ops import OPS
from vflc.importing.keras_sequences import READERS
from vflc.translation.graph import DAMAGED, Value, refuse

MOST_LAYERS = 10_000
MOST_DEPTH = 20
MODELS = ("Functional", "Sequential", "Model")
ValuesByTensor = dict[tuple[str, int, int], Any]


def config_of(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    config = entry.get("config")
    if not isinstance(config, Mapping):
        refuse("VFL0700", f"{str(entry.get('class_name'))[:40]} has no configuration", DAMAGED)
    return config


def entries_of(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = config_of(entry).get("layers")
    if not isinstance(found, list) or not all(is_entry(each) for each in found):
        refuse("VFL0700", "the model has no list of layers", DAMAGED)
    if len(found) > MOST_LAYERS:
        refuse("VFL0700", f"the model has more than {MOST_LAYERS:,} layers", "import a part of it")
    return found


def is_entry(entry: Any) -> bool:
    """Whether it says what a layer is: a class, a name and settings."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("class_name"), str):
        return False
    config = entry.get("config")
    names = [entry.get("name"), config.get("name")] if isinstance(config, Mapping) else []
    return any(isinstance(name, str) for name in names) and all(
        isinstance(n, (str, type(None))) for n in names
    )


def is_ours(entry: Mapping[str, Any]) -> bool:
    """Whether a class is Keras's own; one of the same name elsewhere is another."""
    module = str(entry.get("module"))
    return module == "keras" or module.startswith("keras.")


def is_model(entry: Mapping[str, Any]) -> bool:
    return is_ours(entry) and entry["class_name"] in MODELS and "layers" in config_of(entry)


def is_op(entry: Mapping[str, Any]) -> bool:
    """Whether it is an operation of `keras.ops`, one with a counterpart or not."""
    return is_ours(entry) and ".ops." in str(entry.get("module"))


def is_layer(entry: Mapping[str, Any]) -> bool:
    known = entry["class_name"] in READERS or entry["class_name"] in COLUMN_LAYERS
    return is_ours(entry) and ".ops." not in str(entry.get("module")) and known


def check_known(entry: Mapping[str, Any], encoding: bool) -> None:
    """Names every layer without a counterpart at once; VFL0701.

    Operations of a model whose inputs are described may be parts of encoders: they are looked at one by one.
    """
    if not isinstance(entry.get("class_name"), str) or not is_model(entry):
        refuse(
            "VFL0701",
            f"{class_name(entry)} is no functional or sequential model",
            "build it of layers: keras.Model(inputs, outputs)",
        )
    found = [Diagnostic("VFL0701", message, None, help) for message, help in _unknown(entry, 0, encoding)]
    if found:
        raise Refused(list(dict.fromkeys(found)))


def _unknown(entry: Mapping[str, Any], depth: int, encoding: bool) -> Iterator[tuple[str, str]]:
    if depth > MOST_DEPTH:
        refuse("VFL0700", f"models are nested more than {MOST_DEPTH} deep", "save a flatter model")
    for each in entries_of(entry):
        kind, name = str(each["class_name"]), str(config_of(each).get("name") or each.get("name"))
        if is_model(each):
            yield from _unknown(each, depth + 1, encoding)
        elif kind == "Lambda":
            yield f"`{name}` is a Lambda layer: code that is part of the file is not run", OWN_CODE
        elif not is_ours(each):
            yield f"`{name}` is of a class of the model's own, {class_name(each)}", OWN_CODE
        elif is_op(each) and (encoding or kind in OPS):
            continue
        elif kind != "InputLayer" and not is_layer(each):
            yield f"`{name}` is {with_article(kind)}, which has no counterpart", WITHOUT


def class_name(entry: Mapping[str, Any]) -> str:
    """A class as the file names it: by its module, or as it was registered."""
    module, registered = entry.get("module"), entry.get("registered_name")
    return str(registered if module is None and registered else f"{module}.{entry.get('class_name')}")[:80]


def with_article(kind: str) -> str:
    return f"{'an' if kind[:1] in 'AEIOU' else 'a'} {kind}"


OWN_CODE = "make it of Keras's layers and `keras.ops`, and save the model again"
WITHOUT = "replace it by layers that docs/importing.md lists, or write this part of the spec by hand"


def paths_of(entries: list[Mapping[str, Any]], path: str) -> list[str]:
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


def nodes_of(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    nodes: list[Mapping[str, Any]] = entry.get("inbound_nodes", [])
    whole = isinstance(nodes, list) and all(isinstance(node, Mapping) for node in nodes)
    if not whole or not all(
        isinstance(node.get("args", []), list) and isinstance(node.get("kwargs", {}), Mapping)
        for node in nodes
    ):
        refuse("VFL0700", f"`{str(entry.get('name'))[:40]}` is not of Keras 3", "save it with Keras 3")
    return nodes


def as_list(made: Any) -> list[Any]:
    return made if isinstance(made, list) else [made]


def histories(structure: Any) -> list[list[Any]]:
    """All [layer, use, output] in the structure of inputs or outputs."""
    if is_history(structure):
        return [structure]
    if not isinstance(structure, (list, Mapping)):
        refuse("VFL0700", "the model does not say what its inputs and outputs are", DAMAGED)
    inside = structure.values() if isinstance(structure, Mapping) else structure
    return [history for each in inside for history in histories(each)]


def is_history(given: Any) -> TypeGuard[list[Any]]:
    return isinstance(given, list) and [type(each) for each in given] == [str, int, int]


def structured(structure: Any, tensors: ValuesByTensor) -> Any:
    if is_history(structure):
        found = tensors.get((structure[0], structure[1], structure[2]))
        if not isinstance(found, Value):
            refuse("VFL0700", f"the model does not make its output `{structure[0][:40]}`", DAMAGED)
        return found
    if isinstance(structure, Mapping):
        return {str(name): structured(each, tensors) for name, each in structure.items()}
    return [structured(each, tensors) for each in structure]


def given_of(given: Any, tensors: ValuesByTensor) -> Any:
    """Arguments with tensors in their places; KeyError where one is not made yet."""
    if isinstance(given, list):
        return [given_of(each, tensors) for each in given]
    if not isinstance(given, Mapping):
        return given
    config, kind = given.get("config"), given.get("class_name")
    if kind == "__keras_tensor__":
        history = config.get("keras_history") if isinstance(config, Mapping) else None
        if not is_history(history):
            refuse("VFL0700", "a layer reads something that is no value of the model", DAMAGED)
        return tensors[history[0], history[1], history[2]]
    if kind == "__slice__" and isinstance(config, Mapping):
        ends = [config.get(end) for end in ("start", "stop", "step")]
        if all(end is None or isinstance(end, int) for end in ends):
            return slice(*ends)
    if kind in ("__numpy__", "__tensor__") and isinstance(config, Mapping):
        return config.get("value")
    if kind is None:
        return {str(name): given_of(each, tensors) for name, each in given.items()}
    refuse(
        "VFL0701",
        f"a layer is called with {str(kind)[:40]}, which has no counterpart",
        "call it with values alone",
    )


def values_in(given: Any) -> Iterator[Value]:
    """The values among arguments, in any depth."""
    if isinstance(given, Value):
        yield given
    elif isinstance(given, (list, Mapping)):
        for each in given.values() if isinstance(given, Mapping) else given:
            yield from values_in(each)

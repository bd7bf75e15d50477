"""Structures that repeat: layers one after another as `mlp`, embeddings of fields as one `embed`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

from vflc.translation.activations import IN_LAYERS
from vflc.translation.graph import Value, ordered

UsesByValue = Mapping[int, list[tuple[Value, int]]]
"""Of a value, by its `id`, who reads it and at which position."""


class DenseChain(Struct, eq=False):
    """Fully connected layers one after another.

    Args:
        layers: from the first to the last.
        dropout: the share that is dropped after each but the last.
        name: what the person called them; None where nobody did.
    """

    layers: list[Value]
    dropout: float
    name: str | None


class EmbeddingGroup(Struct, eq=False):
    """Embeddings that always stand side by side, in order; `name` as in `DenseChain`.

    Groups of the same columns have them in one list, `fields`.
    """

    members: list[Value]
    name: str | None
    fields: list[Value]


class Structures(Struct, eq=False):
    """What was found, by the `id` of a value: of a chain its last layer, of a group each member."""

    values: list[Value]
    users: UsesByValue
    chains: dict[int, DenseChain]
    inside: set[int]
    groups: dict[int, EmbeddingGroup]


def find(outputs: Sequence[Value]) -> Structures:
    """Structures of a model; activations and sums are first put into the layers and sums they belong to."""
    _make_once(outputs)
    used = users(ordered(outputs), outputs)
    for value in ordered(outputs):
        _take_flat(value, used)
        _take_activation(value, used)
        _take_sums(value, used)
        _take_joined(value, used)
    for value in ordered(outputs):
        _take_number(value, used)
    values = ordered(outputs)
    used = users(values, outputs)
    chains = _chains(values, used)
    inside = {id(v) for chain in chains.values() for layer in chain.layers for v in (layer, layer.inputs[0])}
    inside -= {id(chain.layers[0].inputs[0]) for chain in chains.values()} | set(chains)
    return Structures(values, used, chains, inside, _groups(values, used))


def users(values: Sequence[Value], outputs: Sequence[Value]) -> dict[int, list[tuple[Value, int]]]:
    """Who reads each value; an output is read by the world, which is a value of its own."""
    found: dict[int, list[tuple[Value, int]]] = {id(value): [] for value in values}
    for value in values:
        for position, given in enumerate(value.inputs):
            found[id(given)].append((value, position))
    world = Value("world")
    for position, output in enumerate(outputs):
        found[id(output)].append((world, position))
    return found


def _make_once(outputs: Sequence[Value]) -> None:
    """Columns, and columns side by side, that are read several times are one value."""
    known: dict[tuple[object, ...], Value] = {}
    for value in ordered(outputs):
        value.inputs = tuple(known.get(_same(given), given) for given in value.inputs)
        if value.op == "feature" or (value.op == "concat" and not value.named):
            known.setdefault(_same(value), value)


def _same(value: Value) -> tuple[object, ...]:
    """Equal for columns, and for values side by side, that are equal."""
    if value.op == "feature":
        return (id(value.attrs["column"]), value.attrs["encoding"], value.shape)
    return (value.op, value.shape, value.attrs.get("axis"), *map(id, value.inputs))


def _take_activation(value: Value, used: UsesByValue) -> None:
    """`relu(dense(x, 8))` becomes `dense(x, 8, activation = relu)`."""
    below = value.inputs[0] if value.inputs else value
    if value.op not in IN_LAYERS or below.op != "dense" or below.attrs["activation"] != "linear":
        return
    usual = value.attrs in ({}, {"alpha": 0.2}, {"axis": len(value.shape) - 1})
    if not usual or len(used[id(below)]) > 1 or (value.named and below.named):
        return
    if below.named or not value.named:
        value.layer, value.named = below.layer, below.named
    value.attrs = {**below.attrs, "activation": value.op}
    value.op, value.inputs, value.weights, value.many = "dense", below.inputs, below.weights, below.many


def _take_flat(value: Value, used: UsesByValue) -> None:
    """A vector of one id that is flattened is the vector: `embed` gives no axis of size 1."""
    below = value.inputs[0] if value.inputs else value
    if value.op != "reshape" or below.op != "embed" or value.named or value.shape != below.shape[-1:]:
        return
    if len(used[id(below)]) == 1:
        value.op, value.inputs, value.attrs = below.op, below.inputs, below.attrs
        value.layer, value.named = below.layer, below.named
        value.weights, value.many = below.weights, below.many


def _take_sums(value: Value, used: UsesByValue) -> None:
    """`(a + b) + c` becomes one sum, in the same order."""
    if value.op != "add" or (below := value.inputs[0]).op != "add":
        return
    if len(used[id(below)]) == 1 and not below.named and all(v.shape == value.shape for v in value.inputs):
        value.inputs = (*below.inputs, *value.inputs[1:])


def _take_joined(value: Value, used: UsesByValue) -> None:
    """`concat(concat(a, b), c)` of vectors becomes one."""
    if value.op == "concat" and len(value.shape) == 1:
        value.inputs = tuple(
            inner
            for given in value.inputs
            for inner in (given.inputs if _joined_here(given, used) else (given,))
        )


def _joined_here(value: Value, used: UsesByValue) -> bool:
    return value.op == "concat" and not value.named and len(used[id(value)]) == 1


def _take_number(value: Value, used: UsesByValue) -> None:
    """`x * w` of a number and a vector of weights, beside embeddings, is the embedding of the number."""
    if not _scaled(value, used) or not all(_takes_groups(user, value) for user, _ in used[id(value)]):
        return
    beside = [given for user, _ in used[id(value)] for given in user.inputs if given is not value]
    if all(given.op == "embed" or _scaled(given, used) for given in beside) and beside:
        feature, weight = sorted(value.inputs, key=lambda given: given.op)
        value.op, value.inputs, value.weights = "embed", (feature,), {"table": weight.weights[""]}
        value.attrs = {"dim": weight.shape[0], "init": weight.attrs["init"]}
        value.attrs |= {"scale": weight.attrs["scale"]} if "scale" in weight.attrs else {}
        value.layer, value.named = re.sub(r"[._](weight|kernel)$", "", weight.layer), weight.named


def _scaled(value: Value, used: UsesByValue) -> bool:
    """Whether it is a column's number times weights that nothing else reads."""
    if value.op != "mul" or value.named or sorted(v.op for v in value.inputs) != ["feature", "weight"]:
        return False
    feature, weight = sorted(value.inputs, key=lambda given: given.op)
    plain = not weight.attrs["frozen"] and "penalty" not in weight.attrs and not weight.many
    single = feature.shape in ((), (1,)) and value.shape == weight.shape and len(weight.shape) == 1
    return plain and single and len(used[id(weight)]) == 1


# --- chains -------------------------------------------------------------------------------------------


def _chains(values: Sequence[Value], used: UsesByValue) -> dict[int, DenseChain]:
    taken: set[int] = set()
    found: dict[int, DenseChain] = {}
    for value in reversed(values):
        if id(value) not in taken and _plain_dense(value):
            chain = _chain(value, used)
            if len(chain.layers) > 1:
                taken |= {id(layer) for layer in chain.layers}
                found[id(value)] = chain
    return found


def _plain_dense(value: Value) -> bool:
    return (
        value.op == "dense"
        and not value.many
        and value.attrs["init"] == "glorot_uniform"
        and "penalty" not in value.attrs
    )


def _chain(last: Value, used: UsesByValue) -> DenseChain:
    """As many layers before the last as `mlp` can write together with it."""
    layers, rates = [last], list[float]()
    while True:
        below, rate = layers[0].inputs[0], 0.0
        if below.op == "dropout" and len(used[id(below)]) == 1 and not below.named:
            below, rate = below.inputs[0], below.attrs["rate"]
        if not _plain_dense(below) or len(used[id(below)]) != 1 or (rates and rate != rates[0]):
            break
        if not _fits(below, layers):
            break
        if common_name([below, *layers]) is None and any(layer.named for layer in (below, *layers)):
            break
        layers.insert(0, below)
        rates.append(rate)
    return DenseChain(layers, rates[0] if rates else 0.0, common_name(layers) if len(layers) > 1 else None)


def _fits(below: Value, layers: Sequence[Value]) -> bool:
    """Whether a layer has the settings of those behind it; the last alone may be linear, where a name says
    that they belong together."""
    first, last = layers[0].attrs, layers[-1].attrs
    if below.attrs["bias"] != first["bias"]:
        return False
    if below.attrs["activation"] == first["activation"]:
        return True
    return len(layers) == 1 and last["activation"] == "linear" and common_name([below, *layers]) is not None


def common_name(values: Sequence[Value]) -> str | None:
    """What names that a person gave have in common, if they only count up: `deep` of `deep_0`, `deep_1`."""
    if not all(value.named for value in values):
        return None
    found = [
        re.fullmatch(r"(.*?)(?:[._/-]?(?:mlp|dense|layer|hidden|fc))?[._/-]?(\d+)", v.layer) for v in values
    ]
    if any(match is None or not match[1] for match in found):
        return None
    stems = {match[1] for match in found if match}
    numbers = [int(match[2]) for match in found if match]
    return stems.pop() if len(stems) == 1 and all(b > a for a, b in pairwise(numbers)) else None


# --- groups -------------------------------------------------------------------------------------------


def _groups(values: Sequence[Value], used: UsesByValue) -> dict[int, EmbeddingGroup]:
    found: dict[int, EmbeddingGroup] = {}
    known: dict[tuple[int, ...], list[Value]] = {}
    for value in values:
        run: list[Value] = []
        for given in (*value.inputs, Value("end")):
            if run and not _beside(run, given, used):
                enough = len(run) > 1 or (value.op == "stack" and len(value.inputs) == 1)
                if enough and not any(id(v) in found for v in run):
                    read = [member.inputs[0] for member in run]
                    fields = known.setdefault(tuple(map(id, read)), read)
                    found |= dict.fromkeys(map(id, run), EmbeddingGroup(run, _prefix(run), fields))
                run = []
            if _groupable(given, used):
                run = [*run, given]
    return found


def _groupable(value: Value, used: UsesByValue) -> bool:
    if value.op != "embed" or value.inputs[0].shape not in ((), (1,)):
        return False
    return all(_takes_groups(user, value) for user, _ in used[id(value)])


def _takes_groups(user: Value, value: Value) -> bool:
    """Whether it reads fields side by side: one after another, one above another, or their sum."""
    dim = value.shape[-1]
    if user.op == "concat":
        return value.shape in ((dim,), (1, dim)) and all(
            v.shape in ((v.shape[-1],), (1, v.shape[-1])) for v in user.inputs
        )
    if user.op == "stack":
        return bool(user.attrs["axis"] == 0) and value.shape == (dim,)
    return user.op == "add" and all(v.shape == value.shape for v in user.inputs)


def _beside(run: Sequence[Value], value: Value, used: UsesByValue) -> bool:
    """Whether every reader of the last of a run reads the value right behind it."""
    last = run[-1]
    if not _groupable(value, used) or any(value is member for member in run):
        return False
    settings = ("dim", "init", "scale", "penalty")
    if {"sum", "mean"} <= {v.attrs.get("combiner") for v in (*run, value)}:
        return False
    if len({v.weights["table"] if v.many else "" for v in (*run, value) if not _of_number(v)}) > 1:
        return False
    if value.shape != last.shape or any(value.attrs.get(k) != last.attrs.get(k) for k in settings):
        return False
    if any(value.inputs[0].attrs["column"] is member.inputs[0].attrs["column"] for member in run):
        return False
    if _prefix([*run, value]) is None and any(v.named for v in (*run, value)):
        return False
    before = [(id(user), position + 1) for user, position in used[id(last)]]
    return sorted(before) == sorted((id(user), position) for user, position in used[id(value)])


def _of_number(value: Value) -> bool:
    """Whether an embedding is of a number, and has a vector of its own."""
    return value.op == "embed" and "rows" not in value.attrs


def _prefix(values: Sequence[Value]) -> str | None:
    """What a person's names have in common before the columns' own: `a.e` of `a.e.Age`, `a.e.City`."""
    if not all(value.named for value in values):
        return None
    stems = {_before_column(value) for value in values}
    names = {value.layer for value in values}
    if len(names) == 1 < len(values) and not values[0].many:
        return names.pop()
    return stems.pop() if len(stems) == 1 else None


def _before_column(value: Value) -> str | None:
    """A name without that of the column at its end."""
    column = str(value.inputs[0].attrs["column"].name).rpartition(".")[2]
    match = re.fullmatch(rf"(.+)[._/-]{re.escape(column)}(_\d+)?", value.layer)
    match = match or re.fullmatch(r"(.+)[._/-][^._/-]+", value.layer)
    return match[1] if match else None

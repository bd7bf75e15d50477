"""Structures that repeat: layers one after another as `mlp`, embeddings of fields as one `embed`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from vflc.translation.activations import IN_LAYERS
from vflc.translation.embedding_groups import EmbeddingGroup, UsesByValue, groups_of, take_number
from vflc.translation.graph import Value, ordered


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
        take_number(value, used)
    values = ordered(outputs)
    used = users(values, outputs)
    chains = _chains(values, used)
    inside = {id(v) for chain in chains.values() for layer in chain.layers for v in (layer, layer.inputs[0])}
    inside -= {id(chain.layers[0].inputs[0]) for chain in chains.values()} | set(chains)
    return Structures(values, used, chains, inside, groups_of(values, used))


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

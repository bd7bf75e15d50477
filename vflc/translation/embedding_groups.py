"""Embeddings of several columns that stand side by side: one `embed` of all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from vflc.translation.graph import Value

UsesByValue = Mapping[int, list[tuple[Value, int]]]
"""Of a value, by its `id`, who reads it and at which position."""


class EmbeddingGroup(Struct, eq=False):
    """Embeddings that always stand side by side, in order; `name` as in `DenseChain`.

    Groups of the same columns have them in one list, `fields`.
    """

    members: list[Value]
    name: str | None
    fields: list[Value]


def take_number(value: Value, used: UsesByValue) -> None:
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


def groups_of(values: Sequence[Value], used: UsesByValue) -> dict[int, EmbeddingGroup]:
    """The group of each embedding that is in one, by its `id`."""
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

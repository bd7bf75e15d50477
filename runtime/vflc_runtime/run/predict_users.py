"""Predictions for users never seen: rebuilt from the rows whose label they give, predicted on the rest."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from vflc_common.encoder import DEFAULT, OTHER
from vflc_common.encoders import record
from vflc_common.encoders.missing import filling

from vflc_runtime import files
from vflc_runtime.bundle.folder import Population
from vflc_runtime.bundle.population_plan import UsersPlan
from vflc_runtime.data.source import Source
from vflc_runtime.data.values import restored
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener, silent
from vflc_runtime.population.users import Rows, Users
from vflc_runtime.population.worker_pool import groups
from vflc_runtime.run.client_executor import ClientExecutor
from vflc_runtime.run.loading import encoders_at, load_users
from vflc_runtime.run.predict import check_out, table_writer, titled
from vflc_runtime.run.settings import chosen
from vflc_runtime.run.state import RunFolder

Array = NDArray[Any]
ABSENT = "is missing: "
"""Prefix of the columns that say whether a label is given; no column of a spec has such a name."""
FULL_GROUP = 16
"""Users that run together where each of them reads a whole table."""


def predict(
    run: Path | str,
    sources: Mapping[str, Source],
    out_file: Path | str,
    engine: str = "onnx",
    top: int | None = None,
    listen: Listener = silent,
) -> int:
    """Writes predictions of the rows that have no label, in order of the users' keys.

    Args:
        run: the run's folder.
        sources: the table of the users; rows with a label rebuild their user's local weights.
        out_file: a `.csv` or a `.parquet` file: the key, ids where they can be told, predictions.
        engine: `onnx` or `keras`.
        top: recommend so many items to each user instead, best first, none that the user gave.
        listen: is told when the data is loaded.

    Returns:
        The number of rows written.

    Raises:
        Failure: VFL0601 to 0618 as data and run give cause; VFL0502 where nothing can be ranked.
    """
    out_file = check_out(Path(out_file))
    folder = RunFolder(Path(run))
    population = folder.population(engine)
    plan, hub = population.users, population.hub.place
    item = _item(plan) if top is not None else ""
    users, given, key_type = _load(population, sources, top is not None, listen)
    keys = restored(users.keys, key_type, out_file.suffix)
    runner = ClientExecutor(population, chosen(population, folder.settings), training=False)
    weights = folder.models_at([hub], listen)[hub]
    written = 0
    with files.writing(out_file), table_writer(out_file) as write:
        if top is None:
            parts = _rest(plan, runner, users, given, weights, keys)
        else:
            parts = _best(plan, runner, users, given, weights, keys, item, top)
        for part in parts:
            write(part)
            written += part.num_rows
    return written


def _load(
    population: Population, sources: Mapping[str, Source], all_given: bool, listen: Listener
) -> tuple[Users, NDArray[np.bool_], str]:
    """The users, for each row whether all its labels are given, and the type of the key column."""
    plan = population.users
    described = copy.deepcopy(encoders_at(plan))
    party = described["parties"][plan.place]
    labels = [column for column in party["columns"] if column["kind"] == "label"]
    for column in labels:
        tree = column.get("value") or {"column": column["name"]}
        absent = {"name": ABSENT + column["name"], "kind": "feature", "shape": "number", "encoders": []}
        party["columns"].append({**absent, "value": {"call": "is_missing", "args": [tree]}})
        column["encoders"] = [filling(_any_value(column)), *column["encoders"]]
    names = [f"{plan.place}.{ABSENT}{column['name']}" for column in labels]
    data = load_users(population, sources, listen, described=described, more=names)
    given = np.ones(data.rows, bool)
    for name in names:
        given &= data.inputs.pop(name).reshape(-1) == 0
    if given.all() and not all_given:
        raise Failure(
            "VFL0608",
            f"every row of {plan.place} has its label: nothing is left to predict",
            "leave the label empty in the rows to predict, or recommend items: --top 10",
        )
    return Users.of(data), given, data.key_types[plan.place]


def _any_value(column: Mapping[str, Any]) -> Any:
    """A value that the label's encoders take; it stands where there is none and is never read."""
    lookups = ((e, lookup) for e in column["encoders"] if (lookup := record(e).lookup) is not None)
    return next((lookup.values(e)[0] for e, lookup in lookups), 0)


def _rest(
    plan: UsersPlan,
    runner: ClientExecutor,
    users: Users,
    given: NDArray[np.bool_],
    weights: Mapping[str, Array],
    keys: pa.Array,
) -> Iterator[pa.RecordBatch]:
    for group in groups(np.arange(len(users))):
        rows, made = runner.predict(users, group, weights, given)
        if len(rows):
            order = np.argsort(rows)
            made = {name: array[order] for name, array in made.items()}
            yield _batch(plan, users, keys, rows[order], made)


def _best(
    plan: UsersPlan,
    runner: ClientExecutor,
    users: Users,
    given: NDArray[np.bool_],
    weights: Mapping[str, Array],
    keys: pa.Array,
    item: str,
    top: int,
) -> Iterator[pa.RecordBatch]:
    """Scores every item that a user has no row about; the first prediction ranks them."""
    size = max(plan.weights[ids.table].shape[0] for ids in plan.ids if item in ids.features)
    size = min(size, _known(plan, item))
    name = plan.predictions[0].name
    for start in range(0, len(users), FULL_GROUP):
        chosen = np.arange(start, min(start + FULL_GROUP, len(users)))
        wide, known = _with_all(users, given, chosen, item, size)
        rows, made = runner.predict(wide, np.arange(len(chosen)), weights, known)
        owner = np.searchsorted(wide.starts, rows, side="right") - 1
        order = np.lexsort((rows, -made[name].reshape(len(rows), -1)[:, 0], owner))
        rank = np.arange(len(rows)) - np.searchsorted(owner[order], owner[order], side="left")
        best = order[rank < top]
        made = {name: array[best] for name, array in made.items()}
        yield _batch(plan, wide, keys.take(pa.array(chosen)), rows[best], made)


def _with_all(
    users: Users, given: NDArray[np.bool_], chosen: Rows, item: str, size: int
) -> tuple[Users, NDArray[np.bool_]]:
    """Users with the rows they gave and one for every item that they have no row about."""
    inputs: dict[str, list[Array]] = {name: [] for name in users.inputs}
    starts, known = [0], []
    for user in chosen:
        rows = np.arange(users.starts[user], users.starts[user + 1])
        own = rows[given[rows]]
        others = np.setdiff1d(np.arange(size), users.inputs[item][rows])
        for name, array in users.inputs.items():
            blank = np.zeros((len(others), *array.shape[1:]), array.dtype)
            inputs[name] += [array[own], others.astype(array.dtype) if name == item else blank]
        known += [np.ones(len(own), bool), np.zeros(len(others), bool)]
        starts.append(starts[-1] + len(own) + len(others))
    arrays = {name: np.concatenate(parts) for name, parts in inputs.items()}
    return Users(users.keys.take(pa.array(chosen)), np.array(starts), arrays), np.concatenate(known)


def _item(plan: UsersPlan) -> str:
    """The one feature of the model, which tells items apart."""
    features = [item for item in plan.inputs.values() if not item.label]
    if len(features) != 1 or features[0].kind != "id" or _known(plan, features[0].id) < 1:
        raise Failure(
            "VFL0502",
            "items can be ranked only if the item's id is the only feature of the model",
            "remove --top, and give the rows to predict without a label",
        )
    return features[0].id


def _known(plan: UsersPlan, feature: str) -> int:
    """How many ids of a feature can be told; 0 where they cannot."""
    decode = _decoder(plan, feature)
    column = _column(plan, feature)
    return 0 if decode is None else int(column["rows"])


def _column(plan: UsersPlan, feature: str) -> dict[str, Any]:
    columns = encoders_at(plan)["parties"][plan.place]["columns"]
    found: dict[str, Any] = next(c for c in columns if f"{plan.place}.{c['name']}" == feature)
    return found


def _decoder(plan: UsersPlan, feature: str) -> Callable[[Array], pa.Array] | None:
    """From ids back to what the table holds, for a lookup alone; null for the id of all other values."""
    chain = _column(plan, feature)["encoders"]
    lookup = record(chain[0]).lookup if len(chain) == 1 else None
    if lookup is None:
        return None
    others = int(chain[0].get(DEFAULT) == OTHER)
    if lookup.plain:
        return lambda ids: pa.array(ids.astype(np.int64) - others, mask=ids < others)
    values = pa.array([None] * others + [*lookup.values(chain[0])])
    return lambda ids: values.take(pa.array(ids))


def _batch(
    plan: UsersPlan, users: Users, keys: pa.Array, rows: Rows, made: Mapping[str, Array]
) -> pa.RecordBatch:
    """Rows of the data with what was predicted of them; `keys` are the users' as their table holds them."""
    key = str(encoders_at(plan)["parties"][plan.place]["key"])
    owner = np.searchsorted(users.starts, rows, side="right") - 1
    columns: dict[str, Any] = {}
    for item in plan.inputs.values():
        decode = _decoder(plan, item.id) if item.kind == "id" and not item.label else None
        if decode is not None:
            columns[item.id.partition(".")[2]] = decode(users.inputs[item.id][rows])
    columns = {key: keys.take(pa.array(owner)), **{n: c for n, c in columns.items() if n != key}}
    for prediction in plan.predictions:
        values = made[prediction.name].reshape(len(rows), -1)
        columns |= titled(prediction.name, values, prediction.classes)
    return pa.record_batch(columns)

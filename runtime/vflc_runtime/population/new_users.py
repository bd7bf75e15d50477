"""Users never trained on: their local weights are rebuilt from the rows whose labels they give.

What is predicted is the rest of their rows, or how good each item is that they have no row about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from vflc_common.arrays import Array, Indices
from vflc_common.encoder import DEFAULT, OTHER, EncoderSettings
from vflc_common.encoders import record

from vflc_runtime.bundle.population_plan import UsersPlan
from vflc_runtime.data.output import titled
from vflc_runtime.errors import Failure
from vflc_runtime.population.users import Users
from vflc_runtime.population.worker_pool import ClientRunner, NamedArrays, groups

Given = NDArray[np.bool_]
"""For each row of the data, whether all its labels are given."""
Decode = Callable[[Array], pa.Array]
FULL_GROUP = 16
"""Users that run together where each of them reads a whole table."""


class NewUsers:
    """Predicts for users whose rows it is given.

    Args:
        plan: of the users.
        runner: runs the programs of both places.
        weights: the hub's, by name.
        top: recommend so many items to each user instead, best first, none that the user has a row about.

    Raises:
        Failure: VFL0502 where nothing can be ranked.
    """

    def __init__(
        self, plan: UsersPlan, runner: ClientRunner, weights: NamedArrays, top: int | None = None
    ) -> None:
        self._plan, self._runner, self._weights, self._top = plan, runner, weights, top
        table = plan.encoders[plan.place]
        self._key = str(table["key"])
        self._columns = {f"{plan.place}.{column['name']}": column for column in table["columns"]}
        self._decoders: dict[str, Decode] = {}
        for feature in plan.inputs.values():
            if feature.kind == "id" and not feature.label:
                decode = decoder(self._columns[feature.id]["encoders"])
                if decode is not None:
                    self._decoders[feature.id] = decode
        self._item, self._items = ("", np.arange(0)) if top is None else self._ranked()

    def _ranked(self) -> tuple[str, Indices]:
        """The one feature of the model, which tells items apart, and the ids of those that can be told."""
        features = [feature.id for feature in self._plan.inputs.values() if not feature.label]
        if len(features) != 1 or features != [*self._decoders]:
            raise Failure(
                "VFL0502",
                "items can be ranked only if the item's id is the only feature of the model",
                "leave `top` out, and give the rows to predict without a label",
            )
        (item,) = features
        rows = max(self._plan.weights[ids.table].shape[0] for ids in self._plan.ids if item in ids.features)
        ids = np.arange(min(rows, int(self._columns[item]["rows"])))
        return item, ids[self._decoders[item](ids).is_valid().to_numpy(zero_copy_only=False)]

    def predicted(self, users: Users, given: Given, keys: pa.Array) -> Iterator[pa.RecordBatch]:
        """The key, ids where they can be told, and predictions, in order of the users' keys.

        Args:
            users: all rows.
            given: those that users are rebuilt from, bool [rows].
            keys: the users' [users], as their table holds them.

        Raises:
            Failure: VFL0608 where nothing is left to predict.
        """
        if self._top is None:
            return self._rest(users, given, keys)
        return self._best(users, given, keys, self._top)

    def _rest(self, users: Users, given: Given, keys: pa.Array) -> Iterator[pa.RecordBatch]:
        if given.all():
            raise Failure(
                "VFL0608",
                f"every row of {self._plan.place} has its label: nothing is left to predict",
                "leave the label empty in the rows to predict, or recommend items (--top 10, in Python "
                "`top=10`)",
            )
        for group in groups(np.arange(len(users))):
            rows, made = self._runner.predict(users, group, self._weights, given)
            if len(rows):
                yield self._batch(users, keys, rows, made, np.argsort(rows))

    def _best(self, users: Users, given: Given, keys: pa.Array, top: int) -> Iterator[pa.RecordBatch]:
        """Scores every item that a user has no row about; the first prediction ranks them."""
        name, left = self._plan.predictions[0].name, False
        for group in groups(np.arange(len(users)), FULL_GROUP):
            wide, known = self._with_all(users, given, group)
            rows, made = self._runner.predict(wide, np.arange(len(group)), self._weights, known)
            if not len(rows):
                continue
            owner = np.searchsorted(wide.starts, rows, side="right") - 1
            order = np.lexsort((rows, -made[name].reshape(len(rows), -1)[:, 0], owner))
            rank = np.arange(len(rows)) - np.searchsorted(owner[order], owner[order], side="left")
            left = True
            yield self._batch(wide, keys.take(pa.array(group)), rows, made, order[rank < top])
        if not left:
            raise Failure(
                "VFL0608",
                f"every user of {self._plan.place} has a row about each of the {len(self._items):,} items: "
                "nothing is left to recommend",
                "leave `top` out, and the label empty in the rows to predict",
            )

    def _with_all(self, users: Users, given: Given, group: Indices) -> tuple[Users, Given]:
        """Users with the rows they gave and one for every item that they have no row about."""
        inputs: dict[str, list[Array]] = {name: [] for name in users.inputs}
        starts, known = [0], []
        for user in group:
            rows = np.arange(users.starts[user], users.starts[user + 1])
            own = rows[given[rows]]
            others = np.setdiff1d(self._items, users.inputs[self._item][rows])
            for name, array in users.inputs.items():
                blank = np.zeros((len(others), *array.shape[1:]), array.dtype)
                inputs[name] += [array[own], others.astype(array.dtype) if name == self._item else blank]
            known += [np.ones(len(own), bool), np.zeros(len(others), bool)]
            starts.append(starts[-1] + len(own) + len(others))
        arrays = {name: np.concatenate(parts) for name, parts in inputs.items()}
        return Users(users.keys.take(pa.array(group)), np.array(starts), arrays), np.concatenate(known)

    def _batch(
        self, users: Users, keys: pa.Array, rows: Indices, made: Mapping[str, Array], order: Indices
    ) -> pa.RecordBatch:
        """Rows of the data with what was predicted of them, some of them in the order given."""
        rows = rows[order]
        owner = np.searchsorted(users.starts, rows, side="right") - 1
        columns: dict[str, Any] = {self._key: keys.take(pa.array(owner))}
        for feature, decode in self._decoders.items():
            columns.setdefault(feature.partition(".")[2], decode(users.inputs[feature][rows]))
        for prediction in self._plan.predictions:
            columns |= titled(prediction.name, made[prediction.name][order], prediction.classes)
        return pa.record_batch(columns)


def decoder(chain: Sequence[EncoderSettings]) -> Decode | None:
    """From ids back to what the table holds, for a lookup alone; null for the id of all other values."""
    lookup = record(chain[0]).lookup if len(chain) == 1 else None
    if lookup is None:
        return None
    others = int(chain[0].get(DEFAULT) == OTHER)
    if lookup.plain:
        return lambda ids: pa.array(ids.astype(np.int64) - others, mask=ids < others)
    values = pa.array([None] * others + [*lookup.values(chain[0])])
    return lambda ids: values.take(pa.array(ids))

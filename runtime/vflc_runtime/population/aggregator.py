"""The hub's part in a client update: it answers what users ask for, and adds up what they send back.

This is done where the group of users runs, with the weights that the hub gave for the round: a
cohort's groups may run on many machines, and the hub gets one sum from each.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.bundle.population_plan import HubPlan
from vflc_runtime.engines.population_rows import sum_rows
from vflc_runtime.population.copies import ranked
from vflc_runtime.population.delta import Delta
from vflc_runtime.population.place import PopulationPlace, refused


class Aggregator(PopulationPlace):
    """Does the hub's program for a group of users. Its inputs are the hub's weights, by name.

    `delta` is the sum of what came back, for the step that the hub takes when the round is over; None
    where nothing came.
    """

    def __init__(self, plan: HubPlan) -> None:
        super().__init__(plan)
        self.plan = plan
        self.delta: Delta | None = None
        self._sizes = {weight.ids: weight.shape[0] for weight in plan.weights.values() if weight.ids}
        self._rows: dict[str, str | None] = {}
        for weight in plan.weights.values():
            self._rows |= {str(weight.delta): weight.ids, weight.name: weight.ids}

    def begin(self, program: str, inputs: Mapping[str, Array], rows: int, step: int) -> None:
        """Opens for a group of `rows` users; `inputs` are the hub's weights [*] by name."""
        self._weights, self._users, self.delta = inputs, rows, None
        self._received: dict[str, Array] = {}

    def put(self, value: str, tensor: Array) -> None:
        """Takes what users send.

        The ids of rows that they ask for [rows]; changes [user, …], of a table [rows, k]; how much each user
        counts [user].
        """
        size, ids = self._sizes.get(value), self._rows.get(value)
        if size is not None and tensor.size and not 0 <= tensor.min() <= tensor.max() < size:
            raise refused(self._place, f"{value!r} from {tensor.min()} to {tensor.max()}, of {size} rows")
        if ids is not None and len(tensor) != len(self._received[ids]):
            raise refused(
                self._place, f"{len(tensor)} rows of {value!r}, {len(self._received[ids])} were asked for"
            )
        if value == self.plan.examples and tensor.min(initial=0) < 0:
            raise refused(self._place, f"{value!r} below 0")
        self._received[value] = tensor

    def get(self, value: str) -> Array:
        """A weight for each user [user, …], of a table the rows [rows, k] that they asked for."""
        weight, ids = self._weights[value], self._rows[value]
        if ids is not None:
            return weight.take(self._received[ids], axis=0)  # half the time of an index in brackets
        return np.broadcast_to(weight, (self._users, *weight.shape))

    def update(self, update: str) -> None:
        """Adds the changes up."""
        received = self._received
        dense: dict[str, Array] = {}
        rows: dict[str, tuple[Array, Array]] = {}
        for weight in self.plan.weights.values():
            change = received[str(weight.delta)]
            if weight.ids is None:
                dense[weight.name] = change.sum(axis=0)
            else:
                ids, places = ranked(received[weight.ids], weight.shape[0])
                rows[weight.name] = ids, sum_rows(places, change, len(ids))
        self.delta = Delta(dense, rows, float(received[self.plan.examples].sum()))

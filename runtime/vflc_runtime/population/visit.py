"""A visit: many users rebuild their local weights and train their copies of the global ones, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.bundle.population_plan import Plan, Weight
from vflc_runtime.bundle.population_settings import Settings
from vflc_runtime.engines.population_rows import Update
from vflc_runtime.engines.population_runners import runners
from vflc_runtime.population import random
from vflc_runtime.population.copies import fill, take, touched
from vflc_runtime.population.delta import Delta, delta_of
from vflc_runtime.population.measured import Measured, Scored
from vflc_runtime.population.steps import State
from vflc_runtime.population.users import Group, Rows, Users, group_of

Array = NDArray[Any]
EVALUATION = -1
"""Stands for the number of a round where users are measured: their local weights start from it."""


@dataclass
class Visited:
    """What a group leaves behind. Users who count for nothing are `small` or `broken`.

    Attributes:
        delta: what the hub gets; None where nothing was trained.
        kept: local weights by name [user, …], in the order of `users`, where they are kept.
        users: positions in `Users`, in the order of the arrays.
        small: users without examples in one of the halves.
        broken: users whose change had a number that is not finite.
        rows: rows of each table that were asked for.
    """

    scored: Scored
    delta: Delta | None
    kept: dict[str, Array]
    users: Rows
    small: int
    broken: int
    rows: dict[str, int]


class Visitor:
    """Runs visits of a bundle's users; holds the graphs, and nothing of any user.

    Args:
        plan: of the population, with the graphs of the engine to run on.
        settings: of the run, where they differ from the spec's.
        training: whether global weights will be trained.
    """

    def __init__(self, plan: Plan, settings: Settings, training: bool = True) -> None:
        self.plan, self.settings = plan, settings
        load = runners(plan)
        self.rebuilding = load(plan.rebuild.graph) if plan.rebuild.graph else None
        self.rebuild_update = Update(plan.rebuild.optimizer, plan.precision, load)
        if training:
            assert plan.client.graph is not None, "the compiler refuses a spec that trains nothing"
            self.training = load(plan.client.graph)
            self.client_update = Update(plan.client.optimizer, plan.precision, load)
        self.evaluating = load(plan.evaluate)
        self.predicting = load(plan.predict)

    def train(
        self,
        users: Users,
        chosen: Rows,
        weights: Mapping[str, Array],
        number: int,
        kept: Mapping[str, Array] | None = None,
    ) -> Visited:
        """Visits users in round `number`: rebuilds, trains, and sums up what changed.

        Args:
            users: all users' examples.
            chosen: positions of those visited.
            weights: the hub's, by name.
            number: of the round, from 0.
            kept: local weights [user, …] that the visit starts from, in the order of `chosen`.
        """
        plan, settings = self.plan, self.settings
        group = group_of(users, chosen, settings)
        before = _in_order(kept, chosen, group)
        state = self._rebuilt(users, group, weights, number, before)
        first = {name: value.copy() for name, value in state.trained(plan.client).items()}
        half = state.group.update
        steps = half.steps(settings.client_epochs, settings.client_steps)
        measured = state.run(plan.client, self.training, self.client_update, half, steps)
        delta, finite = delta_of(state, first)
        visited = self._visited(state, measured, delta, finite)
        visited.kept = _finite_or_before(state.locals(), before, finite)
        return visited

    def evaluate(self, users: Users, chosen: Rows, weights: Mapping[str, Array]) -> Visited:
        """Rebuilds, and measures on the other half."""
        state = self._rebuilt(users, group_of(users, chosen, self.settings), weights, EVALUATION)
        measured = Measured()
        for rows in state.group.update.passes():
            measured.see(state.made(self.evaluating, rows), rows)
        return self._visited(state, measured)

    def predict(
        self, users: Users, chosen: Rows, weights: Mapping[str, Array], given: NDArray[np.bool_]
    ) -> tuple[Rows, dict[str, Array]]:
        """Rebuilds from the rows whose label is given and predicts the others.

        Returns:
            The rows of the data, and predictions of them by name.
        """
        group = group_of(users, chosen, self.settings, given)
        state = self._rebuilt(users, group, weights, EVALUATION)
        found: list[Rows] = []
        made: dict[str, list[Array]] = {p.name: [] for p in self.plan.predictions}
        for rows in group.update.passes():
            values = state.made(self.predicting, rows)
            real = rows >= 0
            found.append(group.rows[rows[real]])
            for prediction in self.plan.predictions:
                made[prediction.name].append(values[prediction.value][real])
        if not found:
            return np.empty(0, np.int64), {}
        return np.concatenate(found), {name: np.concatenate(parts) for name, parts in made.items()}

    def _visited(
        self,
        state: State,
        measured: Measured,
        delta: Delta | None = None,
        finite: NDArray[np.bool_] | bool = True,
    ) -> Visited:
        return Visited(
            measured.scored(self.plan, state.features, state.whole & finite),
            delta,
            {},
            state.group.users,
            int(np.count_nonzero(~state.whole)),
            int(np.count_nonzero(state.whole & ~np.asarray(finite))),
            state.asked(),
        )

    def _rebuilt(
        self,
        users: Users,
        group: Group,
        weights: Mapping[str, Array],
        number: int,
        kept: Mapping[str, Array] | None = None,
    ) -> State:
        """The group after its rebuild phase: local weights are made, the global ones are the hub's."""
        plan, settings = self.plan, self.settings
        features = {name: array[group.rows] for name, array in users.inputs.items() if name in plan.inputs}
        state = State(plan, settings, group, features)
        for weight in plan.weights.values():
            if not weight.local:
                _share(state, weight, weights[weight.name])
            elif kept:
                _give(state, weight, kept[weight.name])
            else:
                streams = random.stream(group.words, settings.seed, "local", weight.name, number)
                drawn = random.initial_values(streams, weight.shape, weight.init, plan.precision)
                _give(state, weight, drawn)
        if self.rebuilding is not None:
            half = group.rebuild
            steps = half.steps(settings.rebuild_epochs, settings.rebuild_steps)
            state.run(plan.rebuild, self.rebuilding, self.rebuild_update, half, steps)
        return state


def _in_order(kept: Mapping[str, Array] | None, chosen: Rows, group: Group) -> dict[str, Array]:
    """Kept local weights in the order of the group's users instead of `chosen`."""
    if not kept:
        return {}
    back = np.argsort(chosen)[np.searchsorted(np.sort(chosen), group.users)]
    return {name: array[back] for name, array in kept.items()}


def _finite_or_before(
    after: Mapping[str, Array], before: Mapping[str, Array], finite: NDArray[np.bool_]
) -> dict[str, Array]:
    """Local weights to keep: those from before the visit where it came to numbers that are not finite."""
    for name in before:
        finite = finite & np.isfinite(after[name].reshape(len(finite), -1)).all(axis=1)
    return {
        name: np.where(finite.reshape(-1, *(1 for _ in value.shape[1:])), after[name], value)
        for name, value in before.items()
    }


def _share(state: State, weight: Weight, value: Array) -> None:
    """Gives every user a copy of a global weight, of a table the rows that it reads."""
    if weight.table:
        copies = touched(state.plan, weight, state.group, state.features)
        take(copies, value)
        state.copies[weight.name], state.values[weight.name] = copies, copies.values
    else:
        shape = (len(state.group.users), *weight.shape)
        state.values[weight.name] = np.broadcast_to(value, shape).copy()


def _give(state: State, weight: Weight, values: Array) -> None:
    """Gives every user its own local weight of `values` [user, …]."""
    if weight.table:
        copies = touched(state.plan, weight, state.group, state.features)
        fill(copies, values)
        state.copies[weight.name], state.values[weight.name] = copies, copies.values
    else:
        state.values[weight.name] = np.array(values)

"""The users' place: many of them rebuild local weights and train their copies of global ones, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array, Indices

from vflc_runtime.bundle.population_plan import PopulationWeight, UsersPlan
from vflc_runtime.bundle.population_settings import ReconstructSettings
from vflc_runtime.engines.population_rows import RowsOptimizer
from vflc_runtime.engines.population_runners import OnnxRunner, Runners
from vflc_runtime.engines.population_steps import joined
from vflc_runtime.population import random
from vflc_runtime.population.copies import fill, touched
from vflc_runtime.population.delta import Changes, Delta, changes_of
from vflc_runtime.population.measured import Measured, UserMeasurements
from vflc_runtime.population.place import PopulationPlace, refused
from vflc_runtime.population.steps import GroupState
from vflc_runtime.population.users import UserGroup, Users, group_of


@dataclass
class ClientUpdate:
    """What a group leaves behind. Users who count for nothing are `small` or `broken`.

    Attributes:
        delta: what the hub makes of it; None where nothing was trained.
        kept: local weights by name [user, …], in the order of `users`, where they are kept.
        users: positions in `Users`, in the order of the arrays.
        small: users without examples in one of the halves.
        broken: users whose change had a number that is not finite.
        sent: bytes that crossed, by edge id.
    """

    scored: UserMeasurements
    delta: Delta | None
    kept: dict[str, Array]
    users: Indices
    small: int
    broken: int
    sent: dict[str, int] = field(default_factory=dict)


class Clients(PopulationPlace):
    """Does a user's program for a group of users at once; holds graphs, and of users the last group's.

    `meet` says whom a batch of the executor is of. Its rows are users; what crosses has the users'
    values one after another.

    Args:
        plan: of the users.
        settings: of the run, where they differ from the spec's.
        load: makes runners of graphs.
        training: whether global weights will be trained.
        threads: that share out the users of a group.
    """

    def __init__(
        self,
        plan: UsersPlan,
        settings: ReconstructSettings,
        load: Runners,
        training: bool = True,
        threads: int = 1,
    ) -> None:
        super().__init__(plan)
        self.plan, self.settings = plan, settings
        graphs = {"rebuild": plan.rebuild.graph, "evaluate": plan.evaluate, "predict": plan.predict}
        if training:
            graphs["client"] = plan.client.graph
        self._runners = {name: load(graph) for name, graph in graphs.items() if graph is not None}
        self._updates = {"rebuild": RowsOptimizer(plan.rebuild.optimizer, plan.precision, load)}
        if training:
            self._updates["client"] = RowsOptimizer(plan.client.optimizer, plan.precision, load)
        self._joined = {
            name: joined(phase, plan.weights, plan.precision, threads)
            for name, phase in (("rebuild", plan.rebuild), ("client", plan.client))
            if isinstance(self._runners.get(name), OnnxRunner)
        }
        self._asked = {weight.ids: weight.name for weight in plan.globals if weight.ids}
        self._back = {weight.delta: weight.name for weight in plan.globals}

    def meet(
        self,
        users: Users,
        chosen: Indices,
        kept: Mapping[str, Array] | None = None,
        given: NDArray[np.bool_] | None = None,
    ) -> dict[str, Array]:
        """Groups the users that come next; the columns of their rows, by input id.

        Args:
            users: all users' examples.
            chosen: positions of those who take part.
            kept: local weights [user, …] that they start from, in the order of `chosen`.
            given: for each row of the data, whether its label is known: see `group_of`.
        """
        self._group = group = group_of(users, chosen, self.settings, given)
        self._before = _in_order(kept, chosen, group)
        return {
            name: users.inputs[name].take(group.rows, axis=0)
            for name in self.plan.inputs
            if name in users.inputs
        }

    # --- what the executor asks -------------------------------------------------------------------

    def begin(self, program: str, inputs: Mapping[str, Array], rows: int, step: int) -> None:
        """Gives every user its own local weights. They start from the round before `step`: -1 measures.

        `inputs` are the encoded columns of the group's rows, [example, …] by id.
        """
        plan, settings, group = self.plan, self.settings, self._group
        self._state = state = GroupState(plan, settings, group, dict(inputs))
        self._first: dict[str, Array] = {}
        self._measured = Measured()
        self._changes: Changes | None = None
        for weight in plan.weights.values():
            if weight.table:
                state.copies[weight.name] = copies = touched(plan, weight, group, state.features)
                state.values[weight.name] = copies.values
            if weight.local and self._before:
                self._give(weight, self._before[weight.name])
            elif weight.local:
                streams = random.stream(group.words, settings.seed, "local", weight.name, step - 1)
                self._give(weight, random.initial_values(streams, weight.shape, weight.init, plan.precision))

    def put(self, value: str, tensor: Array) -> None:
        """Takes a global weight for each user [user, …], of a table the rows [rows, k] asked for."""
        copies = self._state.copies.get(value)
        if copies is not None and len(tensor) != len(copies.ids):
            raise refused(
                self.plan.place, f"{len(tensor)} rows of {value!r}, where {len(copies.ids)} are due"
            )
        self._first[value] = tensor
        self._give(self.plan.weights[value], tensor)

    def run(self, graph: str) -> None:
        """A phase: all its steps, or all batches of the half that is measured or predicted."""
        state, plan, settings = self._state, self.plan, self.settings
        runner = self._runners[graph]
        if graph in ("evaluate", "predict"):
            for rows in state.group.update.passes():
                self._measured.see(state.made(runner, rows), rows)
        elif graph == "rebuild":
            half = state.group.rebuild
            steps = half.steps(settings.rebuild_epochs, settings.rebuild_steps)
            state.run(plan.rebuild, runner, self._updates[graph], half, steps, self._joined.get(graph))
        else:
            half = state.group.update
            steps = half.steps(settings.client_epochs, settings.client_steps)
            update, in_one = self._updates[graph], self._joined.get(graph)
            self._measured = state.run(plan.client, runner, update, half, steps, in_one)
            trained = [gradient.weight for gradient in plan.client.gradients]
            order = dict.fromkeys([*(name for name in trained if name in self._first), *self._first])
            self._changes = changes_of(state, {name: self._first[name] for name in order})

    def get(self, value: str) -> Array:
        """The ids of rows that are asked for, int32 [rows], and what training changed, see `Changes`."""
        if value in self._asked:
            ids: Array = self._state.copies[self._asked[value]].ids.astype(np.int32)
            return ids
        changes = self.changes
        if value == self.plan.examples:
            return changes.weights
        return changes.values[self._back[value]]

    # --- what came of it --------------------------------------------------------------------------

    @property
    def changes(self) -> Changes:
        """What training changed; there is something after `run("client")` alone."""
        assert self._changes is not None, "the bundle's checks let nothing be sent before it is there"
        return self._changes

    def result(self) -> ClientUpdate:
        """What the group leaves behind, without what the hub and the executors know of it."""
        state, trained = self._state, self._changes
        finite = trained.finite if trained is not None else np.ones(len(state.whole), np.bool_)
        return ClientUpdate(
            self._measured.scored(self.plan, state.features, state.whole & finite),
            None,
            {} if trained is None else _finite_or_before(state.locals(), self._before, finite),
            state.group.users,
            int(np.count_nonzero(~state.whole)),
            int(np.count_nonzero(state.whole & ~finite)),
        )

    def predicted(self) -> tuple[Indices, dict[str, Array]]:
        """The rows of the data that were predicted [n], and their predictions by name [n, …]."""
        found: list[Indices] = []
        made: dict[str, list[Array]] = {p.name: [] for p in self.plan.predictions}
        for values, rows in self._measured.seen():
            real = rows >= 0
            found.append(self._group.rows[rows[real]])
            for prediction in self.plan.predictions:
                made[prediction.name].append(values[prediction.value][real])
        if not found:
            return np.empty(0, np.int64), {}
        return np.concatenate(found), {name: np.concatenate(parts) for name, parts in made.items()}

    def _give(self, weight: PopulationWeight, values: Array) -> None:
        """Gives every user its part of `values` [user, …], of a global table [rows, k]."""
        if weight.table:
            fill(self._state.copies[weight.name], values)
        else:
            self._state.values[weight.name] = np.array(values, order="C")


def _in_order(kept: Mapping[str, Array] | None, chosen: Indices, group: UserGroup) -> dict[str, Array]:
    """Kept local weights in the order of the group's users instead of `chosen`."""
    if not kept:
        return {}
    back = np.argsort(chosen)[np.searchsorted(np.sort(chosen), group.users)]
    return {name: array[back] for name, array in kept.items()}


def _finite_or_before(
    after: Mapping[str, Array], before: Mapping[str, Array], finite: NDArray[np.bool_]
) -> dict[str, Array]:
    """Local weights to keep: those from before where it came to numbers that are not finite."""
    for name in before:
        finite = finite & np.isfinite(after[name].reshape(len(finite), -1)).all(axis=1)
    return {
        name: np.where(finite.reshape(-1, *(1 for _ in value.shape[1:])), after[name], value)
        for name, value in before.items()
    }

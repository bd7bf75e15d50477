"""Steps of a phase: all users of a group make one at once, on the front of every array.

Those with most examples come first, so that the users who still have batches are always the
first ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array, Indices
from vflc_common.encoder import IDS

from vflc_runtime.bundle.population_plan import Gradient, LocalPhase, UsersPlan
from vflc_runtime.bundle.population_settings import ReconstructSettings
from vflc_runtime.engines.population_rows import RowsOptimizer, sum_rows
from vflc_runtime.engines.population_runners import Runner
from vflc_runtime.engines.population_steps import JoinedSteps
from vflc_runtime.population.copies import Copies, distinct, ranked
from vflc_runtime.population.measured import Measured
from vflc_runtime.population.users import Half, UserGroup


class GroupState:
    """The arrays of a group during its client update.

    Attributes:
        features: encoded columns of the group's rows, by input id.
        copies: of tables, where their rows lie.
        values: weights by name: [user, …], of a table the copies' rows.
        whole: which users have examples in both halves, and so count.
    """

    def __init__(
        self, plan: UsersPlan, settings: ReconstructSettings, group: UserGroup, features: dict[str, Array]
    ) -> None:
        self.plan, self.settings, self.group, self.features = plan, settings, group, features
        self.copies: dict[str, Copies] = {}
        self.values: dict[str, Array] = {}
        self.whole = (group.rebuild.examples > 0) & (group.update.examples > 0)

    def rows_of(self, name: str) -> Array:
        """A weight as it crosses: [user, …], of a table the copies of its rows [rows, k]."""
        return self.values[name][1:] if name in self.copies else self.values[name]

    def locals(self) -> dict[str, Array]:
        """Local weights [user, …]."""
        users = len(self.group.users)
        return {w.name: self.rows_of(w.name).reshape(users, *w.shape) for w in self.plan.locals}

    # --- a step -----------------------------------------------------------------------------------

    def run(
        self,
        phase: LocalPhase,
        runner: Runner,
        update: RowsOptimizer,
        half: Half,
        steps: Indices,
        joined: JoinedSteps | None = None,
    ) -> Measured:
        """All steps of a phase, `steps` of each user; measured are the values before each step.

        `joined` makes them at once, where that can be.
        """
        slots = {g.weight: update.new_slots(self.values[g.weight].shape) for g in phase.gradients}
        first, measured = self.inputs(half.rows, runner), Measured()
        done = None if joined is None else joined(first, self.values, slots, steps, half.batches)
        if done is not None:
            numbers, who = np.nonzero(np.arange(steps.max(initial=0))[:, None] < steps)
            measured.see(done, half.rows[numbers % half.batches[who], who], who)
            return measured
        for number in range(int(steps.max(initial=0))):
            users = int(np.count_nonzero(steps > number))
            if number < half.batches[users - 1]:  # in the first pass: what was taken for all at once
                rows = half.rows[number, :users]
                feeds = {key: array[number, :users] for key, array in first.items()}
            else:
                rows = half.step(number, users)
                feeds = self.inputs(rows, runner)
            feeds |= self.weights(users, runner)
            made = runner(feeds)
            measured.see(made, rows)
            for gradient in phase.gradients:
                self._update(gradient, update, made, feeds, users, slots[gradient.weight], number + 1)
        return measured

    def made(self, runner: Runner, rows: Indices) -> dict[str, Array]:
        """What a graph makes of the batches `rows` [user, example]."""
        return runner(self.inputs(rows, runner) | self.weights(len(rows), runner))

    def inputs(self, rows: Indices, runner: Runner) -> dict[str, Array]:
        """The data of batches: `rows` [.., user, example] as inputs [.., user, example, ..]."""
        plan, wanted = self.plan, runner.graph.inputs
        mask = rows >= 0
        real = np.where(mask, rows, rows[..., :1])
        feeds: dict[str, Array] = {}
        if plan.mask in wanted:
            feeds[str(plan.mask)] = mask.astype(plan.precision)
        for name, item in plan.inputs.items():
            if name in wanted:
                found = self.features[name].take(real, axis=0)
                feeds[name] = found.astype(np.int32 if item.kind in IDS else plan.precision, copy=False)
        for ids in plan.ids:
            if ids.id in wanted:
                feeds[ids.id] = self._ids(ids.table, ids.features, ids.distinct, real, mask)
        return feeds

    def weights(self, users: int, runner: Runner) -> dict[str, Array]:
        """The weights of the first users; of tables the rows of all."""
        return {
            name: value if name in self.copies else value[:users]
            for name, value in self.values.items()
            if name in runner.graph.inputs
        }

    def _ids(
        self, table: str, features: tuple[str, ...], once: bool, real: Indices, mask: NDArray[np.bool_]
    ) -> Array:
        found = []
        for name in features:
            slots = self.copies[table].slots[name]
            read = slots.take(real, axis=0)
            there = mask.reshape(*mask.shape, *(1 for _ in read.shape[mask.ndim :]))
            found.append(np.where(there, read, np.int32(0 if slots.ndim == 1 else -1)))
        if not once:
            return found[0]
        front = mask.shape[:-1]
        flat = [part.reshape(*front, prod(part.shape[len(front) :])) for part in found]
        return distinct(np.concatenate(flat, axis=-1))

    # --- an update --------------------------------------------------------------------------------

    def _update(
        self,
        gradient: Gradient,
        update: RowsOptimizer,
        made: Mapping[str, Array],
        feeds: Mapping[str, Array],
        users: int,
        slots: dict[str, Array],
        step: int,
    ) -> None:
        value = self.values[gradient.weight]
        copies = self.copies.get(gradient.weight)
        if copies is None:
            front = {name: slot[:users] for name, slot in slots.items()}
            update.dense(value[:users], made[str(gradient.dense)], front, step)
            return
        end = int(copies.ends[users - 1])
        ids, rows = self._rows(gradient, made, feeds, end, value.shape[1])
        if update.optimizer.sparse:
            ids, places = ranked(ids, len(value))
            rows = sum_rows(places, rows, len(ids))
            update.rows(value, ids, rows, slots, step)
        else:
            whole = sum_rows(ids, rows, end)
            update.dense(value[:end], whole, {name: slot[:end] for name, slot in slots.items()}, step)

    def _rows(
        self,
        gradient: Gradient,
        made: Mapping[str, Array],
        feeds: Mapping[str, Array],
        end: int,
        width: int,
    ) -> tuple[Array, Array]:
        """The rows of the copies that a gradient touches, and their gradients; both may repeat."""
        if gradient.dense is not None and not gradient.rows:
            return np.arange(1, end), made[gradient.dense][1:end]
        ids = _joined([feeds[name].reshape(-1) for name, _ in gradient.rows])
        if gradient.dense is not None:
            ids = np.unique(ids[ids > 0])
            return ids, made[gradient.dense].take(ids, axis=0)
        rows = _joined([made[name].reshape(-1, width) for _, name in gradient.rows])
        real = ids > 0  # row 0 and -1 are nobody's
        return (ids, rows) if real.all() else (ids[real], rows[real])


def _joined(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)

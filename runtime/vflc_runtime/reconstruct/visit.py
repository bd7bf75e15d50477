"""A visit: many users rebuild their local weights and train their copies of the global ones, as arrays.

All users of a group make a step at once. Those with most examples come first, so that the users
who still have batches are always the first ones, and a step runs on the front of every array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.reconstruct import random
from vflc_runtime.reconstruct.copies import Copies, distinct, draw, take, touched
from vflc_runtime.reconstruct.optimizer import Runner, Update, sum_rows
from vflc_runtime.reconstruct.plan import Gradient, Phase, Plan, Settings
from vflc_runtime.reconstruct.users import Group, Half, Rows, Users, group_of

Array = NDArray[Any]


@dataclass
class Measured:
    """What users measured: sums that a mean is made of, and predictions beside labels."""

    examples: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    pairs: dict[str, list[tuple[Array, Array]]] = field(default_factory=dict)

    def add(self, other: Measured) -> None:
        self.examples += other.examples
        for name, value in other.losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + value
        for name, pairs in other.pairs.items():
            self.pairs.setdefault(name, []).extend(pairs)


@dataclass
class Delta:
    """The weighted sum of the changes of a group's users: initial minus final.

    Attributes:
        dense: by name of the weight.
        rows: of a table (ids, sums), ids ascending.
        weight: sum of the users' weights.
    """

    dense: dict[str, Array]
    rows: dict[str, tuple[Rows, Array]]
    weight: float


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

    measured: Measured
    delta: Delta | None
    kept: dict[str, Array]
    users: Rows
    small: int
    broken: int
    rows: dict[str, int]


class Visitor:
    """Runs visits of a bundle's users; holds the sessions, and nothing of any user.

    Args:
        plan: of the population.
        settings: of the run, where they differ from the spec's.
        training: whether global weights will be trained.
    """

    def __init__(self, plan: Plan, settings: Settings, training: bool = True) -> None:
        self.plan, self.settings = plan, settings
        precision = plan.precision
        self.rebuilding = Runner(plan.rebuild.graph, precision) if plan.rebuild.graph else None
        self.rebuild_update = Update(plan.rebuild.optimizer, precision)
        if training:
            assert plan.client.graph is not None
            self.training = Runner(plan.client.graph, precision)
            self.client_update = Update(plan.client.optimizer, precision)
        self.evaluating = Runner(plan.evaluate, precision)
        self.predicting = Runner(plan.predict, precision)

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
        state = self._begin(users, group_of(users, chosen, self.settings), weights, number, chosen, kept)
        measured = state.measured
        state.run(self.plan.rebuild, self.rebuilding, self.rebuild_update, state.group.rebuild, "rebuild")
        first = {name: value.copy() for name, value in state.trained(self.plan.client).items()}
        state.run(self.plan.client, self.training, self.client_update, state.group.update, "client", measured)
        delta, broken = _delta(state, first)
        small = int(np.count_nonzero(~state.whole))
        keep = state.locals() if self.settings.keep_local else {}
        return Visited(measured, delta, keep, state.group.users, small, broken, state.asked())

    def evaluate(self, users: Users, chosen: Rows, weights: Mapping[str, Array]) -> Visited:
        """Rebuilds, and measures on the other half."""
        state = self._begin(users, group_of(users, chosen, self.settings), weights, -1, chosen)
        state.run(self.plan.rebuild, self.rebuilding, self.rebuild_update, state.group.rebuild, "rebuild")
        state.measure(self.evaluating, state.group.update)
        small = int(np.count_nonzero(~state.whole))
        return Visited(state.measured, None, {}, state.group.users, small, 0, state.asked())

    def predict(
        self, users: Users, chosen: Rows, weights: Mapping[str, Array], given: NDArray[np.bool_]
    ) -> tuple[Rows, dict[str, Array]]:
        """Rebuilds from the rows whose label is given and predicts the others.

        Returns:
            The rows of the data, and predictions of them by name.
        """
        state = self._begin(users, group_of(users, chosen, self.settings, given), weights, -1, chosen)
        state.run(self.plan.rebuild, self.rebuilding, self.rebuild_update, state.group.rebuild, "rebuild")
        return state.predict(self.predicting, state.group.update)

    def _begin(
        self,
        users: Users,
        group: Group,
        weights: Mapping[str, Array],
        number: int,
        chosen: Rows,
        kept: Mapping[str, Array] | None = None,
    ) -> _State:
        plan = self.plan
        features = {name: array[group.rows] for name, array in users.inputs.items() if name in plan.inputs}
        state = _State(plan, self.settings, group, features)
        words = users.words(group.users)
        back = np.empty(0, np.int64)
        if kept:
            back = np.argsort(chosen)[np.searchsorted(np.sort(chosen), group.users)]
        for weight in plan.weights.values():
            streams = random.stream(words, self.settings.seed, "local", weight.name, number)
            if weight.table:
                copies = state.copies[weight.name] = touched(plan, weight, group, features)
                if not weight.local:
                    take(copies, weights[weight.name])
                else:
                    draw(copies, weight, streams, plan.precision)
                    if kept:
                        copies.values[1:] = kept[weight.name][back].reshape(copies.values[1:].shape)
                state.values[weight.name] = copies.values
            elif not weight.local:
                shape = (len(group.users), *weight.shape)
                state.values[weight.name] = np.broadcast_to(weights[weight.name], shape).copy()
            elif kept:
                state.values[weight.name] = np.ascontiguousarray(kept[weight.name][back])
            else:
                state.values[weight.name] = random.initial_values(
                    streams, weight.shape, weight.init, plan.precision
                )
        return state


class _State:
    """The arrays of a group during its visit."""

    def __init__(self, plan: Plan, settings: Settings, group: Group, features: dict[str, Array]) -> None:
        self.plan, self.settings, self.group, self.features = plan, settings, group, features
        self.copies: dict[str, Copies] = {}
        self.values: dict[str, Array] = {}
        self.measured = Measured()
        self.whole = (group.rebuild.examples > 0) & (group.update.examples > 0)

    def trained(self, phase: Phase) -> dict[str, Array]:
        """The global weights that a phase changes."""
        names = [g.weight for g in phase.gradients if not self.plan.weights[g.weight].local]
        return {name: self.values[name] for name in names}

    def locals(self) -> dict[str, Array]:
        """Local weights [user, …]."""
        users = len(self.group.users)
        return {
            w.name: self.values[w.name][1:].reshape(users, *w.shape) if w.table else self.values[w.name]
            for w in self.plan.locals
        }

    def asked(self) -> dict[str, int]:
        return {w.name: len(self.copies[w.name].ids) for w in self.plan.globals if w.table}

    # --- steps ----------------------------------------------------------------------------------

    def run(
        self,
        phase: Phase,
        graph: Runner | None,
        update: Update,
        half: Half,
        name: str,
        measured: Measured | None = None,
    ) -> None:
        """All steps of a phase; the values before each step are measured where asked for."""
        if graph is None:
            return
        epochs, most = (
            (self.settings.rebuild_epochs, self.settings.rebuild_steps)
            if name == "rebuild"
            else (self.settings.client_epochs, self.settings.client_steps)
        )
        steps = half.steps(epochs, most)
        slots = {
            g.weight: _new_slots(update, self.values[g.weight], self.plan.weights[g.weight].table)
            for g in phase.gradients
        }
        first = self._inputs(half.rows, graph)
        seen: list[tuple[Mapping[str, Array], Rows]] = []
        for number in range(int(steps.max(initial=0))):
            users = int(np.count_nonzero(steps > number))
            if number < half.batches[users - 1]:  # in the first pass: what was taken for all at once
                rows = half.rows[number, :users]
                feeds = {key: array[number, :users] for key, array in first.items()}
            else:
                rows = half.step(number, users)
                feeds = self._inputs(rows, graph)
            feeds |= self._weights(users, graph)
            made = graph(feeds)
            if measured is not None:
                seen.append((made, rows))
            for gradient in phase.gradients:
                self._update(gradient, update, made, feeds, users, slots[gradient.weight], number + 1)
        self._measure(seen)

    def _inputs(self, rows: Rows, graph: Runner) -> dict[str, Array]:
        """The data of batches: `rows` [.., user, example] as inputs [.., user, example, ..]."""
        plan, wanted = self.plan, graph.graph.inputs
        mask = rows >= 0
        real = np.where(mask, rows, rows[..., :1])
        feeds: dict[str, Array] = {}
        if plan.mask in wanted:
            feeds[str(plan.mask)] = mask.astype(plan.precision)
        for name, item in plan.inputs.items():
            if name in wanted:
                found = self.features[name][real]
                feeds[name] = found.astype(np.int32 if item.kind != "number" else plan.precision, copy=False)
        for ids in plan.ids:
            if ids.id in wanted:
                feeds[ids.id] = self._ids(ids.table, ids.features, ids.distinct, real, mask)
        return feeds

    def _weights(self, users: int, graph: Runner) -> dict[str, Array]:
        """The weights of the first users; of tables the rows of all."""
        return {
            name: value if name in self.copies else value[:users]
            for name, value in self.values.items()
            if name in graph.graph.inputs
        }

    def _ids(
        self, table: str, features: tuple[str, ...], once: bool, real: Rows, mask: NDArray[np.bool_]
    ) -> Array:
        found = []
        for name in features:
            slots = self.copies[table].slots[name]
            read = slots[real]
            there = mask.reshape(*mask.shape, *(1 for _ in read.shape[mask.ndim :]))
            found.append(np.where(there, read, np.int32(0 if slots.ndim == 1 else -1)))
        if not once:
            return found[0]
        flat = [part.reshape(*mask.shape[:-1], -1) for part in found]
        return distinct(np.concatenate(flat, axis=-1))

    def _update(
        self,
        gradient: Gradient,
        update: Update,
        made: Mapping[str, Array],
        feeds: Mapping[str, Array],
        users: int,
        slots: dict[str, Array],
        step: int,
    ) -> None:
        value = self.values[gradient.weight]
        if gradient.dense is not None:
            front = {name: slot[:users] for name, slot in slots.items()}
            update.dense(value[:users], made[gradient.dense], front, step)
            return
        width = value.shape[1]
        ids = _joined([feeds[name].reshape(-1) for name, _ in gradient.rows])
        rows = _joined([made[name].reshape(-1, width) for _, name in gradient.rows])
        if update.optimizer.sparse:
            real = ids > 0  # row 0 and -1 are nobody's
            if not real.all():
                ids, rows = ids[real], rows[real]
            if len(gradient.rows) > 1 or not self.copies[gradient.weight].once:
                ids, positions = np.unique(ids, return_inverse=True)
                rows = sum_rows(positions, rows, len(ids))
            update.rows(value, ids, rows, slots, step)
        else:
            end = int(self.copies[gradient.weight].ends[users - 1])
            whole = sum_rows(np.maximum(ids, 0), rows, end)
            whole[0] = 0
            update.dense(value[:end], whole, {name: slot[:end] for name, slot in slots.items()}, step)

    # --- what is measured --------------------------------------------------------------------------

    def _measure(self, seen: Sequence[tuple[Mapping[str, Array], Rows]]) -> None:
        """Losses weighted by their examples, and predictions beside labels, of users that count."""
        if not seen:
            return
        rows = np.concatenate([rows for _, rows in seen])
        whole = np.concatenate([self.whole[: len(rows)] for _, rows in seen])
        real = (rows >= 0) & whole[:, None]
        counts = np.count_nonzero(real, axis=1)

        def every(value: str) -> Array:
            return np.concatenate([made[value] for made, _ in seen])

        measured = self.measured
        measured.examples += int(counts.sum())
        for name, value, _ in self.plan.losses:
            loss = np.where(counts > 0, every(value).astype(np.float64), 0.0)
            measured.losses[name] = measured.losses.get(name, 0.0) + float(loss @ counts)
        for prediction in self.plan.predictions:
            metric, label = prediction.metric, prediction.label
            if metric is not None and metric.metrics and label in self.features:
                pair = every(prediction.value)[real], self.features[label][rows[real]]
                measured.pairs.setdefault(prediction.name, []).append(pair)

    def measure(self, graph: Runner, half: Half) -> None:
        """Measures every batch of a half."""
        self._measure([(self._made(graph, rows), rows) for rows in half.passes()])

    def _made(self, graph: Runner, rows: Rows) -> dict[str, Array]:
        return graph(self._inputs(rows, graph) | self._weights(len(rows), graph))

    def predict(self, graph: Runner, half: Half) -> tuple[Rows, dict[str, Array]]:
        """Predictions for every example of a half."""
        found: list[Rows] = []
        made: dict[str, list[Array]] = {p.name: [] for p in self.plan.predictions}
        for rows in half.passes():
            values = self._made(graph, rows)
            real = rows >= 0
            found.append(self.group.rows[rows[real]])
            for prediction in self.plan.predictions:
                made[prediction.name].append(values[prediction.value][real])
        if not found:
            return np.empty(0, np.int64), {}
        return np.concatenate(found), {name: np.concatenate(parts) for name, parts in made.items()}


def _joined(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _new_slots(update: Update, value: Array, table: bool) -> dict[str, Array]:
    sparse = table and update.optimizer.sparse
    return update.new_row_slots(value.shape) if sparse else update.new_slots(value.shape)


def _delta(state: _State, first: Mapping[str, Array]) -> tuple[Delta, int]:
    """The weighted sum of changes, and how many users' were not finite."""
    plan, settings, group = state.plan, state.settings, state.group
    users = len(group.users)
    changes = {name: before - state.values[name] for name, before in first.items()}
    finite = np.ones(users, bool)
    squares = np.zeros(users)
    for name, change in changes.items():
        flat = change[1:] if plan.weights[name].table else change.reshape(users, -1)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is dropped below
            each = np.square(flat.astype(np.float64)).sum(axis=1)
        if plan.weights[name].table:
            each = np.bincount(state.copies[name].owner, each, minlength=users)
        squares += each
    finite = np.isfinite(squares)
    weight = np.where(
        state.whole & finite, group.update.examples if settings.weighting == "examples" else 1, 0
    )
    scale = weight.astype(np.float64)
    if settings.clip_norm is not None:
        norms = np.sqrt(np.where(finite, squares, 0.0))
        scale *= np.minimum(1.0, settings.clip_norm / np.maximum(norms, 1e-300))
    dense, rows = {}, {}
    for name, change in changes.items():
        if plan.weights[name].table:
            copies = state.copies[name]
            factor = scale[copies.owner, None].astype(plan.precision)
            weighted = _times(change[1:], factor)
            ids, positions = np.unique(copies.ids, return_inverse=True)
            rows[name] = ids, sum_rows(positions, weighted, len(ids))
        else:
            factor = scale.reshape(-1, *(1 for _ in change.shape[1:])).astype(plan.precision)
            dense[name] = _times(change, factor).sum(axis=0)
    return Delta(dense, rows, float(weight.sum())), int(np.count_nonzero(~finite & state.whole))


def _times(change: Array, factor: Array) -> Array:
    """The product, and 0 where the factor is, whatever the change."""
    return np.where(factor > 0, change, 0) * factor

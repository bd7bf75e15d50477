"""The hub: the global weights, the mean of what users changed, and the server's optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from vflc_common.arrays import Array, Indices

from vflc_runtime.bundle.population_plan import HubPlan
from vflc_runtime.bundle.population_settings import ReconstructSettings
from vflc_runtime.engines.initial import initial_value
from vflc_runtime.engines.population_rows import RowsOptimizer, sum_rows
from vflc_runtime.engines.population_runners import Runners
from vflc_runtime.finite import NotFinite
from vflc_runtime.population.copies import ranked
from vflc_runtime.population.delta import Delta
from vflc_runtime.population.random import secret_noise


class Hub:
    """Global weights and the slots of the server's optimizer.

    Args:
        plan: of the hub.
        settings: of the run.
        load: makes runners of graphs.
        secret: what noise is drawn from, besides the seed that everybody knows.
    """

    def __init__(self, plan: HubPlan, settings: ReconstructSettings, load: Runners, secret: str = "") -> None:
        self.plan, self.settings, self._secret = plan, settings, secret
        self.update = RowsOptimizer(plan.server, plan.precision, load)
        self.weights: dict[str, Array] = {}
        self._slots: dict[str, dict[str, Array]] = {}
        for weight in plan.weights.values():
            first = initial_value(settings.seed, weight.name, weight.shape, weight.init, plan.precision)
            self.weights[weight.name] = first
            self._slots[weight.name] = self.update.new_slots(weight.shape)

    def slots(self) -> dict[str, Array]:
        """What the optimizer keeps, by WEIGHT/SLOT, in the weights' shapes [rows, …]."""
        return {f"{w}/{s}": array for w, slots in self._slots.items() for s, array in slots.items()}

    def load(self, weights: Mapping[str, Array], slots: Mapping[str, Array] | None = None) -> None:
        """Takes up what a checkpoint holds, by name, in the weights' shapes [rows, …]."""
        for name, own in self.weights.items():
            own[...] = weights[name]
        if slots is not None:
            for name, own in self.slots().items():
                own[...] = slots[name]

    def apply(self, deltas: Sequence[Delta], number: int) -> None:
        """One step of the server's optimizer, with the weighted mean of the changes as gradient.

        Changes are added in the order of `deltas`. A table changes in the rows that were touched; in
        all of them where a step moves rows without a change, too, or with noise, which must not tell
        them apart. Nothing happens where nobody counts.

        Raises:
            Failure: VFL0611 where the step leaves a weight that is not finite.
        """
        settings = self.settings
        total = settings.cohort if settings.noise else sum(delta.weight for delta in deltas)
        if not total:
            return
        for weight in self.plan.weights.values():
            name, value = weight.name, self.weights[weight.name]
            if weight.table:
                found, rows = _added([delta.rows[name] for delta in deltas], len(value))
                mean = rows / np.asarray(total, value.dtype)
                if self.update.optimizer.sparse and not settings.noise:
                    self.update.rows(value, found, mean, self._slots[name], number + 1)
                    _check(name, value[found], number)
                    continue
                change = np.zeros_like(value)
                change[found] = mean
            else:
                change = np.asarray(sum(delta.dense[name] for delta in deltas) / total)
            if settings.noise:
                assert settings.clip_norm is not None
                drawn = secret_noise(settings.seed, "noise", self._secret, number, name).normal(value.shape)
                change = change + drawn * (settings.noise * settings.clip_norm / total)
            self.update.dense(value, change.astype(value.dtype), self._slots[name], number + 1)
            _check(name, value, number)


def _added(parts: Sequence[tuple[Indices, Array]], size: int) -> tuple[Indices, Array]:
    """The sums of rows [rows, k] by id, ids ascending, of parts that are that already."""
    if len(parts) == 1:
        return parts[0]
    found, places = ranked(np.concatenate([ids for ids, _ in parts]), size)
    return found, sum_rows(places, np.concatenate([rows for _, rows in parts]), len(found))


def _check(name: str, value: Array, number: int) -> None:
    """VFL0611 where a step left a number that is not finite; what is saved is from before it."""
    if not np.isfinite(value).all():
        help = "lower the rate of `server` or `client`, or limit a user's changes with `clip_norm`"
        raise NotFinite(f"{name} is no longer finite", f" after round {number + 1}", help=help)

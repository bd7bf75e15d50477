"""Rounds: a cohort is drawn, its users train, the hub takes a step. And what a set of users measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from vflc_common.arrays import Array, Indices

from vflc_runtime.bundle.folder import PopulationBundle
from vflc_runtime.bundle.population_plan import UsersPlan
from vflc_runtime.bundle.population_settings import ReconstructSettings
from vflc_runtime.engines.population_runners import runners
from vflc_runtime.events import Scores
from vflc_runtime.metrics import MetricCollector
from vflc_runtime.population import random
from vflc_runtime.population.clients import ClientUpdate
from vflc_runtime.population.hub import Hub
from vflc_runtime.population.measured import UserMeasurements
from vflc_runtime.population.users import Split, Users, cohort_of
from vflc_runtime.population.worker_pool import GROUP, NamedArrays, WorkerPool, groups


@dataclass(frozen=True, slots=True)
class Round:
    """What a round or a measurement came to.

    Attributes:
        scores: loss and metrics over the examples of the update half.
        examples: how many these were.
        small: users who had too few examples and counted for nothing.
        broken: users whose change was not finite and was dropped.
        sent: bytes by edge id.
    """

    scores: Scores
    examples: int
    small: int
    broken: int
    sent: dict[str, int] = field(default_factory=dict)


class Rounds:
    """Trains a population round by round; all that a checkpoint needs is `hub` and `kept`.

    Args:
        population: the bundle.
        settings: of the run.
        users: their examples.
        split: who is trained on.
        pool: computes client updates.
        secret: what noise, and who takes part under noise, are drawn from besides the seed.
        together: users that run as arrays.
    """

    def __init__(
        self,
        population: PopulationBundle,
        settings: ReconstructSettings,
        users: Users,
        split: Split,
        pool: WorkerPool,
        secret: str = "",
        together: int = GROUP,
    ) -> None:
        self.population, self.plan, self.settings = population, population.users, settings
        self.users, self.split, self.pool = users, split, pool
        load = runners(population.engine, self.plan.precision)
        self.hub, self._secret, self._together = Hub(population.hub, settings, load, secret), secret, together
        self.kept: dict[str, Array] = self._first() if settings.keep_local else {}

    def _first(self) -> dict[str, Array]:
        """Local weights of all users before their first round, where they are kept."""
        words = self.users.words(np.arange(len(self.users)))
        return {
            weight.name: random.initial_values(
                random.stream(words, self.settings.seed, "local", weight.name, 0),
                weight.shape,
                weight.init,
                self.plan.precision,
            )
            for weight in self.plan.locals
        }

    def step(self, number: int) -> Round:
        """Round `number`, from 0."""
        parts = groups(cohort_of(self.split, self.settings, number, self._secret), self._together)
        kept: Sequence[NamedArrays] | None = None
        if self.kept:
            kept = [{name: array[part] for name, array in self.kept.items()} for part in parts]
        updates = self.pool.train(parts, self.hub.weights, number, kept)
        for one in updates:
            for name, array in one.kept.items():
                self.kept[name][one.users] = array
        self.hub.apply([one.delta for one in updates if one.delta is not None], number)
        return summed(self.plan, updates)

    def measure(self, users: Indices) -> Round:
        """Rebuilds users [users] and measures them on their other half."""
        return summed(self.plan, self.pool.evaluate(groups(users, self._together), self.hub.weights))


def summed(plan: UsersPlan, updates: Sequence[ClientUpdate]) -> Round:
    """The client updates of all groups as one."""
    scored = UserMeasurements()
    sent: dict[str, int] = {}
    for one in updates:
        scored.add(one.scored)
        for edge, count in one.sent.items():
            sent[edge] = sent.get(edge, 0) + count
    return Round(
        scores_of(plan, scored),
        scored.examples,
        sum(one.small for one in updates),
        sum(one.broken for one in updates),
        sent,
    )


def scores_of(plan: UsersPlan, scored: UserMeasurements) -> Scores:
    """`loss`, each term as `loss.NAME` where there are several, and the metrics of each prediction.

    What is not finite, as where a user's rebuilding diverges, is None.
    """
    if not scored.examples:
        return {"loss": None}
    terms = {name: total / scored.examples for name, total in scored.losses.items()}
    found: dict[str, float | None] = {
        "loss": sum(loss.coefficient * terms[loss.name] for loss in plan.losses)
    }
    if len(terms) > 1:
        found |= {f"loss.{name}": value for name, value in terms.items()}
    for prediction in plan.predictions:
        if prediction.metric is None or prediction.name not in scored.pairs:
            continue
        collector = MetricCollector(prediction.metric)
        pairs = scored.pairs[prediction.name]
        collector.add(np.concatenate([p for p, _ in pairs]), np.concatenate([t for _, t in pairs]))
        single = len(scored.pairs) == 1
        for name, value in collector.results().items():
            found[name if single else f"{prediction.name}.{name}"] = value
    return {
        name: value if value is not None and math.isfinite(value) else None for name, value in found.items()
    }

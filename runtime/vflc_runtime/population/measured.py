"""What users measure: losses and predictions of the examples that count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array, Indices

from vflc_runtime.bundle.population_plan import UsersPlan


@dataclass
class UserMeasurements:
    """Sums that a mean is made of, and predictions beside labels."""

    examples: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    pairs: dict[str, list[tuple[Array, Array]]] = field(default_factory=dict)

    def add(self, other: UserMeasurements) -> None:
        """Takes in what other users measured."""
        self.examples += other.examples
        for name, value in other.losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + value
        for name, pairs in other.pairs.items():
            self.pairs.setdefault(name, []).extend(pairs)


class Measured:
    """The values of the steps of one phase."""

    def __init__(self) -> None:
        self._made: list[Mapping[str, Array]] = []
        self._rows: list[Indices] = []
        self._users: list[Indices | slice] = []

    def see(self, made: Mapping[str, Array], rows: Indices, users: Indices | None = None) -> None:
        """A step's values of the batches `rows` [user, example] of the first users, or of `users` [user]."""
        self._made.append(made)
        self._rows.append(rows)
        self._users.append(slice(len(rows)) if users is None else users)

    def seen(self) -> Iterator[tuple[Mapping[str, Array], Indices]]:
        """The steps so far: values by id [user, example, …], and rows [user, example], -1 for none."""
        return zip(self._made, self._rows, strict=True)

    def scored(
        self, plan: UsersPlan, features: Mapping[str, Array], whole: NDArray[np.bool_]
    ) -> UserMeasurements:
        """Losses weighted by their examples, and predictions beside labels, of users that count.

        Args:
            plan: of the users.
            features: the encoded columns of the group's rows, [example, …] by id.
            whole: which users count, bool [user].
        """
        scored = UserMeasurements()
        if not self._rows:
            return scored
        rows = np.concatenate(self._rows)
        counted = np.concatenate([whole[users] for users in self._users])
        real = (rows >= 0) & counted[:, None]
        counts = np.count_nonzero(real, axis=1)
        scored.examples = int(counts.sum())
        for term in plan.losses:
            loss = np.where(counts > 0, self._all(term.value).astype(np.float64), 0.0)
            scored.losses[term.name] = scored.losses.get(term.name, 0.0) + float((loss * counts).sum())
        for prediction in plan.predictions:
            metric, label = prediction.metric, prediction.label
            if metric is not None and metric.metrics and label is not None and label in features:
                pair = self._all(prediction.value)[real], features[label][rows[real]]
                scored.pairs.setdefault(prediction.name, []).append(pair)
        return scored

    def _all(self, value: str) -> Array:
        return np.concatenate([made[value] for made in self._made])

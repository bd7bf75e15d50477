"""Who computes client updates: this process, or workers of a cluster.

Results come in the order of the groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array, Indices

from vflc_runtime.bundle.folder import PopulationBundle
from vflc_runtime.bundle.population_settings import ReconstructSettings
from vflc_runtime.population.clients import ClientUpdate
from vflc_runtime.population.users import Users

NamedArrays = Mapping[str, Array]

GROUP = 512
"""Users that run together as arrays. It does not depend on the number of workers: nor do the sums."""


def groups(users: Indices, together: int = GROUP) -> list[Indices]:
    """Users [users] in groups [together] that run together, in order."""
    return [users[start : start + together] for start in range(0, len(users), together)]


class ClientRunner(Protocol):
    """Has both places' programs run for a group of users."""

    def train(
        self,
        users: Users,
        chosen: Indices,
        weights: NamedArrays,
        number: int,
        kept: NamedArrays | None = None,
    ) -> ClientUpdate:
        """The client updates of round `number`: rebuilds, trains, and adds up what changed.

        Args:
            users: all of them.
            chosen: positions of those who train, [user].
            weights: the hub's by name, [rows, …].
            number: counted from 0.
            kept: the local weights of the chosen from an earlier round, [group, …], if they keep them.
        """
        ...

    def evaluate(self, users: Users, chosen: Indices, weights: NamedArrays) -> ClientUpdate:
        """Rebuilds the users `chosen` [group] with the hub's weights, and measures on the other half."""
        ...

    def predict(
        self, users: Users, chosen: Indices, weights: NamedArrays, given: NDArray[np.bool_]
    ) -> tuple[Indices, dict[str, Array]]:
        """Rebuilds from the rows whose label is given, bool [rows], and predicts the others.

        Returns:
            The rows of the data [n], and predictions of them by name, [n, …].
        """
        ...


ClientRunnerMaker = Callable[[PopulationBundle, ReconstructSettings], ClientRunner]


class WorkerPool(Protocol):
    """Computes client updates."""

    def train(
        self, groups: Sequence[Indices], weights: NamedArrays, number: int, kept: Sequence[NamedArrays] | None
    ) -> list[ClientUpdate]:
        """A round's client updates; `kept` are each group's local weights, [group, …], if they are kept."""
        ...

    def evaluate(self, groups: Sequence[Indices], weights: NamedArrays) -> list[ClientUpdate]:
        """Measures groups [group] of users with the hub's weights, [rows, …] by name."""
        ...

    def close(self) -> None:
        """Ends workers, if there are any."""
        ...


class LocalPool:
    """All client updates in this process, one group after the other."""

    def __init__(self, runner: ClientRunner, users: Users) -> None:
        self.runner, self.users = runner, users

    def train(
        self, groups: Sequence[Indices], weights: NamedArrays, number: int, kept: Sequence[NamedArrays] | None
    ) -> list[ClientUpdate]:
        """See `WorkerPool`."""
        return [
            self.runner.train(self.users, group, weights, number, kept[index] if kept else None)
            for index, group in enumerate(groups)
        ]

    def evaluate(self, groups: Sequence[Indices], weights: NamedArrays) -> list[ClientUpdate]:
        """See `WorkerPool`."""
        return [self.runner.evaluate(self.users, np.asarray(group), weights) for group in groups]

    def close(self) -> None:
        """Nothing to end."""

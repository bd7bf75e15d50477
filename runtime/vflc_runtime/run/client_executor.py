"""Client updates: the programs of a population's two places, run by the executor for a group at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from vflc_common.arrays import Array, Indices

from vflc_runtime.bundle.folder import PopulationBundle
from vflc_runtime.bundle.population_settings import ReconstructSettings
from vflc_runtime.cores import cores
from vflc_runtime.engines.population_runners import runners
from vflc_runtime.population.aggregator import Aggregator
from vflc_runtime.population.clients import Clients, ClientUpdate
from vflc_runtime.population.delta import Delta
from vflc_runtime.population.users import Users
from vflc_runtime.population.worker_pool import LocalPool, NamedArrays
from vflc_runtime.run.executor import Executor
from vflc_runtime.transport.local import LocalNetwork
from vflc_runtime.transport.messages import Envelope


class ClientExecutor:
    """Both places of a population at work on groups of users; see `ClientRunner`.

    Args:
        population: the bundle.
        settings: of the run, where they differ from the spec's.
        training: whether global weights will be trained.
        listen: is told of every message as it is sent.
        threads: that share out the users of a group; a core each where None.
    """

    def __init__(
        self,
        population: PopulationBundle,
        settings: ReconstructSettings,
        training: bool = True,
        listen: Callable[[Envelope], None] | None = None,
        threads: int | None = None,
    ) -> None:
        load = runners(population.engine, population.users.precision)
        self._users = Clients(population.users, settings, load, training, threads or cores())
        self._hub = Aggregator(population.hub)
        self._network = LocalNetwork(listen)
        self._executors = {
            plan.place: Executor(plan, population.manifest, steps, self._network.channel(plan.place))
            for plan, steps in ((population.users, self._users), (population.hub, self._hub))
        }
        self._places = population.users.place, population.hub.place

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
            users: all users' examples.
            chosen: positions of those who take part.
            weights: the hub's, by name.
            number: of the round, from 0.
            kept: local weights [user, …] that they start from, in the order of `chosen`.
        """
        self._run("train", self._users.meet(users, chosen, kept), chosen, weights, number + 1)
        return self._update(self._hub.delta)

    def evaluate(self, users: Users, chosen: Indices, weights: NamedArrays) -> ClientUpdate:
        """See `ClientRunner`."""
        self._run("evaluate", self._users.meet(users, chosen), chosen, weights)
        return self._update()

    def predict(
        self, users: Users, chosen: Indices, weights: NamedArrays, given: NDArray[np.bool_]
    ) -> tuple[Indices, dict[str, Array]]:
        """See `ClientRunner`."""
        self._run("predict", self._users.meet(users, chosen, given=given), chosen, weights)
        return self._users.predicted()

    def _run(
        self, program: str, columns: Mapping[str, Array], chosen: Indices, weights: NamedArrays, step: int = 0
    ) -> None:
        inputs = dict(zip(self._places, (columns, weights), strict=True))
        for executor in self._executors.values():
            executor.sent = dict.fromkeys(executor.sent, 0)
        routines = {
            place: executor.run(program, inputs[place], len(chosen), step)
            for place, executor in self._executors.items()
        }
        try:
            self._network.run(routines)
        except BaseException:
            self._network.clear()
            raise

    def _update(self, delta: Delta | None = None) -> ClientUpdate:
        update = self._users.result()
        update.delta = delta
        update.sent = {edge: n for each in self._executors.values() for edge, n in each.sent.items()}
        return update


def local_pool(
    population: PopulationBundle, settings: ReconstructSettings, users: Users, training: bool = True
) -> LocalPool:
    """All client updates in this process."""
    return LocalPool(ClientExecutor(population, settings, training), users)

"""Client updates on a Ray cluster: each worker runs whole groups of users as arrays.

A client update depends on its users, the weights and the round alone, so a group whose worker died is given
to another one and comes out the same. Groups and the order in which their changes are added do not
depend on the number of workers: nor does any bit of the result.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from vflc_common.arrays import Indices

from vflc_runtime.bundle.folder import PopulationBundle
from vflc_runtime.bundle.population_settings import ReconstructSettings
from vflc_runtime.cores import cores
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.population.clients import ClientUpdate
from vflc_runtime.population.users import Users
from vflc_runtime.population.worker_pool import ClientRunnerMaker, LocalPool, NamedArrays

CONNECT_SECONDS = 5.0
CALLS = 4
"""Calls to a worker in a round, at most, each with as many groups: a call costs as much as half a group."""
MOST_DEATHS = 20
"""Workers of one round that are replaced before the round is given up."""
LOGS = "look at the cluster's own logs; `vflc train --resume` continues from the last checkpoint"


class Worker:
    """One process of the cluster, with the bundle and all users' examples.

    Args:
        make: makes what computes client updates.
        population: the bundle with its files, as it was checked; the worker may run on another machine.
        settings: of the run.
        users: shared by the workers of a machine.
    """

    def __init__(
        self,
        make: ClientRunnerMaker,
        population: PopulationBundle,
        settings: ReconstructSettings,
        users: Users,
    ) -> None:
        self.pool = LocalPool(make(population, settings), users)

    def train(
        self, groups: Sequence[Indices], weights: NamedArrays, number: int, kept: Sequence[NamedArrays] | None
    ) -> list[ClientUpdate]:
        """See `WorkerPool`."""
        return self.pool.train(groups, weights, number, kept)

    def evaluate(self, groups: Sequence[Indices], weights: NamedArrays) -> list[ClientUpdate]:
        """See `WorkerPool`."""
        return self.pool.evaluate(groups, weights)


class RayPool:
    """Client updates on Ray, embedded or of a cluster.

    Args:
        make: makes what computes client updates, in each worker.
        population: the bundle.
        settings: of the run.
        users: all users' examples.
        on: `ray`, which starts Ray on this machine, or `ray://HOST:PORT`.
        workers: how many; by default one a processor.
        worker: the class that runs in each of them.

    Raises:
        Failure: VFL0620 where Ray is not installed or the cluster does not answer.
    """

    def __init__(
        self,
        make: ClientRunnerMaker,
        population: PopulationBundle,
        settings: ReconstructSettings,
        users: Users,
        on: str = "ray",
        workers: int | None = None,
        worker: type[Worker] = Worker,
    ) -> None:
        self._ray = ray = _connected(on, workers)
        count = workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)
        bundle, shared, remote = ray.put(population), ray.put(users), ray.remote(worker).options(num_cpus=1)
        self._start: Callable[[], Any] = lambda: remote.remote(make, bundle, settings, shared)
        self._workers = [self._start() for _ in range(count)]
        self.replaced = 0

    def train(
        self, groups: Sequence[Indices], weights: NamedArrays, number: int, kept: Sequence[NamedArrays] | None
    ) -> list[ClientUpdate]:
        """See `WorkerPool`."""
        shared = self._ray.put(dict(weights))

        def call(worker: Any, start: int, end: int) -> Any:
            mine = kept[start:end] if kept else None
            return worker.train.remote(groups[start:end], shared, number, mine)

        return self._all(len(groups), call)

    def evaluate(self, groups: Sequence[Indices], weights: NamedArrays) -> list[ClientUpdate]:
        """See `WorkerPool`."""
        shared = self._ray.put(dict(weights))
        return self._all(len(groups), lambda w, start, end: w.evaluate.remote(groups[start:end], shared))

    def _all(self, count: int, call: Callable[[Any, int, int], Any]) -> list[ClientUpdate]:
        """The results of all groups, in order; those of workers that died are made again by others."""
        calls = min(count, CALLS * len(self._workers))
        ends = [count * number // calls for number in range(calls + 1)]
        made: dict[int, list[ClientUpdate]] = {}
        deaths, last = 0, ""
        while len(made) < calls:
            todo = [index for index in range(calls) if index not in made]
            given = {index: at % len(self._workers) for at, index in enumerate(todo)}
            asked = {
                index: call(self._workers[at], ends[index], ends[index + 1]) for index, at in given.items()
            }
            dead: set[int] = set()
            for index, result in asked.items():
                try:
                    made[index] = self._ray.get(result)
                except self._ray.exceptions.RayActorError as error:
                    dead.add(given[index])
                    last = _last_line(error)
                except (self._ray.exceptions.RayError, ConnectionError) as error:
                    raise _unusable(f"a worker failed: {_last_line(error)}", LOGS) from None
            for at in dead:
                self._workers[at] = self._start()
            deaths += len(dead)
            self.replaced += len(dead)
            if deaths > MOST_DEATHS:
                raise _unusable(f"{deaths} workers died in one round: {last}", LOGS)
        return [update for index in range(calls) for update in made[index]]

    def close(self) -> None:
        """Ends the workers, and Ray where it was started here."""
        self._ray.shutdown()


def _connected(on: str, workers: int | None) -> Any:
    """The module `ray`, connected."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports its use over the network otherwise
    try:
        import ray
    except ImportError:
        raise _unusable("Ray is not installed", 'pip install "vflc[ray]"', exit_code=1) from None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if on == "ray":
        ray.init(num_cpus=workers or cores(), include_dashboard=False, **quiet)
        return ray
    host, _, port = on.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), CONNECT_SECONDS):
            pass
        for last in (False, False, True):
            try:
                ray.init(address=on, **quiet)
                break
            except ConnectionAbortedError:  # the head is there, and failed to start a server for this client
                ray.shutdown()
                if last:
                    raise
    except (OSError, ValueError, RuntimeError) as error:
        reason = _last_line(error)
        help = (
            "give the address of its client server, as in --on ray://head.example.org:10001; a cluster that "
            "asks for a token takes it from RAY_AUTH_TOKEN"
        )
        raise _unusable(f"the Ray cluster at {on} does not respond: {reason}", help) from None
    return ray


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _unusable(message: str, help: str, exit_code: int = PEER) -> Failure:
    return Failure("VFL0620", message, help, exit_code=exit_code)

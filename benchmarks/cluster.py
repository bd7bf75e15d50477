"""A million users of 20 ratings each: users a second in this process, on one Ray worker and on two.

    python benchmarks/cluster.py [--here] [--users N] [--cohort N] [--rounds N] [--json FILE]

The ratings are made up and written as Parquet sorted by user. The model is the published tutorial's
matrix factorization, with 50 factors. Prints peak memory of this process and of everything that it
started, and ends with 1 where rounds, which hold a cohort at a time, take more than `GROWTH` beyond
what loading took, or where this process does fewer than `TARGET` users a second. Loading, starting Ray
and a first round are not timed. Needs `vflc[ray]`, but for `--here`, which starts no Ray.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from extras import need
from vflc_runtime.bundle.folder import PopulationBundle, of_population, open_any
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.population.ray_pool import RayPool
from vflc_runtime.population.rounds import Rounds
from vflc_runtime.population.users import Users, split_users
from vflc_runtime.run.client_executor import ClientExecutor, local_pool
from vflc_runtime.run.loading import encoders

from vflc.driver import compile_spec

SPEC = Path(__file__).resolve().parent.parent / "specs" / "fedrecon" / "fedrecon.vfl"
RATINGS, MOVIES = 20, 3706
CHUNK = 50_000
"""Users that are made up and written at once."""
GROWTH = 1.0
"""GB."""
TARGET = 200_000
"""Users a second in one process."""


def write(path: Path, users: int) -> None:
    """Ratings of so many users, in order of the users."""
    random = np.random.default_rng(1)
    quality = random.normal(3.6, 0.6, MOVIES)
    schema = pa.schema({"UserID": pa.int64(), "MovieID": pa.int64(), "Rating": pa.float64()})
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, users, CHUNK):
            user = np.repeat(np.arange(start, min(start + CHUNK, users)), RATINGS)
            movie = random.integers(0, MOVIES, len(user))
            rating = np.clip(np.rint(quality[movie] + random.normal(0, 0.8, len(user))), 1, 5)
            writer.write_table(pa.table([user, movie, rating], schema=schema))


def loaded(folder: Path, cohort: int) -> tuple[PopulationBundle, Users]:
    """The compiled spec with a cohort of this size, and its users."""
    compile_spec(SPEC).write(folder / "bundle")
    population = of_population(open_any(folder / "bundle"))
    settings = replace(population.users.settings, cohort=cohort, divide="random")
    plan = replace(population.users, settings=settings)
    data = Dataset.load(
        encoders(population), {"users": str(folder / "users.parquet")}, precision=plan.precision
    )
    return replace(population, users=plan), Users.of(data)


def speed(population: PopulationBundle, users: Users, workers: int, rounds: int) -> tuple[float, float]:
    """Users a second in the median round, with so many Ray workers, 0 for none; and the peak in GB."""
    settings = population.users.settings
    pool: Any
    if workers:
        pool = RayPool(ClientExecutor, population, settings, users, "ray", workers)
    else:
        pool = local_pool(population, settings, users)
    try:
        training = Rounds(population, settings, users, split_users(users, settings), pool)
        training.step(0)
        seconds = []
        for number in range(1, rounds + 1):
            started = time.perf_counter()
            training.step(number)
            seconds.append(time.perf_counter() - started)
        return settings.cohort / statistics.median(seconds), started_peak()
    finally:
        pool.close()


def peak(process: int | str = "self") -> float:
    """The most memory that a process has had, in GB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def started_peak() -> float:
    """The same of the largest process that this one has started, by whatever way."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended meanwhile
    below = {os.getpid()}
    for _ in parents:
        more = {child for child, parent in parents.items() if parent in below} - below
        if not more:
            break
        below |= more
    return max((peak(process) for process in below - {os.getpid()}), default=0.0)


def main() -> int:
    """Runs the benchmark; 1 where memory is not bounded."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--here", action="store_true", help="in this process alone, without Ray")
    parser.add_argument("--users", type=int, default=1_000_000, help="how many (default a million)")
    parser.add_argument("--cohort", type=int, default=10_000, help="users a round (default 10,000)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds to time (default 10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file")
    given = parser.parse_args()
    if not given.here:
        need("ray")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "users.parquet", given.users)
        started = time.perf_counter()
        population, users = loaded(Path(folder), given.cohort)
        seconds, before = time.perf_counter() - started, peak()
        print(f"{len(users):,} users, {int(users.starts[-1]):,} ratings: loaded in {seconds:.1f} s, "
              f"peak memory {before:.2f} GB")  # fmt: skip
        found = {}
        for workers in (0,) if given.here else (0, 1, 2):
            found[workers], started_gb = speed(population, users, workers, given.rounds)
            where = f"on {workers} Ray worker{'s' * (workers > 1)}" if workers else "in this process"
            print(f"{where}: {found[workers]:,.0f} users a second; peak memory {peak():.2f} GB"
                  + (f", of a worker at most {started_gb:.2f} GB" if workers else ""))  # fmt: skip
            if not workers:
                grown = peak() - before
    results = [entry("a million users" if given.users == 1_000_000 else "users", given, found[0], TARGET)]
    if not given.here:
        print(f"two workers against one: {found[2] / found[1]:.2f} times, on {os.cpu_count()} processors")
        results.append(entry("one Ray worker against none", given, found[1], found[0]))
        results.append(entry("two Ray workers against one", given, found[2], found[1]))
    if given.json:
        given.json.write_text(json.dumps(results, indent=2) + "\n")
    if found[0] < TARGET:
        print(f"missed: {found[0]:,.0f} users a second in this process, of {TARGET:,}")
    if grown > GROWTH:
        print(f"missed: rounds take {grown:.2f} GB beyond what loading takes")
    return int(grown > GROWTH or found[0] < TARGET)


def entry(name: str, given: argparse.Namespace, ours: float, peer: float) -> dict[str, Any]:
    """A result as a file has it."""
    what = {"name": f"fedrecon, {name}", "batch": given.cohort, "ours": ours, "peer": peer}
    return {**what, "ratio": ours / peer, "unit": "users/s"}


if __name__ == "__main__":
    sys.exit(main())

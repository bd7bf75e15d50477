"""Small populations for tests: tables, compiled specs, rounds in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from vflc_runtime.bundle.folder import PopulationBundle, of_population, open_any
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.population.rounds import Rounds
from vflc_runtime.population.users import Users, split_users
from vflc_runtime.run.client_executor import local_pool
from vflc_runtime.run.loading import encoders

from vflc.diagnostics import SourceText
from vflc.driver import compile_source


def ratings(
    count: int = 14, items: int = 30, seed: int = 3, again: bool = True
) -> dict[str, list[tuple[int, float]]]:
    """Users with one to nineteen ratings each, where `again` some of the same item twice."""
    rng = np.random.default_rng(seed)
    found = {}
    for user in range(count):
        size = 1 if user == 0 else int(rng.integers(2, 20))
        chosen = rng.integers(0, items, size) if again else rng.permutation(items)[:size]
        found[f"u{user:03}"] = [
            (int(i), float(r)) for i, r in zip(chosen, rng.integers(1, 6, size), strict=True)
        ]
    return found


def table(users: dict[str, list[tuple[int, float]]]) -> pa.Table:
    rows = [(key, item, stars) for key, examples in users.items() for item, stars in examples]
    return pa.table({name: [row[i] for row in rows] for i, name in enumerate(("user", "item", "stars"))})


def compiled(text: str, folder: Path, precision: str = "float64", engine: str = "onnx") -> PopulationBundle:
    bundle = compile_source(SourceText("p.vfl", text), precision=precision, backends=("onnx", engine))
    bundle.write(folder / "bundle")
    return of_population(open_any(folder / "bundle", engine=engine))


def rounds_of(population: PopulationBundle, source: pa.Table, **options: int) -> Rounds:
    plan = population.users
    data = Dataset.load(encoders(population), {plan.place: source}, precision=plan.precision)
    users = Users.of(data)
    pool, split = local_pool(population, plan.settings, users), split_users(users, plan.settings)
    return Rounds(population, plan.settings, users, split, pool, **options)

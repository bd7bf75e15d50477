"""`vflc verify` of a population: users together against one at a time, ONNX against Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vflc.cli.options import only, reads

if TYPE_CHECKING:
    from vflc_runtime.bundle.population_settings import ReconstructSettings
    from vflc_runtime.population.users import Users
    from vflc_runtime.verify import Verification

    from vflc.diagnostics import Diagnostic

ROWS, ROUNDS = 1000, 10


def verified(
    spec: Path,
    precision: str,
    options: Mapping[str, Any],
    start: Callable[[int, int], None],
    step: Callable[[str, int], None],
    folder: Path,
) -> tuple[Verification, dict[str, Any], list[Diagnostic]]:
    """One precision of a model over a population, how much was trained on what, and warnings."""
    from dataclasses import replace

    from vflc_runtime.bundle.folder import of_population, open_any
    from vflc_runtime.data.dataset import Dataset
    from vflc_runtime.data.generate import generate
    from vflc_runtime.population.users import Users
    from vflc_runtime.population.worker_pool import GROUP
    from vflc_runtime.run.loading import encoders
    from vflc_runtime.verify.population import PopulationWay, verify

    from vflc import driver

    only({"threads": options["threads"]}, ())
    rounds = options["steps"] or ROUNDS
    start(len(options["engines"]) + 1, rounds)
    bundle = driver.compile_spec(spec, precision=precision, backends=reads(options["engines"]))
    bundle.write(folder / "bundle")
    opened = [of_population(open_any(folder / "bundle", engine=engine)) for engine in options["engines"]]
    ways = [PopulationWay(f"together {each.engine}", each, GROUP) for each in opened]
    ways.insert(1, PopulationWay(f"one by one {opened[0].engine}", opened[0], 1))
    plan = opened[0].users
    given = {"seed": options["seed"], "batch": options["batch"], "rounds": rounds}
    settings = replace(plan.settings, **{n: value for n, value in given.items() if value is not None})
    described = encoders(opened[0])
    sources = options["sources"] or generate(described, options["rows"] or ROWS, settings.seed)
    data = Dataset.load(described, sources, only=set(plan.inputs), precision=precision)
    users = Users.of(data)
    settings = _fitting(settings, users)
    numbers = {"steps": rounds, "rows": data.rows, "batch": settings.batch, "seed": settings.seed}
    return verify(ways, users, settings, step), {**numbers, "cohort": settings.cohort}, bundle.warnings


def _fitting(settings: ReconstructSettings, users: Users) -> ReconstructSettings:
    """The settings with a cohort that there are users for; VFL0608 where there are none."""
    from dataclasses import replace

    from vflc_runtime.population.users import split_users

    there = len(split_users(users, replace(settings, cohort=1)).train)
    return replace(settings, cohort=min(settings.cohort, there))

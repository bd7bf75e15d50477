"""Training a population's bundle on the table of all its users, into a run's folder."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vflc_runtime.bundle.folder import Population, add_keras, open_population
from vflc_runtime.bundle.population_settings import Settings
from vflc_runtime.data.source import Source
from vflc_runtime.engines.engine import check_engine
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener, silent
from vflc_runtime.interrupts import Interrupts
from vflc_runtime.population.crew import Crew
from vflc_runtime.population.rounds import Rounds
from vflc_runtime.population.users import Users, split_users
from vflc_runtime.run.population_loop import Loop
from vflc_runtime.run.population_run import PopulationRun, fingerprint, load
from vflc_runtime.run.state import Checkpoint, refuse_existing
from vflc_runtime.run.train import Result
from vflc_runtime.run.visits import Visits, local_crew

CHOSEN = ("rounds", "cohort", "batch", "seed", "checkpoint_rounds", "evaluate_every")
FIXED = ("cohort", "batch", "seed")


@dataclass(frozen=True, slots=True)
class RoundOptions:
    """How to train; what is None comes from the spec, or from the run that is resumed.

    Args:
        rounds: rounds in all, those before a resumption included.
        cohort: users a round.
        batch: examples a step.
        seed: of weights, users, cohorts and the order of examples.
        evaluate_every: rounds between measurements of the validation users.
        checkpoint_rounds: save every so many rounds.
        engine: `onnx` or `keras`; a run may change it.
        resume: go on with the run that is in the folder.
        overwrite: a run that is in the folder gives way.
        on: `ray` or `ray://HOST:PORT` to visit users on workers; in this process where None.
        workers: how many workers; one a processor where None.
    """

    rounds: int | None = None
    cohort: int | None = None
    batch: int | None = None
    seed: int | None = None
    evaluate_every: int | None = None
    checkpoint_rounds: int | None = None
    engine: str = "onnx"
    resume: bool = False
    overwrite: bool = False
    on: str | None = None
    workers: int | None = None


def train(
    bundle_dir: Path | str | None,
    sources: Mapping[str, Source],
    out: Path | str,
    options: RoundOptions | None = None,
    listen: Listener = silent,
) -> Result:
    """Trains the bundle in `bundle_dir` on the users' table and saves the run in `out`.

    To resume, `bundle_dir` may be None: the run has a copy of its bundle.

    Raises:
        Failure: VFL0601 to 0620 as the data, bundle, disk or options give cause.
        Interrupted: Ctrl-C was pressed; a checkpoint was written.
    """
    options, out = options or RoundOptions(), Path(out)
    if options.resume:
        run = PopulationRun(out)
        with run.locked():
            return _resume(run, bundle_dir, sources, options, listen)
    if bundle_dir is None:
        raise Failure("VFL0637", "there is no bundle to train", "give a spec or a bundle, or --resume a run")
    refuse_existing(out, options.overwrite)
    population = open_population(Path(bundle_dir), check_engine(options.engine))
    chosen = {n: getattr(options, n) for n in CHOSEN if getattr(options, n) is not None}
    settings = dataclasses.replace(population.users.settings, **chosen)
    data = load(population.users, sources, listen)
    users = Users.of(data)
    split_users(users, settings)  # refuses what cannot be trained before anything is written
    facts = {
        "model": population.manifest.model,
        "digest": population.manifest.digest,
        "reconstruct": {name: getattr(settings, name) for name in CHOSEN},
        "data": fingerprint(data, users),
        "secret": secrets.token_hex(32) if settings.noise else "",
    }
    with closing(_crew(population, settings, users, options)) as crew:
        run = PopulationRun.create(out, population, facts, {}, options.overwrite)
        with run.locked():
            return _run(run, population, settings, users, crew, None, listen)


def _resume(
    run: PopulationRun,
    bundle_dir: Path | str | None,
    sources: Mapping[str, Source],
    options: RoundOptions,
    listen: Listener,
) -> Result:
    engine, given = check_engine(options.engine), None
    if bundle_dir is not None:
        given = open_population(Path(bundle_dir), engine).manifest.digest
        if engine == "keras":
            add_keras(run.path / "bundle", Path(bundle_dir))
    population = run.population(engine)
    if given not in (None, population.manifest.digest):
        raise Failure(
            "VFL0625",
            f"{run.path} is a run of another spec",
            "resume it with the spec it was started with, or start anew with another --out",
        )
    chosen = dict(run.settings["reconstruct"])
    for name in CHOSEN:
        value = getattr(options, name)
        if name in FIXED and value not in (None, chosen[name]):
            raise Failure(
                "VFL0627",
                f"{run.path} was started with {name} {chosen[name]}, it cannot go on with {value}",
                f"leave out --{name}, or start anew with another --out",
            )
        chosen[name] = chosen[name] if value is None else value
    data = load(population.users, sources, listen)
    users = Users.of(data)
    if fingerprint(data, users) != run.settings["data"]:
        raise Failure(
            "VFL0626", f"{run.path} was trained on other rows", "resume it with the data it was started with"
        )
    settings = dataclasses.replace(population.users.settings, **chosen)
    with closing(_crew(population, settings, users, options)) as crew:
        return _run(run, population, settings, users, crew, run.go_on(listen), listen)


def _crew(population: Population, settings: Settings, users: Users, options: RoundOptions) -> Crew:
    if options.on is None:
        return local_crew(population, settings, users)
    from vflc_runtime.population.crew_ray import RayCrew

    return RayCrew(Visits, population, settings, users, options.on, options.workers)


def _run(
    run: PopulationRun,
    population: Population,
    settings: Settings,
    users: Users,
    crew: Crew,
    checkpoint: Checkpoint | None,
    listen: Listener,
) -> Result:
    split = split_users(users, settings)
    rounds = Rounds(population, settings, users, split, crew, str(run.settings["secret"]))
    with Interrupts() as interrupts:
        loop = Loop(run, population, settings, rounds, listen, interrupts)
        if checkpoint is not None:
            loop.restore(checkpoint)
        return Result(run.path, loop.run(), loop.progress.history)

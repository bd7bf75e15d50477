"""What holds for a whole run: what the user asks for, what the spec says, what a run began with."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import vflc_kernels
from vflc_common.engines import ENGINES
from vflc_common.words import DEFAULT_ENGINE

from vflc_runtime.bundle.folder import Bundle, PopulationBundle, is_population
from vflc_runtime.bundle.plugins import find_engine
from vflc_runtime.bundle.population_settings import ReconstructSettings
from vflc_runtime.cores import cores
from vflc_runtime.engines import keras_xla
from vflc_runtime.errors import Failure
from vflc_runtime.run.state import RunFolder

if TYPE_CHECKING:
    from vflc_runtime.bundle.plan import HeldOutRule
    from vflc_runtime.data.source import TableSource
    from vflc_runtime.run.transcript import RecordingLength


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How to train; what is None comes from the spec, or from the run that is resumed.

    `EPOCHS` and `ROUNDS` say which of them a model has: one over parties is trained by epochs of
    batches, one over a population by rounds of cohorts.

    Args:
        epochs: epochs in all, those before a resumption included.
        batch: rows, or a user's examples, a step.
        seed: of weights, of the order of rows and of random values; of users and cohorts.
        steps: end after so many steps in all.
        folds: into how many parts all rows go, of which the run is validated with one: see `train_folds`.
        validation: fraction of the rows that is kept for validation.
        fold: which part of that size is kept, from 0 up to, not including, 1 / validation.
        validation_data: by party the table of the rows to validate with, in place of a part of the others.
        engine: `onnx`, `keras`, or `cuda`, which is `onnx` on a GPU; a run may change it.
        resume: go on with the run that is in the folder.
        overwrite: a run that is in the folder gives way.
        checkpoint_steps: save every so many steps, besides the end of every epoch.
        threads: threads an operator may use; a core each where None.
        record: keep a transcript of so much of the run, for an audit.
        ledger: the folder of the ledgers; `ledger` beside the run's where None.
        start: a file of weights that a new run starts from; of the seed where None.
        refit: fit all encoders anew, also those that the run to start from has fitted.
        rounds: rounds in all, those before a resumption included.
        cohort: users a round.
        evaluate_every: rounds between measurements of the validation users.
        checkpoint_rounds: save every so many rounds.
        on: `ray` or `ray://HOST:PORT` to run users on workers; in this process where None.
        workers: how many workers; one a processor where None.
    """

    epochs: int | None = None
    batch: int | None = None
    seed: int | None = None
    steps: int | None = None
    folds: int | None = None
    validation: float | None = None
    fold: int | None = None
    validation_data: Mapping[str, TableSource] | None = None
    engine: str = DEFAULT_ENGINE
    resume: bool = False
    overwrite: bool = False
    checkpoint_steps: int | None = None
    threads: int | None = None
    record: RecordingLength | None = None
    ledger: Path | None = None
    start: Path | None = None
    refit: bool = False
    rounds: int | None = None
    cohort: int | None = None
    evaluate_every: int | None = None
    checkpoint_rounds: int | None = None
    on: str | None = None
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class OptionRules:
    """Which options training has for a kind of model.

    Attributes:
        of: the kind, in words.
        lasting: settings that a run keeps.
        changing: those that may be others when it goes on: for how long, and when it saves.
        others: options that are no settings of the run.
        instead: those that say how much is trained, for messages.
    """

    of: str
    lasting: tuple[str, ...]
    changing: tuple[str, ...]
    others: tuple[str, ...]
    instead: tuple[str, ...]

    @property
    def settings(self) -> tuple[str, ...]:
        """What run.json holds."""
        return (*self.lasting, *self.changing)

    @property
    def options(self) -> frozenset[str]:
        """All that may be given."""
        return frozenset({*self.settings, *self.others, "engine", "resume", "overwrite"})


EPOCHS = OptionRules(
    "a model over parties",
    lasting=("batch", "seed", "validation", "fold"),
    changing=("epochs", "steps", "checkpoint_steps"),
    others=("threads", "record", "ledger", "start", "refit", "folds", "validation_data"),
    instead=("epochs", "batch"),
)
ROUNDS = OptionRules(
    "a model over a population",
    lasting=("cohort", "batch", "seed"),
    changing=("rounds", "checkpoint_rounds", "evaluate_every"),
    others=("on", "workers"),
    instead=("rounds", "cohort", "batch"),
)
COUNTS = (
    "epochs", "batch", "steps", "checkpoint_steps", "rounds", "cohort", "evaluate_every", "checkpoint_rounds",
    "workers",
)  # fmt: skip


def ledger_beside(out: Path) -> Path:
    """The folder of the ledgers for what is trained in `out`: a run, the folds of one, a search."""
    return out.parent / "ledger"


def terms_of(folder: Path) -> OptionRules:
    """Which options the bundle in a folder has; VFL0613 where there is none."""
    return ROUNDS if is_population(folder) else EPOCHS


def only_those_of(terms: OptionRules, options: TrainOptions) -> None:
    """VFL0691 where an option is given that a kind of model does not have."""
    for field in fields(options):
        if getattr(options, field.name) != field.default and field.name not in terms.options:
            named = "from" if field.name == "start" else field.name
            given, *has = (f"--{name.replace('_', '-')}" for name in (named, *terms.instead))
            raise Failure("VFL0691", f"{given} does not apply to {terms.of}", f"it has {', '.join(has)}")


def check_options(options: TrainOptions) -> None:
    """VFL0638 where one of them makes no sense."""
    for name in COUNTS:
        given = getattr(options, name)
        if given is not None and given < 1:
            raise Failure("VFL0638", f"{name} is {given}", "give at least 1")
    if options.validation is not None and not 0 <= options.validation < 1:
        raise Failure(
            "VFL0638", f"validation is {options.validation}", "give a fraction of at least 0 and below 1"
        )
    if options.refit and options.start is None:
        help = "name the run to start from with --from RUN, in Python `start=RUN`"
        raise Failure("VFL0638", "refit is for a run that starts from another", help)
    if options.on is not None and options.on != "ray" and not options.on.startswith("ray://"):
        raise Failure("VFL0638", f"on is {options.on!r}", "give `ray`, or ray://HOST:PORT of a cluster")
    if options.workers is not None and options.on is None:
        help = 'add --on ray, in Python `on="ray"`'
        raise Failure("VFL0638", f"workers is {options.workers}, but no workers are used", help)


def new_settings(bundle: Bundle | PopulationBundle, options: TrainOptions) -> dict[str, Any]:
    """The settings of a new run: the options, and the spec's where they say nothing.

    Raises:
        Failure: VFL0638, the options contradict each other or the spec.
    """
    found = {"model": bundle.manifest.model, "digest": bundle.manifest.digest}
    if isinstance(bundle, PopulationBundle):
        return found | _settings(ROUNDS, bundle.users.settings, options)
    spec = next(iter(bundle.plans.values())).training
    settings = _settings(EPOCHS, spec, options) | {"fold": options.fold or 0, "shuffle": spec.shuffle}
    rule = spec.held_out
    _check_validation(options, rule)
    if options.folds is not None:
        settings["folds"] = options.folds
    if options.validation_data is not None:
        settings["apart"] = True
    elif rule is not None and (rule.by == "where" or settings["validation"]):
        settings["held_out"] = rule.by
    validation, fold = settings["validation"], settings["fold"]
    if fold and not 0 < fold * (validation or 1) < 1 - 1e-9:
        help = "give a fraction for `validation`, and a fold of at least 0 and below 1 / validation"
        raise Failure("VFL0638", f"fold is {fold} and validation {validation}", help)
    return found | settings


def _check_validation(options: TrainOptions, rule: HeldOutRule | None) -> None:
    """VFL0748 where something else decides which rows are kept for validation than what is asked for."""
    asked = options.validation is not None or options.fold is not None
    if asked and options.validation_data is not None:
        why = "tables of their own to validate with leave no rows of the others to keep"
        raise Failure("VFL0748", why, "leave out `validation` and `fold`, or `validation_data`")
    if asked and rule is not None and rule.by == "where":
        why = "the spec says by a condition which rows are kept for validation: they are no fraction"
        help = "leave out `validation` and `fold`, or train with another setting: --set validation=0.1"
        raise Failure("VFL0748", why, help)


def _settings(terms: OptionRules, spec: Any, options: TrainOptions) -> dict[str, Any]:
    given = {name: getattr(options, name) for name in terms.settings}
    return {name: getattr(spec, name, None) if value is None else value for name, value in given.items()}


def chosen(population: PopulationBundle, settings: Mapping[str, Any]) -> ReconstructSettings:
    """The settings of a population's run."""
    return replace(population.users.settings, **{name: settings[name] for name in ROUNDS.settings})


def version() -> str:
    """The version of this program, which all parties must have."""
    try:
        return metadata.version("vflc")
    except metadata.PackageNotFoundError:
        return "unknown"


def bits(settings: Mapping[str, Any], engine: str, threads: int | None) -> dict[str, Any]:
    """All that the bits of a step depend on, besides what others send."""
    what = ("digest", "data", "batch", "seed", "validation", "shuffle", "fold")
    library = import_module(find_engine(engine).library)
    kernels = [vflc_kernels.identity()] if library.__name__ == "onnxruntime" else []
    kernels += ["XLA"] if library.__name__ == "tensorflow" and keras_xla.wanted() else []
    return {
        **{name: settings.get(name) for name in what},
        "engine": engine,
        "threads": threads or cores(),
        "versions": [version(), numpy.__version__, library.__version__, *kernels, *_plugin(engine)],
        "processor": _processor(),
    }


def _plugin(engine: str) -> list[str]:
    """The package of an engine that is none of ours, with its version."""
    found = ENGINES.plugin(engine)
    return [] if found is None else [f"{found.package} {found.version}"]


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line
    return f"{platform.machine()} {platform.processor()}"


def resumed_settings(run: RunFolder, options: TrainOptions, terms: OptionRules = EPOCHS) -> dict[str, Any]:
    """The settings of a run that goes on: how long may change, what is done may not (VFL0627)."""
    settings = dict(run.settings)
    for name in terms.lasting:
        given = getattr(options, name)
        if given is not None and given != settings[name]:
            raise Failure(
                "VFL0627",
                f"{run.path} was started with {name} {settings[name]} and cannot continue with {given}",
                f"leave `{name}` out, or start again in another folder",
            )
    for name in terms.changing:
        given = getattr(options, name)
        if given is not None:
            settings[name] = given
    if options.epochs is not None and options.steps is None:
        settings["steps"] = None
    return settings

"""`vflc tune`: a run for each of many settings, chosen by Optuna from what the others reached.

    OUT/tune.json      what is searched; a search that goes on must be the same
    OUT/trials.json    the trials that are over, written whole after each
    OUT/best/          the run of the best one

What a trial tries follows from the seed and from the trials before it alone, so that a search that was
interrupted goes on as if it had not been, but for the trial in which it was, which begins anew. No setting
is tried in two trials: a run with protections spends privacy.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from msgspec import to_builtins
from vflc_common.words import DEFAULT_BACKEND
from vflc_runtime import files
from vflc_runtime.bundle.folder import is_population, open_any
from vflc_runtime.bundle.plugins import find_engine
from vflc_runtime.data.source import TableSource
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener, silent
from vflc_runtime.finite import NotFinite
from vflc_runtime.run.settings import TrainOptions, ledger_beside, new_settings
from vflc_runtime.run.train import train
from vflc_runtime.run.work import work_of
from vflc_runtime.scratch import scratch_folder

from vflc import driver
from vflc.api.search import Search
from vflc.api.trials import TrialResult, goodness, next_settings

SEARCH, TRIALS, BEST = "tune.json", "trials.json", "best"


class Tuning:
    """A search over settings of a spec.

    Args:
        spec: its file.
        search: what is tried.
        out: the folder.
        options: of each run; its seed is the search's, too.
        overrides: settings that are the same in all trials.

    Attributes:
        exhausted: whether no setting was left to try before there were as many trials as wanted.
        stretch: what `TrialResult.epoch` counts: `epoch`, or `round` of a population.

    Raises:
        Failure: VFL0749 where one of them is searched, too.
    """

    def __init__(
        self,
        spec: Path,
        search: Sequence[Search],
        out: Path,
        options: TrainOptions,
        overrides: Mapping[str, str] | None = None,
    ) -> None:
        self.spec, self.search, self.out = spec, tuple(search), out
        self.options, self.overrides = options, dict(overrides or {})
        twice = {each.name for each in search} & self.overrides.keys()
        if twice:
            name = min(twice)
            raise Failure(
                "VFL0749", f"`{name}` is searched, and --set gives it a value", "give only one of them"
            )
        self.trials: list[TrialResult] = []
        self.exhausted = False
        self.stretch = "epoch"

    def run(
        self,
        trials: int,
        sources: Mapping[str, TableSource],
        resume: bool = False,
        listen: Listener = silent,
        told: Callable[[TrialResult], None] = lambda result: None,
    ) -> None:
        """Goes on until there are so many trials, or all settings are tried; `told` is told of each.

        Raises:
            Failure: VFL0503, Optuna is not installed; VFL0624, the folder holds something; VFL0750, another
                search is in it, or no rows are kept for validation; VFL0626, it was of other rows; those of
                training.
            Refused: the spec has mistakes, with what is tried or without.
        """
        _check_optuna()
        self._open(resume, sources)
        for result in self.trials:
            told(result)
        while len(self.trials) < trials:
            tried = next_settings(self.search, self.trials, self.options.seed or 0)
            if tried is None:
                self.exhausted = True
                break
            result = self._trained(tried, sources, listen)
            self.trials.append(result)
            files.write_json(self.out / TRIALS, to_builtins(self.trials))
            told(result)

    @property
    def best(self) -> TrialResult | None:
        """The best trial; None while there is none with a value."""
        defined = [each for each in self.trials if each.value is not None]
        return max(defined, key=goodness, default=None)

    def _open(self, resume: bool, sources: Mapping[str, TableSource]) -> None:
        about = {
            "spec": hashlib.sha256(self.spec.read_bytes()).hexdigest() if self.spec.is_file() else None,
            "search": to_builtins(self.search),
            "set": self.overrides,
            "options": {
                name: getattr(self.options, name)
                for name in ("epochs", "batch", "seed", "steps", "validation", "fold", "engine")
            },
        }
        there = self.out / SEARCH
        if not there.exists():
            if self.out.exists() and any(self.out.iterdir()):
                raise Failure(
                    "VFL0624", f"{self.out} already exists and is no search", "choose another folder"
                )
            rows = self._rows(sources)  # a spec or tables with mistakes leave nothing behind
            files.make_folder(self.out)
            files.write_json(there, {**about, "rows": rows})
            return
        if not resume:
            help = "continue it (--resume), or choose another folder"
            raise Failure("VFL0624", f"{self.out} already holds a search", help)
        try:
            known = files.read_json(there, dict[str, Any])
            trials = self.out / TRIALS
            found = files.read_json(trials, list[TrialResult]) if trials.exists() else []
        except (OSError, ValueError):
            raise Failure("VFL0621", f"{self.out} does not hold a search that can be read") from None
        same = json.loads(json.dumps(about))
        if changed := ", ".join(name for name in same if known.get(name) != same[name]):
            why = f"{self.out} holds a search that was started with other values of: {changed}"
            raise Failure("VFL0750", why, "continue it with the spec and options it was started with")
        if known.get("rows") != self._rows(sources):
            why = f"{self.out} holds a search with other rows"
            raise Failure("VFL0626", why, "continue it with the data it was started with")
        self.trials = msgspec.convert(found, list[TrialResult])
        for number, each in enumerate(self.trials, 1):
            if each.number != number or not self._may_be(each):
                why = f"{trials} has a trial {each.number} that this search cannot have made"
                raise Failure("VFL0621", why, "restore the file from a copy, or search in another folder")

    def _may_be(self, trial: TrialResult) -> bool:
        """Whether it tried what is searched, and says what its value is of."""
        tried = trial.settings.keys() == {each.name for each in self.search}
        known = trial.value is None or trial.metric is not None
        return tried and known and all(each.holds(trial.settings[each.name]) for each in self.search)

    def _trained(
        self, tried: dict[str, str], sources: Mapping[str, TableSource], listen: Listener
    ) -> TrialResult:
        number = len(self.trials) + 1
        run = self.out / "trial"
        shutil.rmtree(run, ignore_errors=True)
        try:
            with self._compiled(tried) as bundle:
                options = replace(self.options, overwrite=True)
                if not is_population(bundle):
                    options = replace(options, ledger=options.ledger or ledger_beside(self.out))
                metrics = train(bundle, sources, run, options, listen).metrics
        except NotFinite:
            return TrialResult(number, tried, None, None, None, {}, 0.0)
        if not metrics["validation"]:
            why = "no rows are kept for validation, so that nothing says which settings are better"
            raise Failure("VFL0750", why, "give --validation 0.2, or `validation` in the spec")
        best = (metrics["best"] or {}) if "best" in metrics else _of_users(metrics)
        result = TrialResult(
            number, tried, best.get("value"), best.get("metric"), best.get("epoch"), metrics["validation"],
            round(metrics["seconds"], 3),
        )  # fmt: skip
        self._keep(run, result)
        return result

    @contextmanager
    def _compiled(self, tried: Mapping[str, str]) -> Iterator[Path]:
        """The folder of the bundle for a trial, as long as needed."""
        backends = tuple(dict.fromkeys((DEFAULT_BACKEND, find_engine(self.options.engine).reads)))
        bundle = driver.compile_spec(self.spec, overrides={**self.overrides, **tried}, backends=backends)
        with scratch_folder() as folder:
            bundle.write(folder / "bundle")
            yield folder / "bundle"

    def _rows(self, sources: Mapping[str, TableSource]) -> dict[str, str]:
        """By what a search that goes on knows its rows again: as the first trial has them."""
        tried = next_settings(self.search, (), self.options.seed or 0)
        assert tried is not None, "a search has two settings at least"
        with self._compiled(tried) as bundle:
            self.stretch = "round" if is_population(bundle) else "epoch"
            work = work_of(open_any(bundle, engine=self.options.engine), self.options)
            settings = new_settings(work.bundle, self.options)
            work.load(sources, settings, None, silent)
            return work.marks(settings)

    def _keep(self, run: Path, result: TrialResult) -> None:
        """The run of the best trial stays; others leave their results alone."""
        before = self.best
        if result.value is None or (before is not None and goodness(before) >= goodness(result)):
            shutil.rmtree(run)
            return
        shutil.rmtree(self.out / BEST, ignore_errors=True)
        run.rename(self.out / BEST)


def _of_users(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Of a population, which monitors nothing, the loss of the users kept for validation, at the end."""
    return {"metric": "loss", "value": metrics["validation"].get("loss"), "epoch": metrics["rounds"]}


def _check_optuna() -> None:
    """VFL0503 where Optuna is not installed."""
    try:
        import optuna
    except ImportError:
        raise Failure("VFL0503", "`vflc tune` needs Optuna", "pip install 'vflc[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)

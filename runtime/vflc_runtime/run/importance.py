"""How much a trained model leans on each feature and party: results with its values exchanged among rows.

Every place runs the program of evaluation, again and again, with the messages that it has anyway. The party
whose feature it is exchanges the values by itself, by the seed, so that nobody is told anything more.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from vflc_common.arrays import Indices
from vflc_common.metrics import smaller_is_better
from vflc_common.words import DEFAULT_ENGINE

from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.data.batches import EVALUATION_BATCH, permutation, sequential
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.source import TableSource
from vflc_runtime.data.spread import ABSENT
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener, Scores, silent
from vflc_runtime.run import loading
from vflc_runtime.run.loop import measure
from vflc_runtime.run.session import Session
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.trained import charge, trained_session

REPEATS = 5


class Exchanged(Struct, frozen=True):
    """Whose values are exchanged: those of a feature, or where that is None of all features of a party."""

    party: str
    feature: str | None

    def inputs(self, bundle: Bundle) -> list[str]:
        """The inputs of a bundle that these are; none where they are elsewhere, or used by nobody."""
        return [
            each.id
            for plan in bundle.plans.values()
            for each in plan.inputs.values()
            if not (each.label or each.present)
            and each.party == self.party
            and self.feature in (None, each.column)
        ]


def importance(
    run: Path | str,
    sources: Mapping[str, TableSource],
    repeats: int = REPEATS,
    seed: int | None = None,
    engine: str = DEFAULT_ENGINE,
    threads: int | None = None,
    listen: Listener = silent,
    metric: str | None = None,
) -> dict[str, Any]:
    """Permutation importance (Breiman 2001) of every feature and every party, all places in this process.

    Args:
        run: the run's folder.
        sources: of each party its source. Of the tables that the run was trained on, the rows count that it
            kept for validation; of others, all rows.
        repeats: how often each is exchanged, each time in another way.
        seed: of the exchanges; the run's where None.
        engine: of those that there are, by name.
        threads: threads an operator may use, a core each where None.
        listen: is told when the data is loaded.
        metric: a result that there must be.

    Returns:
        What `of_session` does, and `model` and `validation`: which it is, and whether the rows are those that
        the run kept.

    Raises:
        Failure: as `evaluate` does.
        KeyError: there is no such result.
    """
    folder = RunFolder(Path(run))
    session = trained_session(folder, "evaluate", engine, threads, listen=listen)
    bundle = session.bundle
    data = loading.load_trained(bundle, sources, folder.fitted(bundle), True, listen)
    rows, kept = np.arange(data.rows), False
    if loading.fingerprint(data) == folder.settings["data"]:
        again = loading.load_training(bundle, sources, folder.settings, folder.fitted(bundle), silent)
        same = loading.marks(bundle, folder.settings, again).get("kept") == folder.settings.get("kept")
        kept = same and again.held_out is not None and len(again.held_out) > 0
        rows = again.held_out if kept and again.held_out is not None else rows
    seed = folder.settings["seed"] if seed is None else seed

    def spend() -> None:
        charge(session, folder, "evaluate", data)

    found = of_session(session, data, rows, repeats, int(seed or 0), spend, metric)
    return {"model": folder.which(), "validation": kept, **found}


def of_session(
    session: Session,
    data: Dataset,
    rows: Indices,
    repeats: int,
    seed: int,
    spend: Callable[[], None],
    metric: str | None = None,
) -> dict[str, Any]:
    """The importance of all features and parties of a bundle, as far as it is known here.

    Args:
        session: the places that are here, with the weights of a trained model.
        data: the rows of the parties here.
        rows: those that are measured, [measured] in order.
        repeats: how often each is exchanged.
        seed: of the exchanges.
        spend: is called before each pass over the rows, which costs what an evaluation costs.
        metric: a result that there must be, which is known after the first pass.

    Returns:
        `rows`, `repeats`, `seed`, `metric` (which is monitored), `results` without an exchange, and
        `features` and `parties`, each with its name and by result `importance`, by how much it is worse in
        the mean, and `deviation`. The names alone at a place that measures nothing.

    Raises:
        Failure: VFL0638 where nothing is to be repeated; those of an evaluation.
        KeyError: there is no such result.
    """
    if repeats < 1:
        raise Failure("VFL0638", f"repeats is {repeats}", "give at least 1")

    def measured(exchanged: Dataset) -> Scores:
        spend()
        return measure(session, exchanged, sequential(rows, EVALUATION_BATCH)).results()

    base = {name: value for name, value in measured(data).items() if smaller_is_better(name) is not None}
    if metric is not None:
        _check_metric(base, metric)
    found: dict[str, list[dict[str, Any]]] = {"features": [], "parties": []}
    for each in _all(session):
        scores = [
            measured(_with_exchanged(data, each, session.bundle, rows, f"{seed} {repeat}"))
            for repeat in range(repeats)
        ]
        found["parties" if each.feature is None else "features"].append(_entry(each, base, scores))
    monitor = next(iter(session.bundle.plans.values())).training.monitor
    watched = next((name for name in base if name == monitor or name.endswith(f".{monitor}")), "loss")
    return {
        "rows": len(rows), "repeats": repeats, "seed": seed, "metric": watched, "results": base, **found,
    }  # fmt: skip


def _all(session: Session) -> Iterator[Exchanged]:
    """Every feature and every party, in the manifest's order, which is the same at all places."""
    for party in session.bundle.manifest.document["parties"]:
        yield from (Exchanged(party["name"], name) for name in party["features"])
        if party["features"]:
            yield Exchanged(party["name"], None)


def _with_exchanged(data: Dataset, each: Exchanged, bundle: Bundle, rows: Indices, purpose: str) -> Dataset:
    """The data with values exchanged among the rows that count; labels and example weights stay.

    These are the party's own rows: one that stands beside many rows of another party is exchanged whole.
    """
    if each.party in data.at:
        own = np.unique(data.at[each.party][rows])
        rows = own[own != ABSENT]
    drawn = permutation(len(rows), 0, f"importance of {each.party}.{each.feature or ''} {purpose}")
    inputs = dict(data.inputs)
    for name in each.inputs(bundle):
        inputs[name] = np.array(inputs[name])
        inputs[name][rows] = data.inputs[name][rows[drawn]]
    return replace(data, inputs=inputs)


def _entry(each: Exchanged, base: Scores, scores: list[Scores]) -> dict[str, Any]:
    entry: dict[str, Any] = {"party": each.party}
    if each.feature is not None:
        entry["feature"] = each.feature
    mean: dict[str, float | None] = {}
    deviation: dict[str, float | None] = {}
    for name, whole in base.items():
        sign = -1.0 if smaller_is_better(name) else 1.0
        values = [found for score in scores if (found := score[name]) is not None]
        lost = [] if whole is None else [sign * (whole - found) for found in values]
        complete = len(lost) == len(scores)
        mean[name] = statistics.fmean(lost) if complete else None
        deviation[name] = statistics.pstdev(lost) if complete else None
    return {**entry, "importance": mean, "deviation": deviation}


def ranked(found: Mapping[str, Any], metric: str) -> tuple[tuple[str, ...], list[list[Any]]]:
    """Names of columns, and a row for each feature and then each party, the most important first.

    KeyError where there is no such result.
    """
    _check_metric(found["results"], metric)
    rows: list[list[Any]] = []
    for kind in ("features", "parties"):
        known = sorted(found[kind], key=lambda each: -(each["importance"][metric] or 0.0))
        rows += [
            [each["party"], each.get("feature"), each["importance"][metric], each["deviation"][metric]]
            for each in known
        ]
    return ("party", "feature", "importance", "deviation"), rows


def _check_metric(results: Scores, metric: str) -> None:
    if metric not in results:
        raise KeyError(f"there is no result {metric!r}; results: {', '.join(results)}")

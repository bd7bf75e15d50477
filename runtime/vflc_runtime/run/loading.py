"""From sources to the encoded rows that a bundle's places are fed with."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from vflc_common.arrays import Indices
from vflc_common.encoders import record
from vflc_common.encoders.missing import filling

from vflc_runtime.bundle.folder import Bundle, PopulationBundle
from vflc_runtime.bundle.plan import HeldOutRule, Input, Plan
from vflc_runtime.data.batches import kept_rows
from vflc_runtime.data.dataset import Agree, Dataset, Keep
from vflc_runtime.data.encoded import BLOCK
from vflc_runtime.data.held_out import check, held_out
from vflc_runtime.data.keys import readable
from vflc_runtime.data.source import TableSource
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener, Loaded
from vflc_runtime.memory import forget

FittedColumns = Mapping[str, Any]
ABSENT = "is missing: "
"""Prefix of the columns that say whether a label is absent; no column of a spec has such a name."""


def encoders(bundle: Bundle | PopulationBundle) -> dict[str, Any]:
    """The encoders of all places of the bundle, as one encoders.json."""
    plans = bundle.plans.values()
    return {"parties": {party: found for plan in plans for party, found in plan.encoders.items()}}


def load_training(
    bundle: Bundle,
    sources: Mapping[str, TableSource],
    settings: Mapping[str, Any],
    fitted: FittedColumns | None,
    listen: Listener,
    agree: Agree | None = None,
    apart: Mapping[str, TableSource] | None = None,
    keep: Keep | None = None,
    fit_rest: bool = False,
) -> Dataset:
    """Rows to train on; encoders are fitted to the training rows unless `fitted` has their parameters.

    Args:
        bundle: of all places, or of one.
        sources: of each party here its table.
        settings: of the run.
        fitted: what encoders were fitted to; None fits them.
        listen: is told when the data is loaded.
        agree: finds the rows that parties elsewhere have, too.
        apart: of each party here the table of the rows that are kept for validation, if they have one.
        fit_rest: fits what `fitted` does not have.
        keep: says which rows are kept for validation, where the party that decides may be elsewhere.

    Raises:
        Failure: VFL0748, tables that the run validates with are missing; VFL0608, there are fewer rows than
            folds; those of `kept` and of the data.
    """
    started = time.perf_counter()
    if settings.get("apart") and apart is None:
        why = "the run validates with tables of their own"
        raise Failure("VFL0748", why, "give them again: --validation-data PARTY=SOURCE")
    data = Dataset.load(
        encoders(bundle),
        sources,
        fitted,
        fit_rest=fit_rest,
        only=_inputs(bundle, labels=True),
        keep=partial(_enough, settings.get("folds"), keep or partial(kept, bundle, settings)),
        deciding=deciding(bundle),
        apart=apart or None,
        once=bundle.manifest.once,
        present=present(bundle),
        agree=agree,
        precision=bundle.manifest.precision,
    )
    listen(Loaded(data.rows, data.report, time.perf_counter() - started))
    return data


def _enough(folds: int | None, keep: Keep, rows: int, values: pa.Array | None) -> Indices:
    """The rows that `keep` keeps, [kept]; VFL0608 where a fold would have none."""
    if folds is not None and rows < folds:
        many = "one row" if rows == 1 else f"{rows} rows"
        raise Failure(
            "VFL0608", f"{many} cannot be parted into {folds} folds", "give fewer folds, or more rows"
        )
    return keep(rows, values)


def rule_of(bundle: Bundle, settings: Mapping[str, Any]) -> HeldOutRule | None:
    """What decides which rows are kept for validation, where it is not the seed alone."""
    return next(iter(bundle.plans.values())).training.held_out if settings.get("held_out") else None


def deciding(bundle: Bundle) -> tuple[str, str] | None:
    """The party and the column that decide it, where its table is here."""
    rule = next(iter(bundle.plans.values())).training.held_out
    here = rule is not None and any(rule.party in plan.tables for plan in bundle.plans.values())
    return (rule.party, rule.column) if rule is not None and here else None


def kept(bundle: Bundle, settings: Mapping[str, Any], rows: int, values: pa.Array | None) -> Indices:
    """The rows that are kept for validation, [kept], by `values` [rows] if a column decides, or the seed.

    Raises:
        Failure: VFL0607, VFL0608 as `kept_rows`; VFL0747 where all rows are on one side.
    """
    rule, seed = rule_of(bundle, settings), settings["seed"]
    fraction, fold = settings["validation"], settings["fold"]
    if rule is None:
        return kept_rows(rows, seed, fraction, fold)
    assert values is not None, "the table of the party that decides is here"
    found = held_out(rule.by, values, seed, fraction, fold)
    check(rule.by, found, rows, where_of(bundle, rule))
    return found


def where_of(bundle: Bundle, rule: HeldOutRule) -> Any:
    """The place in the spec of what decides; None where the party is elsewhere."""
    for plan in bundle.plans.values():
        for column in plan.encoders.get(rule.party, {}).get("columns", ()):
            if column["name"] == rule.column:
                return column.get("where")
    return None


def load_trained(
    bundle: Bundle,
    sources: Mapping[str, TableSource],
    fitted: FittedColumns,
    labels: bool,
    listen: Listener,
    agree: Agree | None = None,
) -> Dataset:
    """Rows for a trained model, encoded as in training; VFL0617 where labels could not be trained on."""
    started = time.perf_counter()
    data = Dataset.load(
        encoders(bundle),
        sources,
        fitted,
        labels,
        only=_inputs(bundle, labels),
        once=bundle.manifest.once,
        present=present(bundle),
        agree=agree,
        precision=bundle.manifest.precision,
    )
    if labels:
        check_labels(bundle, data, learning=False)
    listen(Loaded(data.rows, data.report, time.perf_counter() - started))
    return data


def load_users(population: PopulationBundle, sources: Mapping[str, TableSource], listen: Listener) -> Dataset:
    """The rows of all users in order of their keys."""
    return _of_users(population, sources, listen, population.users.encoders)


def load_new_users(
    population: PopulationBundle, sources: Mapping[str, TableSource], listen: Listener
) -> tuple[Dataset, NDArray[np.bool_]]:
    """The rows of users who are predicted for, and which, bool [rows], have all labels given."""
    plan = population.users
    described = plan.encoders
    columns, absent = described[plan.place]["columns"], []
    for column in [column for column in columns if column["kind"] == "label"]:
        tree = column.get("value") or {"column": column["name"]}
        mark = {"name": ABSENT + column["name"], "kind": "feature", "shape": "number", "encoders": []}
        columns.append({**mark, "value": {"call": "is_missing", "args": [tree]}})
        column["encoders"] = [filling(_any_value(column)), *column["encoders"]]
        absent.append(f"{plan.place}.{mark['name']}")
    data = _of_users(population, sources, listen, described, absent)
    given = np.ones(data.rows, bool)
    for name in absent:
        given &= data.inputs.pop(name).reshape(-1) == 0
    return data, given


def _any_value(column: Mapping[str, Any]) -> Any:
    """A value that the label's encoders take; it stands where there is none and is never read."""
    lookups = ((e, lookup) for e in column["encoders"] if (lookup := record(e).lookup) is not None)
    return next((lookup.values(e)[0] for e, lookup in lookups), 0)


def _of_users(
    population: PopulationBundle,
    sources: Mapping[str, TableSource],
    listen: Listener,
    described: Mapping[str, Any],
    more: Sequence[str] = (),
) -> Dataset:
    started = time.perf_counter()
    data = Dataset.load(
        {"parties": described},
        sources,
        {},
        only={*population.users.inputs, *more},
        precision=population.manifest.precision,
    )
    listen(Loaded(data.rows, data.report, time.perf_counter() - started))
    return data


def look(bundle: Bundle, sources: Mapping[str, TableSource], labels: bool = True) -> None:
    """Whether the tables are there with their columns, before anybody waits for their being read."""
    Dataset.look(encoders(bundle), sources, labels, _inputs(bundle, labels), deciding(bundle))


def _inputs(bundle: Bundle, labels: bool) -> set[str]:
    inputs = [i for plan in bundle.plans.values() for i in plan.inputs.values() if not i.present]
    return {i.id for i in inputs if labels or not i.label}


def present(bundle: Bundle) -> dict[str, tuple[str, np.dtype[Any]]]:
    """The inputs that say whether a party has a row, with the party and their type."""
    type = np.dtype(bundle.manifest.precision)
    inputs = [i for plan in bundle.plans.values() for i in plan.inputs.values() if i.present]
    return {i.id: (i.party, type) for i in inputs}


def marks(bundle: Bundle, settings: Mapping[str, Any], data: Dataset, apart: bool = False) -> dict[str, str]:
    """By what a resumed run knows its rows again: `data`, and `kept` where a column decides which are kept.

    `apart`: some rows come from tables of their own, to validate with.
    """
    found = {"data": fingerprint(data, apart)}
    if rule_of(bundle, settings) is not None and data.held_out is not None:
        rows = np.ascontiguousarray(data.held_out, "<i8")
        found["kept"] = hashlib.sha256(rows.view(np.uint8).data).hexdigest()
    return found


def same_rows(where: Path, settings: Mapping[str, Any], found: Mapping[str, str], help: str) -> None:
    """VFL0626 where the `marks` are others than those in a run's settings."""
    for name, what in (("data", "was trained on other rows"), ("kept", "keeps other rows for validation")):
        if settings.get(name) != found.get(name):
            raise Failure("VFL0626", f"{where} {what}", help)


def fingerprint(data: Dataset, apart: bool = False) -> str:
    """SHA-256 of the encoded rows, by which a resumed run knows its data again.

    `apart`: some rows come from tables of their own, to validate with.
    """
    seen = hashlib.sha256(str(data.rows).encode())
    if apart:
        assert data.held_out is not None
        seen.update(f" of which apart: {len(data.held_out)}".encode())
    for party, at in sorted(data.at.items()):
        seen.update(f"/{party}/at/".encode())
        seen.update(np.ascontiguousarray(at, "<i8").view(np.uint8).data)
    for name in sorted(data.inputs):
        array = data.inputs[name]
        seen.update(f"/{name}/{array.dtype}/{array.shape}/".encode())
        for start in range(0, len(array), BLOCK):
            seen.update(np.ascontiguousarray(array[start : start + BLOCK]).reshape(-1).view(np.uint8).data)
            forget([array])
    return seen.hexdigest()


def check_labels(bundle: Bundle, data: Dataset, learning: bool = True) -> None:
    """VFL0617 where the labels cannot be what the predictions are trained to be, or a weight none.

    Labels that are all alike are no mistake where nothing is learned from them.
    """
    described = encoders(bundle)["parties"]
    for plan in bundle.plans.values():
        for metric in plan.metrics:
            _, label, *rest = next(iter(metric.programs.values()), ("", ""))
            weight = data.inputs.get(rest[0]) if rest and rest[0] in plan.inputs else None
            if label in plan.inputs and label in data.inputs and metric.kind == "binary":
                counts = slice(None) if weight is None or weight.dtype.kind != "f" else weight[:, 0] > 0
                _check_binary(plan, label, data.inputs[label][counts], described, learning)
        for fit in plan.fits if learning else ():
            if fit.label in data.inputs and data.inputs[fit.label].size:
                _check_range(plan, fit.label, data.inputs[fit.label], described)
        for source in plan.inputs.values():
            column = _column(described, source)
            if column.get("kind") == "weight" and source.id in data.inputs:
                _check_weight(source.id, data, column.get("where"))
    forget(data.inputs.values())


def _column(described: Mapping[str, Any], source: Input) -> Mapping[str, Any]:
    columns = described.get(source.party, {}).get("columns", ())
    return next((column for column in columns if column["name"] == source.column), {})


def _check_weight(name: str, data: Dataset, where: Any) -> None:
    values = data.whole(name).reshape(-1)
    if len(values) and float(values.min()) < 0:
        at = int(values.argmin())
        key = readable(data.keys[at].as_py())
        raise Failure(
            "VFL0617",
            f"the weight {name} is {float(values[at]):g} in the row with key {key!r}; "
            "a weight cannot be below 0",
            "leave such rows out, or give the weight an encoder: clip(0, 10)",
            where,
        )
    if not values.any():
        raise Failure(
            "VFL0617",
            f"the weight {name} is 0 in all {data.rows} rows: none of them counts",
            "check the expression that defines it",
            where,
        )


def _check_range(plan: Plan, label: str, values: NDArray[Any], described: Mapping[str, Any]) -> None:
    """Checks that the label is from 0 to 1 in all of some rows, [rows, 1]."""
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise Failure(
            "VFL0617",
            f"label {label} has values from {low:g} to {high:g}; a binary label is 0 or 1",
            "make it a condition, as in `label liked = Rating > 3`",
            _column(described, plan.inputs[label]).get("where"),
        )


def _check_binary(
    plan: Plan, label: str, values: NDArray[Any], described: Mapping[str, Any], learning: bool
) -> None:
    """Checks that the label is 0 or 1 in the rows that count, [rows, 1], and where it is learned, both."""
    if not len(values):
        return
    _check_range(plan, label, values, described)
    first = float(values.flat[0])
    if learning and (values == first).all():
        where = _column(described, plan.inputs[label]).get("where")
        raise Failure(
            "VFL0617",
            f"label {label} is {first:g} in all {len(values)} rows: there is nothing to learn",
            "check the condition that defines it, and that the rows of both classes have matching keys",
            where,
        )

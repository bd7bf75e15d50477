"""Which rows are kept for validation, between parties: the same at all, told by the one that decides."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from partying import (
    TIMEOUT,
    compiled,
    exchange,
    history,
    site,
    tensors,
    together,
    train_alone,
    train_together,
)
from vflc_runtime.bundle.manifest import read_manifest
from vflc_runtime.errors import Failure
from vflc_runtime.events import Saved
from vflc_runtime.party.train import train_party
from vflc_runtime.run.folds import train_folds
from vflc_runtime.run.train import TrainOptions, train

SPEC = """
party a {{ key id  feature x: float -> standardize  column who: string }}
party b {{ key id  feature y: float  label t: int }}
party hub {{}}
s = dense(a.x, 2)
u = dense(b.y, 2)
top = relu(s + u) at hub
logit = dense(top, 1) at b
predict t = sigmoid(logit)
objective bce(logit, b.t)
release a {{ to b: x, who, to hub: x, who }}
release b {{ to a: y, t, to hub: y, t }}
train {{ batch 16  epochs 2  {} }}
"""
PLACES = ("a", "b", "hub")
OPTIONS = TrainOptions(threads=1)


def tables(first: int, rows: int, seed: int = 3) -> dict[str, pa.Table]:
    rng = np.random.default_rng(seed)
    keys = [f"{i:04}" for i in range(first, first + rows)]
    x, y = rng.normal(size=(2, rows))
    who = [f"u{i}" for i in rng.integers(0, 9, rows)]
    return {
        "a": pa.table({"id": keys, "x": x, "who": who}),
        "b": pa.table({"id": keys, "y": y, "t": (x + y > 0).astype(int)}),
    }


@pytest.mark.parametrize(
    "setting", ['validation where who < "u3"', "validation groups(who, 0.4)", "validation stratified(t, 0.3)"]
)
def test_all_keep_the_rows_that_one_process_keeps(setting: str, tmp_path: Path) -> None:
    bundle = compiled("m", SPEC.format(setting), tmp_path / "bundle")
    told = [each for each in read_manifest(bundle / "manifest.json").controls if each.kind == "validation"]
    teller = "b" if "t," in setting else "a"
    assert {each.sender for each in told} == {teller} and len(told) == 2
    sources = tables(0, 80)
    alone = train_alone(bundle, sources, tmp_path / "alone", OPTIONS)
    ran = train_together(bundle, sources, tmp_path, OPTIONS)
    assert not any(isinstance(result, BaseException) for result in ran.values()), ran
    for place in ("a", "b"):  # the hub has no weights
        assert tensors(tmp_path / place, place) == tensors(alone, place)
    assert history(tmp_path / "b")[-1]["validation"] == history(alone)[-1]["validation"] != {}
    again = train_together(bundle, sources, tmp_path, replace(OPTIONS, resume=True, epochs=3))
    assert {result.metrics["epochs"] for result in again.values()} == {3}


def test_a_column_that_would_keep_other_rows_is_noticed_at_a_resumption(tmp_path: Path) -> None:
    """No value that is learned from has changed; which rows are learned from would."""
    bundle, sources = (
        compiled("m", SPEC.format("validation groups(who, 0.4)"), tmp_path / "bundle"),
        tables(0, 60),
    )
    one = replace(OPTIONS, epochs=1)
    train(bundle, sources, tmp_path / "alone", one)
    train_together(bundle, sources, tmp_path, one)
    who = pa.array([f"u{i * i % 9}" for i in range(60)])
    changed = {**sources, "a": sources["a"].set_column(2, "who", who)}
    on = replace(OPTIONS, resume=True, epochs=2)
    with pytest.raises(Failure, match=r"VFL0626: .*alone keeps other rows for validation"):
        train(bundle, changed, tmp_path / "alone", on)
    ran = train_together(bundle, changed, tmp_path, on)
    assert "VFL0626" in {each.code for each in ran.values()} <= {"VFL0626", "VFL0652"}
    assert train(bundle, sources, tmp_path / "alone", on).metrics["epochs"] == 2


class Killed(BaseException):
    """Stands for the end of a process."""


@pytest.mark.parametrize("place", PLACES)
def test_one_that_is_killed_is_told_again(place: str, tmp_path: Path) -> None:
    """The others have read their tables then, and the one that decides is not asked for its rows again."""
    bundle, sources = compiled("m", SPEC.format("validation groups(who, 0.4)"), tmp_path / "m"), tables(0, 60)
    options, meeting = replace(OPTIONS, checkpoint_steps=1), exchange(bundle)
    alone = train_alone(bundle, sources, tmp_path / "alone", options)

    def dying(event: Any) -> None:
        if isinstance(event, Saved):
            raise Killed

    def joined(name: str, silently: bool = False) -> Any:
        network = meeting.join(name, TIMEOUT)
        if silently:
            network.close = lambda reason: None  # type: ignore[method-assign]
        return network

    def one(name: str) -> Any:
        if name == place:
            here = site(name, sources.get(name), lambda m, rows: joined(name, silently=True), dying)
            with pytest.raises(Killed):
                train_party(bundle, here, tmp_path / name, options)
        here = site(name, sources.get(name), lambda m, rows: joined(name))
        return train_party(bundle, here, tmp_path / name, replace(options, resume=True))

    ran = together({name: partial(one, name) for name in PLACES}, seconds=30)
    assert not any(isinstance(result, BaseException) for result in ran.values()), ran
    for name in ("a", "b"):
        assert tensors(tmp_path / name, name) == tensors(alone, name)


def apart(
    bundle: Path, out: Path, sources: Any, more: Any, options: TrainOptions = OPTIONS
) -> dict[str, Any]:
    """Each place in a thread, with its table of rows to validate with, where it has one."""
    meeting = exchange(bundle)
    sites = {
        place: replace(
            site(place, sources.get(place), lambda m, rows, place=place: meeting.join(place, TIMEOUT)),
            apart=more.get(place),
        )
        for place in meeting.places
    }
    return together(
        {p: lambda p=p: train_party(bundle, sites[p], out / p, options) for p in sites}  # type: ignore[misc]
    )


def test_tables_of_their_own_are_aligned_and_measured(tmp_path: Path) -> None:
    bundle = compiled("m", SPEC.format("validation 0.2"), tmp_path / "bundle")
    sources, more = tables(0, 80), tables(60, 40, seed=4)
    alone = train(bundle, sources, tmp_path / "alone", replace(OPTIONS, validation_data=more))
    ran = apart(bundle, tmp_path, sources, more)
    assert not any(isinstance(result, BaseException) for result in ran.values()), ran
    for place in ("a", "b"):  # the hub has no weights
        assert tensors(tmp_path / place, place) == tensors(alone.folder, place)
        assert ran[place].metrics["validation_rows"] == 40
    assert ran["b"].metrics["validation"] == alone.metrics["validation"]


def test_a_party_that_lacks_its_table_is_told_at_once(tmp_path: Path) -> None:
    bundle = compiled("m", SPEC.format(""), tmp_path / "bundle")
    sources, more = tables(0, 80), tables(60, 40)
    ran = apart(bundle, tmp_path, sources, {"a": more["a"]})
    failed = {each.code: each.message for each in ran.values()}  # who hears of the end first says that
    assert set(failed) <= {"VFL0650", "VFL0652"}
    assert re.match(
        "validation data is (True at 'a' and False at 'b'|False at 'b' and True)", failed["VFL0650"]
    )
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def test_all_say_what_is_wrong_with_a_condition(tmp_path: Path) -> None:
    bundle = compiled("m", SPEC.format('validation where who > "z"'), tmp_path / "bundle")
    ran = train_together(bundle, tables(0, 40), tmp_path, OPTIONS)
    assert ran["a"].code == "VFL0747" and ran["hub"].code == "VFL0652", ran  # the others know why
    assert ran["b"].code in ("VFL0747", "VFL0652")


def test_folds_between_parties_are_those_of_one_process(tmp_path: Path) -> None:
    bundle = compiled("m", SPEC.format("validation groups(who, 0.4)"), tmp_path / "bundle")
    sources, one = tables(0, 60), replace(OPTIONS, epochs=1)
    alone = train_folds(2, tmp_path / "alone", one, lambda path, own: train(bundle, sources, path, own))
    meetings = {number: exchange(bundle) for number in (1, 2)}

    def folds(place: str) -> Any:
        def fold(path: Path, own: TrainOptions) -> Any:
            meeting = meetings[int(path.name[-1])]
            here = site(place, sources.get(place), lambda m, rows: meeting.join(place, TIMEOUT))
            return train_party(bundle, here, path, own)

        return lambda: train_folds(2, tmp_path / place, one, fold)

    ran = together({place: folds(place) for place in PLACES})
    assert ran["b"]["mean"] == alone["mean"] and ran["b"]["deviation"] == alone["deviation"]
    assert sum(fold["validation_rows"] for fold in ran["hub"]["folds"]) == 60

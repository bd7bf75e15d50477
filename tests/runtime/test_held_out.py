"""Which rows are kept for validation where a column decides it: by a condition, by groups, stratified."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.data.held_out import held_out, packed, unpacked
from vflc_runtime.errors import Failure
from vflc_runtime.events import silent
from vflc_runtime.run import loading
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.folds import train_folds
from vflc_runtime.run.settings import new_settings
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.train import TrainOptions, train

from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source
from vflc.overrides import overridden

SPEC = """
party a {{ key id  feature x: float -> standardize  column day: string  column who: string  column z: float }}
party b {{ key id  feature y: float  column grade: int  label t = grade > 1 }}
predict t = sigmoid(dense(concat(a.x, b.y), 1))
objective bce(dense(concat(a.x, b.y), 1), b.t)
release a {{ to b: x, day, who, z }}
release b {{ to a: y, grade }}
train {{ batch 8  {} }}
"""
N = 120


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    rng = np.random.default_rng(1)
    keys = [f"{i:03}" for i in range(N)]
    days = [f"2026-{1 + i // 11:02}-05" for i in range(N)]
    a = {"id": keys, "x": rng.normal(size=N), "day": days, "who": [f"u{i}" for i in rng.integers(0, 17, N)]}
    a["z"] = pa.array([None if i % 7 == 0 else float(i % 3) for i in range(N)], pa.float64())
    return {
        "a": pa.table(a),
        "b": pa.table({"id": keys, "y": rng.normal(size=N), "grade": rng.integers(0, 4, N)}),
    }


def bundle_of(folder: Path, setting: str) -> Path:
    compile_source(SourceText("m.vfl", SPEC.format(setting))).write(folder)
    return folder


def loaded(bundle: Path, tables: dict[str, Any], **options: Any) -> Any:
    opened = open_bundle(bundle)
    return loading.load_training(opened, tables, new_settings(opened, TrainOptions(**options)), None, silent)


def test_a_condition_keeps_the_rows_where_it_holds(tables: dict[str, Any], tmp_path: Path) -> None:
    data = loaded(
        bundle_of(tmp_path / "b", 'validation where day >= "2026-09-01" and not is_missing(z)'), tables
    )
    day, z = tables["a"]["day"].to_pylist(), tables["a"]["z"].to_pylist()
    expected = [i for i in range(N) if day[i] >= "2026-09-01" and z[i] is not None]
    assert data.held_out.tolist() == expected
    rest = np.delete(tables["a"]["x"].to_numpy(), expected)  # encoders are fitted to the other rows
    assert data.state["a.x"][0]["mean"] == pytest.approx(rest.mean())


def test_a_missing_value_fulfils_no_condition(tables: dict[str, Any], tmp_path: Path) -> None:
    data = loaded(bundle_of(tmp_path / "b", "validation where z > 0"), tables)
    assert data.held_out.tolist() == [i for i in range(N) if i % 7 and i % 3 > 0]


def test_groups_stay_whole_and_classes_keep_their_share(tables: dict[str, Any], tmp_path: Path) -> None:
    groups = loaded(bundle_of(tmp_path / "g", "validation groups(who, 0.3)"), tables).held_out
    who = np.array(tables["a"]["who"].to_pylist())
    assert not set(who[groups]) & set(np.delete(who, groups))
    assert 0.15 < len(groups) / N < 0.45
    strata = loaded(bundle_of(tmp_path / "s", "validation stratified(t, 0.25)"), tables).held_out
    label = tables["b"]["grade"].to_numpy() > 1
    assert abs(label[strata].sum() - 0.25 * label.sum()) <= 1
    assert abs(len(strata) - 0.25 * N) <= 1


@pytest.mark.parametrize("setting", ["groups(who, 0.25)", "stratified(b.grade, 0.25)"])
def test_folds_part_the_rows(tables: dict[str, Any], setting: str, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "b", f"validation {setting}")
    parts = [loaded(bundle, tables, validation=0.25, fold=fold).held_out for fold in range(4)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(N))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=60), st.integers(0, 9), st.integers(2, 5))
def test_any_column_is_parted_into_folds(values: list[int], seed: int, folds: int) -> None:
    column = pa.array([None if v == 5 else v for v in values])
    for by in ("groups", "strata"):
        parts = [held_out(by, column, seed, 1 / folds, fold) for fold in range(folds)]
        assert sorted(np.concatenate(parts).tolist()) == list(range(len(values)))
        if by == "groups":
            assert all(
                not {values[i] for i in a} & {values[i] for i in b}
                for a in parts
                for b in parts
                if a is not b
            )
        else:
            sizes = Counter(values)
            for part in parts:
                found = Counter(values[i] for i in part)
                assert all(abs(found[v] - sizes[v] / folds) <= 1 for v in sizes)
        assert unpacked(packed(parts[0], len(values)), len(values)).tolist() == parts[0].tolist()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ('where day < "1999"', "none of the 120 rows"),
        ('where day > "1999"', "all of the 120 rows"),
        ("groups(is_missing(x), 0.9)", "all of the 120 rows into validation"),
    ],
)
def test_nothing_to_train_on_or_to_validate_with(
    tables: dict[str, Any], setting: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(Failure, match=says) as failed:
        loaded(bundle_of(tmp_path / "b", f"validation {setting}"), tables)
    assert failed.value.code == "VFL0747"
    assert failed.value.where is not None


def test_the_condition_leaves_no_fraction_to_ask_for(tables: dict[str, Any], tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "b", "validation where z > 0")
    for options in ({"validation": 0.2}, {"fold": 1}):
        with pytest.raises(Failure) as failed:
            loaded(bundle, tables, **options)
        assert failed.value.code == "VFL0748"


def test_tables_of_their_own_to_validate_with(tables: dict[str, Any], tmp_path: Path) -> None:
    """Encoders are fitted to the rows that are trained on; results are those of `evaluate` on the others."""
    bundle = bundle_of(tmp_path / "b", "epochs 2")
    first = {party: table.slice(0, 90) for party, table in tables.items()}
    rest = {party: table.slice(80) for party, table in tables.items()}  # some keys are in both
    options = TrainOptions(validation_data=rest, threads=1)
    result = train(bundle, first, tmp_path / "run", options)
    assert (result.metrics["train_rows"], result.metrics["validation_rows"]) == (90, 40)
    again = evaluate(tmp_path / "run", rest, threads=1)["evaluation"]
    assert result.metrics["validation"]["loss"] == pytest.approx(again["loss"], rel=1e-6)
    plain = train(bundle, first, tmp_path / "plain", TrainOptions(threads=1, validation=0.0))
    assert plain.metrics["train"] == result.metrics["train"]
    with pytest.raises(Failure) as failed:
        train(bundle, first, tmp_path / "run", TrainOptions(resume=True, epochs=3))
    assert failed.value.code == "VFL0748"
    with pytest.raises(Failure, match="no data is given for b") as failed:
        train(bundle, first, tmp_path / "one", TrainOptions(validation_data={"a": rest["a"]}))
    assert failed.value.code == "VFL0618" and "--validation-data b=SOURCE" in str(failed.value.help)
    other = {party: table.slice(81) for party, table in tables.items()}
    with pytest.raises(Failure) as failed:
        train(bundle, first, tmp_path / "run", TrainOptions(resume=True, epochs=3, validation_data=other))
    assert failed.value.code == "VFL0626"
    train(bundle, first, tmp_path / "run", TrainOptions(resume=True, epochs=3, validation_data=rest))


@pytest.mark.parametrize(
    ("setting", "bound"),
    [("where day > '2026'", "code"), ("groups(who, 0.2)", "all"), ("stratified(z, 0.2)", "all")],
)
def test_what_others_learn_is_said_and_must_be_granted(setting: str, bound: str, tmp_path: Path) -> None:
    spec = SPEC.format(f"validation {setting}")
    manifest = compile_source(SourceText("m.vfl", spec)).manifest
    column = {"where": "day", "groups": "who", "stratified": "z"}[setting.split("(")[0].split()[0]]
    (row,) = (row for row in manifest["learned"] if row["party"] == "a" and row["column"] == column)
    assert row["bound"]["kind"] == bound and row["edges"] == ["control validation"]
    assert bound == "all" or row["bound"]["bits"] == 1
    (told,) = (each for each in manifest["control"] if each["id"] == "validation")
    assert told["from"] == ["a"]
    with pytest.raises(Refused, match="VFL0340"):
        compile_source(SourceText("m.vfl", spec.replace(f", {column}", "", 1)))
    compile_source(SourceText("m.vfl", spec.replace(f", {column}", ", validation", 1)))


def test_a_setting_of_the_command_line_takes_its_place() -> None:
    spec = SourceText("m.vfl", SPEC.format("validation where z > 0  freeze *.bias"))
    found = overridden(spec, {"validation": "groups(who, 0.2)", "freeze": "*.kernel, b"}).text
    assert "validation groups(who, 0.2)  freeze *.kernel, b }" in found
    assert "validation where z > 1  freeze" in overridden(spec, {"validation": "where z > 1"}).text
    assert "freeze a.*\n" in overridden(SourceText("m.vfl", SPEC.format("")), {"freeze": "a.*"}).text


def test_folds_of_fewer_rows_or_with_other_choices(tables: dict[str, Any], tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "b", "")
    few = {party: table.slice(0, 12) for party, table in tables.items()}
    one = lambda path, own: train(bundle, few, path, own)  # noqa: E731
    with pytest.raises(Failure, match="12 rows cannot be parted into 13 folds"):
        train_folds(13, tmp_path / "f", TrainOptions(threads=1, batch=4), one)
    assert not any((tmp_path / "f").glob("fold-*"))  # nothing was trained before that
    for options in (TrainOptions(validation=0.1), TrainOptions(fold=1), TrainOptions(validation_data=few)):
        with pytest.raises(Failure) as failed:
            train_folds(3, tmp_path / "g", options, one)
        assert failed.value.code == "VFL0748"
    found = train_folds(2, tmp_path / "g", TrainOptions(threads=1, batch=4), one)
    assert [fold["validation_rows"] for fold in found["folds"]] == [6, 6]
    with pytest.raises(Failure) as failed:
        train_folds(2, tmp_path / "g", TrainOptions(threads=1, batch=4), one)
    assert failed.value.code == "VFL0624"
    with pytest.raises(Failure, match=r"VFL0627: .* started with 2 folds and cannot continue with 3"):
        train_folds(3, tmp_path / "g", TrainOptions(threads=1, batch=4, resume=True), one)
    with pytest.raises(Failure) as failed:
        RunFolder(tmp_path / "g")
    assert failed.value.code == "VFL0614" and str(tmp_path / "g" / "fold-1") in str(failed.value.help)
    with pytest.raises(Failure) as failed:  # a folder of something else
        train_folds(2, tmp_path, TrainOptions(threads=1, resume=True), one)
    assert failed.value.code == "VFL0624"
    again = train_folds(2, tmp_path / "g", TrainOptions(threads=1, batch=4, resume=True, epochs=2), one)
    assert [fold["saved"]["epoch"] for fold in again["folds"]] == [2, 2]


def test_groups_of_a_part_of_the_key(tmp_path: Path) -> None:
    spec = """
party a { key user, day  feature x: float }
party b { key user, day  feature y: float  label t: float }
predict t = dense(concat(a.x, b.y), 1)
objective mse(dense(concat(a.x, b.y), 1), b.t)
release a { to b: x, validation }
release b { to a: y, t }
train { batch 8  validation groups(a.user, 0.3) }
"""
    users = [f"u{i // 6}" for i in range(60)]
    numbers = [float(i) for i in range(60)]
    keys = {"user": users, "day": [i % 6 for i in range(60)]}
    given = {"a": pa.table(keys | {"x": numbers}), "b": pa.table(keys | {"y": numbers, "t": numbers})}
    compile_source(SourceText("m.vfl", spec)).write(tmp_path / "b")
    kept = [users[i] for i in loaded(tmp_path / "b", given).held_out]
    assert 6 <= len(kept) <= 30 and all(kept.count(user) == 6 for user in kept)

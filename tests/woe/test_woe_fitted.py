"""Weights of evidence in a run: fitted to its training rows, before the first step, where the label is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from party.partying import tensors, train_alone, train_together
from safetensors.numpy import load_file
from signing import sign
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from vflc_runtime.errors import Failure
from vflc_runtime.events import Event, TablesFitted
from vflc_runtime.run.evaluate import evaluate
from vflc_runtime.run.predict import predict
from vflc_runtime.run.train import TrainOptions, TrainResult, train
from woeing import CARD, bad_of, bins_of, compiled, evidence, tables

QUICK, TWICE = TrainOptions(epochs=1, threads=1), TrainOptions(epochs=2, threads=1)


def fitted(run: Path) -> dict[str, Any]:
    """By feature what its table was fitted to, which must be what the model has."""
    found, model = (
        json.loads((run / "bob" / "woe.json").read_text()),
        load_file(run / "bob" / "model.safetensors"),
    )
    for name, each in found.items():
        assert np.allclose(model[name][:, 0], [b["woe"] for b in each["bins"]], rtol=1e-12)
    return {each["feature"]: each for each in found.values()}


def woes(found: dict[str, Any]) -> list[float]:
    return [each["woe"] for each in found["bins"]]


def validated(text: str, condition: str) -> str:
    """The spec with rows for validation, which bob chooses and alice is told."""
    text = text.replace("column  Until:  int", f"column  Until:  int\n  column  Kept = {condition}")
    text = text.replace("epochs 4", "epochs 4 validation where bob.Kept best false")
    return text + "release bob { to alice: Status }\n"


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(CARD, tmp_path_factory.mktemp("card") / "bundle")


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return tables()


@pytest.fixture(scope="module")
def run(card: Path, data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    train(card, data, out, TrainOptions(epochs=12, batch=100, threads=1))
    return out


def test_evidence_and_information_are_those_of_a_calculation_by_hand(run: Path, data: dict[str, Any]) -> None:
    found, y = fitted(run), bad_of(data)
    for name, bins in bins_of(data).items():
        woe, information = evidence(bins, y, 5 if name == "Income" else 4)
        assert np.allclose(woes(found[f"alice.{name}"]), woe, rtol=1e-12)
        assert found[f"alice.{name}"]["information_value"] == pytest.approx(information, rel=1e-12)
    missing = bins_of(data)["Income"] == 0
    assert found["alice.Income"]["bins"][0]["with"] == y[missing].sum() > 0
    age = [each["with"] + each["without"] for each in found["bob.Age"]["bins"]]
    assert sum(age) == len(y) and max(age) - min(age) < 80, "quantiles of bob's own column"


def test_quality_is_that_of_a_logistic_regression_on_the_joined_table(
    run: Path, data: dict[str, Any], tmp_path: Path
) -> None:
    y, found = bad_of(data), fitted(run)
    columns = [evidence(bins, y, bins.max() + 1)[0][bins] for bins in bins_of(data).values()]
    age = data["bob"]["Age"].to_numpy()
    edges = np.unique(np.sort(age)[np.arange(1, 5) * len(age) // 5])
    bins = np.digitize(age, edges)
    columns.append(evidence(bins, y, 5)[0][bins])
    assert np.allclose(woes(found["bob.Age"]), evidence(bins, y, 5)[0], rtol=1e-12)
    joined = np.stack(columns, axis=1)
    fit = LogisticRegression(C=np.inf, tol=1e-8).fit(joined, y)
    expected = fit.predict_proba(joined)[:, 1]
    predict(run, data, tmp_path / "p.parquet")
    got = pq.read_table(tmp_path / "p.parquet").sort_by("ID")["bad"].to_numpy()
    assert np.abs(got - expected).max() < 0.01
    assert roc_auc_score(y, got) == pytest.approx(roc_auc_score(y, expected), abs=0.002)
    assert evaluate(run, data)["evaluation"]["auc"] == pytest.approx(roc_auc_score(y, got), abs=1e-6)


def test_rows_for_validation_do_not_enter(card: Path, data: dict[str, Any], tmp_path: Path) -> None:
    """A changed label in a row that is kept moves no table."""
    text = validated(CARD, "Until > 7").replace("to alice: Status", "to alice: Until")
    bundle = compiled(text, tmp_path / "bundle")
    train(bundle, data, tmp_path / "a", QUICK)
    kept = data["bob"]["Until"].to_numpy() > 7
    status = np.where(kept, "bad", data["bob"]["Status"].to_numpy(zero_copy_only=False))
    changed = data | {"bob": data["bob"].set_column(2, "Status", pa.array(status))}
    train(bundle, changed, tmp_path / "b", QUICK)
    a, b = fitted(tmp_path / "a"), fitted(tmp_path / "b")
    assert a == b
    bins = bins_of(data)["Income"][~kept]
    assert np.allclose(woes(a["alice.Income"]), evidence(bins, bad_of(data)[~kept], 5)[0], rtol=1e-12)


def test_weights_of_rows_count_and_so_do_rows_without_a_label(data: dict[str, Any], tmp_path: Path) -> None:
    text = CARD.replace("bob.bad)\nlogit", "bob.bad, weight = bob.Paid, smoothing = 2.5)\nlogit")
    text = text.replace('label   bad = Status == "bad"', 'label   bad = Status == "bad" -> masked')
    absent = np.arange(1200) % 5 == 0
    status = pa.array(data["bob"]["Status"].to_pylist(), mask=absent)
    partly = data | {"bob": data["bob"].set_column(2, "Status", status)}
    train(compiled(text, tmp_path / "bundle"), partly, tmp_path / "run", QUICK)
    weight = np.where(absent, 0, data["bob"]["Amount"].to_numpy())
    for name, bins in bins_of(data).items():
        woe, _ = evidence(bins, bad_of(data), bins.max() + 1, 2.5, weight)
        assert np.allclose(woes(fitted(tmp_path / "run")[f"alice.{name}"]), woe, rtol=1e-12)


def test_a_bin_of_one_class_and_one_without_rows(card: Path, data: dict[str, Any], tmp_path: Path) -> None:
    few = bins_of(data)["City"]
    status = np.where(few == 3, "bad", data["bob"]["Status"].to_numpy(zero_copy_only=False))
    city = np.where(few == 2, "a", data["alice"]["City"].to_numpy(zero_copy_only=False))
    changed = {
        "alice": data["alice"].set_column(2, "City", pa.array(city)),
        "bob": data["bob"].set_column(2, "Status", pa.array(status)),
    }
    train(card, changed, tmp_path / "run", QUICK)
    city = fitted(tmp_path / "run")["alice.City"]
    assert city["bins"][2] == {"bin": 2, "with": 0, "without": 0, "woe": 0}
    assert city["bins"][3]["without"] == 0 and 4 < city["bins"][3]["woe"] < np.log(1200)


def test_a_label_that_never_varies_is_refused_by_name(
    card: Path, data: dict[str, Any], tmp_path: Path
) -> None:
    text = validated(CARD, 'Status == "good"')
    with pytest.raises(Failure) as refused:
        train(compiled(text, tmp_path / "bundle"), data, tmp_path / "run", QUICK)
    assert refused.value.code == "VFL0770" and "bob.bad is 1 in all training rows" in refused.value.message


def test_a_label_that_is_no_class_is_refused_as_such(data: dict[str, Any], tmp_path: Path) -> None:
    """No metric measures it, so nothing but evidence asks for 0 or 1."""
    text = CARD.replace('label   bad = Status == "bad"', "label   bad = Until")
    text = text.replace("bce(logit, bob.bad)", "mse(logit, bob.bad)").replace(
        "bad = sigmoid(logit)", "bad = logit"
    )
    bundle = compiled(text.replace(" metrics auc", ""), tmp_path / "bundle")
    with pytest.raises(Failure, match=r"VFL0617: label bob.bad has values from 0 to 9"):
        train(bundle, data, tmp_path / "run", QUICK)


def test_counts_that_are_none_are_refused(card: Path, data: dict[str, Any], tmp_path: Path) -> None:
    """A plan changed by hand, with what is no count of a table's bins; and rows of too much weight."""
    bundle = Path(shutil.copytree(card, tmp_path / "bundle"))
    plan = json.loads((bundle / "bob" / "plan.json").read_text())
    plan["fits"][0]["counts"] = "bob.bad"
    (bundle / "bob" / "plan.json").write_text(json.dumps(plan))
    sign(bundle)
    with pytest.raises(Failure, match="VFL0613"):
        train(bundle, data, tmp_path / "run", QUICK)
    text = CARD.replace("bob.bad)\nlogit", "bob.bad, weight = bob.Paid)\nlogit")
    heavy = data["bob"].set_column(3, "Amount", pa.array([1e308] * 1200))
    with pytest.raises(Failure, match=r"VFL0611.*rows"):
        train(compiled(text, tmp_path / "heavy"), data | {"bob": heavy}, tmp_path / "other", QUICK)


def test_monotone_bins_only_rise_or_only_fall(data: dict[str, Any], tmp_path: Path) -> None:
    edges = ", ".join(map(str, range(0, 90, 3)))
    text = CARD.replace("bucketize(0, 20, 40, 60)", f"bucketize({edges})").replace("2.4 bits", "5 bits")
    text = text.replace(
        "x = woe(alice.features + bob.features, bob.bad)",
        "x = woe([alice.Income, bob.Age], bob.bad, monotone = true)",
    )
    train(compiled(text, tmp_path / "bundle"), data, tmp_path / "run", QUICK)
    found = fitted(tmp_path / "run")["alice.Income"]
    steps = np.diff(woes(found))
    assert (steps <= 0).all() and 3 < (steps < 0).sum() < 30
    rows = np.array([[b["with"], b["without"]] for b in found["bins"]])
    totals = rows.sum(axis=0)
    rows = rows + totals / totals.sum()
    fit = IsotonicRegression(increasing=False)
    share = rows[:, 0] / rows.sum(axis=1)
    share = fit.fit(np.arange(len(rows)), share, rows.sum(axis=1)).predict(np.arange(len(rows)))
    expected = np.log(share / (1 - share)) - np.log(totals[0] / totals[1])
    assert np.allclose(woes(found), expected, atol=1e-12)


def test_from_a_run_keeps_its_tables_and_refit_does_not(
    card: Path, run: Path, data: dict[str, Any], tmp_path: Path
) -> None:
    other = tables(900, seed=5)
    train(card, other, tmp_path / "kept", TrainOptions(epochs=1, threads=1, start=run))
    assert not (tmp_path / "kept" / "bob" / "woe.json").exists()
    before, after = (load_file(each / "bob" / "model.safetensors") for each in (run, tmp_path / "kept"))
    assert all((before[name] == after[name]).all() for name in before if ".woe." in name)
    train(card, other, tmp_path / "anew", TrainOptions(epochs=1, threads=1, start=run, refit=True))
    bins = bins_of(other)["Income"]
    assert np.allclose(woes(fitted(tmp_path / "anew")["alice.Income"]), evidence(bins, bad_of(other), 5)[0])
    changed = compiled(CARD.replace("bucketize(0, 20", "bucketize(0, 30"), tmp_path / "bundle")
    train(changed, other, tmp_path / "moved", TrainOptions(epochs=1, threads=1, start=run))
    assert "alice.Income" in fitted(tmp_path / "moved"), "other bins have other evidence"
    paid = compiled(CARD.replace("bob.bad)\nlogit", "bob.bad, weight = bob.Paid)\nlogit"), tmp_path / "paid")
    train(paid, other, tmp_path / "paying", TrainOptions(epochs=1, threads=1, start=run))
    assert "alice.Income" in fitted(tmp_path / "paying"), "rows that count otherwise have, too"


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_run_that_dies_once_it_has_fitted_ends_with_the_same_bits(
    card: Path, data: dict[str, Any], tmp_path: Path
) -> None:
    def listen(event: Event) -> None:
        if isinstance(event, TablesFitted):
            raise Killed

    with pytest.raises(Killed):
        train(card, data, tmp_path / "run", TWICE, listen)
    train(None, data, tmp_path / "run", replace(TWICE, resume=True))
    train(card, data, tmp_path / "whole", TWICE)
    assert tensors(tmp_path / "run", "alice", "bob") == tensors(tmp_path / "whole", "alice", "bob")


def test_between_parties_it_is_as_in_one_process(card: Path, data: dict[str, Any], tmp_path: Path) -> None:
    alone = train_alone(card, data, tmp_path / "alone", TWICE)
    results = train_together(card, data, tmp_path, TWICE)
    assert all(isinstance(each, TrainResult) for each in results.values()), results
    assert tensors(tmp_path / "bob", "bob") == tensors(alone, "bob")
    assert fitted(tmp_path / "bob") == fitted(alone)
    assert not (tmp_path / "alice" / "alice" / "woe.json").exists()
    sent = results["alice"].metrics["bytes_sent"]
    assert sent["alice.Income"] == 4 * 1200 * 3, "once to fit, and once in each of two epochs"

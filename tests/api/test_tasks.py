"""Losses and metrics of whole runs: trained on planted signals, with labels that lack, tie and differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from granting import granted
from sklearn.metrics import ndcg_score, roc_auc_score

import vflc
from vflc.diagnostics import SourceText
from vflc.driver import check_source

ROWS = 600
PARTIES = """
party alice {
  key ID
  feature User: int -> index(30)
}
party bob {
  key ID
  feature Item:  int -> index(20)
  column  Group: int
  column  Stars: int
  column  Y:     float
  %s
}
u     = embed(alice.User, dim = 4, scale = 0.5)
v     = embed(bob.Item, dim = 4, scale = 0.5)
fuse at bob {
  joint = mlp(concat(u, v), [16])
  score = dense(joint, 1)
}
"""
TRAIN = "train { epochs 8  batch 32  optimizer adam(lr = 0.02)  metrics %s }"


@pytest.fixture(scope="module")
def rows() -> dict[str, Any]:
    """Users and items with a planted taste; `good` is what a model can know at best."""
    rng = np.random.default_rng(3)
    user, item = rng.integers(0, 30, ROWS), rng.integers(0, 20, ROWS)
    good = rng.normal(0, 1, 30)[user] + rng.normal(0, 1, 20)[item]
    stars = np.digitize(good + rng.normal(0, 0.3, ROWS), [-1.0, 0.0, 1.0, 2.0]) + 1
    return {"ID": np.arange(ROWS), "User": user, "Item": item, "Group": user, "Stars": stars, "good": good}


def tables(rows: dict[str, Any], **columns: Any) -> dict[str, pa.Table]:
    given = {"Y": rows["good"], **{name: rows[name] for name in ("Group", "Stars")}, **columns}
    return {
        "alice": pa.table({"ID": rows["ID"], "User": rows["User"]}),
        "bob": pa.table({"ID": rows["ID"], "Item": rows["Item"], **given}),
    }


def model(label: str, tail: str, metrics: str = "auc") -> Any:
    return vflc.compile(granted(PARTIES % label + tail + "\n" + TRAIN % metrics), name="tasks")


def predicted(run: Any, data: dict[str, pa.Table], name: str) -> Any:
    """A prediction of all rows, in the order of the table, not of the keys."""
    found = run.predict(data)
    return found[name].to_numpy()[np.argsort([int(key) for key in found["ID"].to_pylist()])]


def reached(run: Any) -> dict[str, Any]:
    found: dict[str, Any] = run.metrics["train"]
    return found


def test_ranking_losses_find_a_planted_taste(rows, tmp_path):
    """Rows are what users chose: each chose items near its own, and no label says so."""
    rng = np.random.default_rng(0)
    user = rng.integers(0, 30, ROWS)
    near = (user * 20 // 30 + rng.integers(-1, 2, ROWS)) % 20
    taken = rng.random(ROWS) < 0.5
    asked = {**rows, "User": user, "Item": np.where(taken, near, rng.integers(0, 20, ROWS))}
    data = tables(asked, bought=taken.astype(int))
    for objective in ("info_nce(u, v, weight = bob.W)", "bpr(dot(u, v), sampled(v, 4) @ u, weight = bob.W)"):
        tail = f"predict bought = sigmoid(dot(u, v)) of bob.bought\nobjective {objective}"
        spec = "label bought: int\n  weight W = bought"
        run = model(spec, tail, "auc, gauc by Group").fit(data, out=tmp_path / objective[:3])
        found = run.evaluate(data)
        assert found["auc"] > 0.75 and found["gauc by Group"] > 0.7, (objective, found)


def test_ordered_classes_and_their_metrics(rows, tmp_path):
    tail = "cuts = thresholds(5)\npredict star = class_shares(score, cuts)\n"
    tail += "objective ordinal(score, bob.star, cuts)"
    asked = model("label star = Stars -> vocab(1..5)", tail, "accuracy, auc")
    run = asked.fit(tables(rows), out=tmp_path / "o")
    assert reached(run)["auc"] > 0.85 and reached(run)["accuracy"] > 0.5
    found = run.predict({name: table.slice(0, 50) for name, table in tables(rows).items()})
    shares = np.stack([found[f"star.{i}"].to_numpy() for i in range(1, 6)], 1)
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-5)


def test_a_mean_and_a_variance(rows, tmp_path):
    rng = np.random.default_rng(1)
    noisy = rows["good"] + rng.normal(0, 1, ROWS) * np.where(rows["Item"] < 10, 0.1, 1.5)
    tail = "spread = softplus(dense(joint, 1)) at bob\npredict y = score\npredict wide = spread\n"
    tail += "objective gaussian_nll(score, spread, bob.y)"
    run = model("label y = Y", tail, "rmse").fit(tables(rows, Y=noisy), out=tmp_path / "g")
    wide = predicted(run, tables(rows, Y=noisy), "wide")
    assert wide[rows["Item"] >= 10].mean() > 3 * wide[rows["Item"] < 10].mean()


def test_masked_rows_count_nothing_and_balanced_classes_alike(rows, tmp_path):
    """Against a run with weights that say the same by hand: the same weights to the bit."""
    rng = np.random.default_rng(2)
    known = rng.random(ROWS) < 0.6
    liked = rows["good"] > 1
    label = pa.array(np.where(liked, 1.0, 0.0), mask=~known)
    counts = np.where(liked, 1 / liked[known].sum(), 1 / (~liked)[known].sum()) * known.sum() / 2
    by_hand = pa.array(np.where(known, counts, 0.0).astype(np.float32))
    tail = "predict liked = sigmoid(score)\nobjective bce(score, bob.liked%s)"
    asked = model("label liked: float -> masked -> balanced", tail % "", "auc, accuracy")
    run = asked.fit(tables(rows, liked=label), out=tmp_path / "m")
    plain = model("label liked: float -> missing(0)\n  weight W: float", tail % ", weight = bob.W", "auc")
    other = plain.fit(tables(rows, liked=label, W=by_hand), out=tmp_path / "w")
    for name, weight in run.weights.items():
        np.testing.assert_allclose(weight, other.weights[name], rtol=2e-4, atol=1e-5)
    shown = predicted(run, tables(rows, liked=label), "liked")
    scores = run.evaluate(tables(rows, liked=label))
    assert scores["auc"] == pytest.approx(roc_auc_score(liked[known], shown[known]), abs=1e-6)
    right = (shown > 0.5) == liked
    assert scores["accuracy"] == pytest.approx(right[known].mean())
    with pytest.raises(vflc.Error, match="even_liked has no values in the training rows"):
        asked.fit(tables(rows, liked=pa.nulls(ROWS, pa.float64())), out=tmp_path / "none")
    one = pa.array(np.ones(ROWS), mask=~known)
    with pytest.raises(vflc.Error, match=f"liked is 1 in all {known.sum()} rows"):
        asked.fit(tables(rows, liked=one), out=tmp_path / "one")


def test_columns_of_a_family_of_masked_labels_are_named():
    tail = "z = dense(joint, 2) at bob\npredict L{1..2} = sigmoid(z)\nobjective bce(z, bob.L{1..2})\n"
    text = PARTIES % "label L{1..2}: int -> masked" + tail + TRAIN % "auc"
    found = [each for each in check_source(SourceText("s.vfl", text)) if each.code == "VFL0340"]
    assert any(name in each.message for each in found for name in ("L1, has_L1", "has_L1, has_L2"))


def test_masked_classes_and_a_loss_by_hand(rows, tmp_path):
    stars = pa.array(rows["Stars"], mask=np.arange(ROWS) % 4 == 0)
    spec = "label star = Stars -> vocab(1..5) -> masked -> balanced\n  label y = Y -> masked"
    tail = "z = dense(joint, 5) at bob\npredict star = softmax(z)\npredict y = score of bob.y\n"
    tail += "objective cce(z, bob.star, smoothing = 0.1) + mean(abs(score - bob.y))"
    y = pa.array(np.where(np.arange(ROWS) % 3 == 0, 1e3, rows["good"]), mask=np.arange(ROWS) % 3 == 0)
    run = model(spec, tail, "accuracy, rmse").fit(tables(rows, Stars=stars, Y=y), out=tmp_path / "c")
    assert reached(run)["star.accuracy"] > 0.4 and reached(run)["y.rmse"] < 1.0


def test_several_labels_are_a_loss_and_a_prediction_each(rows, tmp_path):
    """As three terms by hand, to the bit."""
    labels = {f"L{i}": (rows["good"] > i - 2).astype(int) for i in (1, 2, 3)}
    head = "z = dense(joint, 3) at bob\n"
    family = head + "predict L{1..3} = sigmoid(z)\nobjective bce(z, bob.L{1..3})"
    parts = [f"slice(z, part, {i}, {i + 1})" for i in range(3)]
    apart = head + "".join(f"predict L{i + 1} = sigmoid({part})\n" for i, part in enumerate(parts))
    apart += "objective " + " + ".join(f"{1 / 3} * bce({part}, bob.L{i + 1})" for i, part in enumerate(parts))
    declared = "label L{1..3}: int"
    one, other = (
        model(declared, tail).fit(tables(rows, **labels), out=tmp_path / name)
        for tail, name in ((family, "family"), (apart, "apart"))
    )
    assert reached(one).keys() == reached(other).keys() and reached(one)["L2.auc"] > 0.8
    assert reached(one)["loss"] == pytest.approx(reached(other)["loss"], rel=1e-6)
    for name, weight in one.weights.items():
        np.testing.assert_allclose(weight, other.weights[name], atol=1e-5)


def test_metrics_of_groups_are_computed_of_what_is_predicted(rows, tmp_path):
    tail = "predict liked = sigmoid(score)\nobjective bce(score, bob.liked)"
    names = "ndcg(3) by Group, lift(0.2), thresholds(4)  validation 0.3  monitor ndcg(3) by Group"
    run = model("label liked = Stars > 3", tail, names).fit(tables(rows), out=tmp_path / "n")
    assert (
        run.metrics["best"]["metric"] == "ndcg(3) by Group" and run.metrics["validation"]["lift(0.2)"] > 1.5
    )
    found = run.evaluate(tables(rows))
    shown, liked = predicted(run, tables(rows), "liked"), rows["Stars"] > 3
    each = [(liked[rows["Group"] == g], shown[rows["Group"] == g]) for g in range(30)]
    wanted = np.mean([ndcg_score([y], [s], k=3) for y, s in each if y.any()])
    assert found["ndcg(3) by Group"] == pytest.approx(wanted, abs=1e-9)
    assert found["thresholds(4).share at 0.5"] == pytest.approx((shown > 0.5).mean())


def test_a_key_groups_rows_as_a_column_of_it_does():
    tail = "predict liked = sigmoid(score)\nobjective bce(score, bob.liked)\n"
    tail += TRAIN % "gauc by ID  validation 0.2  monitor gauc by ID"
    label = "label liked = Stars > 3"
    found = [
        vflc.compile(granted(PARTIES % told + tail), name="s").manifest
        for told in (label, f"{label}\n  column ID: string")
    ]
    assert found[0]["learned"] == found[1]["learned"] and found[0]["edges"] == found[1]["edges"]
    assert "ID" in {each["column"] for each in found[0]["learned"]}


@pytest.mark.parametrize(
    ("label", "metrics", "code", "words"),
    [
        ("label liked = Stars > 3", "lift", "VFL0107", "lift(0.1)"),
        ("label liked = Stars > 3", "lift(2)", "VFL0205", "lift"),
        ("label liked = Stars > 3", "ndcg(10)", "VFL0107", "by UserID"),
        ("label liked = Stars > 3", "ndcg(1, 2) by Group", "VFL0107", "one number"),
        ("label liked = Stars > 3", 'ndcg("a") by Group', "VFL0203", "number"),
        ("label liked = Stars > 3", "auc by Group", "VFL0107", "auc"),
        ("label liked = Stars > 3", "gauc by Grup", "VFL0221", "Group"),
        ("label liked = Stars > 3", "mrr by Group, gauc by Grop", "VFL0221", "did you mean `Group`"),
        ("label liked = Stars > 3", "gauc by Item", "VFL0221", "feature"),
        ("label liked = Stars > 3", "gauc by Y", "VFL0221", "whole numbers"),
        ("label liked = Stars > 3", "auc  monitor thresholds(5)", "VFL0203", "table"),
        ("label liked = Stars > 3", "auc  patience 2 by Group", "VFL0203", "metric"),
        ("label liked = Stars > 3", "ndgc(3) by Group", "VFL0106", "ndcg"),
        ("label liked = Y -> standardize", "gauc by Group", "VFL0203", "measure"),
        ("label liked: int -> masked(1)", "auc", "VFL0107", "masked"),
        ("label liked: int -> masked -> masked", "auc", "VFL0222", "twice"),
        ("label liked: int -> masked -> scale(2)", "auc", "VFL0222", "before"),
        ("label liked = Stars > 3\n  feature F: float -> masked", "auc", "VFL0222", "only a label"),
        ("label liked = Stars > 3 -> masked\n  column has_liked: int", "auc", "VFL0102", "has_liked"),
    ],
)
def test_mistakes_are_told(label, metrics, code, words):
    tail = "predict liked = score\nobjective mse(score, bob.liked)\n"
    if "gauc by Group" not in metrics:
        tail = "predict liked = sigmoid(score)\nobjective bce(score, bob.liked)\n"
    text = PARTIES % label + tail + TRAIN % metrics
    found = [each for each in check_source(SourceText("s.vfl", text)) if each.code != "VFL0340"]
    said = [(each.code, f"{each.message} {each.help}") for each in found if each.level == "error"]
    assert said and all(each == code for each, _ in said), said
    assert words in said[0][1]

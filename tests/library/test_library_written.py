"""Blocks of the library beside their papers' formulas in numpy, and beside scikit-learn on one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from granting import granted
from library.library_specs import PARTIES, rows, spec
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from vflc_runtime.run.session import Session

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

Array = np.ndarray[Any, Any]


def session(text: str, folder: Path, precision: str = "float64", unsplit: bool = True) -> Session:
    compile_source(SourceText("library.vfl", text), precision=precision, unsplit=unsplit).write(folder)
    return Session(folder, seed=3, threads=1)


def trained(name: str, folder: Path, steps: int = 3, each: int = 64) -> Session:
    made = session(spec(name), folder)
    for seed in range(steps):
        made.step(rows(each, seed, np.float64))
    return made


def embedded(weights: dict[str, Array], batch: dict[str, Array]) -> Array:
    """The embeddings of the parties' fields [rows, field, k], where the parts are called `a` and `b`."""
    liked = weights["a.liked"][batch["alice.liked"]] * (batch["alice.liked"] >= 0)[..., None]
    fields = [
        weights["a.user"][batch["alice.user"]],
        batch["alice.age"] * weights["a.age"],
        liked.sum(1),
        weights["b.item"][batch["bob.item"]],
        batch["bob.price"] * weights["b.price"],
    ]
    return np.stack(fields, axis=1)


def dense(weights: dict[str, Array], name: str, x: Array) -> Array:
    return x @ weights[f"{name}.kernel"] + weights.get(f"{name}.bias", 0.0)


def same(made: Session, batch: dict[str, Array], logits: Array) -> None:
    assert np.abs(logit(made.predict(batch)["y"]) - logits).max() < 1e-9


def test_the_compressed_interaction_network(tmp_path: Path):
    """Equation 6 of the paper: a map sums, with weights, Hadamard products of all pairs of vectors."""
    made, batch = trained("xDeepFMTop", tmp_path), rows(40, 9, np.float64)
    weights = made.weights()
    e = embedded(weights, batch)
    maps = [weights[f"logit.CIN.products.{i}.weight"] for i in range(1, 6)]
    pooled = [np.einsum("hm,rhk,rmk->rk", w, e, e).sum(1) for w in maps]
    deep = np.maximum(dense(weights, "logit.deep.mlp.0", e.reshape(len(e), -1)), 0)
    same(made, batch, dense(weights, "logit.dense", np.concatenate([np.stack(pooled, 1), deep], axis=1)))


def test_squeeze_and_excitation_and_bilinear_products(tmp_path: Path):
    """Equations 3 to 8 of the paper, one matrix for all pairs (Field-All)."""
    made, batch = trained("FiBiNETTop", tmp_path), rows(40, 9, np.float64)
    weights = made.weights()
    e = embedded(weights, batch)
    less = np.maximum(dense(weights, "logit.x.SENET.less.dense", e.mean(axis=2)), 0)
    each = np.maximum(dense(weights, "logit.x.SENET.each.dense", less), 0)

    def pairs(v: Array, name: str) -> list[Array]:
        turned = v @ weights[f"{name}.turned.dense.kernel"]
        return [turned[:, i] * v[:, j] for i in range(5) for j in range(i + 1, 5)]

    products = pairs(e, "logit.x.Bilinear") + pairs(e * each[..., None], "logit.x.Bilinear_2")
    hidden = np.maximum(dense(weights, "logit.mlp.0", np.concatenate(products, axis=1)), 0)
    same(made, batch, dense(weights, "logit.dense", hidden))


def test_the_probability_of_both_is_the_product(tmp_path: Path):
    z = "predict z = sigmoid(out[1])"
    made = session(spec("ESMMTop").replace(z, f"{z}\npredict after = sigmoid(m.after)"), tmp_path)
    for seed in range(3):
        made.step(rows(64, seed, np.float64))
    found = made.predict(rows(40, 9, np.float64))
    assert np.abs(found["y"] * found["after"] - found["z"]).max() < 1e-12


def test_what_must_rise_rises(tmp_path: Path):
    """More age never lowers the logit, more price never raises it, though others go either way."""
    made, batch = trained("Monotone", tmp_path, 60), rows(300, 9, np.float64)
    first = made.predict(batch)["y"].copy()
    for name, sign in (("alice.age", 1), ("bob.price", -1)):
        more = made.predict({**batch, name: batch[name] + sign * np.abs(rows(300, 10, np.float64)[name])})[
            "y"
        ]
        assert (more >= first).all() and (more > first).mean() > 0.9
    assert roc_auc_score(batch["bob.y"], first) > 0.8


CARD = granted(
    "use credit.{Scorecard, Points}\n"
    + PARTIES
    + "logit = Scorecard([alice.user, bob.item])\npredict y = sigmoid(logit)\n"
    "predict points = Points(logit)\n"
    "objective bce(logit, bob.y)\ntrain { optimizer adam(lr = 0.1)\n batch 2000 }\n"
)


def test_a_scorecard_is_the_logistic_regression_of_its_bins(tmp_path: Path):
    """scikit-learn's, on the joined table's bins; points at odds of 50 to 1 are 600, at 100 to 1 620."""
    made, batch, new = (
        session(CARD, tmp_path, unsplit=False),
        rows(2000, 1, np.float64),
        rows(1000, 2, np.float64),
    )
    for _ in range(150):
        made.step(batch)

    def bins(of: dict[str, Array]) -> Array:
        return np.concatenate([np.eye(12)[of["alice.user"]], np.eye(15)[of["bob.item"]]], axis=1)

    best = LogisticRegression(C=1e6, max_iter=1000).fit(bins(batch), batch["bob.y"].ravel())
    found = made.predict(new)
    assert np.abs(found["y"].ravel() - best.predict_proba(bins(new))[:, 1]).max() < 0.01
    odds = (1 - found["y"]) / found["y"]
    assert np.abs(found["points"] - (600 + 20 * np.log2(odds / 50))).max() < 1e-6
    measured = [metric.name for plan in made.bundle.plans.values() for metric in plan.metrics]
    assert measured == ["y"]  # points are no probability: they are written, and not measured as one


@pytest.mark.parametrize("name", ["xDeepFM", "FiBiNET", "ESMM"])
def test_a_planted_signal_is_found(name: str, tmp_path: Path):
    """Tastes of pairs of a user and an item, which no weighted sum of the joined table can have."""
    made, batch, new = (
        trained(name, tmp_path, 300, 256),
        rows(6000, 500, np.float64),
        rows(2000, 99, np.float64),
    )

    def table(of: dict[str, Array]) -> Array:
        ids = [np.eye(12)[of["alice.user"]], np.eye(15)[of["bob.item"]]]
        return np.concatenate([*ids, of["alice.age"], of["bob.price"]], axis=1)

    best = LogisticRegression(max_iter=1000).fit(table(batch), batch["bob.y"].ravel())
    linear = roc_auc_score(new["bob.y"], expit(best.decision_function(table(new))))
    found = roc_auc_score(new["bob.y"], made.predict(new)["y"])
    assert found > linear + (
        -0.02 if name == "ESMM" else 0.005
    )  # which has two tasks to learn in as many steps

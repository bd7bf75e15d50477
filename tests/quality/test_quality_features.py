"""Columns as tables have them, and layers: each finds a planted signal that needs it.

Each signal has a logit of its own, of one feature alone, and is unknown to a model without the encoder or the
layer. The peers are scikit-learn's, given the same by hand.
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from granting import granted
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import vflc

Numbers = np.ndarray[Any, Any]
ROWS, TRAINED = 800, 600
RNG = np.random.default_rng(5)


def drawn(codes: int) -> Numbers:
    return RNG.integers(0, codes, ROWS)


def flipped(truth: Numbers) -> Numbers:
    """A tenth of the labels say the opposite."""
    return (truth ^ (RNG.random(ROWS) < 0.1)).astype(int)


WORDS = np.array(["good", "bad", "blue", "red", "so", "very", "it"])
DAY, HOUR, CITY, SEX, SHOP, KIND = drawn(7), drawn(24), drawn(6), drawn(2), drawn(9), drawn(3)
TEXT, TAGS = RNG.integers(0, 7, (ROWS, 5)), RNG.integers(0, 6, (ROWS, 3))
PLACE, VECTOR, PAST = RNG.normal(size=ROWS), RNG.normal(size=(ROWS, 4)), RNG.integers(0, 8, (ROWS, 6))
LOST, AMOUNT, FLAG = RNG.random(ROWS) < 0.4, RNG.normal(size=ROWS), drawn(2)
START = datetime.date(2026, 1, 5)  # a Monday


def one_hot(codes: Numbers) -> Numbers:
    return np.eye(int(codes.max()) + 1)[codes]


def counts(codes: Numbers) -> Numbers:
    return one_hot(codes).sum(axis=1)


COLUMNS: dict[str, tuple[str, list[Any], Numbers, Numbers]] = {
    # the column's declaration, its values, the planted label, and what the peer is given
    "weekday": (
        "date -> weekday -> index(7)",
        [START + datetime.timedelta(days=int(d) + 7 * i) for i, d in enumerate(DAY)], DAY >= 5, one_hot(DAY),
    ),
    "cyclic": (
        "timestamp -> hour -> cyclic(24)", [f"2026-01-05 {h:02}:30:00" for h in HOUR], (HOUR + 6) % 24 < 12,
        np.stack([np.sin(HOUR * np.pi / 12), np.cos(HOUR * np.pi / 12)], axis=1),
    ),
    "bool": ("bool", [["no", "yes"][f] for f in FLAG], FLAG == 1, FLAG[:, None]),
    "comma": (
        'float(",") -> standardize', [f"{x:.4f}".replace(".", ",") for x in AMOUNT],
        AMOUNT > 0, AMOUNT[:, None],
    ),
    "quantiles": (
        "float -> quantiles(6)", PLACE.tolist(), np.abs(PLACE) < 0.7,
        one_hot(np.digitize(PLACE, np.quantile(PLACE, np.arange(1, 6) / 6))),
    ),
    "vocab": (
        "string -> vocab(fit, max = 20)", [f"shop {s}" for s in SHOP], SHOP % 3 == 0, one_hot(SHOP),
    ),
    "text": (
        'string -> lower -> words -> vocab("good", "bad", default = other)',
        [" ".join(WORDS[t]).title() for t in TEXT],
        (TEXT == 0).sum(axis=1) > (TEXT == 1).sum(axis=1), counts(TEXT),
    ),
    "list": (
        "list(string) -> hash(50)", [[f"t{t}" for t in row] for row in TAGS],
        (TAGS < 2).any(axis=1), counts(TAGS),
    ),
    "vector": ("vector(4) -> standardize", VECTOR.tolist(), VECTOR @ [1, -1, 2, 0] > 0, VECTOR),
    "missing": (
        "float -> missing(median) -> standardize",
        [None if lost else float(k) for lost, k in zip(LOST, KIND, strict=True)],
        np.where(LOST, False, KIND == 2), np.where(LOST, 1, KIND)[:, None],
    ),
}  # fmt: skip
PLANE = VECTOR[:, :2]
NEAR, ALIKE = np.hypot(*PLANE.T) < 1.18, PLANE.prod(axis=1) > 0
LAYERS: dict[str, tuple[str, Numbers, Numbers]] = {
    # a logit of the columns n{1..2} and `past`, the label, and what a peer without the layer is given
    "swish": ("dense(dense(N, 8, activation = swish), 1)", NEAR, PLANE),
    "prelu": ("dense(prelu(dense(N, 8)), 1)", NEAR, PLANE),
    "layer_norm": ("dense(layer_norm(dense(N, 8, activation = relu)), 1)", ALIKE, PLANE),
    "batch_norm": ("dense(batch_norm(dense(N, 8, activation = relu)), 1)", ALIKE, PLANE),
    "attention": (
        "dense(flatten(multi_head_attention(P, P, heads = 2)), 1)", PAST[:, 0] < 4, counts(PAST)
    ),
    "average_pool1d": (
        "dense(flatten(average_pool1d(P, size = 3)), 1)", (PAST[:, :3] < 2).sum(axis=1) > 1, counts(PAST)
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Numbers], dict[str, Numbers]]:
    """Of each signal the labels of the rows that were not trained on, and what is predicted for them."""
    truth = {name: flipped(truth) for name, (*_, truth, _) in {**COLUMNS, **LAYERS}.items()}
    alice = {"ID": np.arange(ROWS), "past": [" ".join(f"i{p}" for p in row) for row in PAST]}
    alice |= {"n1": VECTOR[:, 0], "n2": VECTOR[:, 1]}
    spec = "party alice {\n key ID  feature n{1..2}: float\n"
    spec += ' feature past: string -> split(" ") -> hash(64) -> sequence(max = 6)\n'
    for name, (declared, values, *_) in COLUMNS.items():
        spec += f" feature {name}: {declared}\n"
        alice[name] = pa.array(values)
    spec += "}\nparty bob {\n key ID\n" + "".join(f" label y_{name}: int\n" for name in truth) + "}\n"
    spec += "N = concat(alice.n{1..2})\nP = lookup(table(64, 8, scale = 0.5), alice.past) + positions\n"
    spec += "positions = weight(6, 8, scale = 0.5)\n"
    logits = {name: f"dense(flatten(embed([alice.{name}], dim = 4)), 1)" for name in COLUMNS}
    for name, written in {**logits, **{name: layer for name, (layer, *_) in LAYERS.items()}}.items():
        spec += f"h_{name} = {written} at alice\nz_{name} = 1 * h_{name} at bob\n"
        spec += f"predict p_{name} = sigmoid(z_{name})\nobjective bce(z_{name}, bob.y_{name})\n"
    spec += "train { batch 50  epochs 30  optimizer adam(lr = 0.02) }\n"
    bob = {"ID": np.arange(ROWS)} | {f"y_{name}": labels for name, labels in truth.items()}
    tables = {"alice": pa.table(alice), "bob": pa.table(bob)}
    run = vflc.compile(granted(spec), name="features").fit(
        {party: table.slice(0, TRAINED) for party, table in tables.items()},
        out=tmp_path_factory.mktemp("features") / "run", threads=1,
    )  # fmt: skip
    found = run.predict({party: table.slice(TRAINED) for party, table in tables.items()}).sort_by("ID")
    return truth, {name: found[f"p_{name}"].to_numpy() for name in truth}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_is_read_as_well_as_by_hand(name: str, predicted: Any) -> None:
    truth, found = predicted
    labels, given = truth[name], COLUMNS[name][-1]
    peer = LogisticRegression(max_iter=1000).fit(given[:TRAINED], labels[:TRAINED])
    best = roc_auc_score(labels[TRAINED:], peer.decision_function(given[TRAINED:]))
    assert roc_auc_score(labels[TRAINED:], found[name]) > best - 0.03 > 0.75


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_finds_what_a_linear_model_cannot(name: str, predicted: Any) -> None:
    truth, found = predicted
    labels, given = truth[name], LAYERS[name][-1]
    linear = LogisticRegression(max_iter=1000).fit(given[:TRAINED], labels[:TRAINED])
    without = roc_auc_score(labels[TRAINED:], linear.decision_function(given[TRAINED:]))
    assert roc_auc_score(labels[TRAINED:], found[name]) > max(0.8, without + 0.1), without


LACKING = granted("""
party bank { key ID  missing party allowed  feature income: float }
party shop { key ID  feature price: float  label liked: int }
a = dense(bank.income, 4)
logit = dense(concat(a, shop.price), 1) at shop
predict liked = sigmoid(logit)
objective bce(logit, shop.liked)
train { batch 50  epochs 20  optimizer adam(lr = 0.03)  drop bank 0.2  push_down false }
""")


def test_rows_that_a_party_lacks_are_predicted_as_well_as_without_it(tmp_path: Any) -> None:
    """And the others as well as from the joined table: by a regression of each kind of rows."""
    income, price, there = VECTOR[:, 0], VECTOR[:, 1], VECTOR[:, 2] > -0.3
    liked, trained = flipped(income + 1.5 * price > 0), np.arange(ROWS) < TRAINED
    tables = {
        "bank": pa.table({"ID": np.flatnonzero(there), "income": income[there]}),
        "shop": pa.table({"ID": np.arange(ROWS), "price": price, "liked": liked}),
    }
    known = {party: table.filter(pc.less(table["ID"], TRAINED)) for party, table in tables.items()}
    new = {party: table.filter(pc.greater_equal(table["ID"], TRAINED)) for party, table in tables.items()}
    run = vflc.compile(LACKING, name="lacking").fit(known, out=tmp_path / "run", threads=1)
    table = run.predict(new)
    found = table["liked"].to_numpy()[np.argsort([int(key) for key in table["ID"].to_pylist()])]
    for rows, columns in ((there, [income, price]), (~there, [price])):
        x, old, late = np.stack(columns, axis=1), rows & trained, rows & ~trained
        peer = LogisticRegression().fit(x[old], liked[old])
        best = roc_auc_score(liked[late], peer.decision_function(x[late]))
        assert roc_auc_score(liked[late], found[rows[TRAINED:]]) > best - 0.03 > 0.6

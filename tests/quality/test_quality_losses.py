"""Each loss, trained to its end on two parties' columns, beside scikit-learn on the joined table.

All heads of the one model have weights of their own, so that each is trained as if it were alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from granting import granted
from scipy.special import expit, logit
from sklearn import linear_model as linear
from sklearn import metrics
from sklearn.svm import LinearSVC
from vflc_runtime.run.session import Session

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

Numbers = np.ndarray[Any, Any]
ROWS, STEPS = 300, 500
X = "concat(alice.a{1..3}, bob.b)"


def data() -> dict[str, Numbers]:
    rng = np.random.default_rng(11)
    x = rng.normal(size=(ROWS, 4))
    signal = x @ [1.0, -0.5, 0.25, 0.75]
    spread = np.exp(0.5 * x[:, 0])
    noisy = signal + 0.5 * rng.normal(size=ROWS)
    return {
        "x": x,
        "signal": signal,
        "click": (signal + rng.logistic(size=ROWS) > 0).astype(float),
        "grade": np.digitize(noisy, [-0.7, 0.7]),
        "y": noisy,
        "centred": noisy - noisy.mean(),
        "wild": np.where(rng.random(ROWS) < 0.15, 20.0, noisy),
        "visits": rng.poisson(np.exp(0.5 * signal)).astype(float),
        "uneven": signal + spread * rng.normal(size=ROWS),
        "w": rng.uniform(0.2, 3, ROWS),
    }


DATA = data()
TABLE: Numbers = DATA["x"]
NOT_LABELS = ("x", "grade", "w", "signal")


class Head(NamedTuple):
    """A loss of a score `h`, what is predicted, the peer's prediction, and what is small for a good one."""

    objective: str
    predict: str
    peer: Callable[[], Numbers]
    measure: Callable[[Numbers], float]
    within: float = 1.01
    score: str = f"dense({X}, 1)"


def clicks(**options: Any) -> Callable[[], Numbers]:
    fitting = {"sample_weight": options.pop("sample_weight", None)}
    model = linear.LogisticRegression(C=1e9, max_iter=1000)
    return lambda: model.fit(TABLE, DATA["click"], **fitting).predict_proba(TABLE)[:, 1]


def regression(model: Any, label: str) -> Callable[[], Numbers]:
    return lambda: model.fit(TABLE, DATA[label]).predict(TABLE)


def nll(found: Numbers) -> float:
    mean, variance = found.T
    return float((0.5 * np.log(variance) + 0.5 * (DATA["uneven"] - mean) ** 2 / variance).mean())


def even() -> Numbers:
    """The best that one variance for all rows reaches."""
    mean = regression(linear.LinearRegression(), "uneven")()
    return np.stack([mean, np.full(ROWS, ((DATA["uneven"] - mean) ** 2).mean())], axis=1)


def of(
    measure: Callable[..., float], label: str, sign: int = 1, **options: Any
) -> Callable[[Numbers], float]:
    return lambda found: sign * measure(DATA[label], found, **options)


PLAIN = f"dense({X}, 1, bias = false)"
GRADES = linear.LogisticRegression(C=1e9, max_iter=1000)
SVM = LinearSVC(loss="hinge", C=1, max_iter=100_000)
RIDGE, LASSO = linear.Ridge(ROWS * 0.1, fit_intercept=False), linear.Lasso(0.1, fit_intercept=False)
MIDDLE, HIGH = (linear.QuantileRegressor(quantile=q, alpha=0) for q in (0.5, 0.9))
LOG_LOSS, SQUARES = of(metrics.log_loss, "click"), of(metrics.mean_squared_error, "y")
HEADS = {
    "bce": Head("bce(H, bob.click)", "sigmoid(H)", clicks(), LOG_LOSS),
    "own": Head("mean(softplus(H) - bob.click * H)", "sigmoid(H) of bob.click", clicks(), LOG_LOSS),
    "weighted": Head(
        "bce(H, bob.click, weight = bob.w)", "sigmoid(H)", clicks(sample_weight=DATA["w"]),
        of(metrics.log_loss, "click", sample_weight=DATA["w"]),
    ),
    "focal": Head("focal(H, bob.click)", "sigmoid(H)", clicks(), of(metrics.roc_auc_score, "click", -1)),
    "hinge": Head(
        "hinge(H, bob.click)", "sigmoid(H)",
        lambda: expit(SVM.fit(TABLE, DATA["click"]).decision_function(TABLE)),
        lambda found: float(np.maximum(0, 1 - (2 * DATA["click"] - 1) * logit(found)).mean()),
    ),
    "cce": Head(
        "cce(H, bob.grade)", "softmax(H)",
        lambda: GRADES.fit(TABLE, DATA["grade"]).predict_proba(TABLE), of(metrics.log_loss, "grade"),
        score=f"dense({X}, 3)",
    ),
    "ordinal": Head(
        "ordinal(H, bob.grade, cuts)", "class_shares(H, cuts)",
        lambda: GRADES.fit(TABLE, DATA["grade"]).predict_proba(TABLE), of(metrics.log_loss, "grade"), 1.05,
        score=PLAIN,
    ),
    "mse": Head("mse(H, bob.y)", "H", regression(linear.LinearRegression(), "y"), SQUARES),
    "ridge": Head(
        "mse(H, bob.centred) + l2(0.2, H.weights)", "H", regression(RIDGE, "centred"),
        lambda found: metrics.mean_squared_error(RIDGE.predict(TABLE), found) + 0.05, score=PLAIN,
    ),
    "lasso": Head(
        "mse(H, bob.centred) + l1(0.2, H.weights)", "H", regression(LASSO, "centred"),
        lambda found: metrics.mean_squared_error(LASSO.predict(TABLE), found) + 0.05, score=PLAIN,
    ),
    "mae": Head("mae(H, bob.wild)", "H", regression(MIDDLE, "wild"), of(metrics.mean_absolute_error, "wild")),
    "quantile": Head(
        "quantile(H, bob.y, q = 0.9)", "H", regression(HIGH, "y"),
        of(metrics.mean_pinball_loss, "y", alpha=0.9),
    ),
    "huber": Head(
        "huber(H, bob.wild, delta = 0.5)", "H", regression(linear.HuberRegressor(alpha=0), "wild"),
        of(metrics.mean_squared_error, "signal"), 1.1,
    ),
    "poisson": Head(
        "poisson(H, bob.visits)", "exp(H) of bob.visits",
        regression(linear.PoissonRegressor(alpha=0, max_iter=1000), "visits"),
        of(metrics.mean_poisson_deviance, "visits"),
    ),
    "gaussian_nll": Head(
        "gaussian_nll(H, width, bob.uneven)", "concat(H, width) of bob.uneven", even, nll, 0.93
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Numbers]:
    labels = "".join(f"  label {name}: float\n" for name in DATA if name not in NOT_LABELS)
    labels += "  label grade: int -> vocab(0..2)"
    spec = (
        "party alice { key ID  feature a{1..3}: float }\n"
        f"party bob {{ key ID  feature b: float  weight w: float\n{labels} }}\n"
        f"width = softplus(dense({X}, 1))\ncuts = thresholds(3)\n"
        "train { optimizer adam(lr = cosine(0.1, STEPS)) }\n"
    ).replace("STEPS", str(STEPS))
    for name, head in HEADS.items():
        h = f"h_{name}"
        text = f"{h} = {head.score}\nobjective {head.objective}\npredict p_{name} = {head.predict}\n"
        spec += text.replace("H", h)
    folder = tmp_path_factory.mktemp("losses")
    compile_source(SourceText("losses.vfl", granted(spec)), precision="float64").write(folder)
    made = Session(folder, seed=1, threads=1)
    inputs = {f"alice.a{i + 1}": TABLE[:, i : i + 1] for i in range(3)} | {"bob.b": TABLE[:, 3:]}
    inputs |= {f"bob.{name}": column[:, None] for name, column in DATA.items() if name not in ("x", "grade")}
    inputs["bob.grade"] = DATA["grade"].astype(np.int32)
    for _ in range(STEPS):
        made.step(inputs)
    return {name: np.squeeze(found) for name, found in made.predict(inputs).items()}


@pytest.mark.parametrize("name", HEADS)
def test_a_loss_is_trained_as_well_as_by_scikit_learn(name: str, predicted: dict[str, Numbers]) -> None:
    head = HEADS[name]
    best, found = head.measure(head.peer()), head.measure(predicted[f"p_{name}"])
    assert found <= best + abs(best) * (head.within - 1), (found, best)

"""Metrics against scikit-learn's, or their definitions: weighted, in blocks of any size, after a restart."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as peer
from vflc_common.metrics import METRICS
from vflc_runtime import metrics
from vflc_runtime.metrics import MeasuredPrediction, MetricCollector

Array = np.ndarray[Any, Any]
Peer = Callable[[Array, Array, Array], float]
CLASSES = 4
LIKELY = 1e-7


def _ks(truth: Array, score: Array, weight: Array) -> float:
    wrong, right, _ = peer.roc_curve(truth, score, sample_weight=weight, drop_intermediate=False)
    return float(np.max(np.abs(right - wrong)))


def _ece(truth: Array, score: Array, weight: Array) -> float:
    bins = [np.floor(np.minimum(score, 0.999999) * 10) == i for i in range(10)]
    return sum(abs(np.sum((score - truth)[b] * weight[b])) for b in bins) / weight.sum()


def _one_hot(truth: Array) -> Array:
    return np.eye(CLASSES)[truth]


def _mean_auc(truth: Array, score: Array, weight: Array) -> float:
    return float(np.mean([
        peer.roc_auc_score(truth == i, score[:, i], sample_weight=weight) for i in range(CLASSES)
    ]))  # fmt: skip


BINARY: Mapping[str, Peer] = {
    "auc": lambda t, p, w: peer.roc_auc_score(t, p, sample_weight=w),
    "gini": lambda t, p, w: 2 * peer.roc_auc_score(t, p, sample_weight=w) - 1,
    "pr_auc": lambda t, p, w: peer.average_precision_score(t, p, sample_weight=w),
    "ks": _ks,
    "ece": _ece,
    "brier": lambda t, p, w: peer.brier_score_loss(t, p, sample_weight=w),
    "accuracy": lambda t, p, w: peer.accuracy_score(t, p > 0.5, sample_weight=w),
    "precision": lambda t, p, w: peer.precision_score(t, p > 0.5, sample_weight=w),
    "recall": lambda t, p, w: peer.recall_score(t, p > 0.5, sample_weight=w),
    "f1": lambda t, p, w: peer.f1_score(t, p > 0.5, sample_weight=w),
    "log_loss": lambda t, p, w: peer.log_loss(
        t, np.where(t > 0, np.maximum(p, LIKELY), np.minimum(p, 1 - LIKELY)), sample_weight=w
    ),
    "rmse": lambda t, p, w: peer.root_mean_squared_error(t, p, sample_weight=w),
    "mae": lambda t, p, w: peer.mean_absolute_error(t, p, sample_weight=w),
}
SEVERAL: Mapping[str, Peer] = {
    "auc": _mean_auc,
    "brier": lambda t, p, w: float((w * np.square(p - _one_hot(t)).sum(1)).sum() / w.sum()),
    "ece": lambda t, p, w: _ece((p.argmax(1) == t).astype(float), p.max(1), w),
    "accuracy": lambda t, p, w: peer.accuracy_score(t, p.argmax(1), sample_weight=w),
    "precision": lambda t, p, w: peer.precision_score(t, p.argmax(1), average="macro", sample_weight=w),
    "recall": lambda t, p, w: peer.recall_score(t, p.argmax(1), average="macro", sample_weight=w),
    "f1": lambda t, p, w: peer.f1_score(t, p.argmax(1), average="macro", sample_weight=w),
    "log_loss": lambda t, p, w: peer.log_loss(t, p, sample_weight=w, labels=range(CLASSES)),
}
NUMBERS: Mapping[str, Peer] = {
    "rmse": lambda t, p, w: peer.root_mean_squared_error(t, p, sample_weight=w),
    "mae": lambda t, p, w: peer.mean_absolute_error(t, p, sample_weight=w),
    "mape": lambda t, p, w: peer.mean_absolute_percentage_error(t, p, sample_weight=w),
    "r2": lambda t, p, w: peer.r2_score(t, p, sample_weight=w),
    "rating_accuracy": lambda t, p, w: float((w * (np.abs(t - p) <= 0.5)).sum() / w.sum()),
}
PEERS = {"binary": BINARY, "multiclass": SEVERAL, "number": NUMBERS}


def test_every_metric_has_a_peer() -> None:
    """Those of groups and with a parameter have theirs in `test_metrics_groups.py`."""
    ours = [m for m in METRICS if m.name in METRICS.ours and not m.grouped and m.parameter is None]
    for kind, peers in PEERS.items():
        assert {metric.name for metric in ours if kind in metric.measures} == {*peers}, kind


def rows(kind: str, generator: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Labels and predictions; every class occurs among the first rows and is guessed for one."""
    if kind == "binary":
        score, truth = generator.random(count).round(2), generator.random(count) < 0.4
        truth[:2], score[:2] = (True, False), (0.8, 0.3)
        return truth.astype(np.float64), score
    if kind == "multiclass":
        score = generator.dirichlet(np.ones(CLASSES), count)
        score[:CLASSES] = 0.1 + 0.6 * np.eye(CLASSES)
        truth = generator.integers(0, CLASSES, count)
        truth[:CLASSES] = np.arange(CLASSES)
        return truth, score
    truth = 1e6 + generator.normal(size=count)  # a mean that squares would drown in
    return truth, truth + generator.normal(size=count)


@pytest.mark.parametrize("kind", PEERS)
@settings(max_examples=15, deadline=None)
@given(
    count=st.integers(CLASSES + 1, 200),
    weighed=st.booleans(),
    block=st.integers(1, 70),
    seed=st.integers(0, 2**32 - 1),
)
def test_metrics_are_their_peers(kind: str, count: int, weighed: bool, block: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth, score = rows(kind, generator, count)
    weight = generator.integers(1, 4, count) / 2 if weighed else np.ones(count)
    scored = MeasuredPrediction("y", kind, tuple(PEERS[kind]), {})  # type: ignore[arg-type]
    cut = int(generator.integers(0, count))

    def take(collector: MetricCollector, start: int, stop: int) -> None:
        shown, true = score[start:stop], truth[start:stop, None].astype(np.float64)
        shown = shown if kind == "multiclass" else shown[:, None]
        collector.add(shown, true, *([weight[start:stop, None]] if weighed else []))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "BLOCK", block)
        first, second = MetricCollector(scored), MetricCollector(scored)
        take(first, 0, cut)
        second.restore({name: tensor.copy() for name, tensor in first.saved().items()})
        take(second, cut, count)
        found = second.results()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of rows that do not sum to 1 to the last bit
        for name, of in PEERS[kind].items():
            assert found[name] == pytest.approx(of(truth, score, weight), rel=1e-8, abs=1e-9), name


def test_each_class_has_its_own_area_and_f1() -> None:
    truth, score = rows("multiclass", np.random.default_rng(5), 60)
    collector = MetricCollector(
        MeasuredPrediction("y", "multiclass", ("auc", "f1"), {}, ("a", "b", "c", "d"))
    )
    collector.add(score, truth)
    found = collector.details()
    f1 = peer.f1_score(truth, score.argmax(1), average=None)
    for i, name in enumerate("abcd"):
        assert found[f"auc.{name}"] == pytest.approx(peer.roc_auc_score(truth == i, score[:, i]))
        assert found[f"f1.{name}"] == pytest.approx(f1[i])


def test_a_class_that_does_not_occur_has_no_area() -> None:
    collector = MetricCollector(MeasuredPrediction("y", "multiclass", ("auc",), {}))
    collector.add(np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1]]), np.array([0, 1, 1]))
    assert collector.results() == {"auc": 1.0}
    assert collector.details() == {"auc.0": 1.0, "auc.1": 1.0, "auc.2": None}


@pytest.mark.parametrize(
    ("name", "label", "prediction"),
    [
        ("r2", [0.1, 0.1, 0.1], [1.0, 2.0, 3.0]),
        ("mape", [0.0, 0.0], [1.0, 2.0]),
        ("r2", [], []),
        ("mape", [], []),
    ],
)
def test_what_has_no_spread_and_no_size_is_not_measured(
    name: str, label: list[float], prediction: list[float]
) -> None:
    collector = MetricCollector(MeasuredPrediction("y", "number", (name,), {}))
    collector.add(np.array(prediction)[:, None], np.array(label)[:, None])
    assert collector.results() == {name: None}


def test_rows_whose_label_is_zero_do_not_count_in_mape() -> None:
    collector = MetricCollector(MeasuredPrediction("y", "number", ("mape",), {}))
    collector.add(np.array([[5.0], [3.0], [1.0]]), np.array([[0.0], [2.0], [-1.0]]))
    assert collector.results() == {"mape": pytest.approx((0.5 + 2) / 2)}

"""Curves of bins against scikit-learn's on the rows themselves, and drift against its definition."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, roc_auc_score
from vflc_common.measure import ScoredClassRows, ScoredRows
from vflc_common.metrics.ece import bins as ece_bins
from vflc_common.metrics.thresholds import thresholds
from vflc_runtime.curves import MOST_BINS, CurveData, PredictionCurve, fits
from vflc_runtime.run import drift

from vflc.report import bins

N = 3000


def binary(seed: int, weighted: bool, dtype: Any = np.float32) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    scores = (1 / (1 + np.exp(-rng.normal(scale=3, size=N)))).astype(dtype)
    scores[:20] = np.linspace(0, 1, 20)  # on edges, and at the ends
    scores[20:40] = np.arange(1, 21, dtype=dtype) / 20
    labels = (rng.random(N) < scores).astype(dtype)
    return scores, labels, rng.random(N) if weighted else np.ones(N)


def kept(kind: Any, *arrays: NDArray[Any]) -> CurveData:
    """Of rows that come in three batches."""
    curve = PredictionCurve(kind)
    block = ScoredClassRows if kind == "multiclass" else ScoredRows
    for part in range(3):
        curve.add(block(*(each[part::3] for each in arrays)))
    found = curve.data()
    assert found is not None and fits(found)
    return found


@pytest.mark.parametrize("weighted", [False, True], ids=["counted", "weighted"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_what_is_above_a_threshold_is_exact(weighted: bool, dtype: Any) -> None:
    scores, labels, weights = binary(1, weighted, dtype)
    rows = bins.counted(kept("binary", scores, labels, weights))
    metric = thresholds(scores, labels > 0.5, weights, 20)
    for at in bins.THRESHOLDS:
        above = rows.over(at)
        assert above.weight / rows.weight == pytest.approx(metric[f"share at {at:.4g}"])
        assert above.positives / rows.positives == pytest.approx(metric[f"recall at {at:.4g}"])


def test_the_area_is_that_of_the_rows_but_for_those_of_one_bin() -> None:
    scores, labels, weights = binary(2, True)
    rows = bins.counted(kept("binary", scores, labels, weights))
    exact = roc_auc_score(labels, scores, sample_weight=weights)
    assert bins.area(rows.roc()) == pytest.approx(exact, abs=2e-4)
    shown = rows.roc()
    assert shown[0] == (0, 0) and shown[-1] == (pytest.approx(1), pytest.approx(1))


def test_calibration_has_the_means_of_the_rows() -> None:
    scores, labels, weights = binary(3, False)
    groups = bins.groups(kept("binary", scores, labels, weights)["bins"])
    assert len(groups) == bins.GROUPS and sum(group.weight for group in groups) == N
    order = np.argsort(scores, kind="stable")
    cut = np.cumsum([0, *(int(group.weight) for group in groups)])
    for group, (first, last) in zip(groups, pairwise(cut), strict=True):
        rows = order[first:last]
        assert group.predicted == pytest.approx(scores[rows].mean(), abs=1e-5)
        low, high = group.interval
        assert low <= labels[rows].mean() <= high
    tenths = ece_bins(ScoredRows(scores, labels, weights))
    assert sum(g.predicted * g.weight for g in groups) == pytest.approx(tenths[0].sum(), rel=1e-5)


def test_classes_are_counted_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(4)
    scores = rng.dirichlet([1, 2, 3], N).astype(np.float32)
    truth = rng.integers(0, 3, (N, 1))
    found = kept("multiclass", scores, truth, np.ones(N))
    assert found["confusion"] == confusion_matrix(truth, scores.argmax(1)).tolist()
    right = sum(labels for _, _, labels, _ in found["bins"])
    assert right == (scores.argmax(1) == truth[:, 0]).sum()


def test_errors_of_numbers_are_as_wide_as_they_are() -> None:
    rng = np.random.default_rng(5)
    labels = 100 * rng.normal(size=N)
    predictions = labels + rng.normal(size=N)
    found = kept("number", predictions, labels, np.ones(N))
    assert len(found["bins"]) <= MOST_BINS and sum(each[1] for each in found["bins"]) == N
    assert sum(each[2] for each in found["bins"]) == pytest.approx(labels.sum())
    low, high = bins.quantiles(found["errors"], (0.05, 0.95))
    errors = np.quantile(predictions - labels, (0.05, 0.95))
    assert low == pytest.approx(errors[0], rel=0.02) and high == pytest.approx(errors[1], rel=0.02)


def test_rows_that_are_not_finite_are_left_out() -> None:
    found = kept("number", np.array([1.0, np.nan, np.inf, 2, 3, 4]), np.zeros(6), np.ones(6))
    assert sum(weight for _, weight, _, _ in found["bins"]) == 4
    assert PredictionCurve("binary").data() is None


def test_drift_is_the_index_of_its_definition_and_chance_is_rarely_exceeded() -> None:
    rng = np.random.default_rng(6)
    before, after = np.array([500, 300, 200]), np.array([250, 150, 600])
    training: drift.ColumnBins = {
        "values": [0.0, 1.0], "edges": None, "names": ["a", "b", "others"], "counts": before.tolist()
    }  # fmt: skip
    found = drift._drift(training, after.tolist())
    p, q = ((each + 0.5) / (each.sum() + 1.5) for each in (before, after))
    assert found["psi"] == pytest.approx(((p - q) * np.log(p / q)).sum())
    assert found["psi"] > 10 * found["chance"]
    beyond = 0
    for _ in range(400):
        one, other = (rng.multinomial(n, [0.1] * 10).tolist() for n in (2000, 800))
        same = drift._drift({**training, "counts": one}, other)
        beyond += same["psi"] > same["chance"]
    assert 0.02 < beyond / 400 < 0.09

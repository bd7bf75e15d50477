"""Metrics against their definitions, in one piece and in many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vflc_common.metrics import METRICS
from vflc_common.metrics.auc import auc
from vflc_common.metrics.ks import ks
from vflc_common.metrics.pr_auc import pr_auc
from vflc_runtime import metrics
from vflc_runtime.metrics import GrowingArray, MeasuredPrediction, Meter, MetricCollector

PLAIN = [metric for metric in METRICS if metric.parameter is None and not metric.grouped]
EVERY = tuple(metric.name for metric in PLAIN if "binary" in metric.measures)
ALL = ("auc", "accuracy", "precision", "recall", "log_loss", "rmse", "mae")
CLASSES = tuple(metric.name for metric in PLAIN if "multiclass" in metric.measures)
NUMBERS = tuple(metric.name for metric in PLAIN if "number" in metric.measures)


def collector(kind: str, names: tuple[str, ...]) -> MetricCollector:
    return MetricCollector(MeasuredPrediction("y", kind, names, {}))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=60))
def test_auc_counts_pairs(rows: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([row[0] for row in rows], "f"), np.array([row[1] for row in rows])
    above, below = scores[positive], scores[~positive]
    if not len(above) or not len(below):
        assert auc(scores, positive) is None
    else:
        pairs = (above[:, None] > below[None]).sum() + 0.5 * (above[:, None] == below[None]).sum()
        assert auc(scores, positive) == pytest.approx(pairs / (len(above) * len(below)), abs=1e-12)


weighted_rows = st.lists(
    st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 3)), min_size=1, max_size=40
)


@given(weighted_rows)
def test_a_whole_weight_counts_a_row_so_many_times(rows: list[tuple[int, bool, int]]) -> None:
    """By the definition of a weight: the metrics of the table in which each row stands so often."""
    score, positive, weight = (np.array(each) for each in zip(*rows, strict=True))
    score = score / 6
    weighed = collector("binary", EVERY)
    weighed.add(score[:, None], positive[:, None].astype(float), weight[:, None].astype(float))
    repeated = collector("binary", EVERY)
    often = np.repeat(np.arange(len(rows)), weight)
    repeated.add(score[often, None], positive[often, None].astype(float))
    found, wanted = weighed.results(), repeated.results()
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name] == (None if value is None else pytest.approx(value, abs=1e-12)), name


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40))
def test_pr_auc_and_ks_are_what_they_are_defined_as(rows: list[tuple[int, bool]]) -> None:
    """From thresholds, one by one: precision and recall there, and the two shares above each."""
    score, positive = np.array([row[0] for row in rows], "f"), np.array([row[1] for row in rows])
    area, recall, apart = 0.0, 0.0, 0.0
    for threshold in sorted(set(score.tolist()), reverse=True):
        chosen = score >= threshold
        if positive.any():
            share = (chosen & positive).sum() / positive.sum()
            area += (share - recall) * (chosen & positive).sum() / chosen.sum()
            recall = share
            if not positive.all():
                apart = max(apart, abs(share - (chosen & ~positive).sum() / (~positive).sum()))
    assert pr_auc(score, positive) == (pytest.approx(area, abs=1e-12) if positive.any() else None)
    both = positive.any() and not positive.all()
    assert ks(score, positive) == (pytest.approx(apart, abs=1e-12) if both else None)


def test_a_worked_example_of_ranking() -> None:
    score, positive = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    assert pr_auc(score, positive) == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert ks(score, positive) == pytest.approx(0.5)
    assert ks(-score, positive) == pytest.approx(0.5), "whichever way round the classes are"


def expected(scores: Any, truth: Any) -> dict[str, float]:
    guess = scores > 0.5
    likely = np.clip(np.where(truth, scores, 1 - scores), 1e-7, None)
    return {
        "accuracy": np.mean(guess == truth),
        "precision": np.sum(guess & truth) / np.sum(guess),
        "recall": np.sum(guess & truth) / np.sum(truth),
        "log_loss": -np.mean(np.log(likely)),
        "rmse": np.sqrt(np.mean((scores - truth) ** 2)),
        "mae": np.mean(np.abs(scores - truth)),
    }


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=8),
    block=st.integers(1, 30),
    stop=st.integers(0, 7),
    seed=st.integers(0, 999),
)
def test_batches_blocks_and_restoring_change_nothing(
    sizes: list[int], block: int, stop: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.random(sum(sizes) + 2).round(1)
    truth = generator.random(len(scores)) < 0.5
    truth[0], truth[1], scores[0], scores[1] = True, False, 0.9, 0.1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "BLOCK", block)
        whole, resumed = collector("binary", ALL), collector("binary", ALL)
        start = 0
        for index, size in enumerate([2, *sizes]):
            part = slice(start, start + size)
            start += size
            for each in (whole, resumed):
                each.add(scores[part, None], truth[part, None].astype(float))
            if index == stop:
                saved = {name: tensor.copy() for name, tensor in resumed.saved().items()}
                resumed = collector("binary", ALL)
                resumed.restore(saved)
        found = whole.results()
        assert resumed.results() == found
    assert found["auc"] == auc(scores, truth)
    for name, value in expected(scores, truth).items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


def test_multiclass() -> None:
    each = collector("multiclass", ("accuracy", "log_loss", "ks"))
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3]])
    each.add(probabilities[:2], np.array([[0.0], [1.0]]))
    each.add(probabilities[2:], np.array([1]))
    found = each.results()
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["log_loss"] == pytest.approx(-np.log([0.7, 0.1, 0.4]).mean())
    assert "ks" not in found


def test_several_classes_are_measured_each_by_its_name() -> None:
    names = ("precision", "recall")
    each = MetricCollector(MeasuredPrediction("y", "multiclass", names, {}, ("low", "mid", "high")))
    truth, guess = np.array([0, 0, 1, 1, 1, 0]), np.array([0, 1, 1, 1, 0, 0])
    weight = np.array([1.0, 2, 0, 3, 5, 1])
    each.add(np.eye(3)[guess], truth, weight[:, None])
    assert each.details() == {
        "precision.low": pytest.approx(2 / 7), "precision.mid": pytest.approx(3 / 5),
        "precision.high": None,
        "recall.low": pytest.approx(2 / 4), "recall.mid": pytest.approx(3 / 8), "recall.high": None,
    }  # fmt: skip
    assert each.results() == {
        "precision": pytest.approx((2 / 7 + 3 / 5) / 2),
        "recall": pytest.approx((2 / 4 + 3 / 8) / 2),
    }
    again = MetricCollector(each.scored)
    again.restore({name: tensor.copy() for name, tensor in each.saved().items()})
    assert (again.results(), again.details()) == (each.results(), each.details())


def test_numbers() -> None:
    each = collector("number", ("rmse", "mae", "accuracy"))
    each.add(np.array([[1.0], [2.0]], "f"), np.array([[0.0], [4.0]], "f"))
    assert each.results() == {"rmse": pytest.approx(np.sqrt(2.5)), "mae": 1.5}


def test_what_is_not_defined_is_none() -> None:
    each = collector("binary", ALL)
    each.add(np.array([[0.1]]), np.array([[0.0]]))
    found = each.results()
    assert (found["auc"], found["precision"], found["recall"]) == (None, None, None)
    assert collector("binary", ALL).results() == dict.fromkeys(ALL)


def test_the_meter_weighs_batches_by_rows_and_names_results() -> None:
    first, second = (MeasuredPrediction(name, "number", ("mae",), {}) for name in ("x", "y"))
    meter = Meter({("alice", "x"): first, ("bob", "y"): second}, ["alice", "bob"])
    one, two = np.ones((1, 1)), np.ones((3, 1))
    meter.add(
        1,
        {"alice": 3.0, "bob": 1.0},
        {"a": 2.0, "b": 2.0},
        {("alice", "x"): (one, one), ("bob", "y"): (one, 3 * one)},
    )
    meter.add(
        3,
        {"alice": 0.0, "bob": 0.0},
        {"a": 0.0, "b": 0.0},
        {("alice", "x"): (two, two), ("bob", "y"): (two, two)},
    )
    assert meter.results() == {"loss": 1.0, "loss.a": 0.5, "loss.b": 0.5, "x.mae": 0.0, "y.mae": 0.5}


def test_rows_that_come_block_by_block_stand_in_one_piece() -> None:
    """With an eighth of room beside them at most, whatever the blocks."""
    draw = np.random.default_rng(4)
    blocks = [draw.random((int(n), 2)).astype(np.float32) for n in (0, 3, 0, 1, 50, 7, 400, 1)]
    growing = GrowingArray(blocks[0])
    assert growing.rows.shape == (0, 2)
    for count, block in enumerate(blocks, 1):
        growing.add(block)
        np.testing.assert_array_equal(growing.rows, np.concatenate(blocks[:count]))
        assert growing.rows.dtype == np.float32
        base = growing.rows.base
        assert base is not None and len(base) <= len(growing.rows) * 9 // 8

"""Metrics of groups of rows, and those with a parameter: beside scikit-learn, and written out."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import f1_score, ndcg_score, precision_score, recall_score, roc_auc_score
from vflc_common.metrics import METRICS, MetricUse, metric_use, smaller_is_better
from vflc_runtime.data.groups import GroupChain
from vflc_runtime.metrics import MeasuredPrediction, MetricCollector

ALL = ("gauc by U", "ndcg(3) by U", "hit_rate(2) by U", "mrr by U", "lift(0.3)")


def collected(
    scores: Any, label: Any, group: Any, *names: str, weight: Any = None, kind: Any = "binary"
) -> Any:
    collector = MetricCollector(MeasuredPrediction("y", kind, names, {}, groups=("U",)))
    rest = [np.asarray(weight, float)[:, None]] if weight is not None else []
    columns = [np.asarray(each, float)[:, None] for each in (scores, label)]
    collector.add(*columns, *rest, np.asarray(group, np.int32))
    return collector.results()


def rows(seed: int, count: int = 200, groups: int = 40) -> tuple[Any, Any, Any, Any]:
    """Scores with many ties, labels, weights of which some are 0, and groups, some of one row."""
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0, 2, count) * (rng.random(count) < 0.9)
    return rng.integers(0, 6, count) / 6, rng.integers(0, 2, count), weight, rng.integers(0, groups, count)


def by_group(group: Any, *columns: Any) -> Any:
    return [tuple(column[group == each] for column in columns) for each in np.unique(group)]


@pytest.mark.parametrize("kind", ["binary", "number"])
@pytest.mark.parametrize("first", [1, 3, 10])
def test_ndcg_is_that_of_scikit_learn_of_the_groups_that_are_worth_anything(kind, first):
    scores, label, _, group = rows(first)
    label = label if kind == "binary" else label * np.random.default_rng(1).integers(0, 5, len(label))
    each = [(s, y) for s, y in by_group(group, scores, label) if y.any()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = [ndcg_score([y], [s], k=first) if len(y) > 1 else 1.0 for s, y in each]
    found = collected(scores, label, group, f"ndcg({first}) by U", kind=kind)
    np.testing.assert_allclose([*found.values()], np.mean(wanted), rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_gauc_is_the_mean_of_scikit_learn_s_areas_by_the_weight_of_groups(weighted):
    scores, label, weight, group = rows(7)
    weight = weight if weighted else np.ones(len(label))
    areas, weights = [], []
    for s, y, w in by_group(group, scores, label, weight):
        if 0 < (y * w).sum() < w.sum():
            areas.append(roc_auc_score(y, s, sample_weight=w))
            weights.append(w.sum())
    found = collected(scores, label, group, "gauc by U", weight=weight if weighted else None)
    np.testing.assert_allclose(found["gauc by U"], np.average(areas, weights=weights), rtol=1e-9)


def expected(scores: Any, label: Any, of: Any) -> float:
    """The mean of what a ranking is worth over all orders of the rows that keep higher scores first."""
    orders = [o for o in itertools.permutations(range(len(label))) if (np.diff(scores[list(o)]) <= 0).all()]
    return float(np.mean([of(label[list(order)]) for order in orders]))


def test_ties_count_as_the_mean_over_all_their_orders():
    scores, label, weight, group = rows(3, 90, 22)
    several = [(s, y, w) for s, y, w in by_group(group, scores, label, weight) if len(y) < 8]
    group = np.concatenate([np.full(len(y), i) for i, (_, y, _) in enumerate(several)])
    scores, label, weight = (np.concatenate(each) for each in zip(*several, strict=True))
    measures = {
        "hit_rate(2) by U": lambda y: y[:2].any(),
        "mrr by U": lambda y: 1 / (1 + y.argmax()),
        "ndcg(3) by U": lambda y: (
            (y[:3] / np.log2(np.arange(len(y[:3])) + 2)).sum()
            / (1 / np.log2(np.arange(min(3, y.sum())) + 2)).sum()
        ),
    }
    for weighted in (False, True):
        found = collected(scores, label, group, *measures, weight=weight if weighted else None)
        for name, of in measures.items():
            values, weights = [], []
            for s, y, w in by_group(group, scores, label, weight if weighted else np.ones(len(label))):
                s, y, w = s[w > 0], y[w > 0], w[w > 0]
                if y.any():
                    values.append(expected(s, y, of))
                    weights.append(w.mean())
            np.testing.assert_allclose(found[name], np.average(values, weights=weights), rtol=1e-9)


def test_lift_counts_what_is_tied_at_the_border_in_part():
    scores, label = np.array([0.9, 0.5, 0.5, 0.5, 0.1]), np.array([1, 1, 0, 0, 0])
    found = collected(scores, label, np.zeros(5), "lift(0.4)", "lift(1)", "lift(0.2)")
    assert found["lift(0.2)"] == pytest.approx(1 / 0.4)
    assert found["lift(0.4)"] == pytest.approx((1 + 1 / 3) / 2 / 0.4)
    assert found["lift(1)"] == pytest.approx(1)
    weight = np.array([1.0, 0.0, 2.0, 1.0, 1.0])
    weighted = collected(scores, label, np.zeros(5), "lift(0.4)", weight=weight)["lift(0.4)"]
    assert weighted == pytest.approx(1 / (0.4 * 5) / (1 / 5))


def test_groups_of_one_row_one_class_and_no_weight():
    none = dict.fromkeys(ALL)
    assert collected([0.1, 0.9], [0, 0], [0, 1], *ALL) == none
    assert collected([0.1, 0.9], [1, 1], [0, 0], *ALL, weight=[0, 0]) == none
    ones = collected([0.1, 0.9], [1, 1], [0, 1], *ALL)
    assert ones == {**dict.fromkeys(ALL, 1.0), "gauc by U": None}
    far = collected([1e38, -1e38, 0.0], [1, 0, 0], [0, 0, 0], *ALL)
    assert all(far[name] == 1.0 for name in ALL[:4])


def test_what_is_collected_of_groups_goes_on_where_it_was_saved():
    scores, label, weight, group = rows(5)
    scored = MeasuredPrediction("y", "binary", (*ALL, "auc"), {}, groups=("U",))
    whole, part = MetricCollector(scored), MetricCollector(scored)
    given = (scores[:, None], label[:, None].astype(float), weight[:, None], group.astype(np.int32))
    whole.add(*given)
    part.add(*(each[:70] for each in given))
    part.results()
    part.add(*(each[70:90] for each in given))
    again = MetricCollector(scored)
    again.restore({name: each.copy() for name, each in part.saved().items()})
    again.add(*(each[90:] for each in given))
    assert again.results() == whole.results()


def test_a_metric_is_written_in_one_way():
    uses = [
        MetricUse("auc"),
        MetricUse("lift", 0.1),
        MetricUse("ndcg", 10, "UserID"),
        MetricUse("gauc", by="ä"),
    ]
    assert [str(use) for use in uses] == ["auc", "lift(0.1)", "ndcg(10) by UserID", "gauc by ä"]
    assert [metric_use(str(use)) for use in uses] == uses
    for wrong in ("", "lift()", "lift(x)", "lift(0.10)", "ndcg by", "ndcg(10)by U", "a b", "lift(1e999)"):
        with pytest.raises(ValueError, match=r"is no metric|is written"):
            metric_use(wrong)
    assert [use.mistake() for use in uses] == [None] * 4
    wrong = [MetricUse("lift"), MetricUse("lift", 2.0), MetricUse("auc", 1.0), MetricUse("ndcg", 2.5, "U")]
    wrong += [MetricUse("ndcg", 10), MetricUse("auc", by="U"), MetricUse("ndcg", float("inf"), "U")]
    assert all(use.mistake() for use in wrong)
    ways = {"loss": True, "loss.liked": True, "liked.lift(0.1)": False, "stars.rmse": True, "strange": None}
    assert {name: smaller_is_better(name) for name in ways} == ways
    assert all(METRICS[use.name].doc for use in uses)


def test_equal_values_are_one_group_over_all_blocks_and_missing_ones_too():
    chain = GroupChain("bob.User", {"kind": "group", "shape": "id", "type": "string"})
    blocks = (["a", None, "b", "a"], ["b", "c"], [None], [])
    found = [chain.encode(pa.array(block, pa.string()), None).tolist() for block in blocks]
    assert found == [[0, 2, 1, 0], [1, 3], [2], []]


def test_a_table_of_thresholds_is_scikit_learn_s_scores_of_what_lies_above():
    scores, label, weight, _ = rows(11)
    collector = MetricCollector(MeasuredPrediction("y", "binary", ("auc", "thresholds(6)"), {}))
    collector.add(scores[:, None].astype(np.float32), label[:, None].astype(float), weight[:, None])
    assert [*collector.results()] == ["auc"]
    found = collector.details()
    assert len(found) == 24
    for at in range(6):
        above, name = scores.astype(np.float32) > at / 6, f"{at / 6:.4g}"
        given = {"sample_weight": weight, "zero_division": 0.0}
        wanted = {
            "share": (weight * above).sum() / weight.sum(),
            "precision": precision_score(label, above, **given) if above.any() else None,
            "recall": recall_score(label, above, **given),
            "f1": f1_score(label, above, **given),
        }
        for column, value in wanted.items():
            assert found[f"thresholds(6).{column} at {name}"] == pytest.approx(value, abs=1e-7)

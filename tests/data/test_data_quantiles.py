"""Quantiles: ranges that hold as many training rows each."""

import json

import numpy as np
import pyarrow as pa
import pytest
from data.test_data_reading import refused
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vflc_common.encoders import ENCODERS
from vflc_runtime.data import encoded as module
from vflc_runtime.data.dataset import Dataset

from vflc.diagnostics import Refused, SourceText
from vflc.driver import compile_source

NUMBERS = st.lists(st.one_of(st.integers(-3, 3), st.floats(-1e6, 1e6)), min_size=1, max_size=60)


def read(values, n=4, edges=None, **more):
    encoder = {"name": "quantiles", "n": n, "edges": edges}
    column = {"name": "x", "kind": "feature", "type": "float", "encoders": [encoder]}
    described = {"parties": {"p": {"key": "k", "columns": [{**column, "shape": "id", "rows": n}]}}}
    table = pa.table({"k": [f"{i:03}" for i in range(len(values))], "x": pa.array(values, pa.float64())})
    return Dataset.load(described, {"p": table}, **more)


@settings(max_examples=12, deadline=None)
@given(NUMBERS, st.integers(2, 9), st.randoms(use_true_random=False))
@example([5.0] * 7, 3, None)
@example([0.0] * 9 + [1.0], 4, None)
def test_ranges_are_in_order_and_hold_what_they_may(values, n, random):
    found = read(values, n)
    ids = found.inputs["p.x"]
    assert ids.min() == 0 and ids.max() < n
    order = np.argsort(values, kind="stable")
    assert (np.diff(ids[order]) >= 0).all(), "a greater number is in no lower range"
    for each in set(values):
        assert len(set(ids[np.array(values) == each])) == 1
    if len(set(values)) == len(values):
        assert np.bincount(ids, minlength=n).max() <= -(-len(values) // n)
    if random is not None:
        mixed = random.sample(values, len(values))
        assert read(mixed, n).state == found.state, "whatever the order of rows"
    state = json.loads(json.dumps(found.state))
    again = read([*values, 1e9, -1e9], n, state=state).inputs["p.x"]
    assert again[:-2].tolist() == ids.tolist() and again[-1] == 0
    assert again[-2] == (ids.max() if len(set(values)) > 1 else 0)


def test_only_training_rows_are_fitted_to_block_by_block(monkeypatch):
    values = [float(i * 37 % 101) for i in range(101)]
    wanted = read(values, 5, keep=lambda rows, _: np.arange(40, rows)).state
    assert wanted == {"p.x": [read(values[:40], 5).state["p.x"][0]]}
    monkeypatch.setattr(module, "BLOCK", 7)
    assert read(values, 5, keep=lambda rows, _: np.arange(40, rows)).state == wanted


def test_edges_that_are_given_are_not_fitted():
    found = read([1.0, 2.0, 3.0], 3, [2.0, 2.5])
    assert found.inputs["p.x"].tolist() == [0, 1, 2] and found.state == {}


def test_missing_numbers_are_refused_and_nothing_is_fitted_to_none():
    assert "no value in" in refused("VFL0610", read, [1.0, None]).message
    assert "no values in the training rows to fit quantiles to" in refused("VFL0610", read, [None]).message


@pytest.mark.parametrize(
    ("n", "edges", "says"),
    [
        (1, None, "`n` of `quantiles` must be a whole number from 2 to 1,000"),
        (1001, None, "from 2 to 1,000"),
        (3, [2, 1], "must be a list of increasing numbers"),
        (3, [], "must be a list of increasing numbers"),
        (3, [1, 2, 3], "3 edges make more than 3 ranges"),
    ],
)
def test_what_is_wrong_is_said(n, edges, says):
    assert says in ENCODERS["quantiles"].mistake({"name": "quantiles", "n": n, "edges": edges}, "float")


SPEC = """
party alice { key k  feature x: float -> CHAIN }
party bob { key k  label y: int }
h = mlp(embed(alice.x, dim = 2), [3])
logit = dense(h, 1) at bob
predict y = sigmoid(logit)
objective bce(logit, bob.y)
release alice { to bob: x at most 2 bits }
release bob { to alice: y }
"""


@pytest.mark.parametrize(
    ("chain", "bounded"),
    [
        ("quantiles(4)", False),
        ("quantiles(4, edges = [1, 2, 3])", True),
        ("standardize -> bucketize(0)", False),
        ("standardize(mean = 3, std = 2) -> bucketize(0)", True),
        ("missing(0) -> minmax -> bucketize(0.5)", False),
    ],
)
def test_a_fitted_code_is_no_bound_as_codes_of_other_rows_depend_on_it(chain, bounded):
    source = SourceText("x.vfl", SPEC.replace("CHAIN", chain))
    if bounded:
        compile_source(source)
        return
    with pytest.raises(Refused) as caught:
        compile_source(source)
    assert [found.code for found in caught.value.diagnostics] == ["VFL0340"]

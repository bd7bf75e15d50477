"""Gradients of whole models, across places, are the slopes of their objectives, by finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiler.test_placement import model
from ops.op_testing import BATCH, evaluate

from vflc.ir.stages import Scheduled

DIFFERENTIATED = 4
"""Passes up to the one that differentiates."""
PARTIES = """
party alice {
  key ID
  feature x: float
  feature c: int -> index(7)
  feature d: int -> index(7)
}
party bob {
  key ID
  feature z: float
  feature e: int -> index(7)
}
party carol {
  key ID
  label y: float
}
"""
END = """
logit = dense(h, 1)
fuse at carol { out = logit + 0.5 * tanh(logit) }
predict p = out
objective mse(out, carol.y) + 0.25 * mse(sigmoid(out), carol.y)
"""
MODELS = {
    "read twice at each of two places": """
l = dense(alice.x, 3, activation = tanh)
own = dense(tanh(l), 2) + dense(sigmoid(l), 2)
fuse at bob { h = own + dense(l * dense(bob.z, 3), 2) + dense(square(l), 2) }
""",
    "a weight that two places read": """
w = weight(3)
l = dense(alice.x, 3) * w
fuse at bob { h = tanh(l + dense(bob.z, 3) * square(w)) }
""",
    "a condition that weights decide": """
l = dense(alice.x, 3)
r = dense(bob.z, 3)
fuse at bob { h = where(l > r, square(l), 0.5 * r) }
""",
    "a table that one party reads": """
t = table(7, 3)
e = embed(alice.c, dim = 3, table = t)
l = e * embed(alice.d, dim = 3, table = t) + e
fuse at bob { h = tanh(l + dense(bob.z, 3)) }
""",
    "a table whose ids are read elsewhere, too": """
t = table(7, 3)
l = dense(embed(alice.c, dim = 3, table = t), 3)
fuse at bob { h = tanh(l + embed(alice.c, dim = 3, table = t) + dense(bob.z, 3)) }
accept VFL0302 on alice.c because "bob may see this column in a test"
""",
    "a table that two parties read": """
t = table(7, 3)
l = tanh(embed(alice.c, dim = 3, table = t))
fuse at bob { h = l * embed(bob.e, dim = 3, table = t) }
""",
}


def feeds(made: Scheduled) -> dict[str, Any]:
    draw, fed = np.random.default_rng(1), dict[str, Any]()
    for node in made.graph:
        sizes = [BATCH if size is None else size for size in node.type.sizes]
        if node.op in ("feature", "label", "weight"):
            whole = node.type.dtype == "int"
            fed[node.id] = draw.integers(0, 7, sizes).astype("i4") if whole else draw.normal(size=sizes)
    return fed


def objective(made: Scheduled, fed: dict[str, Any]) -> float:
    terms = evaluate(made.graph, fed, [loss.node for loss in made.losses])
    return sum(loss.coefficient * float(np.sum(term)) for loss, term in zip(made.losses, terms, strict=True))


def gradient_of(made: Scheduled, weight: str, fed: dict[str, Any]) -> np.ndarray:
    """As it is updated: whole, or the sum of what each id's row gets."""
    (found,) = [each for each in made.gradients if each.weight == weight]
    if found.dense is not None:
        return np.asarray(evaluate(made.graph, fed, [found.dense])[0])
    total = np.zeros_like(fed[weight])
    for pair in found.rows:
        ids, values = evaluate(made.graph, fed, list(pair))
        np.add.at(total, ids.reshape(-1), values.reshape(ids.size, -1))
    return total


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_slopes(name: str) -> None:
    made = model(MODELS[name] + END, PARTIES, DIFFERENTIATED)
    fed, step = feeds(made), 1e-6
    weights = [node.id for node in made.graph if node.op == "weight"]
    assert [each.weight for each in made.gradients] == weights
    for weight in weights:
        slopes = np.zeros_like(fed[weight])
        for index in np.ndindex(*slopes.shape):
            ends = []
            for shift in (step, -step):
                moved = fed[weight].copy()
                moved[index] += shift
                ends.append(objective(made, {**fed, weight: moved}))
            slopes[index] = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(gradient_of(made, weight, fed), slopes, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "by_rows"),
    [
        ("a table that one party reads", True),
        ("a table whose ids are read elsewhere, too", True),
        ("a table that two parties read", False),
    ],
)
def test_a_table_is_updated_by_rows_where_one_party_chooses_them(name: str, by_rows: bool) -> None:
    made = model(MODELS[name] + END, PARTIES, DIFFERENTIATED)
    (found,) = [each for each in made.gradients if each.weight == "t"]
    assert bool(found.rows) == by_rows and (found.dense is None) == by_rows
    for pair in found.rows:
        assert {made.graph[name].place for name in pair} == {made.graph["t"].place}

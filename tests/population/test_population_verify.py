"""`vflc verify` of a population: it agrees where it should, and says so where it does not."""

from __future__ import annotations

import importlib.util

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from population.population_testing import compiled, ratings, table
from population.reference import spec
from verify.verifying import verify as command
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.errors import Failure
from vflc_runtime.population.users import Users
from vflc_runtime.run.loading import encoders
from vflc_runtime.verify import LIMITS
from vflc_runtime.verify.population import PopulationWay, verify

SETTINGS = "rounds 3  cohort 6  batch 3  client adam(0.02)  keep_local true"
ENGINES = ["onnx", "keras"] if importlib.util.find_spec("tensorflow") else ["onnx"]

NETWORK = """
population users {
  key user
  feature item: int -> index(30)
  feature tags: string -> split(" ") -> vocab("a", "b", "c")
  feature age:  float
  column  stars: float
  label   liked = stars > 3
}
party hub {}
global items  = table(30, 4) at hub
global words  = table(3, 2) at hub
about = concat(lookup(items, users.item), sum(lookup(words, users.tags), axis = value), users.age)
global hidden = mlp(about, [6, 5], activation = tanh) at hub
local  own    = dense(hidden, 3, activation = tanh) at users
global logit  = dense(own, 1) at hub
predict liked = sigmoid(logit)
objective bce(logit, users.liked)
train reconstruct { rounds 3  cohort 6  batch 3  rebuild_epochs 2  server adam(0.05)  metrics auc }
release users { to hub, users: age, item, liked, tags }
"""
"""Layers at the hub and at the users, many ids in one cell, and users alone with no id in any."""


def test_the_command_compares_engines_and_users_together_with_one_at_a_time(tmp_path):
    (tmp_path / "p.vfl").write_text(spec(SETTINGS, 0.3, 0.2), "utf-8")
    ended = command(tmp_path / "p.vfl", "--json", "--steps", "3", "--rows", "200", "--precision", "float64")
    assert ended.code == 0, ended.stderr
    found = ended.found
    assert (found["steps"], found["rows"], found["cohort"], found["batch"]) == (3, 200, 6, 3)
    entry = found["precisions"]["float64"]
    assert list(entry["ways"]) == ["together onnx", "one by one onnx", "together keras"][: len(ENGINES) + 1]
    for pair in entry["pairs"]:
        assert all(pair["worst"][kind] is not None for kind in ("weight", "prediction", "loss"))
    moved = {way["losses"][1] for way in entry["ways"].values()}
    assert all(loss != entry["ways"]["together onnx"]["losses"][0] for loss in moved)


def test_networks_and_cells_without_ids(tmp_path):
    (tmp_path / "n.vfl").write_text(NETWORK, "utf-8")
    rows = [
        (f"u{i % 9}", i * 7 % 30, ("a", "b c", "", "a c")[i % 4], i / 50, float(i % 5)) for i in range(60)
    ]
    rows += [("none", i, "", 0.5, float(i)) for i in range(5)]
    names = ("user", "item", "tags", "age", "stars")
    pq.write_table(
        pa.table({n: [row[i] for row in rows] for i, n in enumerate(names)}), tmp_path / "u.parquet"
    )
    data = ("--data", f"users={tmp_path / 'u.parquet'}")
    ended = command(tmp_path / "n.vfl", *data, "--json", "--steps", "3", "--precision", "float64")
    assert ended.code == 0, ended.stdout + ended.stderr


def test_a_difference_is_found(tmp_path):
    plans = [compiled(spec(f"{SETTINGS}  rebuild sgd({lr})"), tmp_path / lr) for lr in ("0.1", "0.1000001")]
    data = Dataset.load(encoders(plans[0]), {"users": table(ratings())}, precision="float64")
    ways = [PopulationWay(name, plan, 6) for name, plan in zip(("right", "wrong"), plans, strict=True)]
    (comparison,) = verify(ways, Users.of(data), plans[0].users.settings).comparisons
    worst = comparison.worst["weight"]
    assert worst is not None and worst.measure > LIMITS["float64"]


def test_where_no_change_is_finite_there_is_nothing_to_compare(tmp_path):
    users = {key: [(item, 1e200) for item, _ in examples] for key, examples in ratings().items()}
    plan = compiled(spec(SETTINGS), tmp_path)
    data = Dataset.load(encoders(plan), {"users": table(users)}, precision="float64")
    with pytest.raises(Failure, match="the loss is None in round 1, one"):
        verify([PopulationWay("one", plan, 6)], Users.of(data), plan.users.settings)

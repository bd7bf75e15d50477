"""Every example: formatted, described, and its generated rows can be learned.

That split is unsplit: tests/verify/test_verify_specs.py.
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from specs.examples import EVERY, EXAMPLES, PUBLISHED, dataset, prepared, session
from vflc_runtime.protect.account import Facts

from vflc.driver import compile_spec
from vflc.syntax.format import format_spec

ROWS, BATCH, STEPS = 1500, 100, 60
each = pytest.mark.parametrize("name", EXAMPLES)


@pytest.mark.parametrize("name", EVERY)
def test_is_formatted_and_described(name: str):
    text = EVERY[name].read_text("utf-8")
    assert format_spec(text) == text
    assert text.startswith("#"), "a spec begins by saying what it is"
    folder = EVERY[name].parent
    readme = next(f / "README.md" for f in (folder, folder.parent) if (f / "README.md").exists())
    assert f"{name}.vfl" in readme.read_text("utf-8")
    assert name in PUBLISHED


@each
def test_learns_its_generated_rows(name: str, tmp_path: Path):
    sources = prepared(name, tmp_path / "data", "--generate", ROWS)
    trained = session(name, tmp_path / "bundle")
    data = dataset(trained, sources)
    assert data.rows == ROWS
    whole = data.batch(np.arange(ROWS))
    first = trained.evaluate(whole).loss
    trained.prepare(Facts(ROWS, ROWS, BATCH, -(-STEPS * BATCH // ROWS)))
    for step in range(STEPS):
        rows = np.arange(step * BATCH, (step + 1) * BATCH) % ROWS
        trained.step(data.batch(rows), len(rows), rows)
    assert trained.evaluate(whole).loss < 0.98 * first


@pytest.mark.parametrize("name", ["mmoe", "label_only"])
def test_other_rows_to_test_on_have_other_keys(name: str, tmp_path: Path):
    prepared(name, tmp_path, "--generate", 40)
    train, test = (pq.read_table(tmp_path / folder / "alice.parquet") for folder in (".", "test"))
    assert train.schema == test.schema
    assert sorted(train["person"].to_pylist()) == list(range(1, 41))
    assert sorted(test["person"].to_pylist()) == list(range(41, 51))


def test_the_seed_chooses_the_rows(tmp_path: Path):
    def read(folder: str, seed: int) -> bytes:
        return Path(prepared("mmoe", tmp_path / folder, "--generate", 30, "--seed", seed)["bob"]).read_bytes()

    assert read("a", 1) == read("b", 1)
    assert read("a", 1) != read("c", 2)


def test_wide_and_deep_has_the_published_sizes():
    """MindSpore Federated's weights; at the leader a number has a vector besides, and there is the top."""
    files = compile_spec(EXAMPLES["wide_deep"]).files
    plans = {place: json.loads(files[f"{place}/plan.json"]) for place in ("leader", "follower")}
    count = {place: sum(prod(w["shape"]) for w in plan["weights"]) for place, plan in plans.items()}
    assert count == {"follower": 18_446_658, "leader": 18_528_578 + 13 * 81 + 5}
    rules = {u["id"]: u["optimizer"] for plan in plans.values() for u in plan["updates"]}
    assert {rule for id, rule in rules.items() if id.endswith("wide.table")} == {"ftrl"}
    assert {rule for id, rule in rules.items() if id.endswith("deep.table")} == {"adam_penalised_1"}


def test_wide_and_deep_sends_two_numbers_a_row_each_way():
    edges = compile_spec(EXAMPLES["wide_deep"]).manifest["edges"]
    assert {(e["id"], e["from"], e["bytes_per_row"], e["bytes_per_step"]) for e in edges} == {
        ("f.wide", "follower", 4, 0), ("f.deep", "follower", 4, 0),
        ("f.wide.gradient", "leader", 4, 0), ("f.deep.gradient", "leader", 4, 0),
    }  # fmt: skip


def test_in_a_u_shape_no_label_reaches_the_server_but_as_gradients():
    manifest = compile_spec(EXAMPLES["u_shape"]).manifest
    forward = [edge for edge in manifest["edges"] if edge["phase"] == "forward"]
    assert {(edge["from"], edge["to"]) for edge in forward} == {
        ("alice", "server"), ("bob", "server"), ("server", "alice"),
    }  # fmt: skip
    assert not any("alice.income_50k" in edge["depends_on"] for edge in forward)
    assert not any({edge["from"], edge["to"]} == {"alice", "bob"} for edge in manifest["edges"])

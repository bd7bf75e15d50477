"""Tables of many rows: memory does not grow with them, and what is learned does not depend on the room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from forked import completed
from vflc_runtime.run.session import Session

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

SPEC = """
party alice {
  key ID
  feature user: int -> index(1000)
  feature age:  float
}
party bob {
  key ID
  feature item: int -> index(500)
  label liked: int
}
a = embed(alice.user, dim = 4)
b = embed(bob.item, dim = 4)
logit = dense(concat(a, alice.age, b), 1)
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)
release alice { to bob: user, age }
release bob { to alice: item, liked }
train { batch 4096 metrics auc }
"""
SCRIPT = Path(__file__).with_name("large_rows.py")


def made(folder: Path, rows: int) -> Path:
    folder.mkdir()
    compile_source(SourceText("s.vfl", SPEC)).write(folder / "b")
    for party, columns in {
        "alice": "hash(i) % 1000 AS user, (hash(i + 1) % 80) / 80 AS age",
        "bob": "hash(i + 2) % 500 AS item, CAST(hash(i) % 1000 + hash(i + 3) % 500 > 750 AS INT) AS liked",
    }.items():
        query = f"SELECT 1000000 + i * 7919 % {rows} AS ID, {columns} FROM range({rows}) t(i)"
        duckdb.sql(f"COPY ({query}) TO '{folder / party}.parquet'")
    return folder


def ran(folder: Path, less: int) -> dict[str, Any]:
    done = completed(SCRIPT, folder, less)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(
    duckdb.__version__ < "2", reason="DuckDB 1 takes more for tables of many rows: docs/data.md"
)
def test_memory_does_not_grow_with_rows(tmp_path: Path) -> None:
    """With room for few rows, DuckDB has taken all of its own with the smaller tables, at 260 bytes a row.

    The AUC is computed of all scores, 9 bytes a row at most; the rest of the bound is what varies.
    """
    few, many = (ran(made(tmp_path / f"{rows}", rows), 128) for rows in (250_000, 650_000))
    assert many["memory"] - few["memory"] < 100 * 400_000


def test_where_columns_lie_and_rows_are_shuffled_changes_nothing(tmp_path: Path) -> None:
    folder = made(tmp_path / "rows", 30_000)
    little = ran(folder, 1024)
    (folder / "run").rename(folder / "before")
    (folder / "p.parquet").unlink()
    assert {**little, "memory": 0} == {**ran(folder, 1), "memory": 0}


def test_weights_are_those_after_all_steps_wherever_tables_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they were asked for before the last step."""
    compile_source(SourceText("s.vfl", SPEC)).write(tmp_path / "b")
    found = []
    for large in ("64", "0"):
        monkeypatch.setenv("VFLC_LARGE_TABLES", large)
        session, generator = Session(tmp_path / "b", seed=1), np.random.default_rng(0)
        for _ in range(3):
            number = generator.random((4, 1)).astype(np.float32)
            ids = {"alice.user": generator.integers(0, 1000, 4), "bob.item": generator.integers(0, 500, 4)}
            session.step({**ids, "alice.age": number, "bob.liked": np.round(number)})
            weights = session.weights()
        found.append(weights)
    for name, array in found[0].items():
        np.testing.assert_array_equal(found[1][name], array, err_msg=name)

"""The benchmark of large tables compares tables alone: batches of all sizes are as hard as each other."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tables() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield SimpleNamespace(**{**vars(import_module("table_sides")), **vars(import_module("tables"))})


@pytest.mark.parametrize("penalty", [False, True])
def test_the_spec_has_tables_of_the_size(tables: Any, tmp_path: Path, penalty: bool) -> None:
    text = tables.text(777, penalty)
    compile_source(SourceText("tables.vfl", text)).write(tmp_path / "bundle")
    assert text.count("777") == 4 and ("rows = all" in text) is penalty


def test_batches_read_as_many_rows_of_every_table(tables: Any) -> None:
    counts = {}
    for rows in (10_000, 1_000_000):
        draws = tables.Draws(rows, 512)
        draws.begin()
        drawn = np.concatenate([draws.ids() for _ in range(20)])
        assert drawn.min() >= 0 and rows * 0.95 < drawn.max() < rows
        counts[rows] = len(np.unique(drawn))
    few, many = counts.values()
    assert abs(few - many) < 0.03 * few


def test_ratios_are_those_of_rounds(tables: Any, capsys: Any) -> None:
    options = Namespace(batch=8, steps=2)
    ours = SimpleNamespace(rows=5, rates=[(2.0, 4.0), (30.0, 8.0), (4.0, 8.0)])
    peer = SimpleNamespace(rows=5, rates=[(1.0, 1.0), (10.0, 4.0), (4.0, 2.0)])
    found = tables.beside("vflc", peer, ours, options)
    assert (found["ratio"], found["cpu_ratio"], found["ours"]) == (2.0, 4.0, 4.0)
    cost = {"resident": 3 << 20, "tables": 2 << 20, "first": 8 << 20, "second": 1 << 20}
    cost |= {"anonymous": 1 << 20, "checkpoints": 4 << 20, "resumption": 5 << 20}
    found = tables.costs(5, cost, options)
    assert [each["ratio"] for each in found] == [1.5, 0.5, 2.0, 2.5, 0.125]
    assert found[-1]["unit"] == "MiB"
    assert "checkpoint after 10 steps at 5 rows" in capsys.readouterr().out


def test_every_row_is_read_where_that_is_asked(tables: Any) -> None:
    steps = tables.steps_for_all(2_000, 16)
    for _, columns in tables.SIDES.values():
        draws = tables.Draws(1_000, 16, everywhere=True)
        drawn = [draws.ids() for _ in range(steps * columns)]
        assert len(np.unique(np.concatenate(drawn))) == 1_000


def test_products_are_those_of_the_spec(tables: Any, tmp_path: Path) -> None:
    """Three for each matrix of the dense layers, but for those that give one number."""
    alone = tables.Products(tmp_path, 0, 4, False)
    compile_source(SourceText("tables.vfl", tables.text(777, False))).write(tmp_path / "bundle")
    plans = [json.loads(file.read_text()) for file in tmp_path.glob("bundle/*/plan.json")]
    shapes = [tuple(a["shape"]) for plan in plans for a in plan["arrays"] if not a.get("table")]
    due = sorted(shape for shape in shapes if len(shape) == 2 and shape[1] > 1)
    assert sorted(b.shape for _, b, _ in alone._products[::3]) == due
    assert len(alone._products) == 3 * len(due) and min(alone.steps(1)) >= 0

"""The benchmark of large tables compares tables alone: batches of all sizes are as hard as each other."""

from __future__ import annotations

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
        yield import_module("tables")


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
    found = tables.beside(peer, ours, options)
    assert (found["ratio"], found["cpu_ratio"], found["ours"]) == (2.0, 4.0, 4.0)
    cost = {"resident": 3 << 20, "tables": 2 << 20, "first": 8 << 20, "second": 1 << 20}
    memory, checkpoint = tables.costs(5, cost, options)
    assert (memory["ratio"], checkpoint["ratio"], checkpoint["unit"]) == (1.5, 0.125, "MiB")
    assert "checkpoint after 2 steps at 5 rows" in capsys.readouterr().out

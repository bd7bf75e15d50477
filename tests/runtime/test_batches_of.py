"""Rows of an evaluation or a prediction: read ahead where there is time meanwhile, else when asked for."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from vflc_runtime.data.batches import sequential
from vflc_runtime.run.loop import batches_of


@pytest.mark.parametrize("in_files", [False, True])
@pytest.mark.parametrize("waits", [False, True])
def test_rows_are_read_ahead_where_there_is_time(waits: bool, in_files: bool) -> None:
    read: list[int] = []
    second = threading.Event()

    def batch(rows: Any) -> dict[str, Any]:
        read.append(int(rows[0]))
        if len(read) == 2:
            second.set()
        return {"x": rows}

    session: Any = SimpleNamespace(waits=waits)
    data: Any = SimpleNamespace(in_files=in_files, batch=batch)
    batches = batches_of(session, data, sequential(np.arange(7), 2))
    rows, get = next(batches)
    if waits or in_files:
        assert second.wait(60)
    else:
        assert not read
    found = [(rows, get()), *((rows, get()) for rows, get in batches)]
    assert all(np.array_equal(rows, inputs["x"]) for rows, inputs in found)
    assert [int(rows[0]) for rows, _ in found] == read == [0, 2, 4, 6]

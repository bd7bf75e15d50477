"""Columns that grow block by block, in memory or in a file, and the room that they share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from vflc_runtime.data.column_buffer import ColumnBuffer, Room


def test_what_moves_to_a_file_leaves_its_room(tmp_path: Path) -> None:
    """A column of 40 bytes has room beside one of 60, and the third, which has none, gives its own back."""
    room = Room(100)
    columns = [ColumnBuffer(tmp_path / str(number), np.dtype(np.float32), room) for number in range(3)]
    for column, rows, left in ((0, 10, 60), (1, 5, 40), (1, 10, 0), (2, 1, 0), (2, 4, 0)):
        columns[column].append(np.arange(rows, dtype=np.float32))
        assert room.free == left, (column, rows)
    kept = [column.finish() for column in columns]
    assert [type(each) for each in kept] == [np.ndarray, np.ndarray, np.memmap]
    assert [each.tolist() for each in kept] == [
        list(range(10)), [*range(5), *range(10)], [0, *range(4)],
    ]  # fmt: skip


def test_blocks_of_several_widths_are_as_wide_as_the_widest(tmp_path: Path) -> None:
    blocks = [np.array([[1], [2]], np.int32), np.array([[3, 4, 5]], np.int32), np.zeros((0, 2), np.int32)]
    for free in (1000, 0):
        column = ColumnBuffer(tmp_path / str(free), np.dtype(np.int32), Room(free))
        for block in blocks:
            column.append(block)
        assert np.asarray(column.finish()).tolist() == [[1, -1, -1], [2, -1, -1], [3, 4, 5]]

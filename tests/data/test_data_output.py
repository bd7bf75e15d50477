"""Files of rows that are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from vflc_runtime.data.output import write_table

ROWS = 1000


@pytest.fixture
def batch() -> pa.RecordBatch:
    return pa.record_batch(
        {
            "ID": pa.array(range(ROWS)),
            "name": pa.array([f"u{row}" for row in range(ROWS)]),
            "liked": pa.array(np.random.default_rng(1).random(ROWS, np.float32)),
            "class": pa.array(["good" if row % 3 else "bad" for row in range(ROWS)]),
        }
    )


def test_texts_that_repeat_alone_have_a_dictionary(batch: pa.RecordBatch, tmp_path: Path) -> None:
    file = tmp_path / "p.parquet"
    assert write_table(file, [batch.slice(0, 600), batch.slice(600)]) == ROWS
    group = pyarrow.parquet.ParquetFile(file).metadata.row_group(1)
    columns = [group.column(index) for index in range(group.num_columns)]
    assert [each.path_in_schema for each in columns if each.has_dictionary_page] == ["class"]
    assert pyarrow.parquet.read_table(file) == pa.Table.from_batches([batch])


def test_no_rows_give_a_file_of_no_rows(batch: pa.RecordBatch, tmp_path: Path) -> None:
    file = tmp_path / "p.parquet"
    assert write_table(file, [batch.slice(0, 0)]) == 0
    assert pyarrow.parquet.read_table(file).schema == batch.schema

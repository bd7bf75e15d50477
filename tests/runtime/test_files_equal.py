"""Equal content is equal bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from vflc_runtime import files


def test_equal_tensors_and_metadata_are_equal_files(tmp_path: Path) -> None:
    tensors = {f"weight.{i}": np.arange(i, i + 3, dtype=np.float32) for i in range(9)}
    metadata = dict.fromkeys(("step", "fingerprint", "epoch", "seed"), "x" * 9)
    for index in range(4):
        files.write_tensors(tmp_path / str(index), tensors, metadata)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    found, said = files.read_tensors(tmp_path / "0")
    assert said == metadata and found.keys() == tensors.keys()


def test_a_view_is_written_as_what_it_shows(tmp_path: Path) -> None:
    rows = np.arange(24, dtype=np.float32).reshape(6, 4)
    views = {"part": rows[:, :2], "every": rows[::2], "turned": rows.T}
    files.write_tensors(tmp_path / "views", views, {})
    found, _ = files.read_tensors(tmp_path / "views")
    for name, view in views.items():
        assert np.array_equal(found[name], view), name

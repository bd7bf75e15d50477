"""Files of tensors: byte by byte what the format's own library writes, and read where they lie."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save
from vflc_runtime import files, tensors

NUMBERS = np.random.default_rng(2)


def given() -> dict[str, np.ndarray]:
    """Of all types, of no rows, of one number, and views that lie in pieces."""
    found = {f'x{i}é"\\': (9 * NUMBERS.random((i, 3))).astype(name) for i, name in enumerate(tensors.NAMES)}
    found |= {f"one.{name}": np.array(1, name) for name in tensors.NAMES}
    whole = NUMBERS.random((5, 7))
    return found | {"part": whole[:, 2:4], "every": whole[::2], "turned": whole.T, "none": whole[:, :0]}


GIVEN = given()


def test_the_file_is_that_of_the_library() -> None:
    about = {"vflc": json.dumps({"a": "\n\x01ü"})}
    whole = {name: np.ascontiguousarray(each).reshape(each.shape) for name, each in GIVEN.items()}
    assert b"".join(tensors.content(GIVEN, about)) == save(whole, about)
    assert b"".join(tensors.content({}, {})) == save({})


def test_rows_that_are_made_are_written_as_they_come(tmp_path: Path) -> None:
    table = NUMBERS.random((100, 3))
    rows = np.array([3, 50, 99])
    half = tensors.MadeRows((100, 3), table.dtype, lambda: iter([table[:40], table[40:].copy("F")]))
    digest = files.write_tensors(tmp_path / "f", {"some": tensors.taken(table, rows), "all": half}, {})
    assert files.checksums(tmp_path, ["f"]) == {"f": digest}
    found, _ = files.read_tensors(tmp_path / "f")
    np.testing.assert_array_equal(found["some"], table[rows])
    np.testing.assert_array_equal(found["all"], table)


def descriptors() -> int:
    """How many files this process has open."""
    return len([*Path("/proc/self/fd").iterdir()])


def test_a_large_file_is_read_where_it_lies(tmp_path: Path) -> None:
    """By one open file, whatever is in it; what is written to its tensors stays in memory."""
    path, before = tmp_path / "f", descriptors()
    files.write_tensors(path, GIVEN, {"a": "b"})
    content = path.read_bytes()
    found = tensors.mapped(path)
    assert descriptors() <= before + 1
    assert found.keys() == GIVEN.keys()
    for name, each in GIVEN.items():
        assert found[name].dtype == each.dtype
        np.testing.assert_array_equal(found[name], each)
        found[name][...] = 0
    assert path.read_bytes() == content


def test_rows_put_over_others_are_made_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As numpy puts them one after the other; the array itself stays as it is."""
    monkeypatch.setattr(tensors, "BLOCK_BYTES", 7 * 3 * 8)
    for seed in range(20):
        draw = np.random.default_rng(seed)
        table = draw.random((int(draw.integers(0, 40)), 3))
        changes, expected, before = [], table.copy(), table.copy()
        for _ in range(draw.integers(0, 4)):
            at = np.flatnonzero(draw.random(len(table)) < 0.3)
            changes.append((at, draw.random((len(at), 3))))
            expected[at] = changes[-1][1]
        made = tensors.with_rows(table, changes)
        assert all(len(block) <= 7 for block in made.make())
        np.testing.assert_array_equal(tensors.whole(made), expected)
        np.testing.assert_array_equal(table, before)

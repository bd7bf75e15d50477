"""Tables of Delta Lake: the rows of the latest version, deleted ones left out, also in folders by year."""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from vflc_runtime.data.align import look_at_tables, open_tables
from vflc_runtime.data.source import Below, TableSource
from vflc_runtime.errors import Failure

deltalake = pytest.importorskip("deltalake", reason="needs vflc[delta]")
INFO = {
    "key": "ID",
    "columns": [
        {"name": "ID", "type": "string"},
        {"name": "n", "type": "int"},
        {"name": "year", "type": "int"},
    ],
}


def rows(source: TableSource, **changed: Any) -> list[tuple[Any, ...]]:
    look_at_tables({"p": INFO | changed}, {"p": source})
    aligned = open_tables({"p": INFO | changed}, {"p": source})
    try:
        found = [aligned.column("p", c["name"]).to_pylist() for c in (INFO | changed)["columns"]]
        return list(zip(*found, strict=True))
    finally:
        aligned.close()


def written(folder: Path, numbers: list[int], **more: Any) -> None:
    table = pa.table(
        {"ID": [f"k{n:03}" for n in numbers], "n": numbers, "year": [2020 + n % 3 for n in numbers]}
    )
    deltalake.write_deltalake(folder, table, partition_by=["year"], mode="append", **more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written(tmp_path / "t", list(range(10)))
    deltalake.DeltaTable(tmp_path / "t").delete("n = 4 OR n = 7")
    written(tmp_path / "t", [12, 11])
    return tmp_path / "t"


def test_deleted_rows_are_not_read(folder: Path) -> None:
    due = [(f"k{n:03}", n, 2020 + n % 3) for n in (0, 1, 2, 3, 5, 6, 8, 9, 11, 12)]
    assert rows(folder) == due == rows(str(folder)) == rows(Below(folder.parent, "t"))
    assert len(list(folder.rglob("*.parquet"))) > len(deltalake.DeltaTable(folder).file_uris())


def test_a_column_that_came_later_is_missing_before(folder: Path) -> None:
    more = pa.table({"ID": ["z"], "n": [1], "year": [2020], "late": [0.5]})
    deltalake.write_deltalake(folder, more, mode="append", schema_mode="merge")
    late = {"columns": [{"name": "late", "type": "float"}]}
    assert [value for (value,) in rows(folder, **late)] == [None] * 10 + [0.5]
    with pytest.raises(Failure, match="VFL0602"):
        rows(folder, columns=[{"name": "later", "type": "float"}])


def changed(folder: Path, kind: str, **content: Any) -> None:
    """The first log of the table, with something else in its entries of a kind."""
    log = folder / "_delta_log" / "00000000000000000000.json"
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    for entry in entries:
        if kind in entry:
            entry[kind] |= content
    log.write_text("\n".join(json.dumps(entry) for entry in entries))


def test_what_cannot_be_read_is_said(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(code: str, source: TableSource = folder) -> Failure:
        with pytest.raises(Failure) as caught:
            rows(source)
        assert caught.value.code == code, caught.value
        return caught.value

    vectors = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"]}
    assert "Delta Lake" in refused("VFL0601", folder.parent).message  # above the table
    changed(folder, "protocol", **vectors, writerFeatures=["deletionVectors"])
    assert "deletionVectors" in refused("VFL0601").message
    changed(folder, "protocol", minReaderVersion=1, minWriterVersion=2)
    for path in ("/etc/passwd", "file:///etc/passwd", "../x.parquet", "%2e%2e/x.parquet"):
        changed(folder, "add", path=path)
        refused("VFL0601")
    (folder / "_delta_log" / "00000000000000000000.json").write_text("no JSON")
    assert len(refused("VFL0601").message) < 500
    monkeypatch.setitem(sys.modules, "deltalake", None)
    assert "vflc[delta]" in str(refused("VFL0694").help)


def test_a_link_out_of_the_folder_of_a_file_that_names_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "t").symlink_to(folder)
    with pytest.raises(Failure, match="VFL0631"):
        rows(Below(tmp_path / "deploy", "t"))
    with pytest.raises(Failure, match="VFL0631"):
        rows(Below(tmp_path / "deploy", str(folder)))

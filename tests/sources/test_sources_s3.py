"""moto's S3: one object, globs and folders, of every kind of file, and what S3 refuses."""

from __future__ import annotations

import gzip
import io
import stat
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from sources.reading import read, refused, table
from sources.servers import s3
from vflc_runtime.data.servers import s3 as reading
from vflc_runtime.data.servers.s3 import _regex
from vflc_runtime.data.servers.url import Bucket
from vflc_runtime.data.source import Below

KEYS = {"AWS_ACCESS_KEY_ID": "AKIA-hunter2", "AWS_SECRET_ACCESS_KEY": "hunter2-secret"}
KEYS |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, s3(KEYS) as address:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        host = address.removeprefix("http://")
        filesystem = fs.S3FileSystem(
            scheme="http",
            endpoint_override=host,
            allow_bucket_creation=True,
            retry_strategy=fs.AwsStandardS3RetryStrategy(20),
        )
        filesystem.create_dir("shop")
        out = io.BytesIO()
        pq.write_table(pa.table({"ID": ["a", "b"], "n": [1, 2], "other": [0, 0]}), out)
        objects = {
            "rows.csv": b"ID,n\na,1\nb,2\n",
            "packed.csv.gz": gzip.compress(b"ID,n\nc,3\n"),
            "year/1/x.parquet": out.getvalue(),
            "year/2/x.parquet": out.getvalue(),
            "year/2/.hidden.parquet": b"no",
            "year/2/_SUCCESS": b"",
            "lines/é [1].jsonl": b'{"ID": "d", "n": 4}\n',
            "delta/a.parquet": out.getvalue(),
            "delta/_delta_log/00000000000000000000.json": b"{}",
            "bad.parquet": b"PAR1 and no more",
        }
        for key, content in objects.items():
            with filesystem.open_output_stream(f"shop/{key}", compression=None) as stream:
                stream.write(content)
        yield address


@pytest.fixture(autouse=True)
def environment(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": server}.items():
        monkeypatch.setenv(name, value)


def test_files_of_every_kind():
    assert table("s3://shop/rows.csv", "ID", n="int") == [["a", "b"], [1, 2]]
    assert table("s3://shop/packed.csv.gz", "ID", n="int") == [["c"], [3]]
    assert table("s3://shop/lines/*.jsonl", "ID", n="int") == [["d"], [4]]
    assert table("s3://shop/year/1", "ID", n="int") == [["a", "b"], [1, 2]]
    for many in ("s3://shop/year", "s3://shop/year/", "s3://shop/**/x.parquet", "s3://shop/year/?/*.parquet"):
        assert read(many, "ID", "n")[1] == [("a", 1), ("b", 2)] * 2


def test_a_large_object_is_looked_at_by_its_beginning(monkeypatch):
    monkeypatch.setattr(reading, "SAMPLE", 11)
    copied = []
    copy = reading._copy
    monkeypatch.setattr(reading, "_copy", lambda *given: (copied.append(given), copy(*given))[1])
    for name in ("rows.csv", "packed.csv.gz", "year/1/x.parquet"):
        assert len(table(f"s3://shop/{name}", "ID", n="int")[0]) in (1, 2)
    assert len(copied) == 3  # by the run alone


def test_what_is_refused(monkeypatch, tmp_path):
    for nothing in (
        "s3://shop/none.csv",
        "s3://shop/*.tsv",
        "s3://shop/lines",
        "s3://shop/year/2/_*.parquet",
    ):
        refused("VFL0601", nothing)
    assert "shop" in refused("VFL0601", "s3://shop/bad.parquet").message
    assert "Delta Lake" in refused("VFL0601", "s3://shop/delta").message
    refused("VFL0601", "SELECT * FROM 's3://shop/rows.csv'")
    for nobodys in ("s3://nobodys/rows.csv", "s3://nobodys/*.csv"):
        refused("VFL0601", nobodys)
    refused("VFL0693", Below(tmp_path, "s3://shop/rows.csv"))
    monkeypatch.setenv("VFLC_SOURCES", "s3://shop")
    assert len(read(Below(tmp_path, "s3://shop/rows.csv"), "ID")[1]) == 2
    refused("VFL0693", Below(tmp_path, "s3://shop2/rows.csv"))
    monkeypatch.setenv("VFLC_SOURCE_GIB", "1e-8")
    refused("VFL0699", "s3://shop/rows.csv")
    for endpoint in ("ftp://x", "no", "http://u:p@h"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        refused("VFL0692", "s3://shop/rows.csv")


def test_copies_are_for_this_user_alone(tmp_path: Path):
    files = reading.fetch(Bucket("shop", "year/**"), "alice", "s3://shop", tmp_path / "copies", False)
    assert [Path(file).name[:6] for file in files] == [f"{i:05}-" for i in range(3)]
    assert {stat.S_IMODE(Path(file).stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "copies").stat().st_mode) == 0o700


def test_globs():
    import re

    for glob, key, fits in (
        ("a/*.csv", "a/x.csv", True), ("a/*.csv", "a/b/x.csv", False), ("**/x", "a/b/x", True),
        ("**/x", "x", True),
        ("a?[0-2].c", "ab1.c", True), ("a[!0].c", "a0.c", False), ("a.c*", "abc", False),
        ("a(b|c)*", "ab", False),
        ("*", ".x", False), ("**/*", "a/.x", False), ("**/*", ".a/x", False), ("a*", "a.x", True),
        ("**", "a/b", True),
    ):  # fmt: skip
        assert bool(re.fullmatch(_regex(glob), key)) == fits, glob

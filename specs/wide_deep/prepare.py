"""Criteo's display advertising rows, or rows like them: 20 fields and clicks at leader, 19 at follower.

SOURCE is the published text file, or a folder or archive (zip, tar.gz) that holds it as `train.txt`: tab
between fields, no header, an empty field is a missing value.
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import numpy as np
import pyarrow as pa
import pyarrow.csv
from common import Tables, Unusable, main

NUMBERS = tuple(f"I{i}" for i in range(1, 14))
CATEGORIES = tuple(f"C{i}" for i in range(1, 27))
COLUMNS = ("label", *NUMBERS, *CATEGORIES)
PARTIES = {"leader": ("label", *NUMBERS, *CATEGORIES[:7]), "follower": CATEGORIES[7:]}
SIZES = tuple(int(10 ** (1 + i % 5)) for i in range(26))
"""Distinct values of each generated category: from ten to a hundred thousand."""


def prepare(source: Path) -> Tables:
    """A reader for each party, which passes over the file by itself: the file may be larger than memory."""
    if not source.exists():
        raise Unusable(f"there is no file or folder {source}")
    return {party: _reader(source, columns) for party, columns in PARTIES.items()}


def generate(rows: int, seed: int) -> Tables:
    """Rows of the same form: clicks follow levels of the values, numbers, and pairs across the parties."""
    world, random = np.random.default_rng(2014), np.random.default_rng([seed, rows])
    ids = [(size * random.random(rows) ** 3).astype(int) for size in SIZES]
    levels = [world.normal(0, 0.35, size) for size in SIZES]
    pairs = [(world.normal(0, 0.6, (SIZES[i], 3)), world.normal(0, 0.6, (SIZES[j], 3))) for i, j in PAIRS]
    numbers = random.lognormal(1.0, 1.2, (13, rows))
    score = sum(level[chosen] for level, chosen in zip(levels, ids, strict=True))
    score += sum((a[ids[i]] * b[ids[j]]).sum(1) for (i, j), (a, b) in zip(PAIRS, pairs, strict=True))
    score += 0.5 * np.log1p(numbers[:3]).sum(0) - 3.6 + random.logistic(0, 1, rows)
    gone = random.random((len(COLUMNS) - 1, rows)) < 0.1
    columns: dict[str, Any] = {"row": np.arange(rows), "label": (score > 0).astype(np.int64)}
    for name, values, missing in zip(NUMBERS, numbers, gone, strict=False):
        columns[name] = pa.array(np.rint(values), mask=missing)
    for place, (name, values) in enumerate(zip(CATEGORIES, ids, strict=True)):
        texts = [f"{value * 2654435761 + place & 0xFFFFFFFF:08x}" for value in values]
        columns[name] = pa.array(texts, mask=gone[13 + place])
    table, order = pa.table(columns), np.random.default_rng(1).permutation(rows)
    tables = {party: table.select(["row", *names]) for party, names in PARTIES.items()}
    return {"leader": tables["leader"], "follower": tables["follower"].take(pa.array(order))}


PAIRS = ((0, 10), (5, 15), (2, 20), (1, 12))
"""Positions of categories, one of each party, of which both together say more than each alone."""


def _reader(source: Path, columns: tuple[str, ...]) -> pa.RecordBatchReader:
    types = {"label": pa.int64(), **dict.fromkeys(NUMBERS, pa.float64())}
    types |= dict.fromkeys(CATEGORIES, pa.string())
    schema = pa.schema([("row", pa.int64()), *((name, types[name]) for name in columns)])
    try:
        parts = pa.csv.open_csv(
            _opened(source),
            read_options=pa.csv.ReadOptions(column_names=COLUMNS, block_size=1 << 24),
            parse_options=pa.csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=pa.csv.ConvertOptions(
                column_types=types, include_columns=list(columns), strings_can_be_null=True, null_values=[""]
            ),
        )
    except pa.ArrowInvalid as error:
        raise Unusable(f"{source} is not Criteo's text file of {len(COLUMNS)} fields: {error}") from None

    def batches() -> Iterator[pa.RecordBatch]:
        first = 0
        for part in parts:
            keys = pa.array(np.arange(first, first + part.num_rows))
            first += part.num_rows
            yield pa.RecordBatch.from_arrays([keys, *part.columns], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _opened(source: Path) -> Any:
    """The text file as a stream, wherever it is."""
    if source.is_dir():
        found = [*source.glob("train.txt"), *sorted(source.glob("*.txt"))]
        if not found:
            raise Unusable(f"{source} holds no train.txt")
        return pa.input_stream(str(found[0]))
    if zipfile.is_zipfile(source):
        archive = zipfile.ZipFile(source)
        inside = next((name for name in archive.namelist() if name.endswith("train.txt")), None)
        return pa.PythonFile(archive.open(inside), "r") if inside else _without(source)
    if tarfile.is_tarfile(source):
        members = tarfile.open(source)  # noqa: SIM115, the stream is read after this returns
        found_member = next((member for member in members if member.name.endswith("train.txt")), None)
        content = members.extractfile(found_member) if found_member else None
        return pa.PythonFile(content, "r") if content else _without(source)
    return pa.input_stream(str(source))


def _without(source: Path) -> Any:
    raise Unusable(f"{source} holds no train.txt")


if __name__ == "__main__":
    sys.exit(main(__doc__, prepare, generate, source=Path))

"""Folders that are more than their Parquet files: a log beside these says which of them count."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vflc_runtime.errors import Failure

DELTA = "_delta_log"
"""The folder in which a table of Delta Lake has its log."""
LOGS = {
    "Delta Lake": re.compile(rf"/{DELTA}/\d+\.json$"),
    "Iceberg": re.compile(r"/metadata/[^/]*\.metadata\.json$"),
}
"""Files by which such a table is known."""
_HELP = {
    "Delta Lake": "copy the table to a folder of this machine and name that folder, or write its rows as "
    "Parquet",
    "Iceberg": "write its rows as Parquet by a tool that reads Iceberg, or, in Python, give them as a table "
    "of pyarrow",
}


def refuse_log(files: Iterable[str], party: str, shown: str) -> None:
    """VFL0601 where there is such a log among the files of a folder: all of them are not the table's rows."""
    for file in files:
        for kind, log in LOGS.items():
            if log.search(f"/{file}"):
                raise Failure(
                    "VFL0601",
                    f"{party}'s data cannot be read from {shown}: it is a table of {kind}, some of whose "
                    "Parquet files may hold rows that were deleted",
                    _HELP[kind],
                )

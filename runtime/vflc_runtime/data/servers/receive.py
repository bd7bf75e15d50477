"""Rows of a server as Arrow batches: in time, no more than is accepted, and checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module

import pyarrow as pa

from vflc_runtime.data.servers.said import broken
from vflc_runtime.data.servers.timed import in_time
from vflc_runtime.data.servers.url import ServerTable
from vflc_runtime.errors import Failure

ChooseColumns = Callable[[Sequence[str]], Sequence[str]]
"""Of all names of a table's columns, those to read, in order."""
DRIVERS = {"postgresql": "postgres", "mysql": "mysql", "grpc+tls": "flight", "grpc": "flight"}
"""By scheme, the module that reads it: `read(server, party, shown, choose, limit)` gives batches, the first
of them empty, all with the columns that `choose` chose. Fields may carry `MEANT` in their metadata."""
MEANT = b"vflc"
DECIMAL, JSON = b"decimal", b"json"
"""Of a column of texts: what they are the texts of."""
TIMEOUT = ("VFLC_SOURCE_TIMEOUT", 600.0)
"""Environment, and default: seconds that a server may be silent."""
LIMIT = ("VFLC_SOURCE_GIB", 64.0)
"""Environment, and default: GiB that a table may have, as Arrow holds it."""


def receive(
    server: ServerTable, party: str, shown: str, choose: ChooseColumns, limit: int | None = None
) -> Iterator[pa.RecordBatch]:
    """Reads columns of a table at a server, in one transaction that sees one state of it.

    Args:
        server: where the table is.
        party: whose it is, for messages.
        shown: the source as messages show it.
        choose: which columns.
        limit: rows that are wanted at most; None for all.

    Returns:
        Batches; the first has no rows.

    Raises:
        Failure: VFL0694 (no driver), VFL0697 (no connection), VFL0698 (a query that fails, or no
            answer in time), VFL0699 (too much, or no valid Arrow data), what `choose` raises.
    """
    seconds, most = setting(*TIMEOUT), setting(*LIMIT) * 2**30
    driver = import_module(f"vflc_runtime.data.servers.{DRIVERS[server.scheme]}")
    size = 0
    batches = in_time(lambda: driver.read(server, party, shown, choose, limit), seconds)
    try:
        for batch in batches:
            try:
                batch.validate(full=True)
            except pa.ArrowInvalid as error:
                raise too_much(party, shown, f"sends what is no valid Arrow data: {error}") from None
            size += batch.nbytes
            if size > most:
                raise too_much(party, shown, f"sends more than {most / 2**30:g} GiB")
            yield batch
    except TimeoutError as error:
        help = f"try a smaller query, or wait longer: export {TIMEOUT[0]}=3600"
        raise broken(party, shown, error, help) from None
    finally:
        batches.close()  # type: ignore[attr-defined]


def too_much(party: str, shown: str, what: str) -> Failure:
    """VFL0699."""
    return Failure(
        "VFL0699",
        f"the server of {party}'s data {what[:300]}: {shown}",
        f"select fewer rows or columns, or accept more: export {LIMIT[0]}=200",
    )


def setting(name: str, default: float) -> float:
    """A positive number from the environment; VFL0692 where it is none."""
    text = os.environ.get(name, "") or str(default)
    try:
        if 0 < (number := float(text)) < 1e9:
            return number
    except ValueError:
        pass
    raise Failure("VFL0692", f"{name} is not a positive number: {text[:40]!r}", f"export {name}={default:g}")

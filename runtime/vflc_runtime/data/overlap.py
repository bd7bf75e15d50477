"""What a run would join and what it would leave out, counted before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import duckdb
from vflc_common.keys import has_many, key_part, may_lack

from vflc_runtime.data.align import join_keys
from vflc_runtime.data.keys import key_part as part_of
from vflc_runtime.data.keys import key_text, wanted_keys
from vflc_runtime.data.read import connect, counted, load, open_sources
from vflc_runtime.data.source import OpenedSource, TableSource, quote, unreadable
from vflc_runtime.data.table import check_keys, raw_name
from vflc_runtime.data.values import define
from vflc_runtime.errors import Failure
from vflc_runtime.memory import for_tables
from vflc_runtime.scratch import scratch_folder

Connection = duckdb.DuckDBPyConnection

_BLANK = "(key IS NULL OR regexp_full_match(key, '\\s*'))"
_FORMS = (
    ("without the white space around them", "trim(key, ' \t\n\f\r')"),
    (
        "as they look, without characters that do not show",
        "trim(regexp_replace(regexp_replace(key, '\\p{Cf}', '', 'g'), '[\\p{Z}\\s]+', ' ', 'g'))",
    ),
    ("with upper and lower case as one", "lower(key)"),
    ("without leading zeros", "regexp_replace(key, '^0+([0-9])', '\\1')"),
    ("without a fraction of zeros", "regexp_replace(key, '\\.0+$', '')"),
)


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Rows of one party's table.

    Args:
        rows: all of them.
        blank: without a key.
        doubled: with a key that another row has, too.
        kept: with a key that all parties have, but for those that may lack rows.
    """

    rows: int
    blank: int
    doubled: int
    kept: int

    @property
    def dropped(self) -> int:
        """With a key, but one that somebody lacks."""
        return self.rows - self.blank - self.kept


@dataclass(frozen=True, slots=True)
class Overlap:
    """How the keys of several tables overlap.

    Args:
        parties: by name.
        common: keys that all parties have; if some keys are a part of the others', of these.
        nearly: how many more there would be if keys were written alike, by how.
        problem: what a run would stop at.
    """

    parties: dict[str, RowCounts]
    common: int
    nearly: dict[str, int]
    problem: Failure | None


def overlap(parties: Mapping[str, Mapping[str, Any]], given: Mapping[str, TableSource]) -> Overlap:
    """Reads the key columns alone and compares them as a run would.

    Args:
        parties: of each its `key` and `where`, as in encoders.json.
        given: of each its source.

    Raises:
        Failure: VFL0601, 0602, 0607, 0612. What is wrong with the keys themselves is counted.
    """
    with scratch_folder() as folder:
        connection = connect(for_tables(2 * len(parties)), str(folder))
        try:
            for party, opened in open_sources(connection, {party: given[party] for party in parties}).items():
                _read(connection, parties[party], opened)
            if any(key_part(info) is not None for info in parties.values()):
                return _starred(connection, parties)
            needed = [party for party, info in parties.items() if not may_lack(info)]
            connection.execute(f"CREATE TABLE everywhere AS {_intersection(needed, 'key')}")
            counts = {party: _counts(connection, party, "everywhere") for party in parties}
            common = (
                counted(connection, "SELECT count(*) FROM everywhere")
                if len(needed) == len(parties)
                else _common(connection, list(parties), "key")
            )
            known = len(needed) == len(parties) and common and not any(_wrong(parties, counts))
            return Overlap(
                counts,
                common,
                _nearly(connection, counts, common),
                None if known else _problem(connection, parties),
            )
        except duckdb.Error as error:
            raise unreadable(", ".join(parties), "the tables", error) from None
        finally:
            connection.close()


def _starred(connection: Connection, parties: Mapping[str, Mapping[str, Any]]) -> Overlap:
    """The same where the keys of some are a part of the others'; which are nearly equal is not counted."""
    problem = _problem(connection, parties)
    if problem is not None and problem.code != "VFL0606":
        with suppress(Failure):
            join_keys(connection, list(parties), parties)
    counts = {}
    for party, info in parties.items():
        part = key_part(info)
        key = "key" if part is None else part_of("key", part)
        counts[party] = _counts(connection, party, f"(SELECT {key} AS key FROM common)")
    return Overlap(counts, counted(connection, "SELECT count(*) FROM common"), {}, problem)


def _read(connection: Connection, info: Mapping[str, Any], source: OpenedSource) -> None:
    keys, read = wanted_keys(info), quote(f"read {source.party}")
    types = load(connection, f"read {source.party}", source, keys)
    text = key_text(types, [f"c{i}" for i in range(len(keys))], source, keys)
    define(connection, [text])
    connection.execute(f"CREATE TABLE {raw_name(source.party)} AS SELECT {text} AS key FROM {read}")
    connection.execute(f"DROP TABLE {read}")


def _intersection(parties: Sequence[str], form: str) -> str:
    return " INTERSECT ".join(
        f"SELECT {form} AS key FROM {raw_name(party)} WHERE NOT {_BLANK}" for party in parties
    )


def _common(connection: Connection, parties: Sequence[str], form: str) -> int:
    return counted(connection, f"SELECT count(*) FROM ({_intersection(parties, form)})")


def _counts(connection: Connection, party: str, everywhere: str) -> RowCounts:
    """`everywhere` is a table of the keys that take part."""
    name = raw_name(party)
    doubled = f"SELECT count(*) AS times FROM {name} WHERE NOT {_BLANK} GROUP BY key HAVING count(*) > 1"
    return RowCounts(
        rows=counted(connection, f"SELECT count(*) FROM {name}"),
        blank=counted(connection, f"SELECT count(*) FROM {name} WHERE {_BLANK}"),
        doubled=counted(connection, f"SELECT coalesce(sum(times), 0) FROM ({doubled})"),
        kept=counted(connection, f"SELECT count(*) FROM {name} SEMI JOIN {everywhere} USING (key)"),
    )


def _nearly(connection: Connection, counts: Mapping[str, RowCounts], common: int) -> dict[str, int]:
    """Keys are never changed to make them equal, but who prepares tables wants to know.

    Tables are not compared again where it is plain that no more keys would match: where all keys of some
    party do already, and in ways in which nobody's keys would be written otherwise than they are.
    """
    if any(not each.doubled and each.rows - each.blank == common for each in counts.values()):
        return {}
    asked = ", ".join(f"coalesce(bool_or({form} <> key), false)" for _, form in _FORMS)
    changes = [connection.execute(f"SELECT {asked} FROM {raw_name(p)}").fetchall()[0] for p in counts]
    some = [how_form for how_form, *any_ in zip(_FORMS, *changes, strict=True) if any(any_)]
    more = {how: _common(connection, [*counts], form) - common for how, form in some}
    return {how: count for how, count in more.items() if count > 0}


def _wrong(parties: Mapping[str, Mapping[str, Any]], counts: Mapping[str, RowCounts]) -> Iterator[bool]:
    """Of each party whether a run would refuse its keys."""
    for party, each in counts.items():
        yield bool(each.blank or (each.doubled and not has_many(parties[party])))


def _problem(connection: Connection, parties: Mapping[str, Mapping[str, Any]]) -> Failure | None:
    try:
        for party, info in parties.items():
            check_keys(connection, party, info, repeated=has_many(info))
        join_keys(connection, list(parties), parties)
    except Failure as failure:
        return failure
    return None

"""Alignment by itself: the parties find their common rows, and train another time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from vflc_common.arrays import Indices
from vflc_common.control import ALIGN_HELLO

from vflc_runtime.bundle.folder import Bundle, open_bundle
from vflc_runtime.bundle.manifest import Manifest
from vflc_runtime.data.align import look_at_tables, open_tables
from vflc_runtime.data.aligned import Aligned
from vflc_runtime.data.dataset import CommonRows
from vflc_runtime.data.encoded import BLOCK
from vflc_runtime.data.keys import restored_columns
from vflc_runtime.data.output import check_out, write_table
from vflc_runtime.data.source import unreadable
from vflc_runtime.data.spread import ABSENT
from vflc_runtime.data.table import name_in_table
from vflc_runtime.errors import Failure
from vflc_runtime.party.agreement import compare
from vflc_runtime.party.coordinator import PartyCoordinator
from vflc_runtime.party.peers import Peers
from vflc_runtime.party.rows import PlaceRows, rows_of, runs
from vflc_runtime.party.site import Site, take_part
from vflc_runtime.run import loading
from vflc_runtime.run.settings import version
from vflc_runtime.transport.network import Ended


def align_party(bundle_dir: Path | str, site: Site, out_file: Path | str | None = None) -> dict[str, Any]:
    """Finds the rows that all parties with a table have; writes this party's own in common order.

    The file has the key and the columns that the bundle reads, as they were read: it can stand for
    the table in a run whose method is `aligned`.

    Returns:
        `rows`, `kept` and `dropped` of this party, and `peers`: of each, bytes and seconds waited. Where
        parties may lack rows, or have a part of the key, the number of `keys` that are joined, and `missing`:
        of parties that may lack rows how many they lack, as far as this one knows.

    Raises:
        Failure: VFL0618 at a place without a table, those of `align`, of data, and of the network.
    """
    path = None if out_file is None else check_out(Path(out_file))
    bundle = _readers_alone(open_bundle(bundle_dir, (site.place,), site.engine), site.place)
    parties: dict[str, Any] = loading.encoders(bundle)["parties"]
    raw = [column for column in parties[site.place]["columns"] if "value" not in column]
    parties = {site.place: {**parties[site.place], "columns": raw}}

    look_at_tables(parties, site.sources(bundle))

    def once(peers: Peers, rows: PlaceRows) -> dict[str, Any]:
        compare(peers, {"program": "align", "version": version(), "digest": bundle.manifest.digest})
        with _opened(parties, site, bundle) as table:
            lacking: dict[str, Any] = {}
            if bundle.manifest.parts:  # which rows take part is known when all is told
                joined = rows.joined(table.keys)
                positions, lacking = joined.positions, _lacking_rows(bundle.manifest, joined)
            else:
                distinct, starts, counts = runs(table.keys)
                found, own = rows.common(distinct)
                if bundle.manifest.missing:
                    lacking = _lacking(bundle.manifest, rows.all_lacks(own))
                positions = rows_of(starts[found], counts[found])
            table.keep(site.place, positions)
            if path is not None:
                write_table(path, _written(table, site.place, parties[site.place], path.suffix))
        with suppress(Ended, Failure):  # whoever is gone by now has all it needs
            PartyCoordinator(peers, "", "train").leave()
        return {**table.report[site.place], **lacking}

    found, spent = take_part(site, bundle, 1, once)
    return {**found, "peers": spent}


def _lacking(manifest: Manifest, lacks: Indices) -> dict[str, Any]:
    """How many keys there are, and how many of them each party lacks that may."""
    counts = {p: int(np.count_nonzero(lacks >> bit & 1)) for bit, p in enumerate(manifest.missing)}
    return {"keys": len(lacks), "missing": counts}


def _lacking_rows(manifest: Manifest, joined: CommonRows) -> dict[str, Any]:
    """The same of joined rows, of the parties whose rows matter here."""
    known = {p: int(np.count_nonzero(at == ABSENT)) for p, at in joined.at.items() if p in manifest.missing}
    rows = next((len(at) for at in joined.at.values()), len(joined.positions))
    return {"keys": rows, "missing": known}


def _readers_alone(bundle: Bundle, place: str) -> Bundle:
    """The bundle as if places without a table were not there: they have nothing to align."""
    manifest = bundle.manifest
    readers = {control.sender for control in manifest.controls if control.kind == ALIGN_HELLO.name}
    if place not in readers:
        raise Failure(
            "VFL0618",
            f"{place} has no party to align a table with",
            f"parties that align: {', '.join(sorted(readers)) or 'none, since only one has a table'}",
        )
    places = tuple(each for each in manifest.places if each in readers)
    return replace(bundle, manifest=replace(manifest, places=places))


@contextmanager
def _opened(parties: dict[str, Any], site: Site, bundle: Bundle) -> Iterator[Aligned]:
    table = open_tables(parties, site.sources(bundle))
    try:
        yield table
    except duckdb.Error as error:
        raise unreadable(site.place, "the aligned table", error) from None
    finally:
        table.close()


def _written(table: Aligned, party: str, info: Mapping[str, Any], suffix: str) -> Iterator[pa.RecordBatch]:
    called = {column["name"]: name_in_table(column) for column in info["columns"]}
    for keys, batch in table.batches(party, BLOCK):
        columns = {
            called[name]: values for name, values in zip(batch.schema.names, batch.columns, strict=True)
        }
        yield pa.record_batch({**restored_columns(info, keys, table.key_types[party], suffix), **columns})

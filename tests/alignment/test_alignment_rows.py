"""Every method finds the rows of a run in one process, in its order, whoever takes part."""

import pyarrow as pa
import pytest
from aligning import SHARED, together
from hypothesis import given, settings
from hypothesis import strategies as st
from vflc_common.control import HASH, POINT, Control
from vflc_runtime.alignment import hub, points
from vflc_runtime.alignment.settings import AlignSettings
from vflc_runtime.data.align import open_tables
from vflc_runtime.data.dataset import CommonRows, Dataset
from vflc_runtime.errors import Failure
from vflc_runtime.events import Aligning

KEY = st.text(alphabet=st.sampled_from("a0é漢😀Z \0'\u0301e"), max_size=3)
LISTS = st.lists(st.lists(KEY, min_size=1, max_size=12), min_size=2, max_size=4)
FULL = [
    "é",
    "7",
    "07",
    "7.0",
    " a",
    "a",
    "A",
    "漢",
    "😀",
    "\0x",
    "z" * 300,
    "﻿b",
    "ſ",
    "\U0001f600 ",
]


def joined(tables):
    """The keys of the local run, or the code of its refusal."""
    parties = {place: {"key": "ID", "columns": []} for place in tables}
    try:
        opened = open_tables(parties, {p: pa.table({"ID": keys}) for p, keys in tables.items()})
    except Failure as failure:
        return failure.code
    try:
        return opened.keys.to_pylist()
    finally:
        opened.close()


@pytest.mark.parametrize("method", ["hash", "psi"])
@settings(max_examples=5, deadline=None)
@given(LISTS)
def test_it_is_the_local_join(method, lists):
    tables = {f"p{i}": keys for i, keys in enumerate(lists)}
    local, ended = joined(tables), together(method, tables)
    if isinstance(local, str):
        codes = set(ended.codes.values())
        assert codes & {local, "VFL0605", "VFL0616"} and codes <= {local, "VFL0605", "VFL0616", "Ended"}
        assert not any(isinstance(result, list) for result in ended.results.values())
    else:
        assert all(keys == local for keys in ended.keys(tables).values()), ended.results


@pytest.mark.parametrize("method", ["aligned", "hash", "psi"])
@pytest.mark.parametrize("parties", [2, 3, 4])
@settings(max_examples=2, deadline=None)
@given(st.data())
def test_equal_keys_in_any_order(method, parties, data):
    tables = {f"p{i}": data.draw(st.permutations(FULL)) for i in range(parties)}
    assert set(map(tuple, together(method, tables).keys(tables).values())) == {tuple(joined(tables))}


@pytest.mark.parametrize("method", ["hash", "psi"])
@pytest.mark.parametrize("parties", [2, 3, 4])
def test_in_many_messages(method, parties, monkeypatch):
    """Tables of many blocks, which are made small here; every party has its turn at being the hub."""
    for name in ("ALIGN_REQUEST", "ALIGN_RESPONSE", "ALIGN_SETUP", "ALIGN_COMMON", "ALIGN_HASHES"):
        kind = getattr(hub, name)
        width = HASH if name in ("ALIGN_COMMON", "ALIGN_HASHES") else POINT
        monkeypatch.setattr(hub, name, Control(kind.name, 4 * width, "", ""))
    monkeypatch.setattr(hub, "POINTS", 6)
    monkeypatch.setattr(points, "PIECE", 3)
    tables = {
        f"p{i}": [f"user {n}" for n in range(i, 70 - i) if n % (i + 2) or n % 3] for i in range(parties)
    }
    fewest = min(tables, key=lambda place: (len(tables[place]), place))
    for chosen in (None, *tables):
        how = {place: AlignSettings(hub=chosen, key=SHARED, threads=2) for place in tables}
        ended = together(method, tables, how)
        assert set(map(tuple, ended.keys(tables).values())) == {tuple(joined(tables))}
        asked = "align.setup" if method == "psi" else "align.hashes"
        hubs = {place for place, heard in ended.heard.items() for _, kind in heard if kind == asked}
        assert hubs == {chosen or fewest}


def test_a_party_alone():
    assert together("psi", {"a": ["2", "10", "1"]}).results == {"a": [2, 1, 0]}


def test_doubled_and_blank_keys_are_refused_by_their_party_alone():
    assert together("hash", {"a": ["1", "1", "2"], "b": ["1", "2"]}).codes == {"a": "VFL0605", "b": "Ended"}
    assert together("psi", {"a": ["1", None], "b": ["1", "2"]}).codes == {"a": "VFL0616", "b": "Ended"}
    assert together("psi", {"a": ["1", "\t \n"], "b": ["1"]}).codes == {"a": "VFL0616", "b": "Ended"}


def test_keys_of_other_types_meet_as_in_the_local_run():
    """The text that keys are compared as is made where tables are opened, at every party alike."""
    tables = {
        "a": pa.table({"ID": [10, 9, 7]}),
        "b": pa.table({"ID": ["7", "10", "x"]}),
        "c": pa.table({"ID": [7.0, 10.0, 2.5]}),
    }
    texts = {}
    for place, table in tables.items():
        opened = open_tables({place: {"key": "ID", "columns": []}}, {place: table})
        texts[place] = opened.keys.to_pylist()
        opened.close()
    assert set(map(tuple, together("psi", texts).keys(texts).values())) == {("10", "7")}


def test_a_data_set_is_that_of_the_local_run_to_the_bit():
    """Each party reads its own table, keeps what all have, and fits its encoders to that alone."""
    columns = [{"name": "v", "kind": "feature", "type": "float", "shape": "number",
                "encoders": [{"name": "standardize", "mean": None, "std": None}]}]  # fmt: skip
    keys = {"a": [5, 3, 8, 1, 10, 4], "b": [4, 1, 9, 10, 5, 77, 6]}
    tables = {p: pa.table({"ID": k, "v": [x * x / 3 + len(k) for x in k]}) for p, k in keys.items()}
    encoders = {p: {"parties": {p: {"key": "ID", "columns": columns}}} for p in keys}
    both = {"parties": {p: encoders[p]["parties"][p] for p in keys}}
    keep = lambda rows, _: pa.array(range(1, rows, 2)).to_numpy()  # noqa: E731
    local = Dataset.load(both, tables, keep=keep)
    texts = {}
    for party in keys:
        alone = Dataset.load(encoders[party], {party: tables[party]})
        texts[party] = alone.keys.to_pylist()
    positions = together("hash", texts).results
    for party in keys:
        rows = pa.array(positions[party]).to_numpy()
        agreed = CommonRows(rows)
        own = Dataset.load(
            encoders[party], {party: tables[party]}, keep=keep, agree=lambda _, found=agreed: found
        )
        assert own.keys == local.keys and own.rows == local.rows == 4
        assert own.inputs[f"{party}.v"].tobytes() == local.inputs[f"{party}.v"].tobytes()
        assert own.state[f"{party}.v"] == local.state[f"{party}.v"]
        assert own.report["parties"][party] == local.report["parties"][party]


def test_the_computation_is_reported():
    count = points.PIECE + 5
    ended = together("psi", {"a": [str(n) for n in range(count)], "b": ["7", "x", "y"]})
    assert ended.events["a"] == [
        Aligning("own keys", points.PIECE, count),
        Aligning("own keys", count, count),
        Aligning("keys of b", 3, 3),
    ]
    assert ended.events["b"] == [Aligning("keys for a", 3, 3), Aligning("answers of a", 3, 3)]

"""Alignment: an inner join by key as text, in the order of the keys' bytes."""

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vflc_runtime.data.align import open_tables
from vflc_runtime.data.table import check_keys
from vflc_runtime.errors import Failure

WHERE = {"file": "spec.vfl", "line": 2, "column": 3, "end_column": 9, "text": "  key ID"}
VALUE = [{"name": "v", "type": "string"}]


def aligned(*tables, columns=VALUE, **options):
    parties = {f"p{i}": {"key": "ID", "columns": columns, "where": WHERE} for i in range(len(tables))}
    result = open_tables(parties, dict(zip(parties, tables, strict=True)), **options)
    try:
        values = [result.column(party, "v").to_pylist() if columns else [] for party in parties]
        return result.keys.to_pylist(), values, result.report
    finally:
        result.close()


def keyed(keys, prefix=""):
    return pa.table({"ID": keys, "v": [f"{prefix}{key}" for key in keys]})


def refused(code, *tables):
    with pytest.raises(Failure) as caught:
        aligned(*tables)
    assert caught.value.code == code, str(caught.value)
    assert caught.value.where == WHERE
    return caught.value


KEYS = st.lists(st.text(alphabet=st.sampled_from("ab1é漢😀Z \0'\""), max_size=3), min_size=1, max_size=12)


@settings(max_examples=12, deadline=None)
@given(st.lists(KEYS, min_size=1, max_size=3))
def test_it_is_the_join_that_plain_python_makes(lists):
    tables = [keyed(keys, f"{i}:") for i, keys in enumerate(lists)]
    for keys in lists:
        if any(not key.strip(" ") for key in keys):
            refused("VFL0616", *tables)
            return
        if len(set(keys)) < len(keys):
            refused("VFL0605", *tables)
            return
    common = sorted(set.intersection(*map(set, lists)), key=str.encode)
    if not common:
        refused("VFL0606", *tables)
    else:
        keys, values, report = aligned(*tables)
        assert keys == common
        assert values == [[f"{i}:{key}" for key in common] for i in range(len(lists))]
        assert list(report.values()) == [
            {"rows": len(k), "kept": len(common), "dropped": len(k) - len(common)} for k in lists
        ]


def test_keys_of_different_types_meet_as_text():
    whole, text = keyed([10, 9, 1]), keyed(["1", "10", "x"])
    real = pa.table({"ID": [1.0, 10.0, 2.5], "v": ["a", "b", "c"]})
    keys, values, report = aligned(whole, text, real)
    assert keys == ["1", "10"]
    assert values == [["1", "10"], ["1", "10"], ["a", "b"]]
    assert report["p0"] == {"rows": 3, "kept": 2, "dropped": 1}
    assert aligned(real)[0] == ["1", "10", "2.5"]
    assert aligned(keyed(["01", "1"]), keyed([1]))[0] == ["1"]


def test_doubled_keys_are_shown():
    failure = refused("VFL0605", keyed(["b", "a", "b", "c", "a", "b"]))
    assert "'a' (2 times), 'b' (3 times)" in failure.message and "'c'" not in failure.message
    assert refused("VFL0605", keyed(["b"]), pa.table({"ID": [1.0, 1.0], "v": ["x", "y"]}))


def test_a_doubled_key_that_is_a_part_of_anothers_may_lack_a_column():
    info = {"key": "ID", "part_of_key": [0], "columns": [], "where": WHERE}
    with duckdb.connect() as connection, pytest.raises(Failure) as caught:
        connection.execute("CREATE TABLE \"raw p\" AS SELECT * FROM (VALUES ('a'), ('b'), ('a')) rows(key)")
        check_keys(connection, "p", info, repeated=False)
    assert "p's key column ID is a part of another party's key, and has the same key" in caught.value.message
    assert caught.value.help == "name the other columns of that key here, too, or leave the other rows out"


@pytest.mark.parametrize("blank", [None, "", "  ", "\t"])
def test_blank_keys_are_refused(blank):
    failure = refused("VFL0616", pa.table({"ID": ["a", blank, blank], "v": ["x", "y", "z"]}))
    assert "2 rows, first in row 2" in failure.message
    assert refused("VFL0616", pa.table({"ID": [1.0, float("nan")], "v": ["x", "y"]}))


def test_without_common_keys_an_example_of_each_side_is_shown():
    failure = refused("VFL0606", keyed(["u2", "u1"]), keyed(["1", "2"]))
    assert "p0.ID has 'u1'" in failure.message and "p1.ID has '1'" in failure.message


def test_a_party_without_columns_still_takes_part():
    assert aligned(keyed(["a", "b"]), keyed(["b"]), columns=[])[0] == ["b"]


def test_batches_come_in_order_with_their_keys():
    rows = 10_000
    keys = [f"{i * 7919 % rows:05d}" for i in range(rows)]
    parties = {"p": {"key": "ID", "columns": VALUE}}
    result = open_tables(parties, {"p": keyed(keys)}, memory_limit=64 << 20)
    seen = []
    for part, batch in result.batches("p", 4096):
        assert part.to_pylist() == batch.column(0).to_pylist() and len(part) <= 4096
        seen += part.to_pylist()
    result.close()
    assert seen == sorted(keys)


def test_many_rows_of_a_key_keep_their_order():
    rows = 30_000
    table = pa.table({"ID": [i * 7919 % 7 for i in range(rows)], "v": pa.array(range(rows), pa.int64())})
    columns = [{"name": "v", "type": "int"}]
    parties = {"p": {"key": "ID", "columns": columns, "population": True}}
    result = open_tables(parties, {"p": table})
    keys, values = result.keys.to_pylist(), result.column("p", "v").to_pylist()
    result.close()
    assert list(zip(keys, values, strict=True)) == sorted((str(i * 7919 % 7), i) for i in range(rows))

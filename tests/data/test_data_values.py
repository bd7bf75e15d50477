"""One value, one text: the rule in SQL, in Python, and through every kind of file."""

import io
import json
import os
import subprocess
import sys
import unicodedata
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vflc_common.text import text
from vflc_runtime.data.align import open_tables
from vflc_runtime.data.read import connect, open_sources
from vflc_runtime.data.values import INTEGERS, MACROS, PLAIN, as_text, define, restored, typed
from vflc_runtime.errors import Failure


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    connection = connect(1 << 28, str(tmp_path_factory.mktemp("spill")))
    define(connection, MACROS)
    open_sources(connection, {})
    return connection


def sql(database, type, values, declared="string"):
    """What a column of `type` with these values, given as text, becomes."""
    database.register("given", pa.table({"v": pa.array(values, pa.string())}))
    made = typed(declared, type, "c")
    query = f"SELECT {made.value}, {made.bad} FROM (SELECT CAST(v AS {type}) AS c FROM given)"
    rows = database.execute(query).fetchall()
    assert not any(bad for _, bad in rows)
    return [value for value, _ in rows]


def read(source, name="v", declared="string", key="k"):
    parties = {"p": {"key": key, "columns": [{"name": name, "type": declared}]}}
    aligned = open_tables(parties, {"p": source})
    try:
        return dict(zip(aligned.keys.to_pylist(), aligned.column("p", name).to_pylist(), strict=True))
    finally:
        aligned.close()


REALS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**40), 10**40).map(float)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(REALS, min_size=1, max_size=50))
def test_a_double_has_the_text_of_the_spec_s_number(database, numbers):
    assert sql(database, "DOUBLE", [repr(x) for x in numbers]) == [text(x) for x in numbers]
    for x in numbers:
        assert float(text(x)) == x


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-(10**37), 10**37), min_size=1, max_size=20), st.integers(0, 8))
def test_a_whole_number_has_the_same_digits_whatever_holds_it(database, numbers, scale):
    digits = [str(n) for n in numbers]
    assert [text(n) for n in numbers] == digits == sql(database, "HUGEINT", digits)
    assert sql(database, "JSON", digits) == digits
    narrow = [n for n in numbers if abs(n) < 10 ** (38 - scale)]
    if narrow:
        assert sql(database, f"DECIMAL(38, {scale})", [str(n) for n in narrow]) == [str(n) for n in narrow]
    exact = [n for n in numbers if int(float(n)) == n]
    assert [text(float(n)) for n in exact] == [str(n) for n in exact]
    if exact:
        assert sql(database, "DOUBLE", [repr(float(n)) for n in exact]) == [str(n) for n in exact]


BOUNDS = {
    "TINYINT": (-(2**7), 2**7 - 1), "SMALLINT": (-(2**15), 2**15 - 1), "INTEGER": (-(2**31), 2**31 - 1),
    "BIGINT": (-(2**63), 2**63 - 1), "HUGEINT": (-(2**127), 2**127 - 1), "UTINYINT": (0, 2**8 - 1),
    "USMALLINT": (0, 2**16 - 1), "UINTEGER": (0, 2**32 - 1),
    "UBIGINT": (0, 2**64 - 1), "UHUGEINT": (0, 2**128 - 1),
}  # fmt: skip


def test_integers_of_all_widths(database):
    assert set(BOUNDS) == INTEGERS
    for type, bounds in BOUNDS.items():
        values = [str(n) for n in (*bounds, 0, 1)]
        assert sql(database, type, values) == values
        fitting = [n for n in values if -(2**63) <= int(n) < 2**63]
        assert sql(database, type, fitting, "int") == [int(n) for n in fitting]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 38).flatmap(lambda w: st.tuples(st.just(w), st.integers(0, w))), st.data())
def test_a_decimal_has_the_text_of_the_double_that_is_the_same_number(database, shape, data):
    width, scale = shape
    unscaled = data.draw(st.integers(-(10**width) + 1, 10**width - 1))
    digits = tuple(int(digit) for digit in str(abs(unscaled)))
    number = Decimal((int(unscaled < 0), digits, -scale))
    (found,) = sql(database, f"DECIMAL({width}, {scale})", [f"{number:f}"])
    assert Decimal(found) == number
    significant = str(abs(unscaled)).strip("0")
    if len(significant) <= 15:  # a double holds so many digits of any number
        assert found == text(float(number))
    if unscaled % 10**scale:
        assert "." in found or "e" in found


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(alphabet=st.characters(exclude_categories=["Cs", "Cn"]) | st.sampled_from("\0e\u0301")),
        min_size=1,
    )
)
def test_texts_are_in_nfc_and_otherwise_themselves(database, texts):
    wanted = [unicodedata.normalize("NFC", t) for t in texts]
    assert [text(t) for t in texts] == wanted
    for form in ("NFC", "NFD"):
        given = [unicodedata.normalize(form, t) for t in texts]
        assert sql(database, "VARCHAR", given) == wanted
        assert sql(database, "JSON", [json.dumps(t) for t in given]) == wanted


def test_json_numbers_truth_and_nothing(database):
    values = [
        "7",
        "7.0",
        "70e-1",
        '"7.0"',
        "-0",
        "0.10",
        "1e400",
        "true",
        "false",
        "null",
        None,
        '"null"',
        '""',
    ]
    expected = ["7", "7", "7", "7.0", "0", "0.1", None, "true", "false", None, None, "null", ""]
    assert sql(database, "JSON", values) == expected
    assert sql(database, "JSON", ["7", '"7"', "7.0", "null", '""'], "int") == [7, 7, 7, None, None]
    assert sql(database, "JSON", ["7", '"7.5"', "null"], "float") == [7.0, 7.5, None]
    bad = as_text("JSON", "c").bad
    asked = f"SELECT {bad} FROM (VALUES ('[1]'::JSON), ('{{}}'), ('1'), ('null'), (NULL)) t(c)"
    assert [bool(b) for (b,) in database.execute(asked).fetchall()] == [True, True, False, False, False]


MOMENT = datetime(2024, 1, 31, 8, 0, 0, 500000)
SHANGHAI = timezone(timedelta(hours=8))
ABROAD = MOMENT.replace(tzinfo=SHANGHAI)
ARROW = {
    "int8": (pa.array([7], pa.int8()), "7"),
    "uint64": (pa.array([2**64 - 1], pa.uint64()), "18446744073709551615"),
    "half": (pa.array([np.float16(1.5)], pa.float16()), "1.5"),
    "float": (pa.array([7.0], pa.float32()), "7"),
    "double": (pa.array([0.1]), "0.1"),
    "decimal128": (pa.array([Decimal("10.50")], pa.decimal128(20, 2)), "10.5"),
    "decimal wide": (pa.array([Decimal(10**36 + 1)], pa.decimal128(38, 0)), str(10**36 + 1)),
    "bool": (pa.array([True]), "true"),
    "string": (pa.array(["e\u0301"]), "é"),
    "large_string": (pa.array(["x"], pa.large_string()), "x"),
    "string_view": (pa.array(["x"], pa.string_view()), "x"),
    "dictionary": (pa.array(["e\u0301"]).dictionary_encode(), "é"),
    "null": (pa.nulls(1), None),
    "date32": (pa.array([date(2024, 1, 31)]), "2024-01-31"),
    "time": (pa.array([time(8, 0, 0, 500000)]), "08:00:00.5"),
    "time_ns": (pa.array([1], pa.time64("ns")), None),
    "moment_s": (pa.array([MOMENT.replace(microsecond=0)], pa.timestamp("s")), "2024-01-31 08:00:00"),
    "moment_ms": (pa.array([MOMENT], pa.timestamp("ms")), "2024-01-31 08:00:00.5"),
    "moment_us": (pa.array([MOMENT], pa.timestamp("us")), "2024-01-31 08:00:00.5"),
    "moment_ns": (pa.array([MOMENT], pa.timestamp("ns")), "2024-01-31 08:00:00.5"),
    "zone_s": (
        pa.array([MOMENT.replace(microsecond=0, tzinfo=SHANGHAI)], pa.timestamp("s", "Asia/Shanghai")),
        "2024-01-31 00:00:00+00",
    ),
    "zone_us": (pa.array([ABROAD], pa.timestamp("us", "UTC")), "2024-01-31 00:00:00.5+00"),
    "zone_ns": (pa.array([ABROAD], pa.timestamp("ns", "UTC")), "2024-01-31 00:00:00.5+00"),
}  # fmt: skip


def as_parquet(file, values):
    try:
        pq.write_table(pa.table({"k": ["a"], "v": values}), file)
    except pa.ArrowNotImplementedError:  # older releases write no views
        pq.write_table(pa.table({"k": ["a"], "v": values.to_pylist()}), file)
    return file


@pytest.mark.parametrize("kind", ARROW)
def test_every_arrow_type_in_memory_and_as_parquet(tmp_path, kind):
    """As values and as keys; keys of a table in memory: test_keys_are_written_as_their_table_held_them."""
    values, expected = ARROW[kind]
    file = as_parquet(tmp_path / "rows.parquet", values)
    sources = {"a": pa.table({"k": ["a"], "v": values}), "b": file, "c": f"FROM '{file}'"}
    columns = [{"name": "v", "type": "string"}]
    aligned = open_tables({party: {"key": "k", "columns": columns} for party in sources}, sources)
    found = [aligned.column(party, "v").to_pylist() for party in sources]
    aligned.close()
    if kind == "time_ns":  # written as Parquet and read in memory alike, to the digit that DuckDB keeps
        assert all(value.startswith("00:00:00") for (value,) in found)
    else:
        assert found == [[expected]] * 3
    if expected is not None and kind != "time_ns":
        assert list(read(file, "k", key="v")) == [expected]


@pytest.mark.parametrize(
    ("zone", "shown"), [("+00", ""), ("-00:00", ""), ("+08", "+08"), ("-03:30", "-03:30")]
)
def test_a_time_in_utc_is_the_time(zone, shown):
    """Releases of pyarrow before 22 say of every time in a Parquet file that it is in UTC."""
    rows = f"SELECT 'a' AS k, TIMETZ '08:00:00.5{zone}' AS v"
    assert read(rows) == {"a": f"08:00:00.5{shown}"}
    assert list(read(rows, "k", key="v")) == [f"08:00:00.5{shown}"]


REFUSED = {
    "binary": (pa.array([b"x"]), "BLOB"),
    "list": (pa.array([[1]]), "[]"),
    "fixed list": (pa.array([[1, 2]], pa.list_(pa.int64(), 2)), "[2]"),
    "struct": (pa.array([{"a": 1}]), "STRUCT"),
    "map": (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "MAP"),
    "duration": (pa.array([timedelta(days=1)]), "INTERVAL"),  # in Parquet it is a whole number
}


@pytest.mark.parametrize("kind", REFUSED)
def test_types_without_a_text_are_refused_by_name_with_a_way_that_works(tmp_path, kind):
    values, named = REFUSED[kind]
    table = pa.table({"k": ["a"], "v": values})
    pq.write_table(table, tmp_path / "rows.parquet")
    for name, key, code in (("v", "k", "VFL0603"), ("k", "v", "VFL0634")):
        with pytest.raises(Failure) as caught:
            read(table, name, key=key)
        assert caught.value.code == code and named in caught.value.message
    help = caught.value.help
    way = help.split("sql:SELECT … ")[1].split(' AS "v"')[0].split(" or ")[-1].replace('"v".part', '"v".a')
    if kind == "map":
        way = "\"v\"['a']"
    rows = "(SELECT 'a' AS k, INTERVAL 1 DAY AS v)" if kind == "duration" else f"'{tmp_path}/rows.parquet'"
    assert read(f"SELECT k, {way} AS v FROM {rows}")["a"]


def test_every_type_that_duckdb_has_is_text_or_is_refused_by_name(database):
    described = database.execute("DESCRIBE SELECT * FROM test_all_types()").fetchall()
    types = {row[1]: row[0] for row in described}
    assert len(types) > 40
    for type, name in types.items():
        found = as_text(type, f'"{name}"')
        if found is None:
            assert type.endswith("]") or type.split("(")[0] in {
                "BIGNUM", "BIT", "BLOB", "INTERVAL", "MAP", "STRUCT", "TUPLE", "UNION",
                "GEOMETRY", "VARIANT", "TYPE",
            }, type  # fmt: skip
        else:
            assert database.execute(f"SELECT {found.value} FROM test_all_types()").fetchall()
    assert {t for t in types if as_text(t, "c") is not None} >= PLAIN - {"TIMESTAMPTZ_NS", "TIME_NS"}


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 99), min_size=1, max_size=6, unique=True))
def test_whole_numbers_are_the_same_keys_in_every_kind_of_file(tmp_path, numbers):
    texts = [str(n) for n in numbers]
    (tmp_path / "rows.csv").write_text("k,v\n" + "".join(f"{t},{t}\n" for t in texts))
    (tmp_path / "rows.json").write_text(
        json.dumps([{"k": n, "v": t} for n, t in zip(numbers, texts, strict=True)])
    )
    decimals = pa.array([Decimal(n) for n in numbers], pa.decimal128(38, 10))
    pq.write_table(pa.table({"k": decimals, "v": texts}), tmp_path / "decimals.parquet")
    memory = pa.table({"k": pa.array(numbers, pa.int64()), "v": texts})
    sources = {
        "a": tmp_path / "rows.csv", "b": tmp_path / "rows.json", "c": tmp_path / "decimals.parquet",
        "d": memory,
    }  # fmt: skip
    parties = {p: {"key": "k", "columns": [{"name": "v", "type": "string"}]} for p in sources}
    aligned = open_tables(parties, sources)
    try:
        assert aligned.keys.to_pylist() == sorted(texts)
        assert all(aligned.column(p, "v").to_pylist() == sorted(texts) for p in sources)
    finally:
        aligned.close()


SCRIPT = """
import sys; from vflc_runtime.data.align import open_tables
p = {"p": {"key": "k", "columns": [{"name": "v", "type": "string"}]}}
a = open_tables(p, {"p": sys.argv[1]}); print(a.keys.to_pylist(), a.column("p", "v").to_pylist())
"""


def test_a_moment_is_the_same_text_wherever_the_machine_stands(tmp_path):
    moments = pa.array(
        [MOMENT.replace(tzinfo=SHANGHAI), MOMENT.replace(tzinfo=UTC)], pa.timestamp("us", "UTC")
    )
    pq.write_table(pa.table({"k": moments, "v": moments}), tmp_path / "rows.parquet")
    answers = set()
    for zone in ("Asia/Shanghai", "America/New_York"):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "rows.parquet")]
        done = subprocess.run(
            command, env={**os.environ, "TZ": zone}, capture_output=True, text=True, check=True
        )
        answers.add(done.stdout)
    assert len(answers) == 1 and "2024-01-31 00:00:00.5+00" in answers.pop()


@pytest.mark.parametrize("kind", ARROW)
def test_keys_are_written_as_their_table_held_them(kind):
    values, expected = ARROW[kind]
    if expected is None:
        return
    aligned = open_tables({"p": {"key": "k", "columns": []}}, {"p": pa.table({"k": values})})
    made = restored(aligned.keys, aligned.key_types["p"][0], ".parquet")
    written = io.BytesIO()
    pa.csv.write_csv(pa.table({"k": restored(aligned.keys, aligned.key_types["p"][0], ".csv")}), written)
    assert written.getvalue().decode().replace('"', "").split("\n")[1] == expected
    aligned.close()
    texts = kind in ("string", "large_string", "string_view", "dictionary")
    assert made.to_pylist() == ([expected] if texts else values.to_pylist()) or kind.startswith("zone")
    assert pa.types.is_string(made.type) == texts

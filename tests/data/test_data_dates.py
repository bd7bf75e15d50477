"""Dates, timestamps and truth values: from every source, in every time zone, and their parts."""

import datetime as dt
import json
import math

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.test_data_reading import refused
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vflc_common.dates import date_of, days_of, moment_of, shown
from vflc_common.encoders import ENCODERS
from vflc_common.values import Values
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.encoders import encode
from vflc_runtime.data.generate import generate
from vflc_runtime.data.values import define
from vflc_runtime.export import encode as exported
from vflc_runtime.export.standalone import steps

from vflc.cli.main import run
from vflc.diagnostics import Refused, SourceText
from vflc.driver import check_source, compile_source

EPOCH = dt.datetime(1970, 1, 1)
MICRO = dt.timedelta(microseconds=1)
PARTS = {
    "year": lambda t: t.year,
    "month": lambda t: t.month,
    "day": lambda t: t.day,
    "hour": lambda t: t.hour,
    "weekday": lambda t: t.weekday(),
    "yearday": lambda t: t.timetuple().tm_yday,
    "minute": lambda t: t.minute,
}


def described(type, encoders=(), shape="number", rows=None):
    column = {"name": "x", "kind": "feature", "type": type, "encoders": list(encoders)}
    return {"parties": {"p": {"key": "k", "columns": [{**column, "shape": shape, "rows": rows}]}}}


def read(source, type, *encoders, shape="number", **more):
    return Dataset.load(described(type, encoders, shape), {"p": source}, precision="float64", **more).inputs[
        "p.x"
    ]


def keyed(values, type=None):
    return pa.table({"k": [f"{i:03}" for i in range(len(values))], "x": pa.array(values, type)})


DAYS = {"name": "days", "since": None}


@settings(max_examples=150, deadline=None)
@given(st.datetimes())
@example(dt.datetime(2024, 2, 29, 23, 59, 59, 999999))
@example(dt.datetime(1900, 2, 28))
@example(dt.datetime(1, 1, 1))
@example(dt.datetime(1969, 12, 31, 23, 59, 59, 999999))
def test_parts_are_those_of_the_calendar_also_before_1970(moment):
    micros = (moment - EPOCH) // MICRO
    assert moment_of(shown(micros, False)) == micros and shown(micros, True) == str(moment.date())
    for name, wanted in PARTS.items():
        assert ENCODERS[name].python.function(micros, {}) == wanted(moment)
        made = encode(Values(pa.array([micros, None])), {"name": name})
        assert made.flat.to_pylist() == [wanted(moment), None]
        most = ENCODERS[name].different
        assert most is None or 0 <= wanted(moment) <= most
    of_days = (moment - dt.datetime(2020, 1, 1)) / dt.timedelta(days=1)
    step = {"name": "days", "since": "2020-01-01"}
    assert math.isclose(ENCODERS["days"].python.function(micros, step), of_days, abs_tol=1e-9)
    (found,) = encode(Values(pa.array([micros])), step).flat.to_pylist()
    assert math.isclose(found, of_days, abs_tol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(-800_000, 3_000_000))
def test_days_and_dates_are_each_others_inverse(days):
    assert days_of(*date_of(days)) == days


HOSTILE = [
    "2023-02-29",
    "1900-02-29",
    "2024-1-1",
    "0000-01-01",
    "2024-01-31 24:00:00",
    "2024-01-31 23:59:60",
    "20240131",
    "2024-01-31t08:00",
    "2024-01-31 08:00:00 +01:00",
    "2024-01-31 08:00+99:00",
    "infinity",
    "epoch",
    "now",
    "x",
    "2024-01-31 08",
    "١٩٧٠-٠١-٠١",
    "2024-01-31 (BC)",
    "99999-01-01",
    "2024-01-31 08:00 Europe/Paris",
]
SOUND = [
    "2024-02-29",
    " 2024-01-31 ",
    "2024-01-31 08:00",
    "2024-01-31T08:00:00Z",
    "2024-01-31 08:00:00.5+01:00",
    "2024-01-31 08:00:00-0530",
    "2024-01-31 23:59:59.999999999",
    "0001-01-01",
    "9999-12-31 23:59:59+14",
]


@pytest.mark.parametrize("text", [*SOUND, *HOSTILE])
def test_a_spec_a_table_and_an_export_read_the_same_texts(text):
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        define(connection, ["vfl_moment"])
        ((found,),) = connection.execute("SELECT vfl_moment(?)", [text]).fetchall()
    assert found == moment_of(text) and (found is None) == (text in HOSTILE)
    if text == "infinity":
        return
    if found is None:
        with pytest.raises(exported.RefusedValue, match="and is to be"):
            exported.typed(text, "timestamp", "p.x")
    else:
        assert exported.typed(text, "timestamp", "p.x") == found


def test_every_source_gives_the_same_whatever_the_time_zone(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    moments = [dt.datetime(2024, 7, 1, 3, 30), dt.datetime(1969, 12, 31, 23, 0), dt.datetime(2024, 2, 29)]
    naive = keyed(moments, pa.timestamp("us"))
    pq.write_table(naive, tmp_path / "x.parquet")
    texts = [str(moment) for moment in moments]
    (tmp_path / "x.csv").write_text("k;x\n" + "".join(f"{i:03};{t}\n" for i, t in enumerate(texts)))
    (tmp_path / "x.jsonl").write_text(
        "".join(f'{{"k": "{i:03}", "x": "{t.replace(" ", "T")}Z"}}\n' for i, t in enumerate(texts))
    )
    tokyo = [t.replace(tzinfo=dt.UTC) for t in moments]
    sources = [
        naive,
        keyed(tokyo, pa.timestamp("ns", "Asia/Tokyo")),
        keyed(tokyo, pa.timestamp("s", "UTC")),
        keyed(moments, pa.timestamp("ms")),
        *(str(tmp_path / f"x.{end}") for end in ("parquet", "csv", "jsonl")),
    ]
    wanted = [[(t - EPOCH) / dt.timedelta(days=1)] for t in moments]
    for source in sources:
        np.testing.assert_allclose(read(source, "timestamp", DAYS), wanted)
    midnight = keyed([dt.datetime(2024, 2, 29)], pa.timestamp("us"))
    assert read(midnight, "date", {"name": "day"}).tolist() == [[29]]
    assert read(keyed([dt.date(1960, 2, 29)]), "timestamp", {"name": "year"}).tolist() == [[1960]]


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_nanoseconds_are_cut_off_as_those_of_text_are(zone):
    """The last moment of a year, as pandas has it, is in that year; DuckDB's own conversion rounds up."""
    nanos = [1735689599_999999999, 1735689599_000000500, None] + [-1, -1001] * (zone is None)
    moments = keyed(pa.array(nanos, pa.int64()).cast(pa.timestamp("ns", zone)))
    wanted = [[2024], [2024], [0]] + [[1969], [1969]] * (zone is None)
    zero = {"name": "missing", "value": 0}
    assert read(moments, "timestamp", {"name": "year"}, zero).tolist() == wanted
    texts = ["2024-12-31 23:59:59.999999999", "2024-12-31 23:59:59.0000005", None]
    texts += ["1969-12-31 23:59:59.999999999", "1969-12-31 23:59:59.999998999"] * (zone is None)
    as_text = read(keyed(texts), "timestamp", DAYS, zero)
    np.testing.assert_array_equal(read(moments, "timestamp", DAYS, zero), as_text)
    refused("VFL0603", read, moments, "date", DAYS)


@pytest.mark.parametrize(
    ("type", "value", "says"),
    [
        ("date", dt.datetime(2024, 1, 1, 8), "strptime"),
        ("date", "01/02/2024", "write dates as 2024-01-31"),
        ("timestamp", "yesterday", "write timestamps as 2024-01-31 08:00:00"),
        ("timestamp", 1700000000, "to_timestamp("),
        ("date", True, "convert it in a query"),
        ("bool", "maybe", "true and false, yes and no"),
        ("bool", 2, "true and false, yes and no"),
        ("bool", 0.5, "true and false"),
        ("bool", dt.date(2024, 1, 1), "declare it date"),
    ],
)
def test_what_is_no_date_or_truth_is_refused(type, value, says):
    encoders = () if type == "bool" else (DAYS,)
    assert says in refused("VFL0603", read, keyed([value]), type, *encoders).help


def test_truth_is_one_or_zero(tmp_path):
    zero = {"name": "missing", "value": -1, "by": None}
    (tmp_path / "x.csv").write_text(
        "k;x\n" + "".join(f"{i};{t}\n" for i, t in enumerate(["True", "no", "1", "0", "T", ""]))
    )
    wanted = [[1], [0], [1], [0], [1], [-1]]
    assert read(str(tmp_path / "x.csv"), "bool", zero).tolist() == wanted
    for values in (
        [True, False, True, False, True, None],
        [1, 0, 1, 0, 1, None],
        [1.0, 0.0, 1.0, 0.0, 1.0, None],
    ):
        assert read(keyed(values), "bool", zero).tolist() == wanted
    for value, wanted in (("Yes", 1), ("f", 0), (True, 1), (0.0, 0), (" ", None)):
        assert exported.typed(value, "bool", "p.x") == wanted
    with pytest.raises(exported.RefusedValue, match="is to be true or false"):
        exported.typed(3, "bool", "p.x")


def test_a_day_comes_round_in_a_pair_of_numbers():
    hours = [dt.datetime(2024, 1, 1, hour) for hour in (0, 6, 12, 23)]
    chain = ({"name": "hour"}, {"name": "cyclic", "period": 24})
    found = read(keyed(hours, pa.timestamp("us")), "timestamp", *chain, shape="vector")
    angles = 2 * np.pi * np.array([0, 6, 12, 23]) / 24
    np.testing.assert_allclose(found, np.stack([np.sin(angles), np.cos(angles)], axis=1), atol=1e-12)
    nothing = keyed([hours[0], None], pa.timestamp("us"))
    assert (
        "no value in 1 of 2" in refused("VFL0610", read, nothing, "timestamp", *chain, shape="vector").message
    )
    name, given = (
        "p.x",
        {"party": "p", "column": "x", "declared": "timestamp", "computed": None, "rows": None},
    )
    given |= {
        "name": name,
        "before": chain,
        "inside": [],
        "shape": ["batch", 2],
        "type": "float64",
        "padding": None,
    }
    rows = [{"x": str(hour)} for hour in hours]
    made = exported.encode({"inputs": [given]}, rows, steps(["hour", "cyclic"]))
    np.testing.assert_allclose(made["p.x"], found, atol=1e-12)


def test_made_up_tables_have_dates():
    described_all = described("date", [DAYS])
    described_all["parties"]["p"]["columns"] += described("timestamp", [{"name": "hour"}])["parties"]["p"][
        "columns"
    ]
    described_all["parties"]["p"]["columns"][1] |= {"name": "y"}
    described_all["parties"]["p"]["columns"] += [
        {**described("bool")["parties"]["p"]["columns"][0], "name": "z"}
    ]
    found = Dataset.load(described_all, generate(described_all, 200, 1), precision="float64").inputs
    assert len(set(found["p.x"].flat)) > 150 and len(set(found["p.y"].flat)) > 15
    assert {*found["p.z"].flat} == {0.0, 1.0}


SPEC = """
party alice { key k  feature x: COLUMN }
party bob { key k  label y: bool }
h = mlp(USE, [3])
logit = dense(h, 1) at bob
predict y = sigmoid(logit)
objective bce(logit, bob.y)
release alice { to bob: x at most BITS bits  } release bob { to alice: y at most 1 bits }
"""


@pytest.mark.parametrize(
    ("column", "bits"),
    [
        ("bool", 1),
        ("bool -> missing(0)", 1.585),
        ("date -> month", 3.585),
        ("date -> weekday -> index(7)", 2.808),
        ("date -> month -> missing(0)", 3.701),
        ("timestamp -> hour -> cyclic(24)", 4.585),
        ("timestamp -> hour -> bucketize(6, 12, 18)", 2),
        ("date -> yearday", 8.516),
        ("timestamp -> minute -> standardize(mean = 30, std = 17)", 5.907),
        ("date -> year", None),
        ("date -> days", None),
        ("date -> month -> standardize", None),
    ],
)
def test_codes_of_parts_bound_what_is_learned(column, bits):
    ids = "index" in column or "bucketize" in column
    spec = SPEC.replace("COLUMN", column).replace(
        "USE", "flatten(embed([alice.x], dim = 2))" if ids else "alice.x"
    )
    if bits is not None:
        compile_source(SourceText("x.vfl", spec.replace("BITS", f"{bits + 1e-3}")))
    with pytest.raises(Refused) as caught:
        compile_source(SourceText("x.vfl", spec.replace("BITS", f"{(bits or 60) - 1e-3}")))
    assert [found.code for found in caught.value.diagnostics] == ["VFL0340"]


@pytest.mark.parametrize(
    ("columns", "code", "says"),
    [
        ("feature a: date", "VFL0204", "`a` is a date"),
        ("feature a: date -> hour", "VFL0204", "`hour` reads timestamp"),
        ("feature a: int -> month", "VFL0204", "declare the column as date or timestamp"),
        ("column d: date  feature a = d > 3", "VFL0204", "a date is no number"),
        ("column d: date  feature a = d + d", "VFL0204", "a date is no number"),
        ("column d: date  feature a = floor(d)", "VFL0204", "a date is no number"),
        ("column d: date  feature a = -d", "VFL0204", "a date is no number"),
        ('column d: date  feature a = d < "2023-02-29"', "VFL0213", "is no date"),
        ("feature a: int -> cyclic(0)", "VFL0205", "a number above 0"),
        ("feature a: int -> cyclic(7) -> standardize", "VFL0204", "reads int or float"),
        ('feature a: date -> days(since = "soon")', "VFL0205", 'a date such as "2020-01-31"'),
        ("label a: int -> cyclic(7)", "VFL0021", "a pair of numbers"),
        ("feature a: datetime", "VFL0204", "write timestamp"),
    ],
)
def test_mistakes_are_said(columns, code, says):
    spec = f"party alice {{ key k  {columns} }}\nparty bob {{ key k  label y: bool }}"
    with pytest.raises(Refused) as caught:
        compile_source(SourceText("x.vfl", spec))
    assert any(d.code == code and says in f"{d.message} {d.help}" for d in caught.value.diagnostics)


def test_dates_are_compared_and_subtracted():
    spec = """
party alice {
  key k
  column  from: date
  column  to: timestamp
  feature span = to - from
  feature early = from < "2024-03-01" and to <= "2024-03-01T10:00:00+02:00"
}
party bob { key k  label y: bool }
h = mlp(concat(alice.span, alice.early), [2])
logit = dense(h, 1) at bob
predict y = sigmoid(logit)
objective bce(logit, bob.y)
release alice { to bob: from, to } release bob { to alice: y }
"""
    files = compile_source(SourceText("x.vfl", spec)).files
    table = pa.table(
        {
            "k": ["a", "b"],
            "from": [dt.date(2024, 2, 28), dt.date(2024, 2, 29)],
            "to": [dt.datetime(2024, 3, 1, 8), dt.datetime(2024, 3, 1, 12)],
        }
    )
    found = Dataset.load(
        json.loads(files["alice/encoders.json"]), {"alice": table}, precision="float64"
    ).inputs
    assert found["alice.span"].tolist() == [[2 + 8 / 24], [1.5]] and found["alice.early"].tolist() == [
        [1],
        [0],
    ]


def test_a_vocabulary_may_list_truth_and_a_label_may_be_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.vfl").write_text("""
party alice { key k  feature a: bool -> vocab(true, false)  feature b: int -> vocab(false, true) }
party bob { key k  label y: bool -> vocab(false, true)  column seen: timestamp }
h = mlp(flatten(embed([alice.a, alice.b], dim = 2)), [3])
logits = dense(h, 2) at bob
predict y = softmax(logits)
objective cce(logits, bob.y)
train { batch 4 }
release alice { to bob: a, b }
release bob { to alice: y }
""")
    (tmp_path / "a.csv").write_text("k,a,b\n1,true,0\n2,no,1\n3,1,1\n4,f,0\n")
    (tmp_path / "b.csv").write_text("k,y\n1,t\n2,f\n3,yes\n4,no\n")
    data = ["--data", "alice=a.csv", "--data", "bob=b.csv"]
    assert run(["train", "m.vfl", *data, "--out", "run", "--epochs", "1"]) == 0
    assert run(["predict", "run", *data, "-o", "p.csv"]) == 0
    assert "false" in (tmp_path / "p.csv").read_text().splitlines()[0]
    assert run(["export", "run", "-o", "models", *data]) == 0
    made = (tmp_path / "m.vfl").read_text().replace("y = softmax(logits)", "z = sum(logits) of seen")
    found = check_source(SourceText("m.vfl", made))
    assert any("`seen` of bob is a timestamp" in each.message for each in found)

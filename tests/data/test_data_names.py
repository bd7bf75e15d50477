"""Columns of any name, from every kind of source: the spec's name for one is another matter."""

import csv
import json
import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.test_data_reading import loaded, refused
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from vflc_runtime.data.align import open_tables
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.generate import generate
from vflc_runtime.party.align import _written

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1, max_size=8)
"""DuckDB takes a carriage return in a text file for the end of a line, even in quotes."""


def as_csv(table, folder):
    with (folder / "x.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(table.column_names)
        writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return str(folder / "x.csv")


def as_parquet(table, folder):
    pq.write_table(table, folder / "x.parquet")
    return str(folder / "x.parquet")


def as_json(table, folder):
    rows = (json.dumps(row, ensure_ascii=False) for row in table.to_pylist())
    (folder / "x.jsonl").write_text("\n".join(rows), "utf-8")
    return str(folder / "x.jsonl")


def as_query(table, folder):
    picks = ", ".join(f"{i} AS " + '"' + n.replace('"', '""') + '"' for i, n in enumerate(table.column_names))
    return f"sql:SELECT {picks}"


SOURCES = {"csv": as_csv, "parquet": as_parquet, "json": as_json, "query": as_query, "arrow": lambda t, f: t}


@pytest.mark.parametrize("kind", SOURCES)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NAMES, min_size=2, max_size=5, unique_by=lambda n: unicodedata.normalize("NFC", n).lower()))
@example(["PT08.S1(CO)", 'a "b', "a,b;c", "it's", " x ", "1st", "é", "select"])
@example(["a\nb", "c/d~e", "$.f", "[g]", "{", "h:"])
def test_any_name_is_read(tmp_path, kind, names):
    table = pa.table({name: [i] for i, name in enumerate(names)})
    wanted = names[::-1]
    source = SOURCES[kind](table, tmp_path)
    _, ((*row,),) = loaded(source, wanted, tmp_path)
    assert [int(value) for value in row] == [*range(len(names))][::-1]


@pytest.mark.parametrize("kind", ["csv", "parquet", "json", "arrow"])
def test_names_that_differ_in_case_are_two(tmp_path, kind):
    table = pa.table({"Unit price": [1], "unit Price": [2], "k": [3]})
    _, ((*row,),) = loaded(SOURCES[kind](table, tmp_path), ["unit Price", "Unit price"], tmp_path)
    assert [*map(int, row)] == [2, 1]


@pytest.mark.parametrize("kind", SOURCES)
def test_names_are_compared_composed(tmp_path, kind):
    apart, whole = unicodedata.normalize("NFD", "Größe"), "Größe"
    assert apart != whole
    table = pa.table({apart: [0], "k": [1]})
    _, ((value,),) = loaded(SOURCES[kind](table, tmp_path), [whole], tmp_path)
    assert int(value) == 0
    _, ((value,),) = loaded(SOURCES[kind](pa.table({whole: [0], "k": [1]}), tmp_path), [apart], tmp_path)
    assert int(value) == 0
    both = refused("VFL0601", loaded, pa.table({whole: [0], apart: [1]}), [whole], tmp_path)
    assert "2 columns named Größe" in both.message


@pytest.mark.parametrize(
    ("wanted", "guess"),
    [
        ("PT08", 'did you mean "PT08.S1(CO)"? in a spec: feature "PT08.S1(CO)": float as NAME; '),
        ("PT08.S1(C0)", 'did you mean "PT08.S1(CO)"? in a spec: feature "PT08.S1(CO)": float as NAME; '),
        ("age", "did you mean Age? "),
        ("zzz", ""),
    ],
)
def test_a_name_that_is_not_there_is_answered_as_a_spec_writes_it(tmp_path, wanted, guess):
    table = pa.table({"Age": [1], "PT08.S1(CO)": [2], "a, b": [3]})
    said = refused("VFL0602", loaded, table, [wanted], tmp_path)
    assert said.help == f'{guess}its columns are: Age, "PT08.S1(CO)", "a, b"'


SPEC = """
party alice {
  key "User ID"
  feature "Unit price (€)": float as Price -> missing(0)
  column "unit price (€)": float as Other
  feature Ratio = Other / Price -> missing(0)
  feature "User ID": string as Who -> hash(10)
}
party bob { key "user id"  label "bought?": int as bought }
h = mlp(flatten(embed(alice.features, dim = 2)), [2])
logit = dense(h, 1) at bob
predict bought = sigmoid(logit)
objective bce(logit, bob.bought)
release alice { to bob: Price, Ratio, Who }
release bob { to alice: bought }
"""


def described():
    files = compile_source(SourceText("x.vfl", SPEC)).files
    found = [json.loads(data) for name, data in files.items() if name.endswith("/encoders.json")]
    return {"parties": {party: info for each in found for party, info in each["parties"].items()}}


def test_a_spec_reads_columns_by_the_names_of_the_table():
    alice = pa.table(
        {"User ID": [1, 2], "unit price (€)": [3.0, 4.0], "Unit price (€)": [2.0, None], "Price": [9, 9]}
    )
    bob = pa.table({"user id": ["2", "1"], "bought?": [1, 0], "bought": [7, 7]})
    data = Dataset.load(described(), {"alice": alice, "bob": bob})
    assert data.inputs["alice.Price"].ravel().tolist() == [2.0, 0.0]
    assert data.inputs["alice.Ratio"].ravel().tolist() == [1.5, 0.0]
    assert data.inputs["bob.bought"].ravel().tolist() == [0, 1]
    wrong = {"alice": alice.set_column(2, "Unit price (€)", pa.array(["2", "dear"])), "bob": bob}
    said = refused("VFL0603", Dataset.load, described(), wrong)
    assert "column Unit price (€) of alice" in said.message and "'dear'" in said.message


def test_tables_that_are_made_up_have_the_names_of_the_table():
    tables = generate(described(), 50, 0)
    assert {*tables["alice"].column_names} == {"User ID", "Unit price (€)", "unit price (€)"}
    assert pa.types.is_string(tables["alice"]["User ID"].type), "the key is a column that is declared as well"
    assert Dataset.load(described(), tables).rows == 50


def test_the_manifest_says_what_the_table_calls_a_column():
    bundle = compile_source(SourceText("x.vfl", SPEC))
    alice, bob = bundle.manifest["parties"]
    assert alice["features"] == ["Price", "Ratio", "Who"] and bob["in_table"] == {"bought": "bought?"}
    assert alice["in_table"] == {"Price": "Unit price (€)", "Other": "unit price (€)", "Who": "User ID"}
    page = bundle.files["manifest.md"].decode()
    assert 'Price: "Unit price (€)", Ratio, Who: "User ID"' in page and 'bought: "bought?"' in page


def test_an_aligned_table_stands_for_the_one_it_was_made_of(tmp_path):
    table = pa.table({"user id": [2, 1], "bought?": [1, 0]})
    parties = {"bob": described()["parties"]["bob"]}
    parties["bob"]["columns"] = [c for c in parties["bob"]["columns"] if "value" not in c]
    opened = open_tables(parties, {"bob": table})
    try:
        written = pa.Table.from_batches([*_written(opened, "bob", parties["bob"], ".parquet")])
    finally:
        opened.close()
    assert written.to_pydict() == {"user id": [1, 2], "bought?": [0, 1]}

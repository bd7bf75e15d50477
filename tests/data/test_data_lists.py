"""Columns of lists, which give many ids a row, and numbers with a decimal comma."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.test_data_reading import refused
from vflc_runtime.data import encoded as module
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.generate import generate
from vflc_runtime.export import encode as exported

from vflc.cli.main import run
from vflc.diagnostics import Refused, SourceText
from vflc.driver import check_source, compile_source

VOCAB = {"name": "vocab", "values": ["a", "b"], "max": None, "min_count": None, "default": "other"}
INDEX = {"name": "index", "n": 9, "default": None}
LAST = {"name": "sequence", "max": 2}


def described(type, encoders, shape="ids", rows=9):
    column = {"name": "x", "kind": "feature", "type": type, "encoders": list(encoders)}
    return {"parties": {"p": {"key": "k", "columns": [{**column, "shape": shape, "rows": rows}]}}}


def read(source, type, *encoders, shape="ids", rows=9):
    return Dataset.load(described(type, encoders, shape, rows), {"p": source}, precision="float64")


def keyed(values, type=None):
    return pa.table({"k": [f"{i:03}" for i in range(len(values))], "x": pa.array(values, type)})


def sources(values, type, folder):
    made = keyed(values, pa.list_(type))
    pq.write_table(made, folder / "x.parquet")
    (folder / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made.to_pylist()))
    yield made
    yield keyed(values, pa.large_list(type))
    yield str(folder / "x.parquet")
    yield str(folder / "x.jsonl")


def test_every_source_gives_the_same_lists(tmp_path, monkeypatch):
    texts = [["a", "c", None, "b"], None, [], ["b"], [None]]
    for source in sources(texts, pa.string(), tmp_path):
        found = read(source, "list(string)", VOCAB, rows=3)
        assert found.inputs["p.x"].tolist() == [[1, 0, 2], [-1] * 3, [-1] * 3, [2, -1, -1], [-1] * 3]
        assert found.report["encoders"]["p.x"]["unknown"] == 1
        assert found.report["encoders"]["p.x"]["missing"] == 1
    monkeypatch.setattr(module, "BLOCK", 2)
    numbers = [[1, 2, 3], [4], None, [5, None, 6]]
    for source in sources(numbers, pa.int64(), tmp_path):
        found = read(source, "list(int)", INDEX, LAST)
        assert found.inputs["p.x"].tolist() == [[2, 3], [4, -1], [-1, -1], [5, 6]]
    fixed = keyed([[1, 2], [3, 4]], pa.list_(pa.int32(), 2))
    assert read(fixed, "list(int)", INDEX).inputs["p.x"].tolist() == [[1, 2], [3, 4]]
    wrote = keyed([[1.0, 2.5]], pa.list_(pa.float64()))
    hashed = {"name": "hash", "buckets": 50, "salt": None}
    one = read(wrote, "list(string)", hashed, rows=50).inputs["p.x"]
    assert one.tolist() == read(keyed([["1", "2.5"]]), "list(string)", hashed, rows=50).inputs["p.x"].tolist()


def test_a_vocabulary_is_fitted_to_lists():
    fit = VOCAB | {"values": None, "max": 2}
    found = read(keyed([["x", "y"], ["y", "z"], None]), "list(string)", fit, rows=3)
    assert found.state == {"p.x": [{"values": ["y", "x"]}]}
    assert found.inputs["p.x"].tolist() == [[2, 1], [1, 0], [-1, -1]]


@pytest.mark.parametrize(
    ("values", "type", "says"),
    [
        (["1|2"], "list(int)", "split it in the spec"),
        ([1], "list(int)", "split it in the spec"),
        ([[1.5]], "list(int)", "list of such values"),
        ([["x"]], "list(int)", "list of such values"),
        ([[[1]]], "list(string)", ""),
        ([{"a": 1}], "list(string)", ""),
        ([[1]], "string", "declare it list(int)"),
        ([["a"]], "int", "declare it list(string)"),
    ],
)
def test_what_is_no_list_is_refused(values, type, says):
    encoders = (INDEX,) if type.endswith("int)") or type == "int" else (VOCAB,)
    assert says in refused("VFL0603", read, keyed(values), type, *encoders).help


def test_a_list_is_as_long_as_a_row_may_be():
    said = refused("VFL0635", read, keyed([[1] * 4097]), "list(int)", INDEX)
    assert "4,097 values" in said.message
    assert read(keyed([[1] * 4096]), "list(int)", INDEX).inputs["p.x"].shape == (1, 4096)
    assert (
        "holds values that its index does not: '9'"
        in refused("VFL0604", read, keyed([[1, 9]]), "list(int)", INDEX).message
    )


def test_an_exported_encoder_reads_lists_and_commas():
    assert exported.typed([1, None, "2"], "list(int)", "p.x") == [1, 2]
    assert exported.typed(None, "list(string)", "p.x") == []
    assert exported.typed(["a", 7.0, None], "list(string)", "p.x") == ["a", "7"]
    with pytest.raises(exported.RefusedValue, match="is to be a list"):
        exported.typed("a|b", "list(string)", "p.x")
    for text, wanted in COMMAS.items():
        assert exported.typed(text, 'float(",")', "p.x") == wanted
    for text in NO_COMMAS:
        with pytest.raises(exported.RefusedValue, match="is to be a number"):
            exported.typed(text, 'float(",")', "p.x")
    assert exported.typed(2.5, 'float(",")', "p.x") == 2.5


COMMAS = {
    "0,5": 0.5, "1.234,5": 1234.5, "-1.234.567": -1234567.0, "12": 12.0, ",5": 0.5, " 3, ": 3.0,
    "1,5e2": 150.0, "nan": None, "": None,
}  # fmt: skip
NO_COMMAS = ["1.5", "1,234.5", "1,2,3", "x", "12.34,5", ",", "1 234,5"]


def test_text_may_have_decimal_commas(tmp_path):
    path = tmp_path / "x.csv"
    filled = {"name": "missing", "value": -1, "by": None}
    path.write_text("k;x\n" + "".join(f"{i:03};{text}\n" for i, text in enumerate(COMMAS)))
    found = read(str(path), 'float(",")', filled, shape="number", rows=None).inputs["p.x"]
    assert found.tolist() == [[-1 if value is None else value] for value in COMMAS.values()]
    assert read(keyed([1.5]), 'float(",")', shape="number", rows=None).inputs["p.x"].tolist() == [[1.5]]
    for text in NO_COMMAS:
        path.write_text(f"k;x\na;{text}\n")
        refused("VFL0603", read, str(path), 'float(",")', shape="number", rows=None)
    path.write_text("k;x\na;0,5\n")
    said = refused("VFL0603", read, str(path), "float", shape="number", rows=None)
    assert 'declare the column float(","): feature x: float(",")' in said.help


def test_made_up_tables_have_lists():
    for type, chain, rows in (("list(string)", [VOCAB], 3), ("list(int)", [INDEX, LAST], 9)):
        found = Dataset.load(
            described(type, chain, rows=rows), generate(described(type, chain, rows=rows), 99, 1)
        )
        ids = found.inputs["p.x"]
        assert {*range(rows), -1} == {*np.unique(ids)} and (ids[:, 0] == -1).any()


@pytest.mark.parametrize(
    ("columns", "code", "says"),
    [
        ("feature a: list(float) -> hash(3)", "VFL0204", "write list(int) or list(string)"),
        ('feature a: float(".")', "VFL0204", 'are float(",")'),
        ("feature a: list(int)", "VFL0204", "`a` is a list"),
        ("feature a: list(string) -> lower", "VFL0204", "end the chain with hash"),
        ("feature a: list(int) -> standardize", "VFL0204", "use hash or vocab"),
        ("label a: list(int) -> index(3)", "VFL0021", "the label `a` is a list"),
        ("column a: list(int)  feature b = a + 1", "VFL0021", "`a` is a list"),
    ],
)
def test_mistakes_are_said(columns, code, says):
    spec = f"party alice {{ key k  {columns} }}\nparty bob {{ key k  label y: int }}"
    found = check_source(SourceText("x.vfl", spec))
    assert any(d.code == code and says in f"{d.message} {d.help}" for d in found), found


SPEC = """
party alice {
  key k
  feature Seen: list(int) -> index(20) -> sequence(max = 3)
  feature Tags: list(string) -> strip -> lower -> vocab("x", "y", default = other)
  feature "CO (GT)": float(",") as CO -> missing(0)
}
party bob { key k  label y: float(",") }
seen = sum(lookup(table(20, 4), alice.Seen), axis = value)
h = dense(concat(seen, flatten(embed([alice.Tags], dim = 2)), alice.CO), 3)
logit = dense(relu(h), 1) at bob
predict y = logit
objective mse(logit, bob.y)
release alice { to bob: Seen at most 14 bits, Tags, CO }
release bob { to alice: y }
train { batch 8 }
"""


def test_lists_train_predict_export_and_verify(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.vfl").write_text(SPEC)
    rows = [
        {
            "k": i,
            "Seen": [i % 20, (i * 7) % 20] * (i % 3),
            "Tags": ["X ", "z"] if i % 2 else None,
            "CO (GT)": "1,5",
        }
        for i in range(40)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "b.csv").write_text("k;y\n" + "".join(f"{i};{i % 4},25\n" for i in range(40)))
    data = ["--data", "alice=a.jsonl", "--data", "bob=b.csv"]
    for command in (
        ["train", "m.vfl", *data, "--out", "run", "--epochs", "1"],
        ["predict", "run", *data, "-o", "p.csv"],
        ["export", "run", "-o", "models", *data],
        ["verify", "m.vfl", "--steps", "3", "--engines", "onnx"],
    ):
        assert run(command) == 0, command
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 41


def test_a_list_without_a_length_is_any_number_of_ids():
    compile_source(SourceText("x.vfl", SPEC))
    with pytest.raises(Refused):
        compile_source(SourceText("x.vfl", SPEC.replace("Tags, CO", "Tags at most 99 bits, CO")))
